//! The probabilities of every preset, under every model and none, are the same with every kernel and number of threads
//! of a host: one checksum each.

use std::sync::Arc;

use mambabyte_core::{Backend, Blob};
use mambabyte_host::adapt::Preset;
use mambabyte_host::align::AlignedBytes;
use mambabyte_host::checksum::adapter_checksum;
use mambabyte_host::cpu::{Cpu, IntEngine, Source, Weights};
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
const NONE: [u32; 6] = [0; 6];
/// With each model.
const GOLDEN: [(&str, [u32; 6]); 4] =
    [("sensor-pico", [0; 6]), ("sensor-nano", [0; 6]), ("sensor-micro", [0; 6]), ("prose-small", [0; 6])];

fn checksums(engine: Option<&IntEngine<'_>>, text: &[u8]) -> [u32; 6] {
    Preset::ALL.map(|preset| adapter_checksum(engine, preset, text, |_| ()).unwrap())
}

#[test]
fn an_adapter_alone_has_the_golden_checksums() {
    let found = checksums(None, &text());
    assert_eq!(found, NONE, "{found:#010x?}");
}

#[test]
fn an_adapter_beside_each_model_has_the_golden_checksums() {
    let text = text();
    let found = GOLDEN.map(|(name, _)| {
        let file = AlignedBytes::new(&std::fs::read(model_file(name, "model.mbb")).unwrap());
        let engine = IntEngine::of(Blob::parse(file.as_slice()).unwrap(), Cpu::default());
        (name, checksums(Some(&engine), &text))
    });
    assert_eq!(found, GOLDEN, "{found:#010x?}");
}

/// The whole matrix of a small model: the logits are compared elsewhere for all of them.
#[test]
fn every_kernel_and_number_of_threads_has_the_golden_checksums() {
    let text = text();
    let file = AlignedBytes::new(&std::fs::read(model_file("sensor-pico", "model.mbb")).unwrap());
    let weights = Weights::new(Arc::new(Bytes(file))).unwrap();
    for backend in Backend::all() {
        // As they are in the file, and in the order that the kernels read best.
        for weights in [weights.clone(), weights.clone().for_backend(backend)] {
            for threads in [1, 3] {
                let engine = IntEngine::new(&weights, Cpu { threads, backend });
                assert_eq!(checksums(Some(&engine), &text), GOLDEN[0].1, "{}, {threads} threads", backend.name());
            }
        }
    }
}
