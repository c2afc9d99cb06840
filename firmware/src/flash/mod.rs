//! Flash for snapshots through the traits of `embedded-storage`: [`Nor`] has the rules, a driver what differs.
//!
//! | driver | boards | where the snapshots are | ran |
//! |---|---|---|---|
//! | `mapped` | MPS2 | the board's PSRAM, as NOR flash by its own rules; under QEMU in a file | emulated |
//! | `cfi` | QEMU's `virt` | the second bank of CFI flash; under QEMU in a file | emulated |
//! | `stm32f4` | STM32F405, F407 | the last two sectors of 128 KiB | built only |

mod nor;

#[cfg(flash = "cfi")]
#[path = "cfi.rs"]
mod driver;
#[cfg(flash = "mapped")]
#[path = "mapped.rs"]
mod driver;
#[cfg(flash = "stm32f4")]
#[path = "stm32f4.rs"]
mod driver;

#[cfg(flash = "none")]
compile_error!("the feature snapshots: boards.toml has no driver for this board's flash");

pub use nor::{Chip, Error, Nor};

/// The board's flash.
pub type Flash = Nor<driver::Driver>;

/// Whether the chip stands still during an erasure.
pub const STALLS: bool = <driver::Driver as Chip>::STALLS;

impl Flash {
    /// The flash.
    ///
    /// # Safety
    /// Only one may exist.
    ///
    /// # Panics
    /// If the program reaches into the sectors of the snapshots.
    pub unsafe fn take() -> Self {
        // SAFETY: as the caller promises.
        Self::new(unsafe { driver::Driver::take() })
    }
}

/// Bytes between two snapshots.
pub const EVERY: u32 = match u32::from_str_radix(env!("FW_EVERY"), 10) {
    Ok(bytes) => bytes,
    Err(_) => panic!("FW_EVERY is no number of bytes"),
};
