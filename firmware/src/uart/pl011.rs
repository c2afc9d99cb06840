//! Arm PL011 (DDI 0183), UART 0 of the Stellaris LM3S6965, of RP2040 and of RP2350. 16 bytes of memory each way, in the
//! RP chips 32. The Stellaris has no RTS; on the RP chips the program sets it, since the hardware's own RTS knows only
//! those 32 bytes, not the program's queue. Their pins: GPIO 0 (out), 1 (in), 3 (RTS).

use super::{BAUD, Uart};
use crate::clock;
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
const RTS: u32 = 1 << 11;

/// Base addresses of the UART, of what lets it run and of its pins, and its interrupt.
const PLACE: (usize, usize, usize, usize, &[u16]) = if cfg!(board = "rp2040") {
    (0x4003_4000, 0x4000_c000, 0x4001_4000, 0x4001_c000, &[20])
} else if cfg!(board = "rp2350") {
    (0x4007_0000, 0x4002_0000, 0x4002_8000, 0x4003_8000, &[33])
} else {
    (0x4000_c000, 0x400f_e000, 0x4000_4000, 0x4000_4000, &[5])
};

/// UART 0.
#[derive(Debug)]
pub struct Line {
    registers: Registers,
    system: Registers,
    pins: Registers,
    pads: Registers,
    overruns: u32,
}

impl Line {
    /// UART 0.
    ///
    /// # Safety
    /// Only one may exist.
    pub const unsafe fn take() -> Self {
        // SAFETY: UART 0, system control and pins of the chips that this file is compiled for; all offsets are theirs.
        let [registers, system, pins, pads] =
            unsafe { [Registers::at(PLACE.0), Registers::at(PLACE.1), Registers::at(PLACE.2), Registers::at(PLACE.3)] };
        Self { registers, system, pins, pads, overruns: 0 }
    }

    /// Clock gates of UART 0 and of its port A, and the pins' functions.
    #[cfg(board = "lm3s6965evb")]
    fn connect(&mut self) {
        const RCGC1: usize = 0x104;
        const RCGC2: usize = 0x108;
        const AFSEL: usize = 0x420;
        const DEN: usize = 0x51c;
        self.system.set(RCGC1, 1);
        self.system.set(RCGC2, 1);
        self.pins.set(AFSEL, 0b11);
        self.pads.set(DEN, 0b11);
    }

    /// Takes UART 0 and the pins out of reset and gives the pins their function.
    #[cfg(not(board = "lm3s6965evb"))]
    fn connect(&mut self) {
        const RESET: usize = 0x00;
        const RESET_DONE: usize = 0x08;
        const UART: u32 = 2;
        let parts = if cfg!(board = "rp2040") { 1 << 5 | 1 << 8 | 1 << 22 } else { 1 << 6 | 1 << 9 | 1 << 26 };
        self.system.replace(RESET, parts, 0);
        while self.system.read(RESET_DONE) & parts != parts {}
        for pin in [0, 1, 3] {
            self.pins.write(8 * pin + 4, UART);
            // Input on, output on, pulled up, since an open line is idle; on the RP2350 the pad's isolation off.
            self.pads.replace(4 + 4 * pin, 0b1_1100_1100, 0b0_0100_1000);
        }
    }
}

impl Uart for Line {
    const INTERRUPTS: &'static [u16] = PLACE.4;

    fn start(&mut self) {
        self.connect();
        let sixty_fourths = (clock::LINE * 4 + BAUD / 2) / BAUD;
        self.registers.write(IBRD, sixty_fourths / 64);
        self.registers.write(FBRD, sixty_fourths % 64);
        self.registers.write(LCRH, EIGHT_BITS_FIFO);
        self.admit(true);
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

    fn admit(&mut self, open: bool) {
        let rts = if open && cfg!(not(board = "lm3s6965evb")) { RTS } else { 0 };
        self.registers.write(CTL, ENABLE | rts);
    }
}
