//! The smallest program: a model in flash, its state in RAM, bytes in, logits out.
//!
//! Sizes come from the blob at compile time. A model that does not fit is a compile error, with the numbers.

#![no_std]
#![no_main]

use core::panic::PanicInfo;

use cortex_m_rt::entry;
use mambabyte_core::{Blob, Decoder, Dims, include_blob, most_probable};
use semihosting::{println, process};
use static_cell::StaticCell;

const MODEL: &[u8] = include_blob!("../../models/sensor-pico/model.mbb");
const DIMS: Dims = Dims::of_blob(MODEL);
/// What this program may use for the model: all of a 16 KiB part but 8 KiB.
const RAM_BUDGET: usize = 8 * 1024;
const _: () = DIMS.assert_fits(RAM_BUDGET);

static STATE: StaticCell<[i16; DIMS.state_len()]> = StaticCell::new();
static SCRATCH: StaticCell<[i32; DIMS.scratch_len()]> = StaticCell::new();
static GOLDEN_TEXT: &[u8] = include_bytes!("../../models/text/golden-4096.txt");

#[entry]
fn main() -> ! {
    let blob = Blob::parse(MODEL).expect("the built-in model");
    let state = STATE.init([0; DIMS.state_len()]);
    let scratch = SCRATCH.init([0; DIMS.scratch_len()]);
    let mut decoder = Decoder::new(blob, &mut state[..], &mut scratch[..]).expect("sized by the model");

    let next = most_probable(decoder.step(b'$'));
    println!("after '$' most probably byte {}", next);

    decoder.state_mut().reset();
    let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);
    let mut digest = crc.digest();
    for &byte in GOLDEN_TEXT {
        for logit in decoder.step(byte) {
            digest.update(&logit.to_le_bytes());
        }
    }
    println!("checksum {:08x}", digest.finalize());
    process::exit(0)
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    println!("{}", info);
    process::exit(1)
}
