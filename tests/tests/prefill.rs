//! Prefill in blocks, decode by a team of threads and batches of streams: the bits of stepping, on every backend.

use std::sync::Arc;

use mambabyte_core::blob::matrices;
use mambabyte_core::{Backend, Blob, Decoder, Dims, Logits, Norm, Prefill, Rng, State, Want, surprise, tiles};
use mambabyte_host::align::AlignedBytes;
use mambabyte_host::cpu::{BatchDecoder, Cpu, Source, Stream, Weights};
use mambabyte_tests::random_blob::{BlobSpec, Contents, random_blob};
use mambabyte_tests::{MODELS, model_file};

fn text(n: usize) -> Vec<u8> {
    let mut rng = Rng::new(78);
    (0..n).map(|_| rng.next_u64() as u8).collect()
}

fn dims(d_model: usize, n_layer: usize, d_inner: usize, d_state: usize, tied: bool) -> Dims {
    Dims {
        d_model,
        n_layer,
        d_inner,
        d_state,
        d_conv: 2 + d_inner % 3,
        dt_rank: d_model.div_ceil(16),
        norm: if d_model.is_multiple_of(2) { Norm::Rms } else { Norm::Layer },
        tied_head: !tied,
        tied_decays: tied,
    }
}

/// Widths under, at and over those of vectors; both kinds of decay.
fn shapes() -> Vec<Dims> {
    let sizes =
        [(16, 2, 16, 2), (17, 1, 33, 5), (48, 3, 96, 8), (64, 2, 130, 16), (200, 2, 400, 16), (600, 1, 1100, 7)];
    sizes.into_iter().flat_map(|(d, l, di, n)| [dims(d, l, di, n, false), dims(d, l, di, n, true)]).collect()
}

fn all_contents() -> [Contents; 4] {
    let extreme = |weight, bias| Contents::Extreme { weight, code: 0, bias, shift: 18 };
    [Contents::Sane, Contents::Wild, extreme(-128, -32768), extreme(127, 32767)]
}

/// What stepping says: logits after every byte, and the state.
struct Truth {
    logits: Vec<Logits>,
    state: Vec<i16>,
}

fn scalar() -> Backend {
    Backend::by_name("scalar").unwrap()
}

fn stepped(blob: Blob<'_>, text: &[u8]) -> Truth {
    let mut decoder = Decoder::owned(blob).with_backend(scalar());
    let logits = text.iter().map(|&byte| *decoder.step(byte)).collect();
    Truth { logits, state: decoder.state().as_slice().to_vec() }
}

#[test]
fn blocks_of_every_size_have_the_bits_of_stepping() {
    let text = text(37);
    for (seed, dims) in shapes().into_iter().enumerate() {
        // Sane ones for every shape, the others in turns.
        for contents in [Contents::Sane, all_contents()[1 + seed % 3]] {
            let memory = AlignedBytes::new(&random_blob(BlobSpec { dims, contents, seed: seed as u64 }));
            let blob = Blob::parse(memory.as_slice()).unwrap();
            let truth = stepped(blob, &text);
            for backend in Backend::all() {
                for positions in [1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 512] {
                    // Dirty memory at an odd place.
                    let mut scratch = vec![-1; blob.dims().prefill_len(positions) + 1];
                    let prefill = Prefill::new(blob, positions, &mut scratch[1..]).unwrap();
                    let mut prefill = prefill.with_backend(backend);
                    let mut state = State::new(&blob, vec![0; dims.state_len()]).unwrap();
                    let mut logits = Vec::new();
                    let mut see = |first: usize, block: &[Logits]| {
                        assert_eq!(first, logits.len());
                        logits.extend_from_slice(block);
                    };
                    prefill.read(&mut state, &text, Want::All, &mut see).unwrap();
                    let name = backend.name();
                    assert!(logits == truth.logits, "logits, {positions} positions, {name}, {contents:?}, {dims:?}");
                    assert!(
                        state.as_slice() == truth.state,
                        "state, {positions} positions, {name}, {contents:?}, {dims:?}"
                    );
                    assert_eq!(state.position(), 37);
                    if positions != 9 {
                        continue;
                    }
                    state.reset();
                    let mut last = Vec::new();
                    prefill.read(&mut state, &text, Want::Last, &mut |at, l| last.push((at, l.to_vec()))).unwrap();
                    assert_eq!(last, [(36, vec![truth.logits[36]])]);
                    assert_eq!(state.as_slice(), truth.state);
                    prefill.read(&mut state, &text, Want::Nothing, &mut |_, _| panic!("nothing was wanted")).unwrap();
                }
            }
        }
    }
}

#[test]
fn a_text_may_be_split_anywhere() {
    let text = text(45);
    for dims in shapes().into_iter().step_by(3) {
        let memory = AlignedBytes::new(&random_blob(BlobSpec { dims, contents: Contents::Sane, seed: 3 }));
        let blob = Blob::parse(memory.as_slice()).unwrap();
        let truth = stepped(blob, &text);
        let mut prefill = Prefill::new(blob, 16, vec![0; dims.prefill_len(16)]).unwrap();
        for split in 0..=text.len() {
            let mut state = State::new(&blob, vec![0; dims.state_len()]).unwrap();
            let mut last = None;
            let (head, tail) = text.split_at(split);
            prefill.read(&mut state, head, Want::Nothing, &mut |_, _| ()).unwrap();
            prefill.read(&mut state, tail, Want::Last, &mut |_, l| last = Some(l[0])).unwrap();
            assert_eq!(state.as_slice(), truth.state, "{split}");
            assert_eq!(last, (!tail.is_empty()).then(|| truth.logits[44]));
        }
    }
}

#[test]
fn memory_and_states_are_checked() {
    let memory = AlignedBytes::new(&random_blob(BlobSpec::small(1)));
    let blob = Blob::parse(memory.as_slice()).unwrap();
    let need = blob.dims().prefill_len(5);
    assert!(Prefill::new(blob, 5, vec![0; need - 1]).is_err_and(|e| e.to_string().contains("scratch memory")));
    assert!(Prefill::new(blob, 0, vec![0; need]).is_err_and(|e| e.to_string().contains("block of positions")));
    let other = AlignedBytes::new(&random_blob(BlobSpec::small(2)));
    let other = Blob::parse(other.as_slice()).unwrap();
    let mut state = State::new(&other, vec![0; other.dims().state_len()]).unwrap();
    let mut prefill = Prefill::new(blob, 5, vec![0; need]).unwrap();
    assert!(prefill.read(&mut state, b"foreign", Want::All, &mut |_, _| panic!("shown")).is_err());
    assert_eq!(state.position(), 0);
}

struct Bytes(AlignedBytes);

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        self.0.as_slice()
    }
}

impl Source for Bytes {}

fn weights(bytes: Vec<u8>) -> Weights {
    Weights::new(Arc::new(Bytes(AlignedBytes::new(&bytes)))).unwrap()
}

/// The same with a copy as the machine's backend reads it best, where there is such an order.
fn prepared(weights: &Weights) -> Weights {
    let backend = Backend::detect();
    let prepared = weights.clone().for_backend(backend);
    let (rows, best) = (prepared.blob().as_bytes(), prepared.blob_for(backend).as_bytes());
    assert_eq!(rows.as_ptr() != best.as_ptr(), backend.reads_tiles());
    assert_eq!(prepared.blob_for(scalar()).as_bytes().as_ptr(), rows.as_ptr());
    prepared
}

/// Two shapes that are worth a team, by the rule and by far.
fn large() -> [Dims; 2] {
    [dims(512, 2, 1024, 16, false), dims(500, 2, 1100, 5, true)]
}

#[test]
fn streams_on_threads_have_the_bits_of_stepping() {
    let text = text(300);
    for (dims, contents) in large().into_iter().flat_map(|d| [(d, Contents::Sane), (d, Contents::Wild)]) {
        let plain = weights(random_blob(BlobSpec { dims, contents, seed: 4 }));
        let prepared = prepared(&plain);
        let truth = stepped(plain.blob(), &text);
        for (weights, threads) in
            [(&plain, 1), (&plain, 2), (&prepared, 1), (&prepared, 2), (&prepared, 3), (&prepared, 7)]
        {
            let cpu = Cpu { threads, ..Cpu::default() };
            let mut stream = Stream::new(weights, cpu);
            // Blocks and steps in turns, so that the state goes over and back.
            let (mut at, mut lengths) = (0, [5, 1, 1, 130, 2, 1, 64, 3].into_iter().cycle());
            while at < text.len() {
                let end = text.len().min(at + lengths.next().unwrap());
                if end - at == 1 {
                    assert!(*stream.step(text[at]) == truth.logits[at], "{threads} threads, byte {at}");
                } else {
                    let mut logits = Vec::new();
                    let map = |first: usize, logits: &[Logits]| (first, logits.to_vec());
                    let see = |(first, block): (usize, Vec<Logits>)| {
                        assert_eq!(first, logits.len());
                        logits.extend(block);
                    };
                    stream.prefill(&text[at..end], Want::All, map, see);
                    assert!(logits == truth.logits[at..end], "{threads} threads, bytes {at}..{end}");
                }
                at = end;
            }
            assert_eq!(stream.state().as_slice(), truth.state);
            assert_eq!(stream.state().position(), 300);
            stream.state_mut().reset();
            assert_eq!(stream.prefill_last(&text), Some(truth.logits[299]));
            assert_eq!(stream.prefill_last(b""), None);
            // A step after a reset starts from the reset state.
            stream.state_mut().reset();
            assert_eq!(*stream.step(text[0]), truth.logits[0]);
        }
    }
}

#[test]
fn surprise_of_every_byte_on_threads() {
    let text = std::fs::read(model_file("text", "golden-4096.txt")).unwrap();
    for name in MODELS {
        let weights = prepared(&weights(std::fs::read(model_file(name, "model.mbb")).unwrap()));
        let text = &text[..600];
        let mut decoder = Decoder::owned(weights.blob());
        let truth: Vec<u32> = text.windows(2).map(|w| surprise(decoder.step(w[0]), w[1])).collect();
        for threads in [1, 2, 4] {
            let mut stream = Stream::new(&weights, Cpu { threads, ..Cpu::default() });
            let mut bits = Vec::new();
            let map = |first: usize, logits: &[Logits]| -> Vec<u32> {
                logits.iter().zip(&text[first + 1..]).map(|(logits, &next)| surprise(logits, next)).collect()
            };
            stream.prefill(text, Want::All, map, |part| bits.extend(part));
            assert_eq!(bits, truth, "{name}, {threads} threads");
        }
    }
}

#[test]
fn streams_of_a_batch_have_the_bits_of_single_ones() {
    for dims in [dims(48, 3, 96, 8, false), dims(64, 2, 130, 16, true)] {
        let weights = prepared(&weights(random_blob(BlobSpec { dims, contents: Contents::Sane, seed: 6 })));
        let blob = weights.blob();
        for (streams, threads) in [(1, 1), (3, 1), (5, 2), (70, 1), (70, 3), (2, 4)] {
            let mut batch = BatchDecoder::new(&weights, streams, Cpu { threads, ..Cpu::default() }).unwrap();
            let mut single: Vec<_> = (0..streams).map(|_| Decoder::owned(blob).with_backend(scalar())).collect();
            assert_eq!(batch.streams(), streams);
            for round in 0..4u8 {
                let bytes: Vec<u8> = (0..streams).map(|i| (i as u8).wrapping_mul(37).wrapping_add(round)).collect();
                // In the last round the later streams pause.
                let bytes = if round == 3 { &bytes[..streams.div_ceil(2)] } else { &bytes[..] };
                let logits = batch.step(bytes);
                for ((index, &byte), single) in bytes.iter().enumerate().zip(&mut single) {
                    assert!(logits[index] == *single.step(byte), "stream {index} of {streams}, {threads} threads");
                }
            }
            for (index, single) in single.iter().enumerate() {
                assert_eq!(batch.state(index).unwrap().as_slice(), single.state().as_slice());
                assert_eq!(batch.state(index).unwrap().position(), single.state().position());
            }
            batch.state_mut(0).unwrap().reset();
            assert_eq!(batch.step(b"x")[0], *Decoder::owned(blob).step(b'x'));
            assert!(batch.state(streams).is_none());
        }
    }
}

#[test]
fn weights_are_checked() {
    let good = random_blob(BlobSpec { dims: dims(600, 1, 1100, 7, false), contents: Contents::Sane, seed: 7 });
    for at in [0, 9, 200, good.len() / 3, good.len() / 2, good.len() - 100] {
        let mut bad = good.clone();
        bad[at] ^= 4;
        let aligned = AlignedBytes::new(&bad);
        let want = Blob::parse(aligned.as_slice()).err().unwrap();
        let have = Weights::new(Arc::new(Bytes(aligned.clone()))).err().unwrap();
        assert_eq!(have.to_string(), want.to_string());
    }
}

/// A file that cannot be read a second time, as one that became shorter.
struct ReadOnce(AlignedBytes);

impl AsRef<[u8]> for ReadOnce {
    fn as_ref(&self) -> &[u8] {
        self.0.as_slice()
    }
}

impl Source for ReadOnce {
    fn read(&self, _: usize, _: &mut [u8]) -> std::io::Result<()> {
        Err(std::io::ErrorKind::UnexpectedEof.into())
    }
}

#[test]
fn weights_that_cannot_be_copied_are_used_as_they_are() {
    let bytes = random_blob(BlobSpec { dims: dims(64, 2, 128, 16, false), contents: Contents::Sane, seed: 9 });
    let weights = Weights::new(Arc::new(ReadOnce(AlignedBytes::new(&bytes)))).unwrap().for_backend(Backend::detect());
    assert_eq!(weights.blob_for(Backend::detect()).as_bytes().as_ptr(), weights.blob().as_bytes().as_ptr());
    let truth = stepped(weights.blob(), b"as they are");
    assert_eq!(Stream::new(&weights, Cpu::single()).prefill_last(b"as they are"), truth.logits.last().copied());
}

/// Every backend runs a blob in tiles, though only some read it fast.
#[test]
fn a_blob_in_tiles_has_the_bits_of_the_blob_on_every_backend() {
    let text = text(40);
    // Rows and columns that fit tiles, that do not, and some of each.
    for dims in [dims(64, 2, 128, 4, false), dims(48, 2, 100, 3, true), dims(36, 2, 72, 6, false)] {
        for contents in [Contents::Sane, Contents::Wild] {
            let bytes = AlignedBytes::new(&random_blob(BlobSpec { dims, contents, seed: 8 }));
            let blob = Blob::parse(bytes.as_slice()).unwrap();
            let truth = stepped(blob, &text);
            let mut tiled = bytes.as_slice().to_vec();
            for (at, rows, columns) in matrices(&blob) {
                let range = at..at + rows * columns;
                tiles::tile(&bytes.as_slice()[range.clone()], columns, &mut tiled[range]);
            }
            let tiled = AlignedBytes::new(&tiled);
            let tiled = Blob::parse_tiled(tiled.as_slice()).unwrap();
            for backend in Backend::all() {
                let mut decoder = Decoder::owned(tiled).with_backend(backend);
                assert_eq!(decoder.backend().name(), if backend.reads_tiles() { backend.name() } else { "scalar" });
                for (&byte, want) in text.iter().zip(&truth.logits) {
                    assert!(decoder.step(byte) == want, "{}", backend.name());
                }
                let mut state = State::new(&tiled, vec![0; dims.state_len()]).unwrap();
                let mut prefill = Prefill::new(tiled, 20, vec![0; dims.prefill_len(20)]).unwrap().with_backend(backend);
                let mut see =
                    |first: usize, logits: &[Logits]| assert!(logits == &truth.logits[first..][..logits.len()]);
                prefill.read(&mut state, &text, Want::All, &mut see).unwrap();
                assert_eq!(state.as_slice(), truth.state);
            }
        }
    }
}
