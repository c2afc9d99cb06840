//! Arm CMSDK APB UART (DDI 0479), on the MPS2 and MPS3 boards. One byte of memory each way, no RTS.

use super::{BAUD, Uart};
use crate::registers::Registers;

const DATA: usize = 0x00;
const STATE: usize = 0x04;
const TX_FULL: u32 = 1;
const RX_FULL: u32 = 1 << 1;
const RX_OVERRUN: u32 = 1 << 3;
const CTRL: usize = 0x08;
const ENABLE: u32 = 0b11;
const TX_INTERRUPT: u32 = 1 << 2;
const RX_INTERRUPT: u32 = 1 << 3;
const INTSTATUS: usize = 0x0c;
const BAUDDIV: usize = 0x10;

/// UART 0: base address, interrupts of transmitter and receiver, clock.
const fn place() -> (usize, &'static [u16], u32) {
    if cfg!(board = "mps2-an505") {
        (0x5020_0000, &[32, 33], 20_000_000) // secure alias
    } else if cfg!(board = "mps3-an547") {
        (0x5930_3000, &[33, 34], 25_000_000) // secure alias
    } else {
        (0x4000_4000, &[0, 1], 25_000_000)
    }
}

/// UART 0.
#[derive(Debug)]
pub struct Line {
    registers: Registers,
}

impl Line {
    /// UART 0.
    ///
    /// # Safety
    /// Only one may exist.
    pub const unsafe fn take() -> Self {
        // SAFETY: the UART of the boards that this file is compiled for; all offsets are its registers.
        Self { registers: unsafe { Registers::at(place().0) } }
    }
}

impl Uart for Line {
    const INTERRUPTS: &'static [u16] = place().1;

    fn start(&mut self) {
        self.registers.write(BAUDDIV, place().2 / BAUD);
        self.registers.write(CTRL, ENABLE | RX_INTERRUPT);
    }

    fn acknowledge(&mut self) {
        self.registers.write(INTSTATUS, 0b1111);
    }

    fn receive(&mut self) -> Option<u8> {
        (self.registers.read(STATE) & RX_FULL != 0).then(|| self.registers.read(DATA) as u8)
    }

    fn overruns(&mut self) -> u32 {
        let lost = self.registers.read(STATE) & RX_OVERRUN != 0;
        if lost {
            self.registers.write(STATE, RX_OVERRUN);
        }
        lost as u32
    }

    fn ready(&mut self) -> bool {
        self.registers.read(STATE) & TX_FULL == 0
    }

    fn send(&mut self, byte: u8) {
        self.registers.write(DATA, byte as u32);
    }

    fn ask(&mut self, when_ready: bool) {
        self.registers.replace(CTRL, TX_INTERRUPT, if when_ready { TX_INTERRUPT } else { 0 });
    }
}
