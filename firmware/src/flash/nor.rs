//! NOR flash of words of 32 bits on top of what a chip does: the rules, the bounds and the traits are here, once.

use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash, check_erase, check_read, check_write,
};

const WORD: usize = 4;
const ERASED: u32 = u32::MAX;

/// What differs from one flash to the next. Offsets are multiples of a word below [`Chip::CAPACITY`], those of sectors
/// multiples of [`Chip::SECTOR`].
pub trait Chip {
    /// Whether the chip stands still during an erasure, with the program in it.
    const STALLS: bool;
    /// Bytes of a sector.
    const SECTOR: usize;
    /// Bytes of all sectors.
    const CAPACITY: usize;

    /// The word at an offset.
    fn word(&self, at: usize) -> u32;
    /// Erases the sector at an offset and waits for the end.
    ///
    /// # Errors
    /// [`Error::Hardware`].
    fn erase_sector(&mut self, at: usize) -> Result<(), Error>;
    /// Programs a word that is erased and waits for the end.
    ///
    /// # Errors
    /// [`Error::Hardware`].
    fn program(&mut self, at: usize, word: u32) -> Result<(), Error>;
    /// Notes outside of the flash how far a program came, where there is memory that would keep it: a witness for
    /// tests.
    fn witness(&self, _position: u32) {}
}

/// What flash can refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Misaligned or out of bounds.
    Range(NorFlashErrorKind),
    /// A word that was not erased.
    NotErased,
    /// The hardware's own word for a failure.
    Hardware(u32),
}

impl NorFlashError for Error {
    fn kind(&self) -> NorFlashErrorKind {
        match self {
            Self::Range(kind) => *kind,
            _ => NorFlashErrorKind::Other,
        }
    }
}

/// A flash of a chip.
#[derive(Debug)]
pub struct Nor<C>(C);

impl<C: Chip> Nor<C> {
    /// The flash of `chip`.
    pub const fn new(chip: C) -> Self {
        Self(chip)
    }

    /// As [`Chip::witness`].
    pub fn witness(&self, position: u32) {
        self.0.witness(position);
    }
}

impl<C> ErrorType for Nor<C> {
    type Error = Error;
}

impl<C: Chip> ReadNorFlash for Nor<C> {
    const READ_SIZE: usize = WORD;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Error> {
        check_read(self, offset, bytes.len()).map_err(Error::Range)?;
        for (at, word) in (offset as usize..).step_by(WORD).zip(bytes.as_chunks_mut().0) {
            *word = self.0.word(at).to_le_bytes();
        }
        Ok(())
    }

    fn capacity(&self) -> usize {
        C::CAPACITY
    }
}

impl<C: Chip> NorFlash for Nor<C> {
    const WRITE_SIZE: usize = WORD;
    const ERASE_SIZE: usize = C::SECTOR;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Error> {
        check_erase(self, from, to).map_err(Error::Range)?;
        (from as usize..to as usize).step_by(C::SECTOR).try_for_each(|at| self.0.erase_sector(at))
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Error> {
        check_write(self, offset, bytes.len()).map_err(Error::Range)?;
        for (at, word) in (offset as usize..).step_by(WORD).zip(bytes.as_chunks().0) {
            // An emulator, or memory that stands for flash, would let a program turn zeros into ones.
            if self.0.word(at) != ERASED {
                return Err(Error::NotErased);
            }
            self.0.program(at, u32::from_le_bytes(*word))?;
        }
        Ok(())
    }
}
