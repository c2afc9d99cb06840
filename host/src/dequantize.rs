//! i8 weights in f32: those of a blob, or those of a checkpoint rounded by rows.
//!
//! A blob's integers stand for real numbers, up to scales that the converter was free to choose: those of the
//! activations between two matrices. [`dequantize`] takes the scales that the blob notes for people (and a power of two
//! for the convolution's input, whose scale is not noted anywhere). Whichever scales are taken, the model computes the
//! same.

use mambabyte_core::blob::{BlockView, LayerView};
use mambabyte_core::fixed::row_multiplier;
use mambabyte_core::{Blob, Dims, LOGIT_SCALE};

use crate::checkpoint::{Checkpoint, Layer};

/// Real value of one integer step of the convolution's input.
const CONV_IN: f64 = 1.0 / 4096.0;
/// A model whose large matrices are integers times a step for each row.
#[derive(Clone, Debug, PartialEq)]
pub struct Dequantized {
    /// The integers times their steps.
    pub checkpoint: Checkpoint,
    /// The steps.
    pub steps: RowSteps,
}

/// Steps of the rows of the large matrices; every weight is a whole number of them, at most 127 (128 below zero).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RowSteps {
    /// By layer.
    pub layers: Vec<LayerSteps>,
    /// `[256]`, of the head or, if it is tied, of the embedding.
    pub head: Vec<f32>,
}

/// Steps of the rows of one layer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LayerSteps {
    /// `[2 * d_inner]`.
    pub in_proj: Vec<f32>,
    /// `[dt_rank + 2 * d_state]`.
    pub x_proj: Vec<f32>,
    /// `[d_inner]`.
    pub dt_proj: Vec<f32>,
    /// `[d_model]`.
    pub out_proj: Vec<f32>,
}

/// Real value of a row's multiplier.
fn multiplier(code: u8, shift: u8) -> f64 {
    let (mantissa, shift) = row_multiplier(code, shift);
    mantissa as f64 * (-f64::from(shift)).exp2()
}

/// A scale that the blob notes as log2 in Q8.
fn noted(log2: i16) -> f64 {
    (f64::from(log2) / 256.0).exp2()
}

/// `[rows, columns]` of integers times a step for each row.
fn times(weights: &[i8], columns: usize, steps: &[f32]) -> Vec<f32> {
    let rows = weights.chunks_exact(columns.max(1)).zip(steps);
    rows.flat_map(|(row, step)| row.iter().map(move |&w| f32::from(w) * step)).collect()
}

fn steps(codes: &[u8], shift: u8, unit: impl Fn(usize) -> f64) -> Vec<f32> {
    codes.iter().enumerate().map(|(row, &code)| (multiplier(code, shift) * unit(row)) as f32).collect()
}

/// The f32 model that a blob's integers stand for. What the integer step rounds and saturates is left out.
pub fn dequantize(blob: &Blob<'_>) -> Dequantized {
    let dims = *blob.dims();
    let residual = (-f64::from(blob.residual_frac())).exp2();
    let (embedding_shift, head_shift) = blob.embedding_and_head_shift();
    let (norm_f_shift, eps) = blob.norm_f_shift_and_eps();
    let mut layers = Vec::with_capacity(dims.n_layer);
    let mut all = RowSteps::default();
    for BlockView::Mamba1(layer) in blob.blocks() {
        let (layer, steps) = dequantize_layer(&dims, &layer, residual);
        layers.push(layer);
        all.layers.push(steps);
    }
    let (codes, weights) = blob.embedding();
    let embedding_steps = steps(codes, embedding_shift, |_| residual);
    let embedding = times(weights, dims.d_model, &embedding_steps);
    // A tied head has the embedding's values, which fixes the scale of its input.
    let head_in = if dims.tied_head {
        (f64::from(embedding_shift) - f64::from(head_shift)).exp2() * LOGIT_SCALE / residual
    } else {
        noted(blob.head_in_scale_log2())
    };
    let head = (!dims.tied_head).then(|| {
        let (codes, weights) = blob.head();
        all.head = steps(codes, head_shift, |_| LOGIT_SCALE / head_in);
        times(weights, dims.d_model, &all.head)
    });
    if dims.tied_head {
        all.head = embedding_steps;
    }
    let (weight, bias) = blob.norm_f();
    let (norm_f, norm_f_bias) = norm(&dims, weight, bias, norm_f_shift, head_in);
    let norm_eps = (eps as f64 * residual * residual / dims.d_model as f64) as f32;
    let checkpoint = Checkpoint { dims, norm_eps, embedding, layers, norm_f, norm_f_bias, head };
    Dequantized { checkpoint, steps: all }
}

/// Weight and bias of a norm whose output has integer steps of `scale`. The integer weight has `1 / sqrt(d_model)` and
/// takes a Q24.
fn norm(dims: &Dims, weight: &[i16], bias: &[i16], shift: u8, scale: f64) -> (Vec<f32>, Vec<f32>) {
    let factor = (24.0 - f64::from(shift)).exp2() / (dims.d_model as f64).sqrt() * scale;
    let times = |values: &[i16], factor: f64| values.iter().map(|&v| (f64::from(v) * factor) as f32).collect();
    (times(weight, factor), times(bias, scale))
}

fn dequantize_layer(dims: &Dims, l: &LayerView<'_>, residual: f64) -> (Layer, LayerSteps) {
    let p = l.params;
    let [u, dt, b, c, ..] = p.scale_log2.map(noted);
    let frac = |frac: u8| (-f64::from(frac)).exp2();
    let (x, z) = (frac(p.x_frac), frac(p.z_frac));
    // Real value of a step of y. That of h differs between channels, by the code that leads from h to y: it cancels,
    // except for the rounding of multipliers to 14 bits.
    let of_y = l.state_code.iter().map(|&code| {
        let h = x * b * 32768.0 * (-(f64::from(p.dx_base) + 32.0 * f64::from(code)) / 1024.0).exp2();
        (c * h / multiplier(code, p.y_shift)).log2()
    });
    let y = (of_y.sum::<f64>() / dims.d_inner as f64).exp2();
    let gated = y * z * f64::from(p.gate_shift).exp2();

    let (di, rank) = (dims.d_inner, dims.dt_rank);
    let steps = LayerSteps {
        in_proj: steps(l.in_proj_code, p.in_proj_shift, |r| if r < di { CONV_IN / u } else { z / u }),
        x_proj: steps(l.x_proj_code, p.x_proj_shift, |r| {
            let out = if r < rank {
                dt
            } else if r < rank + dims.d_state {
                b
            } else {
                c
            };
            out / x
        }),
        dt_proj: steps(l.dt_proj_code, p.dt_proj_shift, |_| 1.0 / (1024.0 * dt)),
        out_proj: steps(l.out_proj_code, p.out_proj_shift, |_| residual / gated),
    };
    let conv_steps = self::steps(l.conv_code, p.conv_shift, |_| x / CONV_IN);
    let conv1d = (0..di * dims.d_conv)
        .map(|i| (i / dims.d_conv, i % dims.d_conv))
        .map(|(d, tap)| f32::from(l.conv[tap * di + d]) * conv_steps[d])
        .collect();
    let octave = |d: usize, n: usize| f64::from(p.a_base) / 1024.0 + f64::from(l.a_log[n * di + d]) / 32.0;
    let a_log = (0..di * dims.d_state)
        .map(|i| (i / dims.d_state, i % dims.d_state))
        .map(|(d, n)| {
            let octaves = if dims.tied_decays { octave(d, 0) + ((n + 1) as f64).log2() } else { octave(d, n) };
            (std::f64::consts::LN_2.ln() + octaves * std::f64::consts::LN_2) as f32
        })
        .collect();
    let scaled = |values: &[i16], scale: f64| values.iter().map(|&v| (f64::from(v) * scale) as f32).collect();
    let (norm, norm_bias) = norm(dims, l.norm_weight, l.norm_bias, p.norm_shift, u);
    let layer = Layer {
        norm,
        norm_bias,
        in_proj: times(l.in_proj, dims.d_model, &steps.in_proj),
        conv1d,
        conv_bias: scaled(l.conv_bias, x),
        x_proj: times(l.x_proj, di, &steps.x_proj),
        dt_proj: times(l.dt_proj, rank, &steps.dt_proj),
        dt_bias: scaled(l.dt_bias, 1.0 / 1024.0),
        a_log,
        d_skip: scaled(l.d_skip, frac(p.d_shift) * y / x),
        out_proj: times(l.out_proj, di, &steps.out_proj),
    };
    (layer, steps)
}

/// A checkpoint with its large matrices rounded to the nearest of 255 steps by row, the row's largest magnitude being
/// the last step. The convolution, the decays, all vectors and an untied embedding are not rounded.
pub fn round_rows(checkpoint: &Checkpoint) -> Dequantized {
    let mut checkpoint = checkpoint.clone();
    let dims = checkpoint.dims;
    let mut all = RowSteps::default();
    for l in &mut checkpoint.layers {
        all.layers.push(LayerSteps {
            in_proj: round(&mut l.in_proj, dims.d_model),
            x_proj: round(&mut l.x_proj, dims.d_inner),
            dt_proj: round(&mut l.dt_proj, dims.dt_rank),
            out_proj: round(&mut l.out_proj, dims.d_inner),
        });
    }
    all.head = round(checkpoint.head.as_mut().unwrap_or(&mut checkpoint.embedding), dims.d_model);
    Dequantized { checkpoint, steps: all }
}

/// Rounds rows in place; returns their steps, 1 for a row of zeros.
fn round(weights: &mut [f32], columns: usize) -> Vec<f32> {
    let rows = weights.chunks_exact_mut(columns.max(1));
    rows.map(|row| {
        let largest = row.iter().fold(0.0f32, |m, w| m.max(w.abs()));
        // Steps below the normal range would lose the quotient's bits.
        let step = if largest < 1e-30 { 1.0 } else { largest / 127.0 };
        row.iter_mut().for_each(|w| *w = (*w / step).round() * step);
        step
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use mambabyte_core::{Decoder, LOGIT_SCALE};

    use super::*;
    use crate::Model;
    use crate::align::AlignedBytes;

    fn file(name: &str) -> Vec<u8> {
        let path = format!("{}/../models/{name}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
    }

    /// The dequantised model predicts what the integer one does: their logits differ by the rounding of activations.
    #[test]
    fn a_blob_is_the_f32_model_of_its_integers() {
        let text = file("text/golden-4096.txt");
        for name in ["sensor-nano", "sensor-pico", "sensor-micro"] {
            let memory = AlignedBytes::new(&file(&format!("{name}/model.mbb")));
            let blob = Blob::parse(memory.as_slice()).unwrap();
            let model = Model::new(dequantize(&blob).checkpoint).unwrap();
            let (mut real, mut integer) = (model.session(), Decoder::owned(blob));
            let (mut error, mut norm) = (0.0f64, 0.0f64);
            for &byte in &text[..1000] {
                let expected = integer.step(byte).map(|l| f64::from(l) * LOGIT_SCALE);
                let found = real.step(byte).unwrap().map(f64::from);
                error += expected.iter().zip(found).map(|(e, f)| (e - f).powi(2)).sum::<f64>();
                norm += expected.iter().map(|e| e * e).sum::<f64>();
            }
            let relative = (error / norm).sqrt();
            // Found: 0.0133 for nano's present weights.
            let bound = if name == "sensor-nano" { 0.0135 } else { 0.01 };
            assert!(relative < bound, "{name}: {relative}");
        }
    }

    #[test]
    fn every_weight_is_a_whole_number_of_steps() {
        let memory = AlignedBytes::new(&file("sensor-pico/model.mbb"));
        let blob = Blob::parse(memory.as_slice()).unwrap();
        let Dequantized { checkpoint, steps } = dequantize(&blob);
        let again = |w: &[f32], columns: usize, steps: &[f32]| -> Vec<i8> {
            w.chunks_exact(columns).zip(steps).flat_map(|(r, s)| r.iter().map(move |w| (w / s).round() as i8)).collect()
        };
        let dims = blob.dims();
        for ((l, s), view) in checkpoint.layers.iter().zip(&steps.layers).zip(blob.blocks()) {
            let BlockView::Mamba1(view) = view;
            assert_eq!(again(&l.in_proj, dims.d_model, &s.in_proj), view.in_proj);
            assert_eq!(again(&l.x_proj, dims.d_inner, &s.x_proj), view.x_proj);
            assert_eq!(again(&l.dt_proj, dims.dt_rank, &s.dt_proj), view.dt_proj);
            assert_eq!(again(&l.out_proj, dims.d_inner, &s.out_proj), view.out_proj);
        }
        assert_eq!(again(&checkpoint.embedding, dims.d_model, &steps.head), blob.head().1);
        let rounded = round_rows(&checkpoint);
        for (a, b) in rounded.checkpoint.layers.iter().zip(&checkpoint.layers) {
            let largest = b.in_proj.iter().fold(0.0f32, |m, w| m.max(w.abs()));
            assert!(a.in_proj.iter().zip(&b.in_proj).all(|(a, b)| (a - b).abs() <= 0.51 * largest / 127.0));
            assert_eq!(a.conv1d, b.conv1d);
        }
        assert_eq!(round(&mut [0.0, 0.0, 127.0, -3.6], 2), [1.0, 1.0]);
    }
}
