//! Weights before the first step, as Mamba's reference code draws them.

use mambabyte_core::{Dims, Norm, Rng, VOCAB};

use super::augment::unit;
use crate::{Checkpoint, Layer};

/// Largest and smallest first step sizes.
const DELTA: [f64; 2] = [1e-3, 1e-1];
/// Standard deviation of the embedding.
const EMBEDDING: f64 = 0.02;

/// A number of the standard normal distribution (Box and Muller).
fn normal(rng: &mut Rng) -> f64 {
    let radius = (-2.0 * (1.0 - unit(rng)).ln()).sqrt();
    radius * (std::f64::consts::TAU * unit(rng)).cos()
}

fn uniform(rng: &mut Rng, n: usize, limit: f64) -> Vec<f32> {
    (0..n).map(|_| ((2.0 * unit(rng) - 1.0) * limit) as f32).collect()
}

/// A model that has learned nothing: projections uniform in `+-1 / sqrt(columns)`, those back into the residual stream
/// divided by `sqrt(n_layer)`; step sizes between 0.001 and 0.1, even in their logarithm; `A = -(n + 1)`, `D = 1`.
pub fn checkpoint(dims: &Dims, seed: u64) -> Checkpoint {
    with_vocabulary(dims, VOCAB, seed)
}

/// The same, over `vocabulary` symbols instead of bytes.
pub fn with_vocabulary(dims: &Dims, vocabulary: usize, seed: u64) -> Checkpoint {
    let mut rng = Rng::new(seed);
    let (d, di, n) = (dims.d_model, dims.d_inner, dims.d_state);
    let bias = if dims.norm == Norm::Layer { d } else { 0 };
    let mut embedding = || (0..vocabulary * d).map(|_| (EMBEDDING * normal(&mut rng)) as f32).collect::<Vec<f32>>();
    let head = (!dims.tied_head).then(&mut embedding);
    let embedding = embedding();
    let of = |columns: usize| 1.0 / (columns as f64).sqrt();
    let layers = (0..dims.n_layer).map(|_| {
        let delta = |rng: &mut Rng| {
            let [low, high] = DELTA.map(f64::ln);
            let delta = (low + (high - low) * unit(rng)).exp();
            // softplus of it is delta.
            (delta + (-(-delta).exp_m1()).ln()) as f32
        };
        Layer {
            norm: vec![1.0; d],
            norm_bias: vec![0.0; bias],
            in_proj: uniform(&mut rng, 2 * di * d, of(d)),
            conv1d: uniform(&mut rng, di * dims.d_conv, of(dims.d_conv)),
            conv_bias: uniform(&mut rng, di, of(dims.d_conv)),
            x_proj: uniform(&mut rng, dims.x_proj_rows() * di, of(di)),
            dt_proj: uniform(&mut rng, di * dims.dt_rank, of(dims.dt_rank)),
            dt_bias: (0..di).map(|_| delta(&mut rng)).collect(),
            a_log: (0..di * n).map(|i| ((i % n + 1) as f64).ln() as f32).collect(),
            d_skip: vec![1.0; di],
            out_proj: uniform(&mut rng, d * di, of(di) / (dims.n_layer as f64).sqrt()),
        }
    });
    let layers = layers.collect();
    Checkpoint {
        dims: *dims,
        norm_eps: 1e-5,
        embedding,
        layers,
        norm_f: vec![1.0; d],
        norm_f_bias: vec![0.0; bias],
        head,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Model;
    use crate::bpb::surprise_bits;

    #[test]
    fn a_model_that_has_learned_nothing_says_eight_bits() {
        for (norm, tied) in [(Norm::Rms, true), (Norm::Layer, false)] {
            let dims = Dims {
                d_model: 32,
                n_layer: 3,
                d_inner: 48,
                d_state: 5,
                d_conv: 4,
                dt_rank: 2,
                norm,
                tied_head: tied,
                tied_decays: tied,
            };
            let weights = checkpoint(&dims, 1);
            assert_eq!(weights, checkpoint(&dims, 1));
            assert_ne!(weights, checkpoint(&dims, 2));
            for &b in &weights.layers[0].dt_bias {
                let delta = f64::from(b).exp().ln_1p();
                assert!((0.99e-3..=0.101).contains(&delta), "{delta}");
            }
            let model = Model::new(weights).unwrap();
            let mut session = model.session();
            let mut bits = 0.0;
            for pair in b"The quick brown fox jumps over the lazy dog".windows(2) {
                bits += surprise_bits(&session.step(pair[0]).unwrap().map(f64::from), pair[1]) / 42.0;
            }
            assert!((bits - 8.0).abs() < 0.2, "{bits}");
        }
    }
}
