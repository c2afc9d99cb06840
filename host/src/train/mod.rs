//! Gradients of the f32 model: forward over a whole window of bytes, then back through it.
//!
//! The forward pass computes what the oracle step of `mambabyte-core` does, a layer at a time over all bytes instead of
//! a byte at a time, and keeps the activations; [`Pass::backward`] walks them in reverse. The selective scan is
//! differentiated as a linear recurrence: with `a[t] = exp(delta[t] A)` and upstream gradient `g[t]`,
//!
//! ```text
//! dh[t]       = g[t] C[t] + a[t + 1] dh[t + 1]
//! d(delta)    = sum_n dh[t] (h[t - 1] a[t] A + B[t] x[t])
//! ```

pub mod augment;
pub mod average;
mod block;
pub mod data;
pub mod holdout;
pub mod initial;
mod matrix;
mod norm;
pub mod optimizer;
pub mod schedule;
mod seam;
pub mod state_file;
pub mod trainer;

use mambabyte_core::VOCAB;

use crate::{Checkpoint, Layer, Model};
use block::BlockPass;
use norm::NormPass;
pub use seam::{Carry, Loss, Row, gradient, losses};

/// A checkpoint of `like`'s shapes, all zeros: where gradients are summed up.
pub fn zeros_like(like: &Checkpoint) -> Checkpoint {
    let mut zeros = like.clone();
    for (_, _, values) in zeros.tensors_mut() {
        values.fill(0.0);
    }
    zeros
}

impl Checkpoint {
    /// Every tensor as `(layer, name, values)`; `layer` is `n_layer` for what belongs to none. The order is fixed.
    pub fn tensors_mut(&mut self) -> Vec<(usize, &'static str, &mut Vec<f32>)> {
        let top = self.layers.len();
        let mut all: Vec<(usize, &'static str, &mut Vec<f32>)> = Vec::new();
        for (index, layer) in self.layers.iter_mut().enumerate() {
            let Layer {
                norm,
                norm_bias,
                in_proj,
                conv1d,
                conv_bias,
                x_proj,
                dt_proj,
                dt_bias,
                a_log,
                d_skip,
                out_proj,
            } = layer;
            all.extend([
                (index, "norm", norm),
                (index, "norm_bias", norm_bias),
                (index, "in_proj", in_proj),
                (index, "conv1d", conv1d),
                (index, "conv_bias", conv_bias),
                (index, "x_proj", x_proj),
                (index, "dt_proj", dt_proj),
                (index, "dt_bias", dt_bias),
                (index, "a_log", a_log),
                (index, "d_skip", d_skip),
                (index, "out_proj", out_proj),
            ]);
        }
        all.extend([
            (top, "embedding", &mut self.embedding),
            (top, "norm_f", &mut self.norm_f),
            (top, "norm_f_bias", &mut self.norm_f_bias),
        ]);
        all.extend(self.head.as_mut().map(|head| (top, "lm_head", head)));
        all
    }
}

/// The forward pass over one window, from the zero state.
pub struct Pass<'a> {
    model: &'a Model,
    bytes: Vec<u8>,
    blocks: Vec<BlockPass>,
    norm_f: NormPass,
    /// `[bytes, 256]`, natural logits of the byte after each.
    pub logits: Vec<f32>,
}

impl<'a> Pass<'a> {
    /// Runs `model` over `bytes` from the zero state.
    ///
    /// # Cost
    /// Memory: `n_layer * d_inner * (2 * d_state + 10)` floats per byte.
    pub fn forward(model: &'a Model, bytes: &[u8]) -> Self {
        let c = model.checkpoint();
        let d = c.dims.d_model;
        let mut residual: Vec<f32> =
            bytes.iter().flat_map(|&b| &c.embedding[usize::from(b) * d..][..d]).copied().collect();
        let mut blocks = Vec::with_capacity(c.layers.len());
        for (index, layer) in c.layers.iter().enumerate() {
            blocks.push(BlockPass::forward(&c.dims, layer, model.a(index), c.norm_eps, &mut residual));
        }
        let norm_f = NormPass::forward(&residual, &c.norm_f, &c.norm_f_bias, c.norm_eps);
        let logits = matrix::forward(c.head.as_ref().unwrap_or(&c.embedding), &norm_f.out, d);
        Self { model, bytes: bytes.to_vec(), blocks, norm_f, logits }
    }

    /// Adds the gradient of every tensor to `grad`, given that of the logits, `[bytes, 256]`.
    ///
    /// # Cost
    /// Twice the multiply-adds of the forward pass.
    pub fn backward(&self, dlogits: &[f32], grad: &mut Checkpoint) {
        let c = self.model.checkpoint();
        let d = c.dims.d_model;
        let head = c.head.as_ref().unwrap_or(&c.embedding);
        let dout = matrix::to_input(head, dlogits, d);
        matrix::to_weight(grad.head.as_mut().unwrap_or(&mut grad.embedding), dlogits, &self.norm_f.out, d);
        let mut dres = vec![0.0; self.bytes.len() * d];
        self.norm_f.backward(&dout, &c.norm_f, &mut dres, &mut grad.norm_f, &mut grad.norm_f_bias);
        for (index, block) in self.blocks.iter().enumerate().rev() {
            block.backward(&c.dims, &c.layers[index], self.model.a(index), &mut dres, &mut grad.layers[index]);
        }
        for (&byte, dres) in self.bytes.iter().zip(dres.chunks_exact(d)) {
            let row = &mut grad.embedding[usize::from(byte) * d..][..d];
            row.iter_mut().zip(dres).for_each(|(g, d)| *g += d);
        }
    }
}

/// Natural log-softmax of each row of `[_, 256]` logits, in place.
pub fn log_softmax(logits: &mut [f32]) {
    for row in logits.chunks_exact_mut(VOCAB) {
        let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f32 = row.iter().map(|x| (x - top).exp()).sum();
        let log = top + sum.ln();
        row.iter_mut().for_each(|x| *x -= log);
    }
}

#[cfg(test)]
pub(crate) mod tests;
