//! RP2040 at 125 MHz and RP2350 at 150 MHz (datasheets, chapters "Clocks", "PLL", "XOSC"), from the crystal of 12 MHz
//! that the boards have. The serial line runs at those 12 MHz themselves.

use crate::registers::Registers;

const RP2040: bool = cfg!(board = "rp2040");

const fn at(rp2040: usize, rp2350: usize) -> Registers {
    // SAFETY: blocks of the two chips that this file is compiled for, named below; all offsets are their registers.
    unsafe { Registers::at(if RP2040 { rp2040 } else { rp2350 }) }
}
const RESETS: Registers = at(0x4000_c000, 0x4002_0000);
const CLOCKS: Registers = at(0x4000_8000, 0x4001_0000);
const XOSC: Registers = at(0x4002_4000, 0x4004_8000);
const PLL_SYS: Registers = at(0x4002_8000, 0x4005_0000);

const RESET: usize = 0x00;
const RESET_DONE: usize = 0x08;
const RESET_PLL_SYS: u32 = if RP2040 { 1 << 12 } else { 1 << 14 };

const XOSC_CTRL: usize = 0x00;
const XOSC_ENABLE: u32 = 0xfab << 12 | 0xaa0;
const XOSC_STATUS: usize = 0x04;
const XOSC_STARTUP: usize = 0x0c;
const STABLE: u32 = 1 << 31;

const PLL_CS: usize = 0x0;
const LOCK: u32 = 1 << 31;
const PLL_PWR: usize = 0x4;
const PLL_OFF: u32 = 1 | 1 << 5;
const POST_DIVIDER_OFF: u32 = 1 << 3;
const PLL_FBDIV: usize = 0x8;
const PLL_PRIM: usize = 0xc;

const REF_CTRL: usize = 0x30;
const REF_SELECTED: usize = 0x38;
const REF_XOSC: u32 = 2;
const SYS_CTRL: usize = 0x3c;
const SYS_SELECTED: usize = 0x44;
const PERI_CTRL: usize = 0x48;
const PERI_ENABLE: u32 = 1 << 11;
const PERI_XOSC: u32 = 4 << 5;

/// Clock of the serial line in Hz.
pub const LINE: u32 = 12_000_000;

/// Sets the clocks.
pub fn start() {
    // About a millisecond (1 = 256 cycles), times 64 for slow crystals.
    XOSC.write(XOSC_STARTUP, 47 * 64);
    XOSC.write(XOSC_CTRL, XOSC_ENABLE);
    while XOSC.read(XOSC_STATUS) & STABLE == 0 {}
    // The program may have been started by another one: leave the PLL before it is changed.
    CLOCKS.replace(SYS_CTRL, 1, 0);
    while CLOCKS.read(SYS_SELECTED) != 1 {}
    CLOCKS.replace(REF_CTRL, 0b11, REF_XOSC);
    while CLOCKS.read(REF_SELECTED) != 1 << REF_XOSC {}

    RESETS.set(RESET, RESET_PLL_SYS);
    RESETS.replace(RESET, RESET_PLL_SYS, 0);
    while RESETS.read(RESET_DONE) & RESET_PLL_SYS == 0 {}
    // 12 MHz x 125 = 1,500 MHz, divided by 6 x 2 or by 5 x 2.
    PLL_SYS.write(PLL_CS, 1);
    PLL_SYS.write(PLL_FBDIV, 125);
    PLL_SYS.replace(PLL_PWR, PLL_OFF, 0);
    while PLL_SYS.read(PLL_CS) & LOCK == 0 {}
    PLL_SYS.write(PLL_PRIM, if RP2040 { 6 } else { 5 } << 16 | 2 << 12);
    PLL_SYS.replace(PLL_PWR, POST_DIVIDER_OFF, 0);

    // First the PLL (0) as the second input of the switch, then the switch itself.
    CLOCKS.write(SYS_CTRL, 0);
    CLOCKS.write(SYS_CTRL, 1);
    while CLOCKS.read(SYS_SELECTED) != 1 << 1 {}
    CLOCKS.write(PERI_CTRL, PERI_ENABLE | PERI_XOSC);
}
