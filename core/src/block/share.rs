//! Which part of every layer a shard of a team computes.

use core::ops::Range;

use crate::blob::BlockView;
use crate::dims::{Dims, VOCAB};

/// The part of every layer that one shard of a team computes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// Channels, of `d_inner`. This and all other ranges begin at multiples of 64, and end at one or at the last row.
    pub channels: Range<usize>,
    /// Rows of `x_proj`.
    pub select: Range<usize>,
    /// Rows of `out_proj`, of `d_model`.
    pub output: Range<usize>,
    /// Rows of the head, of 256.
    pub head: Range<usize>,
}

impl Share {
    /// The share of shard `index` of `shards` shards. Shares tile every range; all but the last end at multiples of
    /// 64, so that vectors and panels of tiles are full. A share of a small model can be empty.
    pub fn of(dims: &Dims, index: usize, shards: usize) -> Self {
        let range = |n: usize, step: usize| {
            let blocks = n.div_ceil(step);
            let at = |i: usize| (blocks * i / shards.max(1) * step).min(n);
            at(index)..at(index + 1)
        };
        Self {
            channels: range(dims.d_inner, 64),
            select: range(dims.x_proj_rows(), 64),
            output: range(dims.d_model, 64),
            head: range(VOCAB, 16),
        }
    }

    /// i16 elements of the state of one layer: `[d_conv - 1, channels]`, then `[d_state, channels]`.
    pub fn layer_state_len(&self, dims: &Dims) -> usize {
        (dims.d_conv - 1 + dims.d_state) * self.channels.len()
    }

    /// Copies the share's channels of one layer's state (see [`State`](crate::State)) out of it.
    pub fn take_state(&self, dims: &Dims, layer: &[i16], own: &mut [i16]) {
        let (width, n) = (dims.d_inner.max(1), self.channels.len().max(1));
        for (all, own) in layer.chunks_exact(width).zip(own.chunks_exact_mut(n)) {
            if let Some(all) = all.get(self.channels.clone()) {
                own.copy_from_slice(all);
            }
        }
    }

    /// The reverse of [`Share::take_state`].
    pub fn put_state(&self, dims: &Dims, own: &[i16], layer: &mut [i16]) {
        let (width, n) = (dims.d_inner.max(1), self.channels.len().max(1));
        for (all, own) in layer.chunks_exact_mut(width).zip(own.chunks_exact(n)) {
            if let Some(all) = all.get_mut(self.channels.clone()) {
                all.copy_from_slice(own);
            }
        }
    }

    /// Bytes of [`Share::take_strided`] for one layer.
    pub fn strided_len(&self, dims: &Dims) -> usize {
        (dims.d_conv + dims.a_log_rows()) * self.channels.len()
    }

    /// Copies the share's channels of convolution weights and `a_log`, the two tensors in which they do not lie
    /// together.
    pub fn take_strided(&self, dims: &Dims, layer: &BlockView<'_>, own: &mut [u8]) {
        let BlockView::Mamba1(layer) = layer;
        let (width, n) = (dims.d_inner.max(1), self.channels.len().max(1));
        let conv: &[u8] = bytemuck::cast_slice(layer.conv);
        let rows = conv.chunks_exact(width).chain(layer.a_log.chunks_exact(width));
        for (all, own) in rows.zip(own.chunks_exact_mut(n)) {
            if let Some(all) = all.get(self.channels.clone()) {
                own.copy_from_slice(all);
            }
        }
    }
}
