//! The probabilities of every preset, under every model and none, are the same with every kernel and number of threads
//! of a host: one checksum each.

use std::sync::Arc;

use mambabyte_core::{Backend, Blob};
use mambabyte_host::adapt::{AnyAdapter, Preset};
use mambabyte_host::align::AlignedBytes;
use mambabyte_host::checksum::adapter_checksum;
use mambabyte_host::cpu::{Cpu, IntEngine, Source, Weights};
use mambabyte_host::stream::read_ahead;
use mambabyte_tests::model_file;

/// Bytes of the text.
const BYTES: usize = 65_536;

/// 64 KiB of kinds that the models know and do not know, in turn.
fn text() -> Vec<u8> {
    let read = |file: &str| std::fs::read(model_file("text", file)).unwrap();
    let parts = ["golden-4096.txt", "request-latency.csv", "gnss-sample.nmea"].map(read);
    parts.concat().into_iter().cycle().take(BYTES).collect()
}

/// A blob in memory.
struct Bytes(AlignedBytes);

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        self.0.as_slice()
    }
}

impl Source for Bytes {}

/// Without a net.
const NONE: [u32; 6] = [0xdc15_d9a1, 0x58eb_c515, 0xe18a_a6db, 0xcf62_c174, 0x20ea_56f2, 0x3f4c_a597];
/// With each model.
const GOLDEN: [(&str, [u32; 6]); 4] = [
    ("sensor-pico", [0x1d32_180e, 0x7e35_26d1, 0xeba4_29ee, 0x7115_f80a, 0x9e25_01a1, 0x9d34_915d]),
    ("sensor-nano", [0x0f88_6786, 0x4dab_50bc, 0xc3d6_46a0, 0xc3ee_f888, 0x699e_cbff, 0x2cf1_a826]),
    ("sensor-micro", [0xa140_be77, 0x7160_82d7, 0xb0fd_78d3, 0x9fbe_9137, 0x4d88_0a60, 0x8d56_cd16]),
    ("prose-small", [0x55d8_0c15, 0x89cd_1c6b, 0xeac9_94b9, 0xcbf1_5fed, 0xb5c2_ee6c, 0x6bc2_9a6e]),
];

/// Of every preset; the net reads the text once for all of them.
fn checksums(engine: &IntEngine<'_>, text: &[u8]) -> [u32; 6] {
    let mut adapters = Preset::ALL.map(|preset| (AnyAdapter::new(preset, true), crc32fast::Hasher::new()));
    read_ahead(engine, &[text], &|_| (), |from, answer| {
        for (logits, &byte) in answer.logits().iter().zip(text.iter().skip(from)) {
            for (adapter, hasher) in &mut adapters {
                let path = adapter.read(Some(logits), byte);
                path.nodes.iter().for_each(|node| hasher.update(&node.to_le_bytes()));
            }
        }
    })
    .unwrap();
    adapters.map(|(_, hasher)| hasher.finalize())
}

#[test]
fn an_adapter_alone_has_the_golden_checksums() {
    let text = text();
    let alone =
        |preset| adapter_checksum(None::<&IntEngine<'_>>, AnyAdapter::new(preset, false), &text, |_| ()).unwrap();
    let found = Preset::ALL.map(alone);
    assert_eq!(found, NONE, "{found:#010x?}");
}

#[test]
fn an_adapter_beside_each_model_has_the_golden_checksums() {
    let text = text();
    let found = GOLDEN.map(|(name, _)| {
        let file = AlignedBytes::new(&std::fs::read(model_file(name, "model.mbb")).unwrap());
        let engine = IntEngine::of(Blob::parse(file.as_slice()).unwrap(), Cpu::default());
        (name, checksums(&engine, &text))
    });
    assert_eq!(found, GOLDEN, "{found:#010x?}");
}

/// A small model: all that a kernel or a number of threads could change is the logits, and those are compared elsewhere for
/// every model, order of weights and number of threads.
#[test]
fn every_kernel_has_the_golden_checksums() {
    let text = text();
    let file = AlignedBytes::new(&std::fs::read(model_file("sensor-pico", "model.mbb")).unwrap());
    let weights = Weights::new(Arc::new(Bytes(file))).unwrap();
    for (backend, threads) in Backend::all().zip([1, 2, 3].into_iter().cycle()) {
        let weights = weights.clone().for_backend(backend);
        let engine = IntEngine::new(&weights, Cpu { threads, backend });
        assert_eq!(checksums(&engine, &text), GOLDEN[0].1, "{}, {threads} threads", backend.name());
    }
    // As the command `checksum` does it, block by block.
    let engine = IntEngine::new(&weights, Cpu::default());
    assert_eq!(
        adapter_checksum(Some(&engine), AnyAdapter::new(Preset::K16, true), &text, |_| ()).unwrap(),
        GOLDEN[0].1[2]
    );
}
