//! Arm PL011 as in the Stellaris LM3S6965 (UART 0, 16 bytes of memory each way). This chip's UARTs have no RTS.

use super::{BAUD, Uart};
use crate::registers::Registers;

const DR: usize = 0x00;
const ECR: usize = 0x04;
const DR_OVERRUN: u32 = 1 << 11;
const FR: usize = 0x18;
const RX_EMPTY: u32 = 1 << 4;
const TX_FULL: u32 = 1 << 5;
const IBRD: usize = 0x24;
const FBRD: usize = 0x28;
const LCRH: usize = 0x2c;
const EIGHT_BITS_FIFO: u32 = 0x70;
const CTL: usize = 0x30;
const ENABLE: u32 = 0x301;
const IM: usize = 0x38;
const RX_INTERRUPT: u32 = 1 << 4;
const TX_INTERRUPT: u32 = 1 << 5;
const RX_TIMEOUT: u32 = 1 << 6;
const ICR: usize = 0x44;
const ALL: u32 = 0x7f0;

/// Clock gates of UART 0 and of its port A.
const RCGC1: usize = 0x104;
const RCGC2: usize = 0x108;
const AFSEL: usize = 0x420;
const DEN: usize = 0x51c;
/// The internal oscillator, the clock after reset.
const CLOCK: u32 = 12_000_000;

/// UART 0.
#[derive(Debug)]
pub struct Line {
    registers: Registers,
    system: Registers,
    port_a: Registers,
    overruns: u32,
}

impl Line {
    /// UART 0.
    ///
    /// # Safety
    /// Only one may exist.
    pub const unsafe fn take() -> Self {
        let (uart, system, port_a) = (0x4000_c000, 0x400f_e000, 0x4000_4000);
        // SAFETY: UART 0, system control and port A of the chip that this file is compiled for; all offsets are theirs.
        let [registers, system, port_a] =
            unsafe { [Registers::at(uart), Registers::at(system), Registers::at(port_a)] };
        Self { registers, system, port_a, overruns: 0 }
    }
}

impl Uart for Line {
    const INTERRUPTS: &'static [u16] = &[5];

    fn start(&mut self) {
        self.system.set(RCGC1, 1);
        self.system.set(RCGC2, 1);
        self.port_a.set(AFSEL, 0b11);
        self.port_a.set(DEN, 0b11);
        let sixty_fourths = (CLOCK * 4 + BAUD / 2) / BAUD;
        self.registers.write(IBRD, sixty_fourths / 64);
        self.registers.write(FBRD, sixty_fourths % 64);
        self.registers.write(LCRH, EIGHT_BITS_FIFO);
        self.registers.write(CTL, ENABLE);
        self.registers.write(IM, RX_INTERRUPT | RX_TIMEOUT);
    }

    fn acknowledge(&mut self) {
        self.registers.write(ICR, ALL);
    }

    fn receive(&mut self) -> Option<u8> {
        if self.registers.read(FR) & RX_EMPTY != 0 {
            return None;
        }
        let data = self.registers.read(DR);
        if data & DR_OVERRUN != 0 {
            self.overruns += 1;
            self.registers.write(ECR, 0);
        }
        Some(data as u8)
    }

    fn overruns(&mut self) -> u32 {
        core::mem::take(&mut self.overruns)
    }

    fn ready(&mut self) -> bool {
        self.registers.read(FR) & TX_FULL == 0
    }

    fn send(&mut self, byte: u8) {
        self.registers.write(DR, byte as u32);
    }

    fn ask(&mut self, when_ready: bool) {
        self.registers.replace(IM, TX_INTERRUPT, if when_ready { TX_INTERRUPT } else { 0 });
    }
}
