//! What the programs share: the model in flash, its shape at compile time, the start of a program, its end.
#![no_std]

pub mod marker;

#[cfg(target_arch = "arm")]
pub use cortex_m_rt::entry;
#[cfg(net)]
use mambabyte_core::{Dims, include_blob};
#[cfg(target_arch = "riscv32")]
pub use riscv_rt::entry;
// Named for their critical section alone.
#[cfg(target_arch = "arm")]
use cortex_m as _;
use portable_atomic as _;
#[cfg(target_arch = "riscv32")]
use riscv as _;

#[cfg(adapt)]
pub mod adapt;
mod boot;
pub mod clock;
#[cfg(alarms)]
pub mod detect;
#[cfg(feature = "snapshots")]
pub mod flash;
#[cfg(net)]
pub mod golden;
#[cfg(feature = "uart")]
pub mod interrupt;
mod logs;
pub mod net;
#[cfg(not(feature = "proof"))]
mod panic;
#[cfg(feature = "uart")]
pub mod port;
pub mod registers;
#[cfg(feature = "uart")]
pub mod stack;
#[cfg(feature = "uart")]
pub mod uart;

/// The text of the golden checksums.
pub static GOLDEN_TEXT: &[u8] = include_bytes!("../../models/text/golden-4096.txt");
/// The model. It stays in flash and is read in place.
#[cfg(net)]
pub const MODEL: &[u8] = include_blob!(concat!(env!("OUT_DIR"), "/model.mbb"));
/// Its shape, read at compile time: the memory of the decoder is sized by it.
#[cfg(net)]
pub const DIMS: Dims = Dims::of_blob(MODEL);
/// The board's name and the RAM in its memory map.
pub const BOARD: &str = env!("FW_BOARD");
/// RAM of the board in bytes.
pub const RAM: usize = match usize::from_str_radix(env!("FW_RAM"), 10) {
    Ok(bytes) => bytes,
    Err(_) => panic!("FW_RAM is no number"),
};
/// RAM kept for the stack and for statics that are not the model's; a detector is beside them.
pub const RAM_RESERVE: usize = 4 * 1024 + if cfg!(alarms) { size_of::<mambabyte_core::detect::Detector>() } else { 0 };
/// Bytes of a program's command line, where there is one.
pub const COMMAND_LINE: usize = 1200;
// A model that does not fit the board is a compile error, with the numbers.
#[cfg(net)]
const _: () = DIMS.assert_fits(RAM - RAM_RESERVE);

/// Makes `fn NAME() -> !` the start of the program: after reset on a chip, of a process under an emulator of processes.
/// A chip's clocks are set up first.
#[cfg(any(target_arch = "arm", target_arch = "riscv32"))]
#[macro_export]
macro_rules! start {
    ($main:path) => {
        #[$crate::entry]
        fn start() -> ! {
            $crate::clock::start();
            $main()
        }
    };
}

/// Makes `fn NAME() -> !` the start of the program: after reset on a chip, of a process under an emulator of processes.
///
/// A process starts with its stack and its memory in place; there is nothing to do before the program.
#[cfg(target_arch = "aarch64")]
#[macro_export]
macro_rules! start {
    ($main:path) => {
        // SAFETY: the linker's default name of a program's first function; there is no other.
        #[unsafe(no_mangle)]
        extern "C" fn _start() -> ! {
            $main()
        }
    };
}
