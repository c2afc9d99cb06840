//! USART 3 of the STM32H743 (RM0433, chapter 48) on the pins PD8 (out), PD9 (in) and PD12 (RTS). PD8 and PD9 are the
//! USB port of the Nucleo's debugger, which has no RTS. 16 bytes of memory each way; the program sets RTS, since the
//! hardware's own knows only those 16 bytes, not the program's queue.

use super::{BAUD, Uart};
use crate::clock;
use crate::registers::Registers;

const CR1: usize = 0x00;
const ENABLE: u32 = 1;
const RX_ENABLE: u32 = 1 << 2;
const TX_ENABLE: u32 = 1 << 3;
const RX_INTERRUPT: u32 = 1 << 5;
const TX_INTERRUPT: u32 = 1 << 7;
const FIFO: u32 = 1 << 29;
const BRR: usize = 0x0c;
const ISR: usize = 0x1c;
const OVERRUN: u32 = 1 << 3;
const RX_FULL: u32 = 1 << 5;
const TX_FREE: u32 = 1 << 7;
const ICR: usize = 0x20;
const RDR: usize = 0x24;
const TDR: usize = 0x28;

const AHB4ENR: usize = 0xe0;
const PORT_D: u32 = 1 << 3;
const APB1LENR: usize = 0xe8;
const USART_3: u32 = 1 << 18;
const MODER: usize = 0x00;
const BSRR: usize = 0x18;
const AFRH: usize = 0x24;
const RTS: u32 = 1 << 12;

/// USART 3.
#[derive(Debug)]
pub struct Line {
    registers: Registers,
    clocks: Registers,
    port_d: Registers,
}

impl Line {
    /// USART 3.
    ///
    /// # Safety
    /// Only one may exist.
    pub const unsafe fn take() -> Self {
        let (usart, clocks, port_d) = (0x4000_4800, 0x5802_4400, 0x5802_0c00);
        // SAFETY: USART 3, clock control and port D of the chip that this file is compiled for; all offsets are theirs.
        let [registers, clocks, port_d] =
            unsafe { [Registers::at(usart), Registers::at(clocks), Registers::at(port_d)] };
        Self { registers, clocks, port_d }
    }
}

impl Uart for Line {
    const INTERRUPTS: &'static [u16] = &[39];

    fn start(&mut self) {
        self.clocks.set(AHB4ENR, PORT_D);
        self.clocks.set(APB1LENR, USART_3);
        // A gate is open two cycles after it was written; reading it takes as long.
        self.clocks.read(APB1LENR);
        self.admit(true);
        // Pins 8 and 9: alternate function 7; pin 12: output. After reset they are in analogue mode.
        self.port_d.replace(AFRH, 0xff, 0x77);
        self.port_d.replace(MODER, 0b11_00_00_11_11 << 16, 0b01_00_00_10_10 << 16);
        self.registers.write(BRR, (clock::LINE + BAUD / 2) / BAUD);
        self.registers.write(CR1, FIFO | RX_INTERRUPT | TX_ENABLE | RX_ENABLE | ENABLE);
    }

    fn receive(&mut self) -> Option<u8> {
        (self.registers.read(ISR) & RX_FULL != 0).then(|| self.registers.read(RDR) as u8)
    }

    fn overruns(&mut self) -> u32 {
        let lost = self.registers.read(ISR) & OVERRUN != 0;
        if lost {
            self.registers.write(ICR, OVERRUN);
        }
        lost as u32
    }

    fn ready(&mut self) -> bool {
        self.registers.read(ISR) & TX_FREE != 0
    }

    fn send(&mut self, byte: u8) {
        self.registers.write(TDR, byte as u32);
    }

    fn ask(&mut self, when_ready: bool) {
        self.registers.replace(CR1, TX_INTERRUPT, if when_ready { TX_INTERRUPT } else { 0 });
    }

    fn admit(&mut self, open: bool) {
        // Low says "send"; the upper half of the register clears.
        self.port_d.write(BSRR, if open { RTS << 16 } else { RTS });
    }
}
