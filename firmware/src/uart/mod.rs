//! The serial lines of the boards, 115,200 baud, 8 data bits, no parity.
//!
//! A driver does what the registers need and nothing else: no memory, no waiting. [`port`](crate::port) has both. No
//! driver has run on its chip. Those for boards that QEMU emulates ran there: CMSDK, NS16550, the nRF51's, PL011 of the
//! Stellaris, STM32F4.

#[cfg(uart = "cmsdk")]
#[path = "cmsdk.rs"]
mod driver;
#[cfg(uart = "esp32c3")]
#[path = "esp32c3.rs"]
mod driver;
#[cfg(uart = "nrf")]
#[path = "nrf.rs"]
mod driver;
#[cfg(uart = "ns16550")]
#[path = "ns16550.rs"]
mod driver;
#[cfg(uart = "pl011")]
#[path = "pl011.rs"]
mod driver;
#[cfg(uart = "stm32f4")]
#[path = "stm32f4.rs"]
mod driver;
#[cfg(uart = "stm32h7")]
#[path = "stm32h7.rs"]
mod driver;

#[cfg(uart = "none")]
compile_error!("the feature uart: boards.toml has no serial line for this board");

pub use driver::Line;

/// Bits per second on the line.
pub const BAUD: u32 = 115_200;

/// A serial line.
pub trait Uart {
    /// Numbers of its interrupts, as the interrupt controller counts them.
    const INTERRUPTS: &'static [u16];

    /// Sets the line up and lets it ask for an interrupt at every byte that arrives.
    fn start(&mut self);
    /// Ends the request for an interrupt. Called before the line is served, so that nothing is missed.
    fn acknowledge(&mut self) {}
    /// A byte that has arrived.
    fn receive(&mut self) -> Option<u8>;
    /// Times since the last call that the hardware has lost bytes, at least one each.
    fn overruns(&mut self) -> u32;
    /// Whether a byte may be sent.
    fn ready(&mut self) -> bool;
    /// Sends a byte; only after [`Uart::ready`] said so.
    fn send(&mut self, byte: u8);
    /// Whether to ask for an interrupt when the line is ready.
    fn ask(&mut self, when_ready: bool);
    /// Lets the other end send or holds it back, by a wire of its own (RTS); does nothing where there is none or where
    /// the hardware does it by itself.
    fn admit(&mut self, open: bool) {
        let _ = open;
    }
}
