//! The flash of the STM32F405 and F407 (RM0090, chapter 3): the last two sectors of 128 KiB, words of 32 bits.
//!
//! **Built, never run**: QEMU has no model of this controller. One bank: the chip stands still while a sector is erased
//! (1 to 2 s by the data sheet) and while a word is programmed (16 us, a fifth of a byte at 115,200 baud).

use core::ptr::addr_of;

use super::nor::{Chip, Error};
use crate::registers::Registers;

const SECTOR: usize = 128 * 1024;
/// Sector 10.
const BASE: usize = 0x080c_0000;
const FIRST: u32 = 10;

const KEYR: usize = 0x04;
const KEYS: [u32; 2] = [0x4567_0123, 0xcdef_89ab];
const SR: usize = 0x0c;
const BUSY: u32 = 1 << 16;
/// End of operation and all errors; written to be cleared.
const MARKS: u32 = 0xf3;
const ERRORS: u32 = 0xf2;
const CR: usize = 0x10;
const PROGRAM: u32 = 1;
const ERASE: u32 = 1 << 1;
const SECTOR_AT: u32 = 3;
const WORDS: u32 = 0b10 << 8;
const START: u32 = 1 << 16;
const LOCK: u32 = 1 << 31;
/// Access control: the data cache is emptied after a change.
const ACR: usize = 0x00;
const DATA_CACHE: u32 = 1 << 10;
const DATA_CACHE_RESET: u32 = 1 << 12;

unsafe extern "C" {
    /// Where the initial values of variables begin in flash: the last of what the linker puts there.
    static __sidata: u8;
    static __sdata: u8;
    static __edata: u8;
}

/// The flash.
#[derive(Debug)]
pub struct Driver {
    controller: Registers,
    memory: Registers,
}

impl Driver {
    /// The flash.
    ///
    /// # Safety
    /// Only one may exist.
    ///
    /// # Panics
    /// If the program reaches into the sectors of the snapshots.
    pub unsafe fn take() -> Self {
        let variables = addr_of!(__edata) as usize - addr_of!(__sdata) as usize;
        assert!(addr_of!(__sidata) as usize + variables <= BASE, "the program lies where the snapshots go");
        // SAFETY: the flash controller and two sectors of flash that the program does not use, as was just checked; all
        // offsets are theirs.
        let [controller, memory] = unsafe { [Registers::at(0x4002_3c00), Registers::at(BASE)] };
        Self { controller, memory }
    }

    /// Unlocks, lets `operation` start, waits, locks.
    fn run(&self, control: u32, operation: impl FnOnce()) -> Result<(), Error> {
        let c = &self.controller;
        if c.read(CR) & LOCK != 0 {
            KEYS.into_iter().for_each(|key| c.write(KEYR, key));
        }
        c.write(SR, MARKS);
        c.write(CR, control);
        operation();
        while c.read(SR) & BUSY != 0 {}
        let status = c.read(SR);
        c.write(CR, LOCK);
        if c.read(ACR) & DATA_CACHE != 0 {
            c.replace(ACR, DATA_CACHE, 0);
            c.set(ACR, DATA_CACHE_RESET);
            c.replace(ACR, DATA_CACHE_RESET, 0);
            c.set(ACR, DATA_CACHE);
        }
        if status & ERRORS == 0 { Ok(()) } else { Err(Error::Hardware(status)) }
    }
}

impl Chip for Driver {
    const STALLS: bool = true;
    const SECTOR: usize = SECTOR;
    const CAPACITY: usize = 2 * SECTOR;

    fn word(&self, at: usize) -> u32 {
        self.memory.read(at)
    }

    fn erase_sector(&mut self, at: usize) -> Result<(), Error> {
        let control = ERASE | WORDS | (FIRST + (at / SECTOR) as u32) << SECTOR_AT;
        self.run(control, || self.controller.set(CR, START))
    }

    fn program(&mut self, at: usize, word: u32) -> Result<(), Error> {
        self.run(PROGRAM | WORDS, || self.memory.write(at, word))
    }
}
