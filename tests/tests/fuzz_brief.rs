//! The fuzz targets on a stable compiler: the same inputs on every machine, from a fixed seed. `FUZZ_INPUTS=1000000
//! cargo test -p mambabyte-tests --test fuzz_brief` tries more of each; `tests/fuzz/run.sh` lets libFuzzer search.
//!
//! Blobs and snapshots begin with checksums, which plain damage never passes, so half of the inputs are resealed.

use mambabyte_core::Rng;
use mambabyte_tests::archive_forge::reseal_archive;
use mambabyte_tests::fuzz_seeds::seeds;
use mambabyte_tests::fuzz_targets::{
    archive, blob, config, index, mutate, pickle, safetensors, snapshot, snapshot_model, torch,
};
use mambabyte_tests::random_blob::{reseal, reseal_snapshot};

/// Inputs of a target. A number of inputs, not of seconds: what is tested must not depend on the load of the machine.
const INPUTS: u64 = 4000;

/// Mutates the seeds of `name` and runs `target` on [`INPUTS`] of them; `fix` repairs checksums. Returns inputs and
/// accepted.
fn run(seed: u64, name: &str, fix: impl Fn(&mut Vec<u8>, u64), target: impl Fn(&[u8]) -> bool) -> (u64, u64) {
    let corpus = seeds(name);
    let inputs = std::env::var("FUZZ_INPUTS").map_or(INPUTS, |text| text.parse().expect("FUZZ_INPUTS is a number"));
    for (i, input) in corpus.iter().enumerate() {
        assert!(target(input), "corpus entry {i} is refused");
    }
    let (mut rng, mut accepted) = (Rng::new(seed), 0);
    for number in 0..inputs {
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
            Err(_) => panic!("input {number} panics; the generator was at {state:#x}; its bytes: {input:02x?}"),
        }
    }
    println!("{name}: {inputs} inputs, {accepted} accepted");
    (inputs, accepted)
}

#[test]
fn blobs() {
    let (inputs, accepted) = run(1, "blob", |bytes, _| reseal(bytes), blob);
    assert!(accepted * 20 > inputs, "{accepted} of {inputs}: the fuzzer does not get far");
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
    assert!(accepted * 50 > inputs, "{accepted} of {inputs}: the fuzzer does not get far");
}

#[test]
fn archives() {
    let (inputs, accepted) = run(8, "archive", |bytes, _| reseal_archive(bytes), archive);
    assert!(accepted * 100 > inputs, "{accepted} of {inputs}: the fuzzer does not get far");
    assert!(accepted * 10 < inputs * 9, "{accepted} of {inputs}: nothing is refused");
}

/// Checkpoint formats have no checksum to fix.
fn format(seed: u64, name: &str, target: impl Fn(&[u8]) -> bool) {
    let (inputs, accepted) = run(seed, name, |_, _| (), target);
    assert!(accepted * 100 > inputs, "{accepted} of {inputs}: the fuzzer does not get far");
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
