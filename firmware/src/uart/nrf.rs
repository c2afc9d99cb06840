//! UART of the nRF51 series (reference manual 3.0, chapter 29), on the micro:bit; the nRF52840 still has it. Six bytes
//! of memory for what arrives, no RTS.

use super::Uart;
use crate::registers::Registers;

const TASKS_STARTRX: usize = 0x000;
const TASKS_STARTTX: usize = 0x008;
const EVENTS_RXDRDY: usize = 0x108;
const EVENTS_TXDRDY: usize = 0x11c;
const EVENTS_ERROR: usize = 0x124;
const INTENSET: usize = 0x304;
const INTENCLR: usize = 0x308;
const RX_READY: u32 = 1 << 2;
const TX_READY: u32 = 1 << 7;
const ERROR: u32 = 1 << 9;
const ERRORSRC: usize = 0x480;
const OVERRUN: u32 = 1;
const ENABLE: usize = 0x500;
const PSELTXD: usize = 0x50c;
const PSELRXD: usize = 0x514;
const RXD: usize = 0x518;
const TXD: usize = 0x51c;
const BAUDRATE: usize = 0x524;
/// 115,200 baud.
const BAUD_115200: u32 = 0x01d7_e000;
/// Pins out and in that lead to the USB port: of the nRF52840 DK P0.06 and P0.08, of the micro:bit 24 and 25.
const PINS: (u32, u32) = if cfg!(board = "nrf52840") { (6, 8) } else { (24, 25) };

/// UART 0.
#[derive(Debug)]
pub struct Line {
    registers: Registers,
    sending: bool,
}

impl Line {
    /// UART 0.
    ///
    /// # Safety
    /// Only one may exist.
    pub const unsafe fn take() -> Self {
        // SAFETY: the UART of the boards that this file is compiled for; all offsets are its registers.
        Self { registers: unsafe { Registers::at(0x4000_2000) }, sending: false }
    }
}

impl Uart for Line {
    const INTERRUPTS: &'static [u16] = &[2];

    fn start(&mut self) {
        self.registers.write(PSELTXD, PINS.0);
        self.registers.write(PSELRXD, PINS.1);
        self.registers.write(BAUDRATE, BAUD_115200);
        self.registers.write(ENABLE, 4);
        self.registers.write(INTENSET, RX_READY | ERROR);
        self.registers.write(TASKS_STARTRX, 1);
        self.registers.write(TASKS_STARTTX, 1);
    }

    fn receive(&mut self) -> Option<u8> {
        if self.registers.read(EVENTS_RXDRDY) == 0 {
            return None;
        }
        // The event first: it comes again at once if another byte waits.
        self.registers.write(EVENTS_RXDRDY, 0);
        Some(self.registers.read(RXD) as u8)
    }

    fn overruns(&mut self) -> u32 {
        if self.registers.read(EVENTS_ERROR) == 0 {
            return 0;
        }
        self.registers.write(EVENTS_ERROR, 0);
        let source = self.registers.read(ERRORSRC);
        self.registers.write(ERRORSRC, source);
        source & OVERRUN
    }

    fn ready(&mut self) -> bool {
        if self.sending && self.registers.read(EVENTS_TXDRDY) != 0 {
            self.registers.write(EVENTS_TXDRDY, 0);
            self.sending = false;
        }
        !self.sending
    }

    fn send(&mut self, byte: u8) {
        self.sending = true;
        self.registers.write(TXD, byte as u32);
    }

    fn ask(&mut self, when_ready: bool) {
        self.registers.write(if when_ready { INTENSET } else { INTENCLR }, TX_READY);
    }
}
