//! What is fuzzed, as functions of any bytes. `tests/fuzz` drives them with libFuzzer, `tests/tests/fuzz_brief.rs`
//! with the mutator below, on a stable compiler. To add a target: a function here, a file in `tests/fuzz/fuzz_targets`,
//! a test in `fuzz_brief.rs`.

use std::sync::OnceLock;

use mambabyte_core::{Blob, Decoder, Rng};
use mambabyte_host::align::AlignedBytes;

use crate::random_blob::{BlobSpec, random_blob};

/// Largest state and scratch, in bytes, that a fuzzed blob may ask for before it is not stepped.
const MEMORY: usize = 1 << 24;

/// Any bytes as a blob: refused by name, or four bytes can be read and a snapshot taken and restored.
/// True if it was accepted.
pub fn blob(bytes: &[u8]) -> bool {
    let memory = AlignedBytes::new(bytes);
    let blob = match Blob::parse(memory.as_slice()) {
        Ok(blob) => blob,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return false;
        }
    };
    assert!(blob.name().len() <= 24);
    if blob.dims().state_bytes() + blob.dims().scratch_bytes() < MEMORY {
        let mut decoder = Decoder::owned(blob);
        for byte in [0, b'\n', 0x80, 0xff] {
            decoder.step(byte);
        }
        let mut out = vec![0; blob.dims().snapshot_bytes()];
        decoder.state().snapshot(&mut out).unwrap();
        let logits = *decoder.step(7);
        decoder.state_mut().restore(&out).unwrap();
        assert_eq!(*decoder.step(7), logits);
    }
    true
}

/// The model whose snapshots [`snapshot`] reads.
pub fn snapshot_model() -> Blob<'static> {
    static MEMORY: OnceLock<AlignedBytes> = OnceLock::new();
    let memory = MEMORY.get_or_init(|| AlignedBytes::new(&random_blob(BlobSpec::small(11))));
    Blob::parse(memory.as_slice()).unwrap()
}

/// Any bytes as a snapshot: refused with the state untouched, or restored to the bit and good to continue from.
/// True if it was accepted.
pub fn snapshot(bytes: &[u8]) -> bool {
    let model = snapshot_model();
    let mut decoder = Decoder::owned(model);
    decoder.prefill(b"before");
    let mut before = vec![0; model.dims().snapshot_bytes()];
    decoder.state().snapshot(&mut before).unwrap();
    let restored = decoder.state_mut().restore(bytes);
    let mut after = before.clone();
    decoder.state().snapshot(&mut after).unwrap();
    match restored {
        Ok(()) => {
            assert_eq!(after, bytes, "what was restored is what is saved again");
            // Any state is valid: extremes of i16 and the end of the position included.
            for byte in 0..4 {
                decoder.step(byte);
            }
            true
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            assert_eq!(after, before, "a refused snapshot changes nothing");
            false
        }
    }
}

/// Changes `bytes` a little, as libFuzzer would: bits, bytes, integers, cuts, copies, splices with `other`.
pub fn mutate(bytes: &mut Vec<u8>, other: &[u8], rng: &mut Rng) {
    const INTEGERS: [u64; 12] = [0, 1, 4, 16, 64, 127, 255, 256, 0x7fff, 0x8000_0000, u32::MAX as u64, u64::MAX];
    let mut below = |n: usize| if n == 0 { 0 } else { (rng.next_u64() % n as u64) as usize };
    for _ in 0..1 + below(4) {
        // Half of the changes hit the first bytes, where the structure is.
        let reach = if below(2) == 0 { bytes.len() } else { bytes.len().min(400) };
        let at = below(reach);
        match below(8) {
            0 | 1 if at < bytes.len() => bytes[at] ^= 1 << below(8),
            2 if at < bytes.len() => bytes[at] = below(256) as u8,
            3 | 4 => {
                let value = INTEGERS[below(INTEGERS.len())].to_le_bytes();
                let width = (1usize << below(4)).min(bytes.len().saturating_sub(at));
                let at = if width.is_power_of_two() { at / width * width } else { at };
                bytes[at..at + width].copy_from_slice(&value[..width]);
            }
            5 => match below(4) {
                0 => bytes.truncate(at),
                1 => bytes.extend(std::iter::repeat_n(0, below(64))),
                _ => {}
            },
            6 if !other.is_empty() => {
                let from = below(other.len());
                let n = below(64).min(other.len() - from).min(bytes.len() - at);
                bytes[at..at + n].copy_from_slice(&other[from..from + n]);
            }
            7 if at < bytes.len() => {
                let n = below(64).min(bytes.len() - at);
                let to = below(bytes.len() - n + 1);
                bytes.copy_within(at..at + n, to);
            }
            _ => {}
        }
    }
}
