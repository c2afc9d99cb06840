//! What a program takes of flash and RAM, and whether a model leaves room for one.

use std::path::Path;

use anyhow::Result;
use object::{Object, ObjectSection, SectionFlags};

use super::boards::Board;
use super::memory::region;
use crate::models::Model;

/// Flash for a program beside its model.
const PROGRAM: u64 = 32 * 1024;
/// RAM for the stack and for statics that are not the model's, as `RAM_RESERVE` of the firmware.
const RESERVE: usize = 4 * 1024;

/// Whether a board has room for a model and a program.
///
/// # Errors
/// If the memory map or the model cannot be read.
pub(crate) fn fits(root: &Path, board: &Board, model: &str) -> Result<bool> {
    let model = Model::read(root, model)?;
    let blob = model.blob()?;
    let dims = blob.dims();
    let ram = dims.state_bytes() + dims.scratch_bytes() + RESERVE;
    let (flash_there, ram_there) = (region(root, board, "FLASH")?, region(root, board, "RAM")?);
    Ok(model.len() as u64 + PROGRAM <= flash_there && ram as u64 <= ram_there)
}

/// Bytes in flash and in RAM.
///
/// # Errors
/// If the program cannot be read.
pub(crate) fn sizes(elf: &Path) -> Result<(u64, u64)> {
    let data = std::fs::read(elf)?;
    let file = object::File::parse(&*data)?;
    let (mut flash, mut ram) = (0, 0);
    for section in file.sections() {
        let SectionFlags::Elf { sh_flags } = section.flags() else { continue };
        if sh_flags & u64::from(object::elf::SHF_ALLOC) == 0 {
            continue;
        }
        let name = section.name()?;
        // Sections that only reserve room for the stack or a heap are none of the program's statics.
        if name.contains("stack") || name.contains("heap") {
            continue;
        }
        let writable = sh_flags & u64::from(object::elf::SHF_WRITE) != 0;
        ram += if writable { section.size() } else { 0 };
        flash += if name.contains("bss") || name.contains("uninit") { 0 } else { section.size() };
    }
    Ok((flash, ram))
}

/// Prints the sections by where they go.
///
/// # Errors
/// If the program cannot be read.
pub(crate) fn print(board: &Board, model: &str, elf: &Path) -> Result<()> {
    let data = std::fs::read(elf)?;
    let file = object::File::parse(&*data)?;
    println!("{} {model} {}", board.name, elf.display());
    for section in file.sections() {
        let SectionFlags::Elf { sh_flags } = section.flags() else { continue };
        if sh_flags & u64::from(object::elf::SHF_ALLOC) != 0 && section.size() > 0 {
            println!("{:16} {:9} bytes at {:#010x}", section.name()?, section.size(), section.address());
        }
    }
    Ok(())
}
