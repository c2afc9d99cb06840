//! What the programs share: the model in flash, its shape at compile time, the start of a program, its end.
#![no_std]

use core::panic::PanicInfo;

#[cfg(target_arch = "arm")]
pub use cortex_m_rt::entry;
use mambabyte_core::{Dims, include_blob};
#[cfg(target_arch = "riscv32")]
pub use riscv_rt::entry;
#[cfg(not(feature = "log-rtt"))]
use semihosting::process;
// Named for their critical section alone.
#[cfg(target_arch = "arm")]
use cortex_m as _;
use portable_atomic as _;
#[cfg(target_arch = "riscv32")]
use riscv as _;

#[cfg(feature = "uart")]
pub mod interrupt;
mod logs;
#[cfg(feature = "uart")]
pub mod port;
#[cfg(feature = "uart")]
mod registers;
#[cfg(feature = "uart")]
pub mod stack;
#[cfg(feature = "uart")]
pub mod uart;

/// The model. It stays in flash and is read in place.
pub const MODEL: &[u8] = include_blob!(concat!(env!("OUT_DIR"), "/model.mbb"));
/// Its shape, read at compile time: the memory of the decoder is sized by it.
pub const DIMS: Dims = Dims::of_blob(MODEL);
/// The board's name and the RAM in its memory map.
pub const BOARD: &str = env!("FW_BOARD");
/// RAM of the board in bytes.
pub const RAM: usize = match usize::from_str_radix(env!("FW_RAM"), 10) {
    Ok(bytes) => bytes,
    Err(_) => panic!("FW_RAM is no number"),
};
/// RAM kept for the stack and for statics that are not the model's.
pub const RAM_RESERVE: usize = 4 * 1024;
// A model that does not fit the board is a compile error, with the numbers.
const _: () = DIMS.assert_fits(RAM - RAM_RESERVE);

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    logs::panicked(info);
    end()
}

/// Ends the program with status 1 under an emulator.
#[cfg(not(feature = "log-rtt"))]
fn end() -> ! {
    process::exit(1)
}

/// Stops a debugger that is attached; without one the fault handler sleeps, there is nobody to give a status to.
#[cfg(feature = "log-rtt")]
fn end() -> ! {
    #[cfg(target_arch = "arm")]
    cortex_m::asm::udf();
    #[cfg(target_arch = "riscv32")]
    loop {
        riscv::asm::ebreak();
    }
}
