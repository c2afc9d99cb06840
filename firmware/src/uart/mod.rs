//! The serial lines of the boards, 115,200 baud, 8 data bits, no parity.
//!
//! A driver does what the registers need and nothing else: no memory, no waiting. [`port`](crate::port) has both. No
//! driver has met its silicon; under QEMU ran those for boards that it emulates: CMSDK, NS16550, the nRF51's, PL011 of the
//! Stellaris, STM32F4.

#[cfg(any(
    board = "mps2-an385",
    board = "mps2-an386",
    board = "mps2-an500",
    board = "mps2-an505",
    board = "mps3-an547"
))]
#[path = "cmsdk.rs"]
mod driver;
#[cfg(board = "esp32c3")]
#[path = "esp32c3.rs"]
mod driver;
#[cfg(any(board = "microbit", board = "nrf52840"))]
#[path = "nrf.rs"]
mod driver;
#[cfg(any(board = "virt-rv32imc", board = "virt-rv32imac"))]
#[path = "ns16550.rs"]
mod driver;
#[cfg(any(board = "lm3s6965evb", board = "rp2040", board = "rp2350"))]
#[path = "pl011.rs"]
mod driver;
#[cfg(any(board = "netduinoplus2", board = "stm32f407", board = "stm32f411"))]
#[path = "stm32f4.rs"]
mod driver;
#[cfg(board = "stm32h743")]
#[path = "stm32h7.rs"]
mod driver;

#[cfg(board = "user-aarch64")]
compile_error!("the feature uart: a process has no serial line");

pub use driver::Line;

/// Bits per second on the line.
pub const BAUD: u32 = 115_200;

/// A serial line.
pub trait Uart {
    /// Numbers of its interrupts, as the interrupt controller counts them.
    const INTERRUPTS: &'static [u16];

    /// Sets the line up and lets it ask for an interrupt at every byte that arrives.
    fn start(&mut self);
    /// Ends the request for an interrupt. What is there to do is done after this, so that nothing is missed.
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
