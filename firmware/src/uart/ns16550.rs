//! NS16550A (16 bytes of memory each way) of QEMU's RISC-V machine `virt`. RTS is a bit that the program sets.

use super::{BAUD, Uart};
use crate::registers::Registers;

const DATA: usize = 0;
const IER: usize = 1;
const RX_INTERRUPT: u8 = 1;
const TX_INTERRUPT: u8 = 1 << 1;
const STATUS_INTERRUPT: u8 = 1 << 2;
const FCR: usize = 2;
const IIR: usize = 2;
const CLEAR_FIFOS: u8 = 0b111;
const LCR: usize = 3;
const EIGHT_BITS: u8 = 0b11;
const DIVISOR_ACCESS: u8 = 1 << 7;
const MCR: usize = 4;
const DTR: u8 = 1;
const RTS: u8 = 1 << 1;
const INTERRUPTS_OUT: u8 = 1 << 3;
const LSR: usize = 5;
const RX_FULL: u8 = 1;
const OVERRUN: u8 = 1 << 1;
const TX_EMPTY: u8 = 1 << 5;
const CLOCK: u32 = 3_686_400;

/// The machine's UART.
#[derive(Debug)]
pub struct Line {
    registers: Registers,
    overruns: u32,
}

impl Line {
    /// The machine's UART.
    ///
    /// # Safety
    /// Only one may exist.
    pub const unsafe fn take() -> Self {
        // SAFETY: the UART of the machine that this file is compiled for; all offsets are its registers.
        Self { registers: unsafe { Registers::at(0x1000_0000) }, overruns: 0 }
    }

    /// Reading it clears the mark of an overrun, so every read counts it.
    fn status(&mut self) -> u8 {
        let status = self.registers.read_byte(LSR);
        self.overruns += (status & OVERRUN != 0) as u32;
        status
    }
}

impl Uart for Line {
    const INTERRUPTS: &'static [u16] = &[10];

    fn start(&mut self) {
        let divisor = CLOCK / (16 * BAUD);
        self.registers.write_byte(LCR, EIGHT_BITS | DIVISOR_ACCESS);
        self.registers.write_byte(DATA, divisor as u8);
        self.registers.write_byte(IER, (divisor >> 8) as u8);
        self.registers.write_byte(LCR, EIGHT_BITS);
        self.registers.write_byte(FCR, CLEAR_FIFOS);
        self.admit(true);
        self.registers.write_byte(IER, RX_INTERRUPT | STATUS_INTERRUPT);
    }

    fn acknowledge(&mut self) {
        self.registers.read_byte(IIR);
    }

    fn receive(&mut self) -> Option<u8> {
        (self.status() & RX_FULL != 0).then(|| self.registers.read_byte(DATA))
    }

    fn overruns(&mut self) -> u32 {
        core::mem::take(&mut self.overruns)
    }

    fn ready(&mut self) -> bool {
        self.status() & TX_EMPTY != 0
    }

    fn send(&mut self, byte: u8) {
        self.registers.write_byte(DATA, byte);
    }

    fn ask(&mut self, when_ready: bool) {
        let ready = if when_ready { TX_INTERRUPT } else { 0 };
        self.registers.write_byte(IER, RX_INTERRUPT | STATUS_INTERRUPT | ready);
    }

    fn admit(&mut self, open: bool) {
        self.registers.write_byte(MCR, DTR | INTERRUPTS_OUT | if open { RTS } else { 0 });
    }
}
