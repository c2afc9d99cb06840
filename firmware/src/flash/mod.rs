//! Flash for snapshots: drivers of the boards, through the traits of `embedded-storage`.
//!
//! | driver | boards | where the snapshots are | ran |
//! |---|---|---|---|
//! | `mapped` | MPS2 | the board's PSRAM, as NOR flash by its own rules; under QEMU in a file | emulated |
//! | `cfi` | QEMU's `virt` | the second bank of CFI flash; under QEMU in a file | emulated |
//! | `stm32f4` | STM32F405, F407 | the last two sectors of 128 KiB | built only |

#[cfg(any(board = "virt-rv32imc", board = "virt-rv32imac"))]
#[path = "cfi.rs"]
mod driver;
#[cfg(any(board = "mps2-an385", board = "mps2-an386", board = "mps2-an500"))]
#[path = "mapped.rs"]
mod driver;
#[cfg(any(board = "netduinoplus2", board = "stm32f407"))]
#[path = "stm32f4.rs"]
mod driver;

#[cfg(not(any(
    board = "virt-rv32imc",
    board = "virt-rv32imac",
    board = "mps2-an385",
    board = "mps2-an386",
    board = "mps2-an500",
    board = "netduinoplus2",
    board = "stm32f407"
)))]
compile_error!("the feature snapshots: there is no driver for this board's flash in src/flash");

pub use driver::{Flash, STALLS};
use embedded_storage::nor_flash::{NorFlashError, NorFlashErrorKind};

/// Bytes between two snapshots.
pub const EVERY: u32 = match u32::from_str_radix(env!("FW_EVERY"), 10) {
    Ok(bytes) => bytes,
    Err(_) => panic!("FW_EVERY is no number of bytes"),
};

/// What flash can refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Misaligned or out of bounds.
    Range,
    /// A word that was not erased.
    NotErased,
    /// The hardware's own word for a failure.
    Hardware(u32),
}

impl NorFlashError for Error {
    fn kind(&self) -> NorFlashErrorKind {
        match self {
            Self::Range => NorFlashErrorKind::OutOfBounds,
            _ => NorFlashErrorKind::Other,
        }
    }
}

/// The offset of each word of a range, if the range is whole words inside the flash.
fn words(offset: u32, length: usize, capacity: usize) -> Result<core::iter::StepBy<core::ops::Range<usize>>, Error> {
    let start = offset as usize;
    let end = start.checked_add(length).filter(|&end| end <= capacity).ok_or(Error::Range)?;
    if start.is_multiple_of(4) && length.is_multiple_of(4) { Ok((start..end).step_by(4)) } else { Err(Error::Range) }
}

/// Whether a range is whole sectors inside the flash.
fn sectors(from: u32, to: u32, sector: usize, capacity: usize) -> Result<(), Error> {
    let whole = (from as usize).is_multiple_of(sector) && (to as usize).is_multiple_of(sector);
    if whole && from <= to && to as usize <= capacity { Ok(()) } else { Err(Error::Range) }
}
