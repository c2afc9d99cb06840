//! What a program takes of flash and RAM, and whether a model leaves room for one.

use std::path::Path;

use anyhow::Result;
use mambabyte_host::adapt::Preset;
use object::{Object, ObjectSection, SectionFlags};

use super::boards::{Adapt, Board};
use super::memory::region;
use crate::models::{Model, NONE};

/// Flash for a program beside its model.
const PROGRAM: u64 = 32 * 1024;
/// RAM for the stack and for statics that are not the model's, as `RAM_RESERVE` of the firmware.
const RESERVE: usize = 4 * 1024;

/// Whether a board has room for a model and a program.
///
/// # Errors
/// If the memory map or the model cannot be read.
pub(crate) fn fits(root: &Path, board: &Board, model: &str) -> Result<bool> {
    fits_with(root, board, model, Adapt(None))
}

/// The same with an adapter; the model may be [`NONE`].
///
/// # Errors
/// As [`fits`].
pub(crate) fn fits_with(root: &Path, board: &Board, model: &str, adapt: Adapt) -> Result<bool> {
    let (mut flash, mut ram) = (PROGRAM, RESERVE + adapt.0.map_or(0, Preset::bytes));
    if model != NONE {
        let model = Model::read(root, model)?;
        let blob = model.blob()?;
        ram += blob.dims().state_bytes() + blob.dims().scratch_bytes();
        flash += model.len() as u64;
    }
    Ok(flash <= region(root, board, "FLASH")? && ram as u64 <= region(root, board, "RAM")?)
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
