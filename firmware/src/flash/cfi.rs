//! CFI flash with the Intel command set, as QEMU's machine `virt` has it: two chips of 16 bits side by side, sectors of
//! 256 KiB. The first bank may hold a program; the second has the snapshots.

use super::nor::{Chip, Error};
use crate::registers::Registers;

const BASE: usize = 0x2200_0000;
const SECTOR: usize = 256 * 1024;

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
pub struct Driver {
    bank: Registers,
}

impl Driver {
    /// The flash.
    ///
    /// # Safety
    /// Only one may exist.
    pub const unsafe fn take() -> Self {
        // SAFETY: the second bank of the machine's flash; all offsets are in its first two sectors.
        Self { bank: unsafe { Registers::at(BASE) } }
    }

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

impl Chip for Driver {
    // The program is elsewhere.
    const STALLS: bool = false;
    const SECTOR: usize = SECTOR;
    const CAPACITY: usize = 2 * SECTOR;

    fn word(&self, at: usize) -> u32 {
        self.bank.read(at)
    }

    fn erase_sector(&mut self, at: usize) -> Result<(), Error> {
        self.command(at, ERASE, CONFIRM)
    }

    fn program(&mut self, at: usize, word: u32) -> Result<(), Error> {
        self.command(at, PROGRAM, word)
    }
}
