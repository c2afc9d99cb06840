//! Adapters: their start values are what the generator learns, and their probabilities are these on every machine.

use mambabyte_core::adapt::{Adapter, Adapter1M, Adapter4K, Adapter8K, Adapter16K, Adapter32K, Adapter64K, Memory};
use mambabyte_core::{Blob, Decoder, Logits, include_blob};
use mambabyte_tests::adapter_start::{Text, path, values};

const NET: &[u8] = include_blob!("../../models/sensor-nano/model.mbb");
const TEXT: &[u8] = include_bytes!("../../models/text/golden-4096.txt");

#[test]
fn start_values_are_current() {
    // One preset, which is quick: the generator is the same for all; `adapter_start --check` compares them.
    let current = std::fs::read(path::<Adapter8K>()).is_ok_and(|found| found == values::<Adapter8K>(&Text::all()));
    assert!(current, "run `cargo run --release -p mambabyte-tests --bin adapter_start`");
}

/// CRC-32 over the eight node probabilities of each byte, u16 little-endian, in the order of the path.
fn checksum<M: Memory>(logits: Option<&[Logits]>) -> u32 {
    let mut adapter = Adapter::new(Box::new(M::ZERO), logits.is_some());
    let mut crc = crc32fast::Hasher::new();
    for (at, &byte) in TEXT.iter().enumerate() {
        let path = adapter.read(logits.and_then(|all| all.get(at)), byte);
        path.nodes.iter().for_each(|node| crc.update(&node.to_le_bytes()));
    }
    crc.finalize()
}

#[test]
fn golden_checksums() {
    let mut decoder = Decoder::owned(Blob::parse(NET).unwrap());
    let before = std::iter::once(&0).chain(TEXT);
    let logits: Vec<Logits> = before.take(TEXT.len()).map(|&byte| *decoder.step(byte)).collect();
    fn both<M: Memory>(logits: &[Logits]) -> [u32; 2] {
        [checksum::<M>(None), checksum::<M>(Some(logits))]
    }
    // Alone, then with sensor-nano.
    let found = [
        both::<Adapter4K>(&logits),
        both::<Adapter8K>(&logits),
        both::<Adapter16K>(&logits),
        both::<Adapter32K>(&logits),
        both::<Adapter64K>(&logits),
        both::<Adapter1M>(&logits),
    ];
    assert_eq!(found, GOLDEN, "{found:08x?}");
}

const GOLDEN: [[u32; 2]; 6] = [
    [0x3da6_9587, 0xb2ef_069d],
    [0x2edc_55ad, 0xe693_fafa],
    [0x1747_17dd, 0x68be_b0d2],
    [0x4b97_578a, 0x09f4_af09],
    [0x8482_3100, 0x8cf0_f08e],
    [0xa4dd_5b17, 0x454c_1d0b],
];
