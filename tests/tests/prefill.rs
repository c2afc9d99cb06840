//! Prefill in blocks: the bits of stepping, on every backend.

use mambabyte_core::blob::matrices;
use mambabyte_core::{Backend, Blob, Decoder, Dims, Logits, Norm, Prefill, Rng, Run, Show, State, tiles};
use mambabyte_host::align::AlignedBytes;
use mambabyte_tests::random_blob::{BlobSpec, Contents, random_blob};

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
        // Sane ones for every shape, the others in turn.
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
                    prefill.read(&mut state, &text, Show::All, &mut see).unwrap();
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
                    prefill.read(&mut state, &text, Show::Last, &mut |at, l| last.push((at, l.to_vec()))).unwrap();
                    assert_eq!(last, [(36, vec![truth.logits[36]])]);
                    assert_eq!(state.as_slice(), truth.state);
                    prefill.read(&mut state, &text, Show::Nothing, &mut |_, _| panic!("nothing was wanted")).unwrap();
                }
            }
        }
    }
}

/// What a block has kept takes the state from before it to any of its positions.
#[test]
fn a_state_goes_to_any_position_of_a_block_that_was_kept() {
    const BEFORE: usize = 5;
    const BLOCK: usize = 13;
    let text = text(BEFORE + BLOCK);
    let (head, block) = text.split_at(BEFORE);
    for (seed, dims) in shapes().into_iter().enumerate() {
        for contents in [Contents::Sane, all_contents()[1 + seed % 3]] {
            let memory = AlignedBytes::new(&random_blob(BlobSpec { dims, contents, seed: seed as u64 }));
            let blob = Blob::parse(memory.as_slice()).unwrap();
            let mut decoder = Decoder::owned(blob).with_backend(scalar());
            decoder.prefill(head);
            let mut truths = vec![decoder.state().as_slice().to_vec()];
            for &byte in block {
                decoder.step(byte);
                truths.push(decoder.state().as_slice().to_vec());
            }
            for backend in Backend::all() {
                let mut prefill = Prefill::new(blob, 16, vec![-1; dims.prefill_len(16)]).unwrap().with_backend(backend);
                let mut before = State::new(&blob, vec![0; dims.state_len()]).unwrap();
                prefill.read(&mut before, head, Show::Nothing, &mut |_, _| ()).unwrap();
                let mut kept = vec![vec![-1; dims.kept_len(BLOCK)]; dims.n_layer];
                let mut after = State::new(&blob, vec![0; dims.state_len()]).unwrap();
                after.clone_from(&before).unwrap();
                prefill.embed(block);
                for (index, (state, keep)) in after.layers_mut(&blob).zip(&mut kept).enumerate() {
                    prefill.layer(index, &mut [Run { state, positions: BLOCK, keep }]);
                }
                // Other positions have been in the same memory since.
                prefill.embed(&[7; 16]);
                let mut other = State::new(&blob, vec![0; dims.state_len()]).unwrap();
                prefill.read(&mut other, &[7; 16], Show::Nothing, &mut |_, _| ()).unwrap();
                for count in 0..=BLOCK + 1 {
                    let mut state = State::new(&blob, vec![0; dims.state_len()]).unwrap();
                    state.clone_from(&before).unwrap();
                    // Layers do not need each other: backwards.
                    for (index, (state, kept)) in state.layers_mut(&blob).zip(&kept).enumerate().rev() {
                        prefill.replay(index, state, kept, count);
                    }
                    let truth = &truths[count.min(BLOCK)];
                    assert!(state.as_slice() == truth, "{count} positions, {}, {contents:?}, {dims:?}", backend.name());
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
            prefill.read(&mut state, head, Show::Nothing, &mut |_, _| ()).unwrap();
            prefill.read(&mut state, tail, Show::Last, &mut |_, l| last = Some(l[0])).unwrap();
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
    assert!(prefill.read(&mut state, b"foreign", Show::All, &mut |_, _| panic!("shown")).is_err());
    assert_eq!(state.position(), 0);
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
                prefill.read(&mut state, &text, Show::All, &mut see).unwrap();
                assert_eq!(state.as_slice(), truth.state);
            }
        }
    }
}

/// A thread may have a small stack: kernels arrange activations in the scratch memory.
#[test]
fn a_small_stack_is_enough() {
    const STACK: usize = 112 << 10; // less than the panel of AVX-512, 128 KiB
    let read = || {
        let memory = AlignedBytes::new(&random_blob(BlobSpec {
            dims: dims(64, 1, 2048, 4, false),
            contents: Contents::Sane,
            seed: 5,
        }));
        let blob = Blob::parse(memory.as_slice()).unwrap();
        let mut state = State::new(&blob, vec![0; blob.dims().state_len()]).unwrap();
        let mut prefill = Prefill::new(blob, 64, vec![0; blob.dims().prefill_len(64)]).unwrap();
        prefill.read(&mut state, &text(64), Show::Nothing, &mut |_, _| ()).unwrap();
        state.position()
    };
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(read).unwrap();
    assert_eq!(thread.join().unwrap(), 64);
}
