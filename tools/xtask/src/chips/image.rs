//! The contents of a flash as one file, for chips that are not flashed from a program's own file.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use object::elf::PT_LOAD;
use object::read::elf::{ElfFile32, ProgramHeader};
use object::{Endianness, FileKind};

/// Where the ESP32-C3 sees its flash: for instructions and for data.
const WINDOWS: [u32; 2] = [0x4200_0000, 0x3c00_0000];
/// Size of each window.
const FLASH: u32 = 4 << 20;
/// What its ROM looks for at the beginning of a program that it starts without a second stage.
const MAGIC: [u8; 8] = [0x1d, 0x04, 0xdb, 0xae, 0x1d, 0x04, 0xdb, 0xae];

/// Writes the image of an ESP32-C3 program beside it and returns its path.
///
/// # Errors
/// If the program loads something outside the flash, twice to one place, or does not begin as the ROM wants it.
pub(crate) fn write(elf: &Path) -> Result<PathBuf> {
    let data = std::fs::read(elf).with_context(|| elf.display().to_string())?;
    let image = flatten(&data).with_context(|| elf.display().to_string())?;
    let path = elf.with_extension("bin");
    std::fs::write(&path, image).with_context(|| path.display().to_string())?;
    Ok(path)
}

fn flatten(data: &[u8]) -> Result<Vec<u8>> {
    ensure!(FileKind::parse(data)? == FileKind::Elf32, "no program for a 32-bit chip");
    let file = ElfFile32::<Endianness>::parse(data)?;
    let endian = file.endian();
    let mut parts = Vec::new();
    for header in file.elf_program_headers().iter().filter(|h| h.p_type(endian) == PT_LOAD) {
        let bytes = header.data(endian, data).map_err(|()| anyhow::anyhow!("a segment lies outside the file"))?;
        if bytes.is_empty() {
            continue;
        }
        let address = header.p_paddr(endian);
        let Some(start) = WINDOWS.iter().find_map(|w| address.checked_sub(*w).filter(|&at| at < FLASH)) else {
            bail!("{} bytes are loaded to {address:#x}, which is no flash", bytes.len());
        };
        parts.push((start as usize, bytes));
    }
    parts.sort_unstable_by_key(|&(start, _)| start);
    let mut image = Vec::new();
    for (start, bytes) in parts {
        ensure!(start >= image.len(), "two segments are loaded to offset {start:#x} of the flash");
        // Erased flash.
        image.resize(start, 0xff);
        image.extend_from_slice(bytes);
    }
    ensure!(image.starts_with(&MAGIC), "the program does not begin with the ROM's mark");
    ensure!(image.len() <= FLASH as usize, "{} bytes do not fit the flash", image.len());
    Ok(image)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program of segments: address and contents.
    fn program(segments: &[(u32, &[u8])]) -> Vec<u8> {
        let (header, entry) = (52, 32);
        let mut elf = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xf3\0".to_vec();
        for word in [1, 0, header, 0, 0] {
            elf.extend_from_slice(&u32::to_le_bytes(word));
        }
        for half in [header as u16, entry as u16, segments.len() as u16, 40, 0, 0] {
            elf.extend_from_slice(&half.to_le_bytes());
        }
        let mut at = header + entry * segments.len() as u32;
        for (address, bytes) in segments {
            let size = bytes.len() as u32;
            for word in [PT_LOAD, at, *address, *address, size, size, 4, 4] {
                elf.extend_from_slice(&word.to_le_bytes());
            }
            at += size;
        }
        for (_, bytes) in segments {
            elf.extend_from_slice(bytes);
        }
        elf
    }

    #[test]
    fn both_windows_are_one_flash() {
        let elf = program(&[(0x3c00_000c, b"data"), (0x4200_0000, &MAGIC)]);
        assert_eq!(flatten(&elf).unwrap(), [&MAGIC[..], &[0xff; 4], b"data"].concat());
    }

    #[test]
    fn refusals() {
        for (segments, words) in [
            (vec![(0x4200_0000, &MAGIC[..]), (0x3c00_0004, b"data")], "two segments"),
            (vec![(0x4200_0000, &b"no mark here"[..])], "mark"),
            (vec![(0x4200_0000, &MAGIC[..]), (0x3fc8_0000, b"data")], "no flash"),
            (vec![(0x4200_0000, &MAGIC[..]), (0x3c3f_fffe, b"data")], "do not fit"),
        ] {
            let error = flatten(&program(&segments)).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        assert!(flatten(b"no program").is_err());
    }
}
