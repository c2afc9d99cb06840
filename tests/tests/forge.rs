//! Forged blobs on every backend of this machine: the bits of the scalar code by stepping, through a snapshot, in
//! blocks, and by engines on three threads. In a debug build any overflow is a panic.

use std::sync::Arc;

use mambabyte_core::{Backend, Blob, Decoder, Logits, ModelId, Prefill, Show, State};
use mambabyte_host::align::AlignedBytes;
use mambabyte_host::cpu::{Cpu as Machine, IntEngine, Source, Weights};
use mambabyte_host::engine::{Engine, Want};
use mambabyte_tests::forge::{self, Forged};

/// Positions of a block: one, within and beside those that kernels take at once.
const POSITIONS: [usize; 5] = [1, 5, 16, 33, 64];

type Cpu<'b> = Decoder<'b, Vec<i16>, Vec<i32>>;

fn decoder<'b>(blob: Blob<'b>, start: &State<Vec<i16>>, backend: Backend) -> Cpu<'b> {
    let mut decoder = Decoder::owned(blob).with_backend(backend);
    decoder.state_mut().clone_from(start).unwrap();
    decoder
}

/// Logits and state by stepping; after `split` bytes another decoder goes on from a snapshot.
fn stepped(
    blob: Blob<'_>,
    start: &State<Vec<i16>>,
    text: &[u8],
    split: usize,
    backend: Backend,
) -> (Vec<Logits>, Vec<i16>) {
    let (head, tail) = text.split_at(split);
    let mut first = decoder(blob, start, backend);
    let mut logits: Vec<Logits> = head.iter().map(|&byte| *first.step(byte)).collect();
    let mut snapshot = vec![0; blob.dims().snapshot_bytes()];
    first.state().snapshot(&mut snapshot).unwrap();
    let mut second = Decoder::owned(blob).with_backend(backend);
    second.state_mut().restore(&snapshot).unwrap();
    logits.extend(tail.iter().map(|&byte| *second.step(byte)));
    assert_eq!(second.state().position(), start.position().wrapping_add(text.len() as u64));
    (logits, second.state().as_slice().to_vec())
}

/// Every backend against the scalar code, which has read `text` without a break.
fn check(forged: &Forged, start: &State<Vec<i16>>) -> (Vec<Logits>, Vec<i16>) {
    let (blob, text) = (forged.blob(), &forged.text);
    let scalar = Backend::by_name("scalar").unwrap();
    let mut whole = decoder(blob, start, scalar);
    let truth: Vec<Logits> = text.iter().map(|&byte| *whole.step(byte)).collect();
    let state = whole.state().as_slice();
    let split = (7 * forged.seed as usize) % text.len();
    for backend in Backend::all() {
        let what = |how: &str| format!("seed {}, {}, {how}: {:?}", forged.seed, backend.name(), blob.dims());
        // One way through the slowest code is enough: the others are the same functions.
        if backend != scalar {
            let (logits, end) = stepped(blob, start, text, split, backend);
            assert!(logits == truth && end == state, "{}", what("steps"));
        }
        let positions = if backend == scalar { &POSITIONS[2..3] } else { &POSITIONS };
        for &positions in positions {
            let memory = vec![0; blob.dims().prefill_len(positions)];
            let mut prefill = Prefill::new(blob, positions, memory).unwrap().with_backend(backend);
            let mut end = State::new(&blob, vec![0; blob.dims().state_len()]).unwrap();
            end.clone_from(start).unwrap();
            let mut same = 0;
            let mut see = |first: usize, logits: &[Logits]| {
                assert!(truth[first..][..logits.len()] == *logits, "{}", what(&format!("blocks of {positions}")));
                same += logits.len();
            };
            prefill.read(&mut end, text, Show::All, &mut see).unwrap();
            assert!(same == text.len() && end.as_slice() == state, "{}", what(&format!("blocks of {positions}")));
        }
    }
    (truth, state.to_vec())
}

#[test]
fn forged_blobs_have_the_same_bits_on_every_backend() {
    let (mut moving, mut saturated, mut all) = (0, 0, crc32fast::Hasher::new());
    for forged in forge::SEEDS.map(Forged::new) {
        let blob = forged.blob();
        let (truth, state) = check(&forged, &State::new(&blob, vec![0; blob.dims().state_len()]).unwrap());
        moving += usize::from(truth.iter().any(|logits| *logits != truth[0]));
        let ends = [i16::MIN, -i16::MAX, i16::MAX];
        saturated += usize::from(state.iter().any(|element| ends.contains(element)));
        all.update(&forge::checksum(&truth).to_le_bytes());
    }
    println!("{moving} of {} blobs compute something, {saturated} saturate", forge::SEEDS.count());
    // Neither only dead ones nor only tame ones.
    assert!(moving >= 70 && saturated >= 25, "{moving}, {saturated}");
    // On every machine, so for the scalar code too.
    assert_eq!(format!("{:08x}", all.finalize()), "deda0514");
}

#[test]
fn forged_states_have_the_same_bits_on_every_backend() {
    for seed in forge::SEEDS.step_by(4) {
        let forged = Forged::new(seed);
        let blob = forged.blob();
        let elements = forge::hostile_state(seed, blob.dims().state_len());
        // The position passes its end.
        check(&forged, &State::from_parts(ModelId::of(&blob), elements, u64::MAX - 5).unwrap());
    }
}

struct Bytes(AlignedBytes);

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        self.0.as_slice()
    }
}

impl Source for Bytes {}

/// With weights in the order that the backend reads best, and blocks cut for the threads.
#[test]
fn engines_on_threads_have_the_bits_of_the_scalar_code() {
    for forged in forge::SEEDS.step_by(3).map(Forged::new) {
        let truth = forged.truth();
        for backend in Backend::all() {
            let weights = Weights::new(Arc::new(Bytes(forged.bytes().clone()))).unwrap().for_backend(backend);
            let engine = IntEngine::new(&weights, Machine { threads: 3, backend });
            let mut rows = engine.rows(1).unwrap();
            let mut at = 0;
            // Blocks and steps alternate.
            for length in [100, 1, 1, 5, 93] {
                let range = at..at + length;
                at = range.end;
                let answer = engine.read(&mut rows, &[&forged.text[range.clone()]], Want::All).unwrap();
                let what = || format!("seed {}, {}, bytes {range:?}", forged.seed, backend.name());
                assert!(*answer.logits() == truth[range.clone()], "{}", what());
            }
            assert_eq!(at, forged.text.len());
        }
    }
}
