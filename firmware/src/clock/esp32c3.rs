//! ESP32-C3 (technical reference manual 1.1) after a direct boot: 40 MHz, the crystal's clock, and no watchdog. The ROM
//! leaves its watchdogs running for the next stage of a boot, which does not come.
//!
//! 160 MHz would need the PLL's analogue registers, which the manual does not describe; the vendor's HAL sets them.

use crate::registers::Registers;

// SAFETY: system registers, timer group 0 and the clock of standby of the chip that this file is compiled for; all
// offsets are theirs.
const SYSTEM: Registers = unsafe { Registers::at(0x600c_0000) };
// SAFETY: as above.
const TIMER_GROUP_0: Registers = unsafe { Registers::at(0x6001_f000) };
// SAFETY: as above.
const RTC_CNTL: Registers = unsafe { Registers::at(0x6000_8000) };

const SYSCLK_CONF: usize = 0x58;
/// Source of the clock (0: crystal) and its divider less 1.
const SOURCE_AND_DIVIDER: u32 = 0b11 << 10 | 0x3ff;

const RTC_WDTCONFIG0: usize = 0x90;
const RTC_WDTWPROTECT: usize = 0xa8;
const SWD_CONF: usize = 0xac;
const SWD_AUTO_FEED: u32 = 1 << 31;
const SWD_WPROTECT: usize = 0xb0;
const TIMG_WDTCONFIG0: usize = 0x48;
const TIMG_WDTWPROTECT: usize = 0x64;
const KEY: u32 = 0x50d8_3aa1;
const SWD_KEY: u32 = 0x8f1d_312a;

/// Clock of the serial line in Hz.
pub const LINE: u32 = 40_000_000;

/// Sets the clock and ends the watchdogs.
pub fn start() {
    for (block, protect, configuration) in
        [(RTC_CNTL, RTC_WDTWPROTECT, RTC_WDTCONFIG0), (TIMER_GROUP_0, TIMG_WDTWPROTECT, TIMG_WDTCONFIG0)]
    {
        block.write(protect, KEY);
        block.write(configuration, 0);
        block.write(protect, 0);
    }
    RTC_CNTL.write(SWD_WPROTECT, SWD_KEY);
    RTC_CNTL.set(SWD_CONF, SWD_AUTO_FEED);
    RTC_CNTL.write(SWD_WPROTECT, 0);
    SYSTEM.replace(SYSCLK_CONF, SOURCE_AND_DIVIDER, 0);
}
