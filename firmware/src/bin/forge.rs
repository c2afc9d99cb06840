//! Runs blobs that come through standard input, not the one that is built in: for each the blob, a text and the checksum
//! of the logits after every byte of it, as `cargo xtask firmware forge` writes them. Between two bytes the decoder is
//! left and another goes on from a snapshot. For emulated boards with some megabytes of memory.
#![no_std]
#![no_main]

use mambabyte_core::blob::{HEADER, blob_bytes, read_dims};
use mambabyte_core::{Aligned, Blob, Decoder};
use mambabyte_firmware::{BOARD, start};
use semihosting::io::{self, Read};
use semihosting::{eprintln, println, process};
use static_cell::ConstStaticCell;

/// Bytes of a text: `forge::BYTES` of the tests.
const TEXT: usize = 200;

static BLOB: ConstStaticCell<Aligned<[u8; 300 << 10]>> = ConstStaticCell::new(Aligned([0; 300 << 10]));
static STATE: ConstStaticCell<[i16; 200 << 10]> = ConstStaticCell::new([0; 200 << 10]);
static SCRATCH: ConstStaticCell<[i32; 32 << 10]> = ConstStaticCell::new([0; 32 << 10]);
static SNAPSHOT: ConstStaticCell<[u8; 401 << 10]> = ConstStaticCell::new([0; 401 << 10]);

start!(main);

fn main() -> ! {
    let mut input = io::stdin().unwrap_or_else(|_| fail(0, "standard input cannot be read"));
    let blob = &mut BLOB.take().0;
    let (state, scratch, snapshot) = (STATE.take(), SCRATCH.take(), SNAPSHOT.take());
    let mut done = 0;
    loop {
        let (head, rest) = blob.split_at_mut(HEADER);
        match fill(&mut input, head) {
            0 => break,
            HEADER => {}
            _ => fail(done, "half a header"),
        }
        let Ok(dims) = read_dims(head) else { fail(done, "no header") };
        let whole = blob_bytes(&dims) as usize;
        let fits =
            whole <= HEADER + rest.len() && dims.state_len() <= state.len() && dims.scratch_len() <= scratch.len();
        if !fits || dims.snapshot_bytes() > snapshot.len() {
            fail(done, "larger than the memory of this program");
        }
        let (mut text, mut sum) = ([0; TEXT], [0; 4]);
        for part in [&mut rest[..whole - HEADER], &mut text, &mut sum] {
            if fill(&mut input, part) != part.len() {
                fail(done, "standard input has ended in a blob");
            }
        }
        let model = Blob::parse(&blob[..whole]).unwrap_or_else(|_| fail(done, "a blob is refused"));
        let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);
        let mut digest = crc.digest();
        let (first, second) = text.split_at(7 * done % TEXT);
        for part in [first, second] {
            let Ok(mut decoder) = Decoder::new(model, &mut state[..], &mut scratch[..]) else { fail(done, "memory") };
            if part.as_ptr() == second.as_ptr() && !first.is_empty() {
                let saved = snapshot.get(..dims.snapshot_bytes()).unwrap_or(&[]);
                if decoder.state_mut().restore(saved).is_err() {
                    fail(done, "its own snapshot is refused");
                }
            }
            for &byte in part {
                decoder.step(byte).iter().for_each(|logit| digest.update(&logit.to_le_bytes()));
            }
            if decoder.state().snapshot(snapshot).is_err() {
                fail(done, "no snapshot");
            }
        }
        if digest.finalize() != u32::from_le_bytes(sum) {
            fail(done, "another checksum");
        }
        done += 1;
    }
    println!("{BOARD}: {done} blobs equal");
    process::exit(0)
}

/// Reads until `out` is full or the input ends; returns the bytes read.
fn fill(input: &mut impl Read, out: &mut [u8]) -> usize {
    let mut have = 0;
    while let Some(rest) = out.get_mut(have..).filter(|rest| !rest.is_empty()) {
        match input.read(rest) {
            Ok(0) => break,
            Ok(n) => have += n,
            Err(_) => fail(0, "standard input cannot be read"),
        }
    }
    have
}

/// Ends the program with a sentence.
fn fail(blob: usize, why: &str) -> ! {
    eprintln!("{BOARD}: blob {blob}: {why}");
    process::exit(1)
}
