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
pub mod state_file;
pub mod trainer;

use mambabyte_core::VOCAB;
use rayon::prelude::*;

use crate::{Checkpoint, Layer, Model};
use block::BlockPass;
use norm::NormPass;

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

/// What the model carries from one window of a row to the next: for each layer the convolution's columns
/// `[d_conv - 1, d_inner]`, oldest first, then `h` `[d_inner, d_state]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Carry {
    values: Vec<f32>,
}

impl Carry {
    /// The zero state of a model of `like`'s shape: the beginning of a document.
    pub fn zero(like: &Checkpoint) -> Self {
        Self { values: vec![0.0; like.dims.state_len()] }
    }

    /// All values, in the order above.
    pub fn as_slice(&self) -> &[f32] {
        &self.values
    }

    /// The same, to be filled from a file.
    pub fn as_mut_slice(&mut self) -> &mut [f32] {
        &mut self.values
    }
}

/// One row of a batch: a window of a stream.
#[derive(Debug)]
pub struct Row<'a> {
    /// Symbols that are read, each below the vocabulary (256 for bytes).
    pub symbols: &'a [u16],
    /// The symbol after each, as many: the targets.
    pub next: &'a [u16],
    /// Positions in `symbols`, ascending, before which a document ends: the state is zero there.
    pub starts: &'a [u32],
    /// From the window before; that of the next one afterwards. No gradient flows through it (truncated
    /// backpropagation).
    pub carry: &'a mut Carry,
}

impl Row<'_> {
    /// The ranges of positions between starts, none of them empty.
    fn documents(&self) -> Vec<std::ops::Range<usize>> {
        let len = self.symbols.len();
        let mut edges = vec![0];
        edges.extend(self.starts.iter().map(|&s| s as usize).filter(|&s| s > 0 && s < len));
        edges.push(len);
        edges.dedup();
        edges.windows(2).map(|edge| edge[0]..edge[1]).filter(|range| !range.is_empty()).collect()
    }
}

/// Natural loss, summed over symbols, and how many.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Loss {
    /// Sum of `-ln p` of the targets.
    pub nats: f64,
    /// Targets.
    pub symbols: usize,
}

/// Forward and back over every row; ADDS the gradient of the SUMMED loss to `grad`. Rows are shared out over rayon's
/// current pool; the sums have one order, so that the result depends neither on threads nor on how rows are shared
/// out. NaN comes out as it is: the caller checks.
///
/// # Panics
/// If a symbol is outside the vocabulary, there are more or less targets than symbols, or a carry or `grad` is of
/// another shape.
pub fn gradient(model: &Model, rows: &mut [Row<'_>], grad: &mut Checkpoint) -> Loss {
    let each = |row: &mut Row<'_>| {
        let mut grad = zeros_like(model.checkpoint());
        let loss = read(model, row, Some(&mut grad));
        (loss, grad)
    };
    let mut total = Loss::default();
    for (loss, mut add) in rows.par_iter_mut().map(each).collect::<Vec<_>>() {
        total.nats += loss.nats;
        total.symbols += loss.symbols;
        for ((.., sum), (.., add)) in grad.tensors_mut().into_iter().zip(add.tensors_mut()) {
            sum.iter_mut().zip(add).for_each(|(s, a)| *s += *a);
        }
    }
    total
}

/// The loss of every row alone, no gradient.
///
/// # Panics
/// As [`gradient`].
pub fn losses(model: &Model, rows: &mut [Row<'_>]) -> Vec<Loss> {
    rows.par_iter_mut().map(|row| read(model, row, None)).collect()
}

/// One row, document by document.
fn read(model: &Model, row: &mut Row<'_>, mut grad: Option<&mut Checkpoint>) -> Loss {
    assert_eq!(row.symbols.len(), row.next.len(), "a target for each symbol");
    let vocabulary = model.checkpoint().embedding.len() / model.dims().d_model;
    let mut loss = Loss::default();
    for range in row.documents() {
        if row.starts.contains(&(range.start as u32)) {
            row.carry.values.fill(0.0);
        }
        let mut pass = Pass::from_state(model, &row.symbols[range.clone()], &mut row.carry.values);
        log_softmax_of(&mut pass.logits, vocabulary);
        let mut dlogits = std::mem::take(&mut pass.logits);
        for (logits, &next) in dlogits.chunks_exact_mut(vocabulary).zip(&row.next[range]) {
            loss.nats -= f64::from(logits[usize::from(next)]);
            loss.symbols += 1;
            logits.iter_mut().for_each(|l| *l = l.exp());
            logits[usize::from(next)] -= 1.0;
        }
        if let Some(grad) = grad.as_deref_mut() {
            pass.backward(&dlogits, grad);
        }
    }
    if row.starts.last().is_some_and(|&s| s as usize == row.symbols.len()) {
        row.carry.values.fill(0.0);
    }
    loss
}

/// The forward pass over one window.
pub struct Pass<'a> {
    model: &'a Model,
    symbols: Vec<u16>,
    blocks: Vec<BlockPass>,
    norm_f: NormPass,
    /// `[symbols, vocabulary]`, natural logits of the symbol after each.
    pub logits: Vec<f32>,
}

impl<'a> Pass<'a> {
    /// Runs `model` over `bytes` from the zero state.
    ///
    /// # Cost
    /// Memory: `n_layer * d_inner * (2 * d_state + 10)` floats per byte.
    pub fn forward(model: &'a Model, bytes: &[u8]) -> Self {
        let symbols: Vec<u16> = bytes.iter().map(|&b| b.into()).collect();
        Self::from_state(model, &symbols, &mut vec![0.0; model.dims().state_len()])
    }

    /// Runs `model` over `symbols` from `state`, which becomes that after them.
    fn from_state(model: &'a Model, symbols: &[u16], state: &mut [f32]) -> Self {
        let c = model.checkpoint();
        let d = c.dims.d_model;
        let mut residual: Vec<f32> =
            symbols.iter().flat_map(|&s| &c.embedding[usize::from(s) * d..][..d]).copied().collect();
        let mut blocks = Vec::with_capacity(c.layers.len());
        let states = state.chunks_exact_mut(c.dims.layer_state_len());
        for (index, (layer, state)) in c.layers.iter().zip(states).enumerate() {
            blocks.push(BlockPass::forward(&c.dims, layer, model.a(index), c.norm_eps, &mut residual, state));
        }
        let norm_f = NormPass::forward(&residual, &c.norm_f, &c.norm_f_bias, c.norm_eps);
        let logits = matrix::forward(c.head.as_ref().unwrap_or(&c.embedding), &norm_f.out, d);
        Self { model, symbols: symbols.to_vec(), blocks, norm_f, logits }
    }

    /// Adds the gradient of every tensor to `grad`, given that of the logits, `[symbols, vocabulary]`.
    ///
    /// # Cost
    /// Twice the multiply-adds of the forward pass.
    pub fn backward(&self, dlogits: &[f32], grad: &mut Checkpoint) {
        let c = self.model.checkpoint();
        let d = c.dims.d_model;
        let head = c.head.as_ref().unwrap_or(&c.embedding);
        let dout = matrix::to_input(head, dlogits, d);
        matrix::to_weight(grad.head.as_mut().unwrap_or(&mut grad.embedding), dlogits, &self.norm_f.out, d);
        let mut dres = vec![0.0; self.symbols.len() * d];
        self.norm_f.backward(&dout, &c.norm_f, &mut dres, &mut grad.norm_f, &mut grad.norm_f_bias);
        for (index, block) in self.blocks.iter().enumerate().rev() {
            block.backward(&c.dims, &c.layers[index], self.model.a(index), &mut dres, &mut grad.layers[index]);
        }
        for (&symbol, dres) in self.symbols.iter().zip(dres.chunks_exact(d)) {
            let row = &mut grad.embedding[usize::from(symbol) * d..][..d];
            row.iter_mut().zip(dres).for_each(|(g, d)| *g += d);
        }
    }
}

/// Natural log-softmax of each row of `[_, 256]` logits, in place.
pub fn log_softmax(logits: &mut [f32]) {
    log_softmax_of(logits, VOCAB);
}

/// The same of rows of any vocabulary.
fn log_softmax_of(logits: &mut [f32], vocabulary: usize) {
    for row in logits.chunks_exact_mut(vocabulary) {
        let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f32 = row.iter().map(|x| (x - top).exp()).sum();
        let log = top + sum.ln();
        row.iter_mut().for_each(|x| *x -= log);
    }
}

#[cfg(test)]
pub(crate) mod tests;
