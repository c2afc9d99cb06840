//! A stream without a line, for cuts of the power at exact instructions: `cargo xtask firmware power`.
//!
//! The stream is a text, repeated, so that the byte at a position needs no sender. The program resumes at the newest
//! snapshot, reads up to a position, and prints checksums of everything that it carries at both. Its command line: the
//! position, and the bytes between snapshots.
#![no_std]
#![no_main]

use mambabyte_core::flash::{Progress, STREAM, Slots, load_stream, save_stream};
use mambabyte_core::snapshot::Sections;
use mambabyte_core::{Blob, Decoder, LineScorer, Threshold, surprise};
use mambabyte_firmware::flash::Flash;
use mambabyte_firmware::{COMMAND_LINE, DIMS, MODEL, entry, marker};
use semihosting::{println, process};
use static_cell::ConstStaticCell;

#[cfg(feature = "one-slot")]
mod one_slot;

static STATE: ConstStaticCell<[i16; DIMS.state_len()]> = ConstStaticCell::new([0; DIMS.state_len()]);
static SCRATCH: ConstStaticCell<[i32; DIMS.scratch_len()]> = ConstStaticCell::new([0; DIMS.scratch_len()]);
static TEXT: &[u8] = include_bytes!("../../../../models/text/golden-4096.txt");
const CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);

type Model = Decoder<'static, &'static mut [i16], &'static mut [i32]>;

/// One number for everything that a stream carries.
fn checksum(decoder: &Model, pending: u8, records: u32, scorer: &LineScorer) -> u32 {
    let mut saved = [0; STREAM];
    save_stream(&mut saved, pending, records, scorer, None, None);
    let mut digest = CRC.digest();
    decoder.state().as_slice().iter().for_each(|element| digest.update(&element.to_le_bytes()));
    digest.update(&saved);
    digest.finalize()
}

#[entry]
fn main() -> ! {
    marker::begin();
    let args = semihosting::experimental::env::args::<COMMAND_LINE>().expect("a command line");
    let mut numbers = args.skip(1).map(|word| word.expect("text").parse::<u32>().expect("a number"));
    let (Some(end), Some(every)) = (numbers.next(), numbers.next()) else { panic!("power END EVERY") };
    let blob = Blob::parse(MODEL).expect("the built-in model");
    let (state, scratch) = (STATE.take(), SCRATCH.take());
    let mut decoder = Decoder::new(blob, &mut state[..], &mut scratch[..]).expect("sized by the model");
    // SAFETY: the only one.
    let flash = unsafe { Flash::take() };
    #[cfg(feature = "one-slot")]
    let flash = one_slot::OneSlot(flash);
    let mut slots = Slots::new(flash, &blob, Sections::DEVICE, every).expect("flash for two slots");

    let mut saved = [0; STREAM];
    let found = slots.restore(&mut decoder, &mut saved).expect("flash of this model");
    let mut scorer = LineScorer::new(Threshold::Learned, 0);
    let (mut pending, mut records) = match found {
        Some(_) => load_stream(&saved, &mut scorer, None, None).expect("sections of this program"),
        None => (0, 0),
    };
    println!("restored {} {:08x}", decoder.state().position(), checksum(&decoder, pending, records, &scorer));
    let mut surprises = CRC.digest();
    while decoder.state().position() < end as u64 {
        let byte = TEXT[decoder.state().position() as usize % TEXT.len()];
        let fed = pending;
        let bits = surprise(decoder.step(fed), byte);
        surprises.update(&bits.to_le_bytes());
        pending = byte;
        records += scorer.push(byte, bits).is_some() as u32;
        let save = |out: &mut _| save_stream(out, pending, records, &scorer, None, None);
        let done = slots.after_step(decoder.state(), fed, true, &mut saved, save);
        if done.expect("flash that works") == Progress::Complete {
            let position = decoder.state().position() as u32;
            slots.flash().witness(position);
            println!("complete {position}");
        }
    }
    let checksum = checksum(&decoder, pending, records, &scorer);
    println!("end {} {checksum:08x} {:08x}", decoder.state().position(), surprises.finalize());
    process::exit(0)
}
