//! CFI flash with the Intel command set, as QEMU's machine `virt` has it: two chips of 16 bits side by side, sectors of
//! 256 KiB. The first bank may hold a program; the second has the snapshots.
//!
//! QEMU lets a program turn zeros into ones; real flash does not, so a word that is not erased is refused here.

use embedded_storage::nor_flash::{ErrorType, NorFlash, ReadNorFlash};

use super::{Error, sectors, words};
use crate::registers::Registers;

/// The chip does not stand still during an erasure: the program is elsewhere.
pub const STALLS: bool = false;
const BASE: usize = 0x2200_0000;
const SECTOR: usize = 256 * 1024;
const CAPACITY: usize = 2 * SECTOR;

// Commands, for both chips at once.
const ARRAY: u32 = 0x00ff_00ff;
const ERASE: u32 = 0x0020_0020;
const CONFIRM: u32 = 0x00d0_00d0;
const PROGRAM: u32 = 0x0040_0040;
const CLEAR_STATUS: u32 = 0x0050_0050;
const READY: u32 = 0x0080_0080;
/// Status bits of a failed erasure, a failed program, a low voltage, a locked sector.
const FAILED: u32 = 0x003a_003a;

/// The flash.
#[derive(Debug)]
pub struct Flash {
    bank: Registers,
}

impl Flash {
    /// The flash.
    ///
    /// # Safety
    /// Only one may exist.
    pub const unsafe fn take() -> Self {
        // SAFETY: the second bank of the machine's flash; all offsets are in its first two sectors.
        Self { bank: unsafe { Registers::at(BASE) } }
    }

    /// There is no memory here that would keep it.
    pub fn witness(&self, _position: u32) {}

    /// Sends two commands and waits; the bank can then be read again.
    fn command(&self, at: usize, first: u32, second: u32) -> Result<(), Error> {
        self.bank.write(at, CLEAR_STATUS);
        self.bank.write(at, first);
        self.bank.write(at, second);
        let status = loop {
            let status = self.bank.read(at);
            if status & READY == READY {
                break status;
            }
        };
        self.bank.write(at, ARRAY);
        if status & FAILED == 0 { Ok(()) } else { Err(Error::Hardware(status)) }
    }
}

impl ErrorType for Flash {
    type Error = Error;
}

impl ReadNorFlash for Flash {
    const READ_SIZE: usize = 4;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Error> {
        for (at, word) in words(offset, bytes.len(), CAPACITY)?.zip(bytes.chunks_exact_mut(4)) {
            word.copy_from_slice(&self.bank.read(at).to_le_bytes());
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
        (from as usize..to as usize).step_by(SECTOR).try_for_each(|at| self.command(at, ERASE, CONFIRM))
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Error> {
        for (at, word) in words(offset, bytes.len(), CAPACITY)?.zip(bytes.as_chunks().0) {
            if self.bank.read(at) != u32::MAX {
                return Err(Error::NotErased);
            }
            self.command(at, PROGRAM, u32::from_le_bytes(*word))?;
        }
        Ok(())
    }
}
