//! Float decode and verify on a GPU. Without one: `cargo test -- --ignored` says so and fails.
#![cfg(feature = "cuda")]

use std::sync::Arc;

use mambabyte_core::{Dims, Norm, VOCAB};
use mambabyte_host::Checkpoint;
use mambabyte_host::checkpoint::Layer;
use mambabyte_host::cuda::Device;
use mambabyte_host::cuda::decode::{Decoder, FloatState, Form, Sampling};
use mambabyte_host::model::Model;

/// Numbers that look random, the same on every machine.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    fn many(&mut self, n: usize, scale: f32) -> Vec<f32> {
        (0..n).map(|_| self.unit() * scale).collect()
    }
}

fn dims(d_model: usize, n_layer: usize, d_inner: usize, d_state: usize, d_conv: usize, dt_rank: usize) -> Dims {
    Dims { d_model, n_layer, d_inner, d_state, d_conv, dt_rank, norm: Norm::Rms, tied_head: true, tied_decays: false }
}

/// Weights of the size that training starts from, already as the device rounds them.
fn checkpoint(dims: Dims, seed: u64, form: Form) -> Checkpoint {
    let mut noise = Noise(seed | 1);
    let mut matrix = |rows: usize, columns: usize| {
        let mut w = noise.many(rows * columns, (3.0 / columns as f32).sqrt());
        for row in w.chunks_exact_mut(columns) {
            let largest = row.iter().fold(0.0f32, |m, w| m.max(w.abs()));
            let step = largest / 127.0;
            for w in row {
                *w = match form {
                    Form::Bf16 => half::bf16::from_f32(*w).to_f32(),
                    Form::I8 => (*w / step).round() * step,
                };
            }
        }
        w
    };
    let embedding = matrix(VOCAB, dims.d_model);
    let head = (!dims.tied_head).then(|| matrix(VOCAB, dims.d_model));
    let layer = |_| {
        let in_proj = matrix(2 * dims.d_inner, dims.d_model);
        let x_proj = matrix(dims.x_proj_rows(), dims.d_inner);
        let dt_proj = matrix(dims.d_inner, dims.dt_rank);
        let out_proj = matrix(dims.d_model, dims.d_inner);
        Layer { in_proj, x_proj, dt_proj, out_proj, ..Layer::default() }
    };
    let mut layers: Vec<Layer> = (0..dims.n_layer).map(layer).collect();
    let bias = |noise: &mut Noise| if dims.norm == Norm::Layer { noise.many(dims.d_model, 0.3) } else { Vec::new() };
    let around_one = |noise: &mut Noise, n| noise.many(n, 0.2).iter().map(|v| 1.0 + v).collect::<Vec<_>>();
    for l in &mut layers {
        l.norm = around_one(&mut noise, dims.d_model);
        l.norm_bias = bias(&mut noise);
        l.conv1d = noise.many(dims.d_inner * dims.d_conv, 0.5);
        l.conv_bias = noise.many(dims.d_inner, 0.2);
        // Deltas of 1e-3 to 0.1, and a few above the threshold of softplus.
        l.dt_bias = (0..dims.d_inner).map(|d| if d % 17 == 3 { 21.0 } else { -4.5 + 2.2 * noise.unit() }).collect();
        l.a_log = (0..dims.d_inner * dims.d_state).map(|i| ((i % dims.d_state + 1) as f32).ln()).collect();
        l.d_skip = around_one(&mut noise, dims.d_inner);
    }
    let norm_f = around_one(&mut noise, dims.d_model);
    let norm_f_bias = bias(&mut noise);
    Checkpoint { dims, norm_eps: 1e-5, embedding, layers, norm_f, norm_f_bias, head }
}

fn shapes() -> Vec<Dims> {
    vec![
        dims(64, 2, 128, 16, 4, 4),
        // Nothing is a multiple of a tile.
        Dims { norm: Norm::Layer, tied_head: false, ..dims(40, 3, 72, 5, 3, 3) },
        dims(24, 1, 40, 20, 2, 17),
        // More channels than multiprocessors have tiles.
        dims(2304, 1, 4608, 16, 4, 144),
        Dims { norm: Norm::Layer, ..dims(272, 2, 544, 64, 4, 17) },
    ]
}

fn device() -> Arc<Device> {
    Device::open(0).unwrap_or_else(|e| panic!("{e}"))
}

fn text(seed: u64, n: usize) -> Vec<u8> {
    let mut noise = Noise(seed | 1);
    (0..n).map(|_| noise.next() as u8).collect()
}

/// Logits after every byte of `bytes`, one at a time.
fn stepped(decoder: &mut Decoder, state: &mut FloatState, bytes: &[u8]) -> Vec<f32> {
    let mut all = Vec::new();
    for &byte in bytes {
        all.extend(decoder.decode(state, &[byte], 1, Sampling::default(), true).unwrap().1);
    }
    all
}

#[test]
#[ignore = "needs a GPU"]
fn gpu_decode_is_the_f32_model() {
    let device = device();
    // Activations are rounded to bf16 before each product: 2^-9 each, and the errors of a few layers add up.
    const BOUND: f64 = 1.5e-2;
    for form in [Form::Bf16, Form::I8] {
        for (index, dims) in shapes().into_iter().enumerate() {
            let model = Model::new(checkpoint(dims, 77 + index as u64, form)).unwrap();
            let mut decoder = Decoder::load(&device, model.checkpoint(), form).unwrap();
            let mut state = decoder.state(1).unwrap();
            let bytes = text(5, 48);
            let found = stepped(&mut decoder, &mut state, &bytes);
            let mut session = model.session();
            let expected: Vec<f32> = bytes.iter().flat_map(|&b| *session.step(b)).collect();
            let square = |v: &mut dyn Iterator<Item = f64>| v.map(|x| x * x).sum::<f64>().sqrt();
            let error = square(&mut expected.iter().zip(&found).map(|(a, b)| (*a - *b) as f64))
                / square(&mut expected.iter().map(|&a| a as f64));
            println!("{form:?} {dims:?}: relative error {error:.2e}");
            assert!(error < BOUND, "{form:?} {dims:?}: {error}");
        }
    }
}

#[test]
#[ignore = "needs a GPU"]
fn gpu_verify_is_decoding_bit_for_bit() {
    let device = device();
    for form in [Form::Bf16, Form::I8] {
        for (index, dims) in shapes().into_iter().enumerate() {
            let model = checkpoint(dims, 31 + index as u64, form);
            let mut decoder = Decoder::load(&device, &model, form).unwrap();
            for k in [0, 1, 2, 7, 8, 9, 16, 17, 32] {
                let (before, draft, after) = (text(k as u64, 5), text(99 + k as u64, k), text(1000, 4));
                for accepted in [0, k / 2, k] {
                    let (mut a, mut b) = (decoder.state(1).unwrap(), decoder.state(1).unwrap());
                    stepped(&mut decoder, &mut a, &before);
                    stepped(&mut decoder, &mut b, &before);
                    // A rejected draft leaves no trace.
                    drop(decoder.verify(&mut a, &[&draft]).unwrap());
                    let verified = decoder.verify(&mut a, &[&draft]).unwrap();
                    let found = verified.logits(0).to_vec();
                    verified.accept(&[accepted]).unwrap();
                    let expected = stepped(&mut decoder, &mut b, &draft[..accepted]);
                    assert_eq!(found[..accepted * VOCAB], expected, "{form:?} {dims:?} K {k} accepted {accepted}");
                    assert_eq!(
                        stepped(&mut decoder, &mut a, &after),
                        stepped(&mut decoder, &mut b, &after),
                        "{form:?} {dims:?} K {k} accepted {accepted}"
                    );
                }
            }
        }
    }
}

#[test]
#[ignore = "needs a GPU"]
fn gpu_batches_are_single_streams_bit_for_bit() {
    let device = device();
    let dims = dims(64, 2, 128, 16, 4, 4);
    for form in [Form::Bf16, Form::I8] {
        let model = checkpoint(dims, 3, form);
        let mut decoder = Decoder::load(&device, &model, form).unwrap();
        for streams in [1, 2, 7, 8, 9, 31, 32, 33, 70] {
            let mut state = decoder.state(streams).unwrap();
            let first: Vec<u8> = text(8, streams);
            let (chosen, _) = decoder.decode(&mut state, &first, 6, Sampling::default(), false).unwrap();
            for stream in [0, streams / 2, streams - 1] {
                let mut alone = decoder.state(1).unwrap();
                let (expected, _) =
                    decoder.decode(&mut alone, &[first[stream]], 6, Sampling::default(), false).unwrap();
                let found: Vec<u8> = chosen.iter().skip(stream).step_by(streams).copied().collect();
                assert_eq!(found, expected, "{form:?}, stream {stream} of {streams}");
            }
        }
        // Ragged drafts of several streams.
        let mut state = decoder.state(4).unwrap();
        let drafts = [text(1, 3), text(2, 0), text(3, 9), text(4, 1)];
        let views: Vec<&[u8]> = drafts.iter().map(Vec::as_slice).collect();
        let verified = decoder.verify(&mut state, &views).unwrap();
        let found: Vec<Vec<f32>> = (0..4).map(|s| verified.logits(s).to_vec()).collect();
        verified.accept(&[2, 0, 9, 0]).unwrap();
        for (draft, found) in drafts.iter().zip(found) {
            let mut alone = decoder.state(1).unwrap();
            assert_eq!(stepped(&mut decoder, &mut alone, draft), found, "{form:?}");
        }
        let next = text(6, 4);
        let (_, logits) = decoder.decode(&mut state, &next, 1, Sampling::default(), true).unwrap();
        for (stream, accepted) in [2, 0, 9, 0].into_iter().enumerate() {
            let mut alone = decoder.state(1).unwrap();
            let mut bytes = drafts[stream][..accepted].to_vec();
            bytes.push(next[stream]);
            let expected = stepped(&mut decoder, &mut alone, &bytes);
            assert_eq!(logits[stream * VOCAB..][..VOCAB], expected[accepted * VOCAB..], "{form:?} stream {stream}");
        }
    }
}

#[test]
#[ignore = "needs a GPU"]
fn gpu_decode_repeats_itself() {
    let device = device();
    let model = checkpoint(dims(128, 4, 256, 16, 4, 8), 12, Form::Bf16);
    let mut decoder = Decoder::load(&device, &model, Form::Bf16).unwrap();
    let sampling = Sampling { temperature: 0.8, seed: 5, position: 0 };
    let run = |decoder: &mut Decoder| {
        let mut state = decoder.state(3).unwrap();
        decoder.decode(&mut state, b"abc", 200, sampling, true).unwrap()
    };
    let first = run(&mut decoder);
    for _ in 0..20 {
        assert!(run(&mut decoder) == first, "two runs differ");
    }
    // Many bytes in one launch, or one byte in many.
    let mut state = decoder.state(3).unwrap();
    let mut bytes = b"abc".to_vec();
    for step in 0..20 {
        let (next, logits) =
            decoder.decode(&mut state, &bytes, 1, Sampling { position: step, ..sampling }, true).unwrap();
        assert_eq!(next, first.0[step as usize * 3..][..3]);
        assert_eq!(logits, first.1[step as usize * 3 * VOCAB..][..3 * VOCAB]);
        bytes = next;
    }
    // The draws are draws: other seeds give other text.
    let mut state = decoder.state(3).unwrap();
    let other = decoder.decode(&mut state, b"abc", 200, Sampling { seed: 6, ..sampling }, false).unwrap();
    assert_ne!(other.0, first.0);
}

#[test]
#[ignore = "needs a GPU"]
fn gpu_wrong_batches_are_refused() {
    let device = device();
    let model = checkpoint(dims(64, 1, 128, 16, 4, 4), 12, Form::Bf16);
    let mut decoder = Decoder::load(&device, &model, Form::Bf16).unwrap();
    let mut state = decoder.state(1).unwrap();
    assert!(decoder.decode(&mut state, b"ab", 1, Sampling::default(), false).is_err());
    assert!(decoder.verify(&mut state, &[&[0; 33]]).is_err());
    assert!(decoder.verify(&mut state, &[b"a", b"b"]).is_err());
    let verified = decoder.verify(&mut state, &[b"ab"]).unwrap();
    assert!(verified.accept(&[3]).is_err());
}
