//! Reads the golden text byte by byte and prints one checksum over all logits: the same on every machine.
#![no_std]
#![no_main]

use mambabyte_core::{Blob, Decoder};
use mambabyte_firmware::{BOARD, DIMS, MODEL, golden, start};
use semihosting::{println, process};
use static_cell::StaticCell;

static STATE: StaticCell<[i16; DIMS.state_len()]> = StaticCell::new();
static SCRATCH: StaticCell<[i32; DIMS.scratch_len()]> = StaticCell::new();

start!(main);

fn main() -> ! {
    let blob = Blob::parse(MODEL).expect("the built-in model");
    let state = STATE.init([0; DIMS.state_len()]);
    let scratch = SCRATCH.init([0; DIMS.scratch_len()]);
    let mut decoder = Decoder::new(blob, &mut state[..], &mut scratch[..]).expect("sized by the model");
    println!(
        "{BOARD}: {}, {} bytes, state {}, scratch {}",
        blob.name(),
        MODEL.len(),
        DIMS.state_bytes(),
        DIMS.scratch_bytes()
    );

    let (checksum, next) = golden::checksum(&mut decoder);
    println!("after the text most probably byte {next}");
    println!("checksum {checksum:08x}");
    process::exit(0)
}
