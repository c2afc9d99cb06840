//! The hostile blobs of the tests on a GPU: the bits of the scalar code as one block, byte by byte in rows, and from a
//! snapshot of the CPU. `cargo test -p mambabyte-host --features cuda -- --ignored gpu`, on a machine with a GPU.
#![cfg(feature = "cuda")]

#[allow(dead_code, unreachable_pub, reason = "a module of the workspace's suite, which uses the rest")]
#[path = "../../tests/src/forge.rs"]
mod forge;

use mambabyte_core::{Backend, Decoder, Logits};
use mambabyte_host::cuda::{Device, GpuModel};
use mambabyte_host::engine::{Answer, Engine, Precision, Want};

use forge::{Forged, SEEDS};

fn logits(answer: Answer) -> Vec<Logits> {
    match answer {
        Answer::Logits(logits) => logits,
        other => panic!("no logits: {other:?}"),
    }
}

#[test]
#[ignore = "needs a GPU"]
fn gpu_forged_blobs_have_the_bits_of_the_scalar_code() {
    let device = Device::open(0).unwrap_or_else(|e| panic!("{e}"));
    let scalar = Backend::by_name("scalar").unwrap();
    for forged in SEEDS.map(Forged::new) {
        let (blob, text) = (forged.blob(), forged.text.as_slice());
        let what = format!("seed {}: {:?}", forged.seed, blob.dims());
        let gpu = GpuModel::load(&device, blob, Precision::Exact).unwrap_or_else(|e| panic!("{what}: {e}"));
        let truth = forged.truth();
        let mut cpu = Decoder::owned(blob).with_backend(scalar);
        let mut end = vec![0; blob.dims().snapshot_bytes()];
        let (head, tail) = text.split_at(7 * forged.seed as usize % text.len());
        cpu.prefill(head);
        let mut half = end.clone();
        cpu.state().snapshot(&mut half).unwrap();
        cpu.prefill(tail);
        cpu.state().snapshot(&mut end).unwrap();

        let mut state = gpu.rows(1).unwrap();
        assert!(logits(gpu.prefill(&[text], &mut state, Want::All).unwrap()) == truth, "{what}: one block");
        assert!(gpu.snapshot(&mut state, 0).unwrap() == end, "{what}: the state after one block");

        let mut state = gpu.rows(3).unwrap();
        for (&byte, truth) in text.iter().zip(&truth) {
            let found = logits(gpu.step(&[byte, 0xff, byte], &mut state).unwrap());
            assert!(found[0] == *truth && found[2] == *truth, "{what}: steps");
        }
        assert!(gpu.snapshot(&mut state, 2).unwrap() == end, "{what}: the state after steps");

        let mut state = gpu.rows(1).unwrap();
        gpu.restore(&mut state, 0, &half).unwrap();
        let found = logits(gpu.prefill(&[tail], &mut state, Want::All).unwrap());
        assert!(found == truth[head.len()..], "{what}: from a snapshot");
    }
    println!("{} blobs on {}", SEEDS.count(), device.name());
}
