//! STM32H743 at 400 MHz (RM0433), from the internal oscillator of 64 MHz, with both caches. The serial line runs at
//! those 64 MHz themselves.

use crate::registers::Registers;

// SAFETY: clock control, power control and the flash interface of the chip that this file is compiled for; all offsets
// are theirs.
const RCC: Registers = unsafe { Registers::at(0x5802_4400) };
// SAFETY: as above.
const PWR: Registers = unsafe { Registers::at(0x5802_4800) };
// SAFETY: as above.
const FLASH: Registers = unsafe { Registers::at(0x5200_2000) };

const PWR_CR3: usize = 0x0c;
const PWR_D3CR: usize = 0x18;
const SCALE_1: u32 = 0b11 << 14;
const VOLTAGE_READY: u32 = 1 << 13;

const CR: usize = 0x00;
const PLL_ON: u32 = 1 << 24;
const PLL_READY: u32 = 1 << 25;
const CFGR: usize = 0x10;
const PLL: u32 = 3;
const D1CFGR: usize = 0x18;
const D2CFGR: usize = 0x1c;
const D3CFGR: usize = 0x20;
const PLLCKSELR: usize = 0x28;
const PLLCFGR: usize = 0x2c;
const PLL1DIVR: usize = 0x30;
const D2CCIP2R: usize = 0x54;
/// Flash at 200 MHz and the highest voltage: wait states and delay of writing.
const ACR: u32 = 2 << 4 | 2;

/// Clock of USART 3 in Hz.
pub const LINE: u32 = 64_000_000;

/// Sets the clocks.
pub fn start() {
    // The regulator has to be confirmed once after power-up, then the voltage may change.
    PWR.replace(PWR_CR3, 0b111, 0b010);
    PWR.replace(PWR_D3CR, SCALE_1, SCALE_1);
    while PWR.read(PWR_D3CR) & VOLTAGE_READY == 0 {}
    // 64 MHz / 4 x 50 = 800 MHz, half of it for the core.
    RCC.replace(PLLCKSELR, 0x3f3, 4 << 4);
    RCC.replace(PLLCFGR, 0x7_000f, 1 << 16 | 0b11 << 2);
    RCC.write(PLL1DIVR, 49 | 1 << 9 | 1 << 16 | 1 << 24);
    RCC.set(CR, PLL_ON);
    while RCC.read(CR) & PLL_READY == 0 {}
    // Buses: 200 MHz, the peripherals' 100 MHz.
    RCC.write(D1CFGR, 0b100 << 4 | 0b1000);
    RCC.write(D2CFGR, 0b100 << 8 | 0b100 << 4);
    RCC.write(D3CFGR, 0b100 << 4);
    FLASH.write(0, ACR);
    while FLASH.read(0) != ACR {}
    RCC.replace(CFGR, 0b111, PLL);
    while RCC.read(CFGR) >> 3 & 0b111 != PLL {}
    RCC.replace(D2CCIP2R, 0b111, 0b011);
    // SAFETY: the only ones: no program takes the core's peripherals. No DMA runs that would bypass the cache.
    let mut core = unsafe { cortex_m::Peripherals::steal() };
    core.SCB.enable_icache();
    core.SCB.enable_dcache(&mut core.CPUID);
}
