//! `Decoder::step` against the reference of `mambabyte_tests::reference`, for many shapes and for contents that
//! saturate everything. Overflow checks are on in this profile: whatever a blob says, no sum overflows.

use mambabyte_core::{Blob, Decoder, Dims, Norm, Rng, StateError};
use mambabyte_host::align::AlignedBytes;
use mambabyte_tests::random_blob::{BlobSpec, Contents, random_blob};
use mambabyte_tests::reference::Reference;

fn compare(spec: BlobSpec, bytes: usize) {
    let memory = AlignedBytes::new(&random_blob(spec));
    let blob = Blob::parse(memory.as_slice()).unwrap_or_else(|e| panic!("{spec:?}: {e}"));
    let (mut decoder, mut reference) = (Decoder::owned(blob), Reference::new(blob));
    let mut rng = Rng::new(spec.seed ^ 0x5eed);
    for position in 0..bytes {
        let byte = rng.next_u64() as u8;
        let expected = reference.step(byte);
        let logits: Vec<i128> = decoder.step(byte).iter().map(|&l| l.into()).collect();
        assert_eq!(logits, expected, "logits at {position} of {spec:?}");
        let state: Vec<i128> = decoder.state().as_slice().iter().map(|&s| s.into()).collect();
        assert_eq!(state, reference.state, "state at {position} of {spec:?}");
    }
    assert_eq!(decoder.state().position(), bytes as u64);
}

/// Shapes in which every value of every dimension occurs, with both norms, heads and kinds of decay.
fn shapes() -> Vec<Dims> {
    let d_models = [16, 17, 48, 64];
    let d_inners = [16, 33, 96, 130];
    let d_states = [1, 2, 5, 8, 16, 64];
    let ranks = [1, 3, 8];
    let mut shapes: Vec<Dims> = (0..48usize)
        .map(|i| Dims {
            d_model: d_models[i % 4],
            n_layer: 1 + i % 3,
            d_inner: d_inners[(i / 4 + i) % 4],
            d_state: d_states[(i + i / 6) % 6],
            d_conv: 2 + (i / 2) % 3,
            dt_rank: ranks[(i + i / 3) % 3],
            norm: if i & 1 == 0 { Norm::Rms } else { Norm::Layer },
            tied_head: (i / 2) & 1 == 0,
            tied_decays: (i / 4) & 1 == 0,
        })
        .collect();
    // More columns than one block of exact i32 sums.
    shapes.push(Dims { d_model: 1030, d_inner: 520, ..shapes[9] });
    shapes
}

#[test]
fn sane_blobs_of_many_shapes() {
    let mut moved = 0;
    for (seed, dims) in shapes().into_iter().enumerate() {
        let spec = BlobSpec { dims, contents: Contents::Sane, seed: seed as u64 };
        compare(spec, if dims.d_model > 1000 { 3 } else { 20 });
        // The comparison would be worth little if nothing moved.
        let memory = AlignedBytes::new(&random_blob(spec));
        let mut decoder = Decoder::owned(Blob::parse(memory.as_slice()).unwrap());
        let first = *decoder.prefill(b"abc").unwrap();
        let second = *decoder.prefill(b"xyz").unwrap();
        let elements = decoder.state().as_slice();
        let alive = elements.iter().filter(|&&h| h != 0 && h.unsigned_abs() < 32767).count();
        moved += usize::from(first != second && 4 * alive > elements.len());
    }
    assert!(moved > 40, "only {moved} of the blobs use the range of their state");
}

#[test]
fn wild_blobs_of_many_shapes() {
    for (seed, dims) in shapes().into_iter().enumerate().filter(|(_, dims)| dims.d_model < 1000) {
        for round in 0..4 {
            compare(BlobSpec { dims, contents: Contents::Wild, seed: (round * 1000 + seed) as u64 }, 6);
        }
    }
}

#[test]
fn extreme_blobs_never_overflow() {
    let shapes = shapes();
    for weight in [-128, 127] {
        for code in [0, 255] {
            for bias in [-32768, -32767, 32767] {
                for (i, shift) in [1, 2, 8, 14, 18, 24, 40, 54].into_iter().enumerate() {
                    let contents = Contents::Extreme { weight, code, bias, shift };
                    let dims = shapes[(i * 7 + bias as u16 as usize + code as usize) % 48];
                    compare(BlobSpec { dims, contents, seed: i as u64 }, 3);
                }
            }
        }
    }
    let widest = Dims { d_model: 1030, n_layer: 1, d_inner: 1100, d_state: 64, ..shapes[3] };
    for shift in [1, 54] {
        let contents = Contents::Extreme { weight: -128, code: 0, bias: -32768, shift };
        compare(BlobSpec { dims: widest, contents, seed: 0 }, 2);
    }
}

fn text(n: usize) -> Vec<u8> {
    let mut rng = Rng::new(77);
    (0..n).map(|_| rng.next_u64() as u8).collect()
}

fn snapshot(decoder: &Decoder<'_, Vec<i16>, Vec<i32>>) -> Vec<u8> {
    let mut out = vec![0; decoder.blob().dims().snapshot_bytes()];
    assert_eq!(decoder.state().snapshot(&mut out), Ok(out.len()));
    out
}

#[test]
fn a_stream_may_be_split_anywhere() {
    for dims in shapes().into_iter().step_by(7).take(6) {
        let memory = AlignedBytes::new(&random_blob(BlobSpec { dims, contents: Contents::Sane, seed: 5 }));
        let blob = Blob::parse(memory.as_slice()).unwrap();
        let text = text(40);
        let mut whole = Decoder::owned(blob);
        let logits = *whole.prefill(&text).unwrap();
        for split in 0..=text.len() {
            let (head, tail) = text.split_at(split);
            let mut first = Decoder::owned(blob);
            first.prefill(head);
            // Into a decoder that has seen something else.
            let mut second = Decoder::owned(blob);
            second.prefill(b"other things");
            second.state_mut().restore(&snapshot(&first)).unwrap();
            assert_eq!(second.state().position(), split as u64);
            assert_eq!(second.prefill(tail).copied(), (!tail.is_empty()).then_some(logits));
            assert_eq!(snapshot(&second), snapshot(&whole));
            // And by copying the state.
            let mut third = Decoder::owned(blob);
            third.step(b'?');
            third.state_mut().clone_from(first.state()).unwrap();
            for &byte in tail {
                third.step(byte);
            }
            assert_eq!(snapshot(&third), snapshot(&whole));
        }
        whole.state_mut().reset();
        assert_eq!(snapshot(&whole), snapshot(&Decoder::owned(blob)));
        assert_eq!(whole.prefill(b""), None);
    }
}

#[test]
fn memory_of_the_caller() {
    let memory = AlignedBytes::new(&random_blob(BlobSpec::small(1)));
    let blob = Blob::parse(memory.as_slice()).unwrap();
    let (need, scratch) = (blob.dims().state_len(), blob.dims().scratch_len());
    let too_small = Decoder::new(blob, &mut vec![0; need - 1][..], &mut vec![0; scratch][..]).err();
    assert_eq!(too_small, Some(StateError::TooSmall { what: "state memory", need, have: need - 1 }));
    let too_small = Decoder::new(blob, &mut vec![0; need][..], &mut vec![0; scratch - 1][..]).err();
    assert_eq!(too_small, Some(StateError::TooSmall { what: "scratch memory", need: scratch, have: scratch - 1 }));
    // Dirty memory, and more than needed of it, changes nothing.
    let (mut state, mut dirt) = (vec![-1; need + 5], vec![i32::MIN; scratch + 5]);
    let mut decoder = Decoder::new(blob, &mut state[..], &mut dirt[..]).unwrap();
    assert_eq!(*decoder.prefill(b"dirt").unwrap(), *Decoder::owned(blob).prefill(b"dirt").unwrap());
    assert_eq!(decoder.state().as_slice().len(), need);
    let mut short = vec![0; blob.dims().snapshot_bytes() - 1];
    let (have, need) = (short.len(), short.len() + 1);
    assert_eq!(decoder.state().snapshot(&mut short), Err(StateError::TooSmall { what: "snapshot buffer", need, have }));
}
