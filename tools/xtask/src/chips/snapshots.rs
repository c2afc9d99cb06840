//! The flash for snapshots of an emulated board: a file that outlives the emulator.

use std::path::Path;

use anyhow::{Context, Result, bail};

use super::boards::{Board, Flash};

/// Where a board's flash is: its file's length, the part of it that is kept, the addresses of that, and where the
/// program notes the last complete snapshot.
pub(crate) struct Place {
    pub(crate) file: u64,
    pub(crate) kept: usize,
    pub(crate) stores: &'static str,
    pub(crate) witness: Option<usize>,
    /// Stores that end a snapshot and change nothing that can be read.
    pub(crate) after: u64,
}

/// Whether QEMU can keep the flash of a board.
pub(crate) fn has_flash(board: &Board) -> bool {
    place(board).is_ok()
}

/// Where it is.
///
/// # Errors
/// If QEMU keeps no flash of the board in a file.
pub(crate) fn place(board: &Board) -> Result<Place> {
    match board.flash {
        Some(Flash::Mapped) => {
            Ok(Place { file: 16 << 20, kept: 0x40004, stores: "0x21000000+0x40000", witness: Some(0x40000), after: 0 })
        }
        // The command that ends a program operation comes after the word.
        Some(Flash::Cfi) => {
            Ok(Place { file: 32 << 20, kept: 0x80000, stores: "0x22000000+0x80000", witness: None, after: 1 })
        }
        Some(Flash::Stm32f4) | None => bail!("{}: QEMU keeps no flash of this board in a file", board.name),
    }
}

/// Makes the file for a board's flash, if it is not there.
///
/// # Errors
/// As [`place`], or if the file cannot be made.
pub(crate) fn make_file(board: &Board, file: &Path) -> Result<()> {
    let options = std::fs::OpenOptions::new().write(true).create(true).truncate(false).open(file);
    let length = place(board)?.file;
    options.and_then(|f| f.set_len(length)).with_context(|| file.display().to_string())
}
