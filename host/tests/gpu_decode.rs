//! The persistent decode kernel against its own arithmetic in f64. Without a GPU: `cargo test -- --ignored` says so and
//! fails.
#![cfg(feature = "cuda")]

mod gpu_models;

use gpu_models::{Noise, checkpoint, shapes};

use mambabyte_core::{Dims, Norm};
use mambabyte_host::Checkpoint;
use mambabyte_host::cuda::{Device, GpuModel};
use mambabyte_host::dequantize::round_rows;
use mambabyte_host::engine::{Answer, Engine, Precision};

/// As the kernel rounds what it multiplies weights with, or not at all.
fn operand(values: impl Iterator<Item = f64>, rounded: bool) -> Vec<f64> {
    let round = |v: f64| if rounded { half::bf16::from_f32(v as f32).to_f64() } else { v };
    values.map(round).collect()
}

fn times(w: &[f32], v: &[f64]) -> Vec<f64> {
    w.chunks_exact(v.len()).map(|row| row.iter().zip(v).map(|(w, v)| *w as f64 * v).sum()).collect()
}

fn silu(x: f64) -> f64 {
    x / (1.0 + (-x).exp())
}

/// `matrix` times the norm of `x`; the operand is the weighted residual stream, as in the kernel.
fn after_norm(model: &Checkpoint, [w, bias, matrix]: [&[f32]; 3], x: &[f64], rounded: bool) -> Vec<f64> {
    let n = x.len() as f64;
    let mean = if model.dims.norm == Norm::Layer { x.iter().sum::<f64>() / n } else { 0.0 };
    let scale = (x.iter().map(|v| v * v).sum::<f64>() / n - mean * mean + model.norm_eps as f64).sqrt().recip();
    let wide = |v: &[f32]| (0..x.len()).map(|i| v.get(i).map_or(0.0, |&v| v as f64)).collect::<Vec<_>>();
    let weighted = times(matrix, &operand(x.iter().zip(w).map(|(x, w)| x * *w as f64), rounded));
    let (of_mean, of_bias) = (times(matrix, &wide(w)), times(matrix, &wide(bias)));
    (0..weighted.len()).map(|i| scale * (weighted[i] - mean * of_mean[i]) + of_bias[i]).collect()
}

/// Logits after every byte in f64, with operands rounded as on the device or not at all.
fn reference(model: &Checkpoint, bytes: &[u8], rounded: bool) -> Vec<f64> {
    let &Dims { d_model, n_layer, d_inner, d_state, d_conv, dt_rank, .. } = &model.dims;
    let mut history = vec![vec![vec![0.0; d_inner]; d_conv - 1]; n_layer];
    let mut h = vec![vec![0.0f64; d_inner * d_state]; n_layer];
    let mut logits = Vec::new();
    for &byte in bytes {
        let embedding = &model.embedding[byte as usize * d_model..][..d_model];
        let mut x: Vec<f64> = embedding.iter().map(|&v| v as f64).collect();
        for (l, w) in model.layers.iter().enumerate() {
            let xz = after_norm(model, [&w.norm, &w.norm_bias, &w.in_proj], &x, rounded);
            history[l].push(xz[..d_inner].to_vec());
            let tap = |c: usize| (0..d_conv).map(|k| w.conv1d[c * d_conv + k] as f64 * history[l][k][c]).sum::<f64>();
            let u: Vec<f64> = (0..d_inner).map(|c| silu(w.conv_bias[c] as f64 + tap(c))).collect();
            history[l].remove(0);
            let selected = times(&w.x_proj, &operand(u.iter().copied(), rounded));
            let (dt, bc) = selected.split_at(dt_rank);
            let dt = times(&w.dt_proj, &operand(dt.iter().copied(), rounded));
            let gated = (0..d_inner).map(|c| {
                let v = dt[c] + w.dt_bias[c] as f64;
                let delta = if v > 20.0 { v } else { v.exp().ln_1p() };
                let mut y = w.d_skip[c] as f64 * u[c];
                for s in 0..d_state {
                    let (at, a) = (c * d_state + s, -(w.a_log[c * d_state + s] as f64).exp());
                    h[l][at] = (delta * a).exp() * h[l][at] + delta * u[c] * bc[s];
                    y += bc[d_state + s] * h[l][at];
                }
                y * silu(xz[d_inner + c])
            });
            let gated = operand(gated, rounded);
            x.iter_mut().zip(times(&w.out_proj, &gated)).for_each(|(x, v)| *x += v);
        }
        let head = model.head.as_ref().unwrap_or(&model.embedding);
        logits.extend(after_norm(model, [&model.norm_f, &model.norm_f_bias, head], &x, rounded));
    }
    logits
}

fn relative_error(expected: &[f64], found: &[f64]) -> f64 {
    assert_eq!(expected.len(), found.len());
    let difference: f64 = expected.iter().zip(found).map(|(a, b)| (a - b) * (a - b)).sum();
    (difference / expected.iter().map(|a| a * a).sum::<f64>()).sqrt()
}

/// The only error is that of operands rounded to bf16, 2^-9 each. What they do to the logits depends on the weights: it
/// is found by rounding them in f64.
#[test]
#[ignore = "needs a GPU"]
fn gpu_decode_errs_by_rounded_operands_alone() {
    let device = Device::open(0).unwrap_or_else(|e| panic!("{e}"));
    let mut noise = Noise(5);
    let bytes: Vec<u8> = (0..48).map(|_| noise.next() as u8).collect();
    for precision in [Precision::Bf16, Precision::I8] {
        for (index, dims) in shapes().into_iter().enumerate() {
            let source = checkpoint(dims, 77 + index as u64);
            let gpu = GpuModel::load(&device, &source, precision).unwrap_or_else(|e| panic!("{e}"));
            let model = if precision == Precision::I8 { round_rows(&source).checkpoint } else { source };
            let mut state = gpu.rows(1).unwrap();
            let mut found = Vec::new();
            for &byte in &bytes {
                match gpu.step(&[byte], &mut state).unwrap() {
                    Answer::FloatLogits(logits) => found.extend(logits.concat().into_iter().map(f64::from)),
                    other => panic!("no logits: {other:?}"),
                }
            }
            let expected = reference(&model, &bytes, false);
            let allowed = 1.1 * relative_error(&expected, &reference(&model, &bytes, true));
            let error = relative_error(&expected, &found);
            println!("{precision} {dims:?}: relative error {error:.2e}, allowed {allowed:.2e}");
            assert!(allowed < 3e-2 && error < allowed, "{precision} {dims:?}: {error}, allowed {allowed}");
        }
    }
}
