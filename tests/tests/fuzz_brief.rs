//! The fuzz targets on a stable compiler for a few seconds each, from a fixed seed. `FUZZ_SECONDS=600 cargo test --test
//! fuzz_brief` runs them longer.
//!
//! Blobs and snapshots begin with checksums, behind which plain damage never gets, so half of the inputs are resealed.

use std::time::{Duration, Instant};

use mambabyte_core::Rng;
use mambabyte_tests::fuzz_seeds::seeds;
use mambabyte_tests::fuzz_targets::{
    blob, config, index, mutate, pickle, safetensors, snapshot, snapshot_model, torch,
};
use mambabyte_tests::random_blob::{reseal, reseal_snapshot};

/// Mutates the seeds of `name` and runs `target` until the time is over; `fix` repairs checksums. Returns inputs and accepted.
fn run(seed: u64, name: &str, fix: impl Fn(&mut Vec<u8>, u64), target: impl Fn(&[u8]) -> bool) -> (u64, u64) {
    let corpus = seeds(name);
    let seconds = std::env::var("FUZZ_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(5);
    for (i, input) in corpus.iter().enumerate() {
        assert!(target(input), "corpus entry {i} is refused");
    }
    let (end, mut rng) = (Instant::now() + Duration::from_secs(seconds), Rng::new(seed));
    let (mut inputs, mut accepted) = (0, 0);
    while Instant::now() < end {
        for _ in 0..100 {
            let state = rng.state();
            let mut pick = || &corpus[(rng.next_u64() % corpus.len() as u64) as usize];
            let (mut input, other) = (pick().clone(), pick());
            mutate(&mut input, other, &mut rng);
            let choice = rng.next_u64();
            if choice & 1 == 0 {
                fix(&mut input, choice);
            }
            let run = std::panic::AssertUnwindSafe(|| target(&input));
            match std::panic::catch_unwind(run) {
                Ok(ok) => accepted += u64::from(ok),
                Err(_) => panic!("input {inputs} panics; the generator was at {state:#x}; its bytes: {input:02x?}"),
            }
            inputs += 1;
        }
    }
    println!("{name}: {inputs} inputs, {accepted} accepted");
    (inputs, accepted)
}

#[test]
fn blobs() {
    let (inputs, accepted) = run(1, "blob", |bytes, _| reseal(bytes), blob);
    assert!(inputs >= 1000 && accepted * 20 > inputs, "{accepted} of {inputs}: the fuzzer does not get far");
    assert!(accepted * 10 < inputs * 9, "{accepted} of {inputs}: nothing is refused");
}

#[test]
fn snapshots() {
    let fix = |bytes: &mut Vec<u8>, choice: u64| {
        let wanted = snapshot_model().dims().snapshot_bytes();
        if choice & 2 == 0 && bytes.len() != wanted {
            bytes.resize(wanted, 0xa5);
        }
        reseal_snapshot(bytes, choice & 4 == 0);
    };
    let (inputs, accepted) = run(2, "snapshot", fix, snapshot);
    assert!(inputs >= 1000 && accepted * 50 > inputs, "{accepted} of {inputs}: the fuzzer does not get far");
}

/// Checkpoint formats have no checksum to fix.
fn format(seed: u64, name: &str, target: impl Fn(&[u8]) -> bool) {
    let (inputs, accepted) = run(seed, name, |_, _| (), target);
    assert!(inputs >= 1000 && accepted * 100 > inputs, "{accepted} of {inputs}: the fuzzer does not get far");
    assert!(accepted * 10 < inputs * 9, "{accepted} of {inputs}: nothing is refused");
}

#[test]
fn safetensors_files() {
    format(3, "safetensors", safetensors);
}

#[test]
fn shard_indexes() {
    format(4, "index", index);
}

#[test]
fn torch_files() {
    format(5, "torch", torch);
}

#[test]
fn pickles() {
    format(6, "pickle", pickle);
}

#[test]
fn configs() {
    format(7, "config", config);
}
