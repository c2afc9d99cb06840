//! nRF52840: always 64 MHz; from the crystal instead of the internal oscillator, so that the serial line is exact. The
//! cache of the flash is switched on.

use crate::registers::Registers;

// SAFETY: clock control of the chip that this file is compiled for; all offsets are its registers.
const CLOCK: Registers = unsafe { Registers::at(0x4000_0000) };
// SAFETY: likewise the flash controller.
const NVMC: Registers = unsafe { Registers::at(0x4001_e000) };
const TASKS_HFCLKSTART: usize = 0x000;
const EVENTS_HFCLKSTARTED: usize = 0x100;
const ICACHECNF: usize = 0x540;

/// Its serial line has fixed rates; nothing divides this.
pub const LINE: u32 = 16_000_000;

/// Sets the clocks.
pub fn start() {
    NVMC.write(ICACHECNF, 1);
    CLOCK.write(TASKS_HFCLKSTART, 1);
    while CLOCK.read(EVENTS_HFCLKSTARTED) == 0 {}
}
