//! Checkpoints with random weights for the tests on a GPU.

use mambabyte_core::{Dims, Norm, VOCAB};
use mambabyte_host::Checkpoint;
use mambabyte_host::checkpoint::Layer;

/// Numbers that look random, the same on every machine.
pub(crate) struct Noise(pub(crate) u64);

impl Noise {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    pub(crate) fn many(&mut self, n: usize, scale: f32) -> Vec<f32> {
        (0..n).map(|_| self.unit() * scale).collect()
    }
}

pub(crate) fn dims(
    d_model: usize,
    n_layer: usize,
    d_inner: usize,
    d_state: usize,
    d_conv: usize,
    dt_rank: usize,
) -> Dims {
    Dims { d_model, n_layer, d_inner, d_state, d_conv, dt_rank, norm: Norm::Rms, tied_head: true, tied_decays: false }
}

/// Weights of the size that training starts from, already rounded to bf16.
pub(crate) fn checkpoint(dims: Dims, seed: u64) -> Checkpoint {
    let mut noise = Noise(seed | 1);
    let mut matrix = |rows: usize, columns: usize| {
        let w = noise.many(rows * columns, (3.0 / columns as f32).sqrt());
        w.iter().map(|&w| half::bf16::from_f32(w).to_f32()).collect::<Vec<f32>>()
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

pub(crate) fn shapes() -> Vec<Dims> {
    vec![
        dims(64, 2, 128, 16, 4, 4),
        // Nothing is a multiple of a tile.
        Dims { norm: Norm::Layer, tied_head: false, ..dims(40, 3, 72, 5, 3, 3) },
        dims(24, 1, 40, 20, 2, 17),
        // Chunks of 8 and of 16 tiles of decode's weights.
        dims(512, 1, 1024, 16, 4, 32),
        dims(1024, 2, 2048, 16, 4, 64),
        // More channels than multiprocessors have tiles.
        dims(2304, 1, 4608, 16, 4, 144),
        Dims { norm: Norm::Layer, ..dims(272, 2, 544, 64, 4, 17) },
    ]
}
