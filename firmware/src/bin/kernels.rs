//! Compares this core's kernels with the scalar code, bit for bit.
#![no_std]
#![no_main]

use mambabyte_core::simd::check;
use mambabyte_firmware::{BOARD, start};
use semihosting::{eprintln, println, process};

start!(main);

fn main() -> ! {
    match check::all(|backend, kernel, cases| println!("{BOARD}: {backend}: {kernel}: {cases} cases equal")) {
        Ok(()) => process::exit(0),
        Err(mismatch) => {
            eprintln!("{BOARD}: {mismatch:?}");
            process::exit(1)
        }
    }
}
