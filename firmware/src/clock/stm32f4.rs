//! STM32F407 at 168 MHz, STM32F411 at 100 MHz (RM0090, RM0383), from the internal oscillator of 16 MHz: right to 1 % at
//! room temperature, which is enough for a serial line, and no crystal is needed.

use crate::registers::Registers;

// SAFETY: clock control, power control and the flash interface of the chips that this file is compiled for; all offsets
// are theirs.
const RCC: Registers = unsafe { Registers::at(0x4002_3800) };
// SAFETY: as above.
const PWR: Registers = unsafe { Registers::at(0x4000_7000) };
// SAFETY: as above.
const FLASH: Registers = unsafe { Registers::at(0x4002_3c00) };

const CR: usize = 0x00;
const PLL_ON: u32 = 1 << 24;
const PLL_READY: u32 = 1 << 25;
const PLLCFGR: usize = 0x04;
const CFGR: usize = 0x08;
const APB1ENR: usize = 0x40;
const POWER: u32 = 1 << 28;
/// Highest voltage of the core.
const SCALE_1: u32 = 0b11 << 14;
/// Prefetch and both caches.
const ACCELERATE: u32 = 0b111 << 8;

const F407: bool = cfg!(board = "stm32f407");
/// 16 MHz / 8 x this is the PLL's own clock; half of it is the core's.
const TIMES: u32 = if F407 { 168 } else { 100 };
/// Divider for 48 MHz; nothing here uses it, but it must be in range.
const USB: u32 = if F407 { 7 } else { 5 };
const WAIT_STATES: u32 = if F407 { 5 } else { 3 };
/// Dividers of the two buses, 4 and 2 or 2 and 1, so that the first is below 50 MHz.
const BUSES: u32 = if F407 { 0b100_101 << 10 } else { 0b000_100 << 10 };

/// Clock of USART 2 in Hz.
pub const LINE: u32 = if F407 { 42_000_000 } else { 50_000_000 };

/// Sets the clocks.
pub fn start() {
    RCC.set(APB1ENR, POWER);
    PWR.set(0, SCALE_1);
    RCC.write(PLLCFGR, 8 | TIMES << 6 | USB << 24);
    RCC.set(CR, PLL_ON);
    while RCC.read(CR) & PLL_READY == 0 {}
    FLASH.write(0, ACCELERATE | WAIT_STATES);
    while FLASH.read(0) & 0b111 != WAIT_STATES {}
    RCC.write(CFGR, BUSES | 0b10);
    while RCC.read(CFGR) & 0b1100 != 0b1000 {}
}
