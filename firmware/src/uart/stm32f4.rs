//! USART 1 of the STM32F4 series (RM0090, chapter 30) on the pins PA9 (out), PA10 (in) and PA12 (RTS). One byte of
//! memory; the hardware drives RTS by itself.

use super::{BAUD, Uart};
use crate::registers::Registers;

const SR: usize = 0x00;
const OVERRUN: u32 = 1 << 3;
const RX_FULL: u32 = 1 << 5;
const TX_EMPTY: u32 = 1 << 7;
const DR: usize = 0x04;
const BRR: usize = 0x08;
const CR1: usize = 0x0c;
const RX_ENABLE: u32 = 1 << 2;
const TX_ENABLE: u32 = 1 << 3;
const RX_INTERRUPT: u32 = 1 << 5;
const TX_INTERRUPT: u32 = 1 << 7;
const ENABLE: u32 = 1 << 13;
const CR3: usize = 0x14;
const RTS_BY_HARDWARE: u32 = 1 << 8;

const AHB1ENR: usize = 0x30;
const APB2ENR: usize = 0x44;
const MODER: usize = 0x00;
const AFRH: usize = 0x24;
/// The internal oscillator, the clock after reset.
const CLOCK: u32 = 16_000_000;

/// USART 1.
#[derive(Debug)]
pub struct Line {
    registers: Registers,
    clocks: Registers,
    port_a: Registers,
    overruns: u32,
}

impl Line {
    /// USART 1.
    ///
    /// # Safety
    /// Only one may exist.
    pub const unsafe fn take() -> Self {
        let (usart, clocks, port_a) = (0x4001_1000, 0x4002_3800, 0x4002_0000);
        // SAFETY: USART 1, clock control and port A of the chips that this file is compiled for; all offsets are theirs.
        let [registers, clocks, port_a] =
            unsafe { [Registers::at(usart), Registers::at(clocks), Registers::at(port_a)] };
        Self { registers, clocks, port_a, overruns: 0 }
    }
}

impl Uart for Line {
    const INTERRUPTS: &'static [u16] = &[37];

    fn start(&mut self) {
        self.clocks.set(AHB1ENR, 1);
        self.clocks.set(APB2ENR, 1 << 4);
        // Pins 9, 10, 12: alternate function 7. The others of the port (the debugger's among them) stay as they are.
        self.port_a.replace(AFRH, 0x000f_0ff0, 0x0007_0770);
        self.port_a.replace(MODER, 0b11_00_11_11 << 18, 0b10_00_10_10 << 18);
        self.registers.write(BRR, (CLOCK + BAUD / 2) / BAUD);
        self.registers.write(CR3, RTS_BY_HARDWARE);
        self.registers.write(CR1, ENABLE | TX_ENABLE | RX_ENABLE | RX_INTERRUPT);
    }

    fn receive(&mut self) -> Option<u8> {
        let status = self.registers.read(SR);
        if status & (RX_FULL | OVERRUN) == 0 {
            return None;
        }
        self.overruns += (status & OVERRUN != 0) as u32;
        // Reading the data after the status clears both marks.
        let data = self.registers.read(DR) as u8;
        (status & RX_FULL != 0).then_some(data)
    }

    fn overruns(&mut self) -> u32 {
        core::mem::take(&mut self.overruns)
    }

    fn ready(&mut self) -> bool {
        self.registers.read(SR) & TX_EMPTY != 0
    }

    fn send(&mut self, byte: u8) {
        self.registers.write(DR, byte as u32);
    }

    fn ask(&mut self, when_ready: bool) {
        self.registers.replace(CR1, TX_INTERRUPT, if when_ready { TX_INTERRUPT } else { 0 });
    }
}
