//! A checkpoint's weights on the GPU, in f32 or bf16, for prefill and for decoding.
//!
//! Every width is padded to a multiple of 8 with zero weights, so that rows start at multiples of 16 bytes: a padding
//! channel is 0 all the way from `in_proj` to `out_proj`. Matrices are `[rows out, columns in]`, row-major, in the
//! element type; vectors, decays and the embedding are f32.

use cudarc::driver::CudaSlice;
use mambabyte_core::{Dims, Norm, VOCAB};

use super::buffer::{Buffer, Element};
use crate::checkpoint::{Checkpoint, Layer};
use crate::cuda::device::Device;
use crate::cuda::error::CudaError;

/// Widths as they are in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Widths {
    /// `d_model`, padded.
    pub(crate) model: usize,
    /// `d_inner`, padded.
    pub(crate) inner: usize,
    /// `d_state`, padded: columns of B, and of C.
    pub(crate) state: usize,
    /// `dt_rank`, padded.
    pub(crate) rank: usize,
}

impl Widths {
    pub(crate) const fn of(dims: &Dims) -> Self {
        const fn eight(n: usize) -> usize {
            n.next_multiple_of(8)
        }
        Self {
            model: eight(dims.d_model),
            inner: eight(dims.d_inner),
            state: eight(dims.d_state),
            rank: eight(dims.dt_rank),
        }
    }

    /// Columns of `x_proj`'s output: B, C, dt, each padded. (The checkpoint's order is dt, B, C.)
    pub(crate) const fn selection(&self) -> usize {
        2 * self.state + self.rank
    }
}

/// Weights of one layer.
#[derive(Debug)]
pub(crate) struct LayerWeights {
    /// `[model]`.
    pub(crate) norm: CudaSlice<f32>,
    /// `[model]`, LayerNorm only.
    pub(crate) norm_bias: Option<CudaSlice<f32>>,
    /// `[2 inner, model]`: x, then z.
    pub(crate) in_proj: Buffer,
    /// `[d_conv, inner]`, oldest tap first.
    pub(crate) conv: CudaSlice<f32>,
    /// `[inner]`.
    pub(crate) conv_bias: CudaSlice<f32>,
    /// `[selection, inner]`: B, C, dt.
    pub(crate) x_proj: Buffer,
    /// `[inner, rank]`.
    pub(crate) dt_proj: Buffer,
    /// `[inner]`.
    pub(crate) dt_bias: CudaSlice<f32>,
    /// `A log2(e)`: `[inner, d_state]`, or `[inner]` if the decays are tied.
    pub(crate) a: CudaSlice<f32>,
    /// `[inner]`.
    pub(crate) d_skip: CudaSlice<f32>,
    /// `[model, inner]`.
    pub(crate) out_proj: Buffer,
}

/// All weights.
#[derive(Debug)]
pub(crate) struct Weights {
    pub(crate) dims: Dims,
    pub(crate) widths: Widths,
    pub(crate) element: Element,
    pub(crate) norm_eps: f32,
    /// `[256, model]`.
    pub(crate) embedding: CudaSlice<f32>,
    pub(crate) layers: Vec<LayerWeights>,
    /// `[model]`.
    pub(crate) norm_f: CudaSlice<f32>,
    /// `[model]`, LayerNorm only.
    pub(crate) norm_f_bias: Option<CudaSlice<f32>>,
    /// `[256, model]`.
    pub(crate) head: Buffer,
}

/// Puts the rows of `[rows, columns]` into a wider and longer zero matrix; row `r` goes to `place(r)`.
fn pad(from: &[f32], columns: usize, to_rows: usize, to_columns: usize, place: impl Fn(usize) -> usize) -> Vec<f32> {
    let mut to = vec![0.0; to_rows * to_columns];
    for (r, row) in from.chunks_exact(columns).enumerate() {
        to[place(r) * to_columns..][..columns].copy_from_slice(row);
    }
    to
}

/// `A log2(e)` by channel: each state's, or the first one's if the decays are tied.
fn decays(layer: &Layer, dims: &Dims, widths: &Widths) -> Vec<f32> {
    let states = if dims.tied_decays { 1 } else { dims.d_state };
    let mut a = vec![0.0; widths.inner * states];
    for (to, from) in a.chunks_exact_mut(states).zip(layer.a_log.chunks_exact(dims.d_state)) {
        for (to, from) in to.iter_mut().zip(from) {
            *to = (-f64::from(*from).exp() * std::f64::consts::LOG2_E) as f32;
        }
    }
    a
}

impl Weights {
    /// Bytes on the GPU.
    pub(crate) fn bytes(dims: &Dims, element: Element) -> usize {
        let w = Widths::of(dims);
        let matrices = w.inner * (3 * w.model + w.selection() + w.rank);
        let vectors = 2 * w.model + w.inner * (dims.d_conv + 3 + dims.d_state);
        let ends = VOCAB * w.model * (4 + element.bytes()) + 8 * w.model;
        dims.n_layer * (matrices * element.bytes() + vectors * 4) + ends
    }

    /// Copies a checkpoint whose sizes [`crate::Model::new`] has checked.
    ///
    /// # Errors
    /// [`CudaError::OutOfMemory`] with the bytes of all weights.
    pub(crate) fn upload(device: &Device, checkpoint: &Checkpoint, element: Element) -> Result<Self, CudaError> {
        let dims = checkpoint.dims;
        let (need, (free, _)) = (Self::bytes(&dims, element), device.context().mem_get_info()?);
        if need > free {
            return Err(CudaError::OutOfMemory { what: "the model's weights", need, free });
        }
        let w = Widths::of(&dims);
        let what = "the model's weights";
        let same = |r: usize| r;
        let vector = |v: &[f32], len: usize| device.upload(what, &pad(v, v.len().max(1), 1, len, same));
        let matrix = |values: Vec<f32>| Buffer::upload(device, what, &values, element);
        let bias = |v: &[f32]| (dims.norm == Norm::Layer).then(|| vector(v, w.model)).transpose();
        let (di, d_state, dt_rank) = (dims.d_inner, dims.d_state, dims.dt_rank);
        // The checkpoint's rows are dt, B, C.
        let selection = |r: usize| match r {
            r if r < dt_rank => 2 * w.state + r,
            r if r < dt_rank + d_state => r - dt_rank,
            r => w.state + r - dt_rank - d_state,
        };
        let mut layers = Vec::with_capacity(dims.n_layer);
        for l in &checkpoint.layers {
            let mut conv = vec![0.0; dims.d_conv * w.inner];
            for (d, taps) in l.conv1d.chunks_exact(dims.d_conv).enumerate() {
                taps.iter().enumerate().for_each(|(k, &tap)| conv[k * w.inner + d] = tap);
            }
            let halves = |r: usize| if r < di { r } else { w.inner + r - di };
            layers.push(LayerWeights {
                norm: vector(&l.norm, w.model)?,
                norm_bias: bias(&l.norm_bias)?,
                in_proj: matrix(pad(&l.in_proj, dims.d_model, 2 * w.inner, w.model, halves))?,
                conv: device.upload(what, &conv)?,
                conv_bias: vector(&l.conv_bias, w.inner)?,
                x_proj: matrix(pad(&l.x_proj, di, w.selection(), w.inner, selection))?,
                dt_proj: matrix(pad(&l.dt_proj, dt_rank, w.inner, w.rank, same))?,
                dt_bias: vector(&l.dt_bias, w.inner)?,
                a: device.upload(what, &decays(l, &dims, &w))?,
                d_skip: vector(&l.d_skip, w.inner)?,
                out_proj: matrix(pad(&l.out_proj, di, w.model, w.inner, same))?,
            });
        }
        let table = |v: &[f32]| pad(v, dims.d_model, VOCAB, w.model, same);
        Ok(Self {
            dims,
            widths: w,
            element,
            norm_eps: checkpoint.norm_eps,
            embedding: device.upload(what, &table(&checkpoint.embedding))?,
            layers,
            norm_f: vector(&checkpoint.norm_f, w.model)?,
            norm_f_bias: bias(&checkpoint.norm_f_bias)?,
            head: matrix(table(checkpoint.head.as_ref().unwrap_or(&checkpoint.embedding)))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_leaves_zeros() {
        let padded = pad(&[1.0, 2.0, 3.0, 4.0], 2, 3, 4, |r| 2 * r);
        assert_eq!(padded, [1.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 3.0, 4.0, 0.0, 0.0]);
    }

    #[test]
    fn widths_are_multiples_of_eight() {
        let dims = Dims {
            d_model: 36,
            n_layer: 1,
            d_inner: 71,
            d_state: 3,
            d_conv: 4,
            dt_rank: 9,
            norm: Norm::Rms,
            tied_head: true,
            tied_decays: true,
        };
        let w = Widths::of(&dims);
        assert_eq!((w.model, w.inner, w.state, w.rank, w.selection()), (40, 72, 8, 16, 32));
        let layer = Layer { a_log: vec![0.0; 71 * 3], ..Layer::default() };
        let a = decays(&layer, &dims, &w);
        assert_eq!(a.len(), 72);
        assert_eq!(a[70], -std::f32::consts::LOG2_E);
        assert_eq!(a[71], 0.0);
        assert_eq!(decays(&layer, &Dims { tied_decays: false, ..dims }, &w).len(), 72 * 3);
    }
}
