//! Reads a fixed part of the golden text between the markers, for `cargo xtask firmware bench`.
#![no_std]
#![no_main]

use core::hint::black_box;

use mambabyte_core::{Blob, Decoder};
use mambabyte_firmware::{BOARD, DIMS, GOLDEN_TEXT, MODEL, entry, marker};
use semihosting::{println, process};
use static_cell::StaticCell;

static STATE: StaticCell<[i16; DIMS.state_len()]> = StaticCell::new();
static SCRATCH: StaticCell<[i32; DIMS.scratch_len()]> = StaticCell::new();
/// Bytes read before the region, so that the state is that of running text.
const BEFORE: usize = 64;
/// Bytes of the region.
const COUNTED: usize = 64;

#[entry]
fn main() -> ! {
    let blob = Blob::parse(MODEL).expect("the built-in model");
    let state = STATE.init([0; DIMS.state_len()]);
    let scratch = SCRATCH.init([0; DIMS.scratch_len()]);
    let mut decoder = Decoder::new(blob, &mut state[..], &mut scratch[..]).expect("sized by the model");
    let (before, rest) = GOLDEN_TEXT.split_at(BEFORE);
    let (counted, _) = rest.split_at(COUNTED);
    for &byte in before {
        black_box(decoder.step(byte));
    }
    marker::begin();
    for &byte in counted {
        black_box(decoder.step(byte));
    }
    marker::end();
    println!("{BOARD}: {}", blob.name());
    println!("bytes {}", counted.len());
    process::exit(0)
}
