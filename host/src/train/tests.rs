//! The forward pass against the oracle step, the gradient of every tensor against finite differences.

use mambabyte_core::dims::Norm;
use mambabyte_core::{Dims, VOCAB};

use super::{Pass, log_softmax, zeros_like};
use crate::{Checkpoint, Layer, Model};

/// A small model with every feature: bias, free decays, untied head.
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
    let mut seed = 11u64;
    let mut noise = |n: usize, scale: f32, base: f32| -> Vec<f32> {
        (0..n)
            .map(|_| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                base + scale * ((seed >> 40) as f32 / 8_388_608.0 - 1.0)
            })
            .collect()
    };
    let bias = if norm == Norm::Layer { 16 } else { 0 };
    let layers = (0..2)
        .map(|_| Layer {
            norm: noise(16, 0.3, 1.0),
            norm_bias: noise(bias, 0.2, 0.0),
            in_proj: noise(48 * 16, 0.4, 0.0),
            conv1d: noise(24 * 3, 0.6, 0.0),
            conv_bias: noise(24, 0.2, 0.0),
            x_proj: noise(8 * 24, 0.4, 0.0),
            dt_proj: noise(24 * 2, 0.5, 0.0),
            dt_bias: noise(24, 0.5, -1.0),
            a_log: noise(24 * 3, 0.5, 0.3),
            d_skip: noise(24, 0.5, 0.5),
            out_proj: noise(16 * 24, 0.4, 0.0),
        })
        .collect();
    let head = (!tied_head).then(|| noise(VOCAB * 16, 0.3, 0.0));
    Model::new(Checkpoint {
        dims,
        norm_eps: 1e-5,
        embedding: noise(VOCAB * 16, 0.5, 0.0),
        layers,
        norm_f: noise(16, 0.3, 1.0),
        norm_f_bias: noise(bias, 0.2, 0.0),
        head,
    })
    .unwrap()
}

const TEXT: &[u8] = b"\0$GPGGA,12";

#[test]
fn forward_is_the_oracle_step() {
    for (norm, tied) in [(Norm::Rms, true), (Norm::Layer, false)] {
        let model = model(norm, tied);
        let pass = Pass::forward(&model, TEXT);
        let mut session = model.session();
        for (t, &byte) in TEXT.iter().enumerate() {
            for (a, b) in session.step(byte).unwrap().iter().zip(&pass.logits[t * VOCAB..]) {
                assert!((a - b).abs() < 2e-5, "byte {t}: {a} and {b}");
            }
        }
    }
}

/// Sum of `-log p` of each next byte.
fn loss(model: &Model) -> f64 {
    let mut logits = Pass::forward(model, TEXT).logits;
    log_softmax(&mut logits);
    (1..TEXT.len()).map(|t| -f64::from(logits[(t - 1) * VOCAB + usize::from(TEXT[t])])).sum()
}

#[test]
fn gradients_are_finite_differences() {
    for (norm, tied) in [(Norm::Rms, true), (Norm::Layer, false)] {
        let model = model(norm, tied);
        let pass = Pass::forward(&model, TEXT);
        let mut dlogits = pass.logits.clone();
        log_softmax(&mut dlogits);
        dlogits.iter_mut().for_each(|l| *l = l.exp());
        dlogits[(TEXT.len() - 1) * VOCAB..].fill(0.0);
        for t in 1..TEXT.len() {
            dlogits[(t - 1) * VOCAB + usize::from(TEXT[t])] -= 1.0;
        }
        let mut grad = zeros_like(model.checkpoint());
        pass.backward(&dlogits, &mut grad);
        for (index, (layer, name, values)) in grad.tensors_mut().into_iter().enumerate() {
            // Along the tensor's own gradient: the slope is its norm.
            let slope = values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
            if values.is_empty() {
                continue;
            }
            assert!(slope > 1e-4, "layer {layer}, {name}: no gradient");
            let moved = |by: f64| {
                let mut checkpoint = model.checkpoint().clone();
                let (.., tensor) = &mut checkpoint.tensors_mut()[index];
                tensor.iter_mut().zip(&*values).for_each(|(x, g)| *x += (by * f64::from(*g) / slope) as f32);
                loss(&Model::new(checkpoint).unwrap())
            };
            let measured = (moved(4e-3) - moved(-4e-3)) / 8e-3;
            assert!((measured - slope).abs() < 1e-2 * slope + 2e-3, "layer {layer}, {name}: {measured} and {slope}");
        }
    }
}
