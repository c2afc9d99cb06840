//! The forward pass against the oracle step; the gradient of every tensor against finite differences of a model in f64;
//! what state goes where, and what threads do to the result.

mod plain;
mod symbols;

use mambabyte_core::dims::Norm;
use mambabyte_core::{Dims, VOCAB};

use super::window::{Prepared, Stream, next_symbol};
use super::{Carry, Loss, Row, gradient, logits, losses, zeros_like};
use crate::{Checkpoint, Layer, Model};
use plain::Plain;

/// Small numbers, the same in every run.
pub(super) struct Noise(u64);

impl Noise {
    pub(super) fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / 8_388_608.0 - 1.0
    }

    fn around(&mut self, n: usize, scale: f32, base: f32) -> Vec<f32> {
        (0..n).map(|_| base + scale * self.next()).collect()
    }

    fn symbols(&mut self, n: usize, vocabulary: usize) -> Vec<u16> {
        (0..n).map(|_| ((self.next() + 1.0) * 0.5 * vocabulary as f32) as u16 % vocabulary as u16).collect()
    }
}

/// A checkpoint of random weights.
fn checkpoint(dims: Dims, vocabulary: usize) -> Checkpoint {
    let mut noise = Noise(11);
    let (d, di, n, rank) = (dims.d_model, dims.d_inner, dims.d_state, dims.dt_rank);
    let bias = if dims.norm == Norm::Layer { d } else { 0 };
    let layers = (0..dims.n_layer)
        .map(|_| Layer {
            norm: noise.around(d, 0.3, 1.0),
            norm_bias: noise.around(bias, 0.2, 0.0),
            in_proj: noise.around(2 * di * d, 0.4, 0.0),
            conv1d: noise.around(di * dims.d_conv, 0.6, 0.0),
            conv_bias: noise.around(di, 0.2, 0.0),
            x_proj: noise.around(dims.x_proj_rows() * di, 0.4, 0.0),
            dt_proj: noise.around(di * rank, 0.5, 0.0),
            dt_bias: noise.around(di, 0.5, -1.0),
            a_log: noise.around(di * n, 0.5, 0.3),
            d_skip: noise.around(di, 0.5, 0.5),
            out_proj: noise.around(d * di, 0.4, 0.0),
        })
        .collect();
    let head = (!dims.tied_head).then(|| noise.around(vocabulary * d, 0.3, 0.0));
    let (embedding, norm_f) = (noise.around(vocabulary * d, 0.5, 0.0), noise.around(d, 0.3, 1.0));
    let norm_f_bias = noise.around(bias, 0.2, 0.0);
    let mut c = Checkpoint { dims, norm_eps: 1e-5, embedding, layers, norm_f, norm_f_bias, head };
    c.tie_decays();
    c
}

/// A small model of bytes with every feature: bias, free decays, untied head.
pub(crate) fn model(norm: Norm, tied_head: bool) -> Model {
    let dims = Dims {
        d_model: 16,
        n_layer: 2,
        d_inner: 24,
        d_state: 3,
        d_conv: 3,
        dt_rank: 2,
        norm,
        tied_head,
        tied_decays: false,
    };
    Model::new(checkpoint(dims, VOCAB)).unwrap()
}

/// Odd shapes: widths that no vector divides, every number of taps, both kinds of norm, decays and head.
fn odd_models() -> Vec<Model> {
    let shapes = [
        (17, 2, 19, 3, 4, 2, Norm::Rms, true, true, 41),
        (16, 1, 24, 1, 2, 1, Norm::Layer, false, true, 13),
        (21, 2, 16, 5, 3, 3, Norm::Layer, true, false, 7),
        (18, 1, 33, 9, 4, 1, Norm::Rms, false, false, 300),
    ];
    let model = |(d_model, n_layer, d_inner, d_state, d_conv, dt_rank, norm, tied_head, tied_decays, vocabulary)| {
        let dims = Dims { d_model, n_layer, d_inner, d_state, d_conv, dt_rank, norm, tied_head, tied_decays };
        Model::of_symbols(checkpoint(dims, vocabulary)).unwrap()
    };
    shapes.into_iter().map(model).collect()
}

/// A batch: rows of several chunks, from some state, with documents in them.
struct Batch {
    texts: Vec<Vec<u16>>,
    starts: Vec<Vec<u32>>,
    before: Vec<Carry>,
}

impl Batch {
    fn new(model: &Model) -> Self {
        let mut noise = Noise(5);
        let starts = vec![vec![], vec![1, 2, 60, 127, 128, 131], vec![0, 257]];
        let lengths = [135, 140, 259];
        let texts = lengths.map(|n| noise.symbols(n + 1, model.checkpoint().vocabulary())).into();
        let before = starts.iter().map(|_| {
            let mut carry = Carry::zero(model.dims());
            carry.as_mut_slice().iter_mut().for_each(|c| *c = 0.5 * noise.next());
            carry
        });
        Self { texts, before: before.collect(), starts }
    }

    fn rows<'a>(&'a self, carries: &'a mut [Carry]) -> Vec<Row<'a>> {
        let rows = self.texts.iter().zip(&self.starts).zip(carries);
        rows.map(|((text, starts), carry)| {
            let (symbols, next) = (&text[..text.len() - 1], &text[1..]);
            Row { symbols, next, starts, carry }
        })
        .collect()
    }

    /// Loss, gradient and the states afterwards.
    fn gradient(&self, model: &Model) -> (Loss, Checkpoint, Vec<Carry>) {
        let (mut carries, mut grad) = (self.before.clone(), zeros_like(model.checkpoint()));
        let loss = gradient(model, &mut self.rows(&mut carries), &mut grad);
        (loss, grad, carries)
    }
}

#[test]
fn forward_is_the_oracle_step() {
    let text: Vec<u8> = Noise(3).symbols(300, 256).into_iter().map(|s| s as u8).collect();
    for (norm, tied) in [(Norm::Rms, true), (Norm::Layer, false)] {
        let model = model(norm, tied);
        let found = logits(&model, &[&text], |_, all| all).remove(0);
        let mut session = model.session();
        for (t, &byte) in text.iter().enumerate() {
            for (a, b) in session.step(byte).unwrap().iter().zip(&found[t * VOCAB..]) {
                assert!((a - b).abs() < 4e-5, "byte {t}: {a} and {b}");
            }
        }
        // The state too.
        let symbols: Vec<u16> = text.iter().map(|&b| b.into()).collect();
        let mut carry = Carry::zero(model.dims());
        losses(&model, &mut [Row { symbols: &symbols, next: &symbols, starts: &[], carry: &mut carry }]);
        for (a, b) in session.state().iter().zip(carry.as_slice()) {
            assert!((a - b).abs() < 2e-5 * (1.0 + a.abs()), "state: {a} and {b}");
        }
    }
}

#[test]
fn gradients_are_finite_differences_in_f64() {
    for model in odd_models() {
        let batch = Batch::new(&model);
        let (loss, mut grad, _) = batch.gradient(&model);
        let exact = Plain::new(model.checkpoint());
        let truth = |moved: &Plain| -> f64 { (0..3).map(|row| batch.loss64(moved, row)).sum() };
        let (center, dims) = (truth(&exact), model.dims());
        assert!((loss.nats / center - 1.0).abs() < 1e-6, "{} and {center}", loss.nats);
        let mut noise = Noise(77);
        for (index, (layer, name, values)) in grad.tensors_mut().into_iter().enumerate() {
            if values.is_empty() {
                continue;
            }
            let size = values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
            assert!(size > 1e-3, "{dims:?}, layer {layer}, {name}: no gradient");
            // Along the tensor's own gradient, where the slope is its norm, and across it.
            let own: Vec<f64> = values.iter().map(|g| f64::from(*g) / size).collect();
            let other: Vec<f64> = values.iter().map(|_| f64::from(noise.next())).collect();
            let length = other.iter().map(|x| x * x).sum::<f64>().sqrt();
            let other: Vec<f64> = other.iter().map(|x| x / length).collect();
            for direction in [own, other] {
                let slope: f64 = direction.iter().zip(&*values).map(|(d, g)| d * f64::from(*g)).sum();
                let moved = |by: f64| truth(&exact.moved(index, &direction, by));
                let step = 1e-4;
                let measured = (moved(step) - moved(-step)) / (2.0 * step);
                let error = (measured - slope).abs() / size;
                assert!(error < 1e-4, "{dims:?}, layer {layer}, {name}: {slope}, not {measured}: {error:e}");
            }
        }
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    let model = &odd_models()[0];
    let mut noise = Noise(9);
    // More rows than groups of them.
    let texts: Vec<Vec<u16>> = (0..37).map(|i| noise.symbols(20 + i, 41)).collect();
    let run = |threads: usize| {
        let mut carries = vec![Carry::zero(model.dims()); texts.len()];
        let mut grad = zeros_like(model.checkpoint());
        let mut rows: Vec<Row<'_>> = texts
            .iter()
            .zip(&mut carries)
            .map(|(text, carry)| Row { symbols: text, next: text, starts: &[7], carry })
            .collect();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let loss = pool.install(|| gradient(model, &mut rows, &mut grad));
        (loss, grad, carries)
    };
    assert!(run(1) == run(2));
    assert!(run(3) == run(1));
}

#[test]
fn what_is_computed_again_has_the_same_bits() {
    for model in odd_models() {
        let batch = Batch::new(&model);
        let prepared = Prepared::new(&model);
        let run = |keep: usize| {
            let (mut carry, mut grad) = (batch.before[2].clone(), zeros_like(model.checkpoint()));
            let text = &batch.texts[2];
            let symbols = &text[..text.len() - 1];
            let mut stream = Stream { symbols, starts: &batch.starts[2], carry: carry.as_mut_slice() };
            let nats = prepared.gradient_with(
                &mut stream,
                &mut grad,
                &mut |range, logits| next_symbol(&text[1..][range], logits),
                keep,
            );
            (nats.to_bits(), grad, carry)
        };
        assert!(run(0) == run(1 << 30));
    }
}

#[test]
fn nothing_leaks_over_a_start() {
    for model in odd_models() {
        let mut batch = Batch::new(&model);
        batch.starts = vec![vec![0], vec![77], vec![130]];
        let (_, _, after) = batch.gradient(&model);
        // Another state before and other symbols before the start: the state after it stays, bit for bit.
        let mut other = Batch::new(&model);
        other.starts = batch.starts.clone();
        for (row, (text, starts)) in other.texts.iter_mut().zip(&batch.starts).enumerate() {
            other.before[row].as_mut_slice().iter_mut().for_each(|c| *c = -0.25 - *c);
            text[..starts[0] as usize].iter_mut().for_each(|s| *s = (*s + 1) % 7);
        }
        let (_, _, after_other) = other.gradient(&model);
        assert!(after == after_other);
        // The loss is that of the documents, and so is the gradient.
        let text = &batch.texts[1];
        let mut parts = zeros_like(model.checkpoint());
        let mut carries = [batch.before[1].clone(), Carry::zero(model.dims())];
        let [first, second] = &mut carries;
        let mut rows = [
            Row { symbols: &text[..77], next: &text[1..78], starts: &[77], carry: first },
            Row { symbols: &text[77..140], next: &text[78..], starts: &[], carry: second },
        ];
        let apart = gradient(&model, &mut rows, &mut parts);
        let mut whole = zeros_like(model.checkpoint());
        let mut carry = batch.before[1].clone();
        let mut row = [Row { symbols: &text[..140], next: &text[1..], starts: &[77], carry: &mut carry }];
        let together = gradient(&model, &mut row, &mut whole);
        assert!((apart.nats / together.nats - 1.0).abs() < 1e-6, "{apart:?}, {together:?}");
        for ((layer, name, a), (.., b)) in parts.tensors_mut().into_iter().zip(whole.tensors_mut()) {
            let size = b.iter().fold(0.0f32, |most, x| most.max(x.abs()));
            let error = a.iter().zip(&*b).fold(0.0f32, |most, (a, b)| most.max((a - b).abs()));
            assert!(error <= 2e-5 * size, "layer {layer}, {name}: {error} of {size}");
        }
        assert!(carries[0] == Carry::zero(model.dims()), "a start after the last symbol clears the state");
    }
}

#[test]
fn windows_join() {
    for model in odd_models() {
        let batch = Batch::new(&model);
        let text = &batch.texts[2];
        let read = |cuts: &[usize]| {
            let mut carry = batch.before[2].clone();
            let mut nats = 0.0;
            for cut in cuts.windows(2) {
                let (symbols, next) = (&text[cut[0]..cut[1]], &text[cut[0] + 1..cut[1] + 1]);
                nats += losses(&model, &mut [Row { symbols, next, starts: &[], carry: &mut carry }])[0].nats;
            }
            (nats, carry)
        };
        let (whole, state) = read(&[0, 259]);
        // Windows shorter than the convolution among them.
        for cuts in [&[0, 128, 259][..], &[0, 1, 2, 3, 5, 200, 201, 259]] {
            let (nats, end) = read(cuts);
            assert!((nats / whole - 1.0).abs() < 1e-6, "{nats} and {whole}");
            for (a, b) in state.as_slice().iter().zip(end.as_slice()) {
                assert!((a - b).abs() < 1e-5 * (1.0 + a.abs()), "state: {a} and {b}");
            }
        }
    }
}

#[test]
fn damage_is_seen_in_the_loss() {
    let mut c = odd_models()[0].checkpoint().clone();
    c.layers[1].x_proj[5] = f32::NAN;
    let model = Model::of_symbols(c).unwrap();
    let (loss, grad, _) = Batch::new(&model).gradient(&model);
    assert!(loss.nats.is_nan() && grad.embedding.iter().any(|g| g.is_nan()));
}

#[test]
fn other_vocabularies_are_checked() {
    let whole = odd_models()[0].checkpoint().clone();
    let wrong = |change: fn(&mut Checkpoint)| {
        let mut c = whole.clone();
        change(&mut c);
        Model::of_symbols(c).unwrap_err().to_string()
    };
    assert_eq!(wrong(|c| c.embedding.clear()), "vocabulary = 0 is outside 1..=65536");
    assert_eq!(wrong(|c| c.embedding.push(0.0)), "layer 2, embedding: 697 elements needed, 698 given");
    assert_eq!(wrong(|c| c.head = Some(vec![])), "layer 2, head: 697 elements needed, 0 given");
    assert_eq!(wrong(|c| c.norm_f.push(1.0)), "layer 2, norm_f: 17 elements needed, 18 given");
}
