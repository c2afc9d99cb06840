//! UART 0 of the ESP32-C3 (technical reference manual 1.1, chapter 26) on its own pins, GPIO 21 (out) and 20 (in),
//! which boards with a USB bridge connect to it. 128 bytes of memory each way; no RTS.

use super::{BAUD, Uart};
use crate::clock;
use crate::registers::Registers;

const FIFO: usize = 0x00;
const INT_RAW: usize = 0x04;
const INT_ENA: usize = 0x0c;
const INT_CLR: usize = 0x10;
const RX_FULL: u32 = 1;
const TX_EMPTY: u32 = 1 << 1;
const OVERRUN: u32 = 1 << 4;
const CLKDIV: usize = 0x14;
const STATUS: usize = 0x1c;
const COUNT: u32 = 0x3ff;
const CONF0: usize = 0x20;
const EIGHT_BITS: u32 = 0b11 << 2;
const ONE_STOP: u32 = 1 << 4;
const RX_RESET: u32 = 1 << 17;
const TX_RESET: u32 = 1 << 18;
const CLOCK_ON: u32 = 1 << 28;
const CONF1: usize = 0x24;
/// Interrupts from 1 byte received and below 64 bytes to send.
const THRESHOLDS: u32 = 64 << 9 | 1;
const CLK_CONF: usize = 0x78;
/// All clocks on, from the crystal.
const CRYSTAL: u32 = 1 << 25 | 1 << 24 | 1 << 22 | 3 << 20;
const ID: usize = 0x80;
const UPDATE: u32 = 1 << 31;
/// Bytes that may wait to be sent.
const MEMORY: u32 = 127;

const PERIP_CLK_EN0: usize = 0x10;
const PERIP_RST_EN0: usize = 0x18;
/// UART 0 and the memory of all UARTs.
const PARTS: u32 = 1 << 2 | 1 << 24;

/// UART 0.
#[derive(Debug)]
pub struct Line {
    registers: Registers,
    system: Registers,
}

impl Line {
    /// UART 0.
    ///
    /// # Safety
    /// Only one may exist.
    pub const unsafe fn take() -> Self {
        // SAFETY: UART 0 and the system registers of the chip that this file is compiled for; all offsets are theirs.
        let [registers, system] = unsafe { [Registers::at(0x6000_0000), Registers::at(0x600c_0000)] };
        Self { registers, system }
    }

    /// Passes what was written on to the part that runs at the line's own clock.
    fn update(&mut self) {
        self.registers.set(ID, UPDATE);
        while self.registers.read(ID) & UPDATE != 0 {}
    }
}

impl Uart for Line {
    const INTERRUPTS: &'static [u16] = &[21];

    fn start(&mut self) {
        self.system.set(PERIP_CLK_EN0, PARTS);
        self.system.replace(PERIP_RST_EN0, PARTS, 0);
        self.registers.write(CLK_CONF, CRYSTAL);
        let sixteenths = (clock::LINE * 16 + BAUD / 2) / BAUD;
        self.registers.write(CLKDIV, sixteenths / 16 | sixteenths % 16 << 20);
        self.registers.write(CONF0, CLOCK_ON | ONE_STOP | EIGHT_BITS | RX_RESET | TX_RESET);
        self.update();
        self.registers.write(CONF0, CLOCK_ON | ONE_STOP | EIGHT_BITS);
        self.registers.write(CONF1, THRESHOLDS);
        self.update();
        self.registers.write(INT_CLR, u32::MAX);
        self.registers.write(INT_ENA, RX_FULL | OVERRUN);
    }

    fn acknowledge(&mut self) {
        self.registers.write(INT_CLR, RX_FULL | TX_EMPTY);
    }

    fn receive(&mut self) -> Option<u8> {
        (self.registers.read(STATUS) & COUNT != 0).then(|| self.registers.read(FIFO) as u8)
    }

    fn overruns(&mut self) -> u32 {
        let lost = self.registers.read(INT_RAW) & OVERRUN != 0;
        if lost {
            self.registers.write(INT_CLR, OVERRUN);
        }
        lost as u32
    }

    fn ready(&mut self) -> bool {
        self.registers.read(STATUS) >> 16 & COUNT < MEMORY
    }

    fn send(&mut self, byte: u8) {
        self.registers.write(FIFO, byte as u32);
    }

    fn ask(&mut self, when_ready: bool) {
        self.registers.write(INT_ENA, RX_FULL | OVERRUN | if when_ready { TX_EMPTY } else { 0 });
    }
}
