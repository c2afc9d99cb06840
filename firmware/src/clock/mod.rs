//! The clocks of the boards: set up once at the start of a program, before anything that depends on them.
//!
//! Emulated boards run as they come out of reset. The others are set to their full clock where a few registers do that;
//! none of it has run on its chip.

#[cfg(clock = "esp32c3")]
#[path = "esp32c3.rs"]
mod chip;
#[cfg(clock = "nrf52")]
#[path = "nrf52.rs"]
mod chip;
#[cfg(clock = "rp")]
#[path = "rp.rs"]
mod chip;
#[cfg(clock = "stm32f4")]
#[path = "stm32f4.rs"]
mod chip;
#[cfg(clock = "stm32h7")]
#[path = "stm32h7.rs"]
mod chip;
#[cfg(clock = "reset")]
mod chip {
    /// Clock of the serial line in Hz, for the drivers that divide it: after reset.
    pub const LINE: u32 = if cfg!(board = "netduinoplus2") { 16_000_000 } else { 12_000_000 };

    /// Nothing: the boards that are emulated run at the clock that they start with.
    pub fn start() {}
}

pub use chip::{LINE, start};
