//! The clocks of the boards: set up once at the start of a program, before anything that depends on them.
//!
//! Emulated boards run as they come out of reset. The others are set to their full clock where a few registers do that;
//! none of it has met its silicon.

#[cfg(board = "esp32c3")]
#[path = "esp32c3.rs"]
mod chip;
#[cfg(board = "nrf52840")]
#[path = "nrf52.rs"]
mod chip;
#[cfg(any(board = "rp2040", board = "rp2350"))]
#[path = "rp.rs"]
mod chip;
#[cfg(any(board = "stm32f407", board = "stm32f411"))]
#[path = "stm32f4.rs"]
mod chip;
#[cfg(board = "stm32h743")]
#[path = "stm32h7.rs"]
mod chip;
#[cfg(not(any(
    board = "esp32c3",
    board = "nrf52840",
    board = "rp2040",
    board = "rp2350",
    board = "stm32f407",
    board = "stm32f411",
    board = "stm32h743"
)))]
mod chip {
    /// Clock of the serial line in Hz, for the drivers that divide it: after reset.
    pub const LINE: u32 = if cfg!(board = "netduinoplus2") { 16_000_000 } else { 12_000_000 };

    /// Nothing: the boards that are emulated run at the clock that they start with.
    pub fn start() {}
}

pub use chip::{LINE, start};
