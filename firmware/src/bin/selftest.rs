//! Reads the golden text byte by byte and prints one checksum over all logits: the same on every machine.
#![no_std]
#![no_main]

use mambabyte_core::{Blob, Decoder, most_probable};
use mambabyte_firmware::{BOARD, DIMS, MODEL, start};
use semihosting::{println, process};
use static_cell::StaticCell;

static STATE: StaticCell<[i16; DIMS.state_len()]> = StaticCell::new();
static SCRATCH: StaticCell<[i32; DIMS.scratch_len()]> = StaticCell::new();
static GOLDEN_TEXT: &[u8] = include_bytes!("../../../models/text/golden-4096.txt");

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

    let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);
    let mut digest = crc.digest();
    let mut next = 0;
    for &byte in GOLDEN_TEXT {
        let logits = decoder.step(byte);
        for logit in logits {
            digest.update(&logit.to_le_bytes());
        }
        next = most_probable(logits);
    }
    println!("after the text most probably byte {next}");
    println!("checksum {:08x}", digest.finalize());
    process::exit(0)
}
