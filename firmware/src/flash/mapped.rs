//! The PSRAM of the MPS2 boards, used by the rules of NOR flash: programming only clears bits, and only of erased
//! words; erasing sets whole sectors. Under QEMU the PSRAM can be a file that outlives the emulator.

use super::nor::{Chip, Error};
use crate::registers::Registers;

const BASE: usize = 0x2100_0000;

/// The flash.
#[derive(Debug)]
pub struct Driver {
    memory: Registers,
}

impl Driver {
    /// The flash.
    ///
    /// # Safety
    /// Only one may exist.
    pub const unsafe fn take() -> Self {
        // SAFETY: PSRAM that the linker script does not use; all offsets are below its 16 MiB.
        Self { memory: unsafe { Registers::at(BASE) } }
    }
}

impl Chip for Driver {
    const STALLS: bool = false;
    const SECTOR: usize = 1024;
    const CAPACITY: usize = 256 * 1024;

    fn word(&self, at: usize) -> u32 {
        self.memory.read(at)
    }

    fn erase_sector(&mut self, at: usize) -> Result<(), Error> {
        (at..at + Self::SECTOR).step_by(4).for_each(|at| self.memory.write(at, u32::MAX));
        Ok(())
    }

    fn program(&mut self, at: usize, word: u32) -> Result<(), Error> {
        self.memory.write(at, word);
        Ok(())
    }

    /// In the same file, after the flash.
    fn witness(&self, position: u32) {
        self.memory.write(Self::CAPACITY, position);
    }
}
