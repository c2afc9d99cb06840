//! USART of the STM32F4 series (RM0090, chapter 30; RM0383, chapter 19). One byte of memory. RTS is a pin that the
//! program sets: the hardware's own RTS knows only that one byte, not the program's queue.
//!
//! The Netduino has USART 1 on PA9 (out), PA10 (in), PA12 (RTS), the others USART 2 on PA2, PA3, PA1: that is the USB
//! port of the Nucleo's debugger, and on the Discovery PA9 belongs to USB.

use super::{BAUD, Uart};
use crate::clock;
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

const AHB1ENR: usize = 0x30;
const MODER: usize = 0x00;
const BSRR: usize = 0x18;
const USART_1: bool = cfg!(board = "netduinoplus2");
/// Clock gate of the USART: register and bit.
const GATE: (usize, u32) = if USART_1 { (0x44, 1 << 4) } else { (0x40, 1 << 17) };
/// Alternate function 7 for both pins: register, mask, value.
const ALTERNATE: (usize, u32, u32) = if USART_1 { (0x24, 0x0ff0, 0x0770) } else { (0x20, 0xff00, 0x7700) };
/// The pins' modes, alternate function and for RTS output: mask and value.
const MODES: (u32, u32) =
    if USART_1 { (0b11_00_11_11 << 18, 0b01_00_10_10 << 18) } else { (0b11_11_11 << 2, 0b10_10_01 << 2) };
const RTS: u32 = if USART_1 { 1 << 12 } else { 1 << 1 };

/// The USART.
#[derive(Debug)]
pub struct Line {
    registers: Registers,
    clocks: Registers,
    port_a: Registers,
    overruns: u32,
}

impl Line {
    /// The USART.
    ///
    /// # Safety
    /// Only one may exist.
    pub const unsafe fn take() -> Self {
        let (usart, clocks, port_a) = (if USART_1 { 0x4001_1000 } else { 0x4000_4400 }, 0x4002_3800, 0x4002_0000);
        // SAFETY: the USART, clock control and port A of the chips that this file is compiled for; all offsets are
        // theirs.
        let [registers, clocks, port_a] =
            unsafe { [Registers::at(usart), Registers::at(clocks), Registers::at(port_a)] };
        Self { registers, clocks, port_a, overruns: 0 }
    }
}

impl Uart for Line {
    const INTERRUPTS: &'static [u16] = if USART_1 { &[37] } else { &[38] };

    fn start(&mut self) {
        self.clocks.set(AHB1ENR, 1);
        self.clocks.set(GATE.0, GATE.1);
        self.admit(true);
        // The other pins of the port (the debugger's among them) stay as they are.
        self.port_a.replace(ALTERNATE.0, ALTERNATE.1, ALTERNATE.2);
        self.port_a.replace(MODER, MODES.0, MODES.1);
        self.registers.write(BRR, (clock::LINE + BAUD / 2) / BAUD);
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

    fn admit(&mut self, open: bool) {
        // Low says "send"; the upper half of the register clears.
        self.port_a.write(BSRR, if open { RTS << 16 } else { RTS });
    }
}
