//! The PSRAM of the MPS2 boards, used by the rules of NOR flash: programming only clears bits, and only of erased words;
//! erasing sets whole sectors. Under QEMU the PSRAM can be a file that outlives the emulator.

use embedded_storage::nor_flash::{ErrorType, NorFlash, ReadNorFlash};

use super::{Error, sectors, words};
use crate::registers::Registers;

/// The chip does not stand still during an erasure.
pub const STALLS: bool = false;
const BASE: usize = 0x2100_0000;
const CAPACITY: usize = 256 * 1024;
const SECTOR: usize = 1024;
const ERASED: u32 = u32::MAX;

/// The flash.
#[derive(Debug)]
pub struct Flash {
    memory: Registers,
}

impl Flash {
    /// The flash.
    ///
    /// # Safety
    /// Only one may exist.
    pub const unsafe fn take() -> Self {
        // SAFETY: PSRAM that the linker script does not use; all offsets are below its 16 MiB.
        Self { memory: unsafe { Registers::at(BASE) } }
    }

    /// Notes outside of the flash, in the same file, how far a program came: a witness for tests.
    pub fn witness(&self, position: u32) {
        self.memory.write(CAPACITY, position);
    }
}

impl ErrorType for Flash {
    type Error = Error;
}

impl ReadNorFlash for Flash {
    const READ_SIZE: usize = 4;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Error> {
        for (at, word) in words(offset, bytes.len(), CAPACITY)?.zip(bytes.chunks_exact_mut(4)) {
            word.copy_from_slice(&self.memory.read(at).to_le_bytes());
        }
        Ok(())
    }

    fn capacity(&self) -> usize {
        CAPACITY
    }
}

impl NorFlash for Flash {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = SECTOR;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Error> {
        sectors(from, to, SECTOR, CAPACITY)?;
        for at in words(from, (to - from) as usize, CAPACITY)? {
            self.memory.write(at, ERASED);
        }
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Error> {
        for (at, word) in words(offset, bytes.len(), CAPACITY)?.zip(bytes.as_chunks().0) {
            if self.memory.read(at) != ERASED {
                return Err(Error::NotErased);
            }
            self.memory.write(at, u32::from_le_bytes(*word));
        }
        Ok(())
    }
}
