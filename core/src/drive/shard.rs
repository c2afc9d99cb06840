//! One byte on several threads: [`Shard`] computes a [`Share`] of every layer.
//!
//! The phases are those of every driver, in `block`; between them the shards of a step meet in an [`Exchange`]. The
//! bits are those of [`Decoder::step`](crate::Decoder::step). Threads and their meeting points are in `mambabyte-host`.

use core::ops::DerefMut;

use super::scratch::{LINE, aligned, part, words};
use crate::blob::Blob;
use crate::block::{self, Buffers, Exchange, Run, Shape, Share, Sharing};
use crate::cannot::never;
use crate::dims::{Dims, VOCAB};
use crate::simd::{Backend, Kernels, ToI32, with_kernels};
use crate::span::{Activations, One};
use crate::stage::untimed;
use crate::state::StateError;

/// One of the threads that share a step.
pub struct Shard<'b, S> {
    blob: Blob<'b>,
    backend: Backend,
    share: Share,
    scratch: S,
}

impl Dims {
    /// i32 words of scratch memory of a [`Shard`].
    pub const fn shard_len(&self) -> usize {
        LINE + words(self.d_model, 4)
            + words(self.d_model, 2)
            + 5 * words(self.d_inner, 2)
            + words(self.x_proj_rows(), 2)
            + words(self.d_inner, 4)
            + words(VOCAB, 4)
    }
}

/// The buffers of a shard, and the logits.
fn split<'s>(dims: &Dims, share: &Share, memory: &'s mut [i32]) -> (Buffers<'s>, &'s mut [i32]) {
    let mut rest = aligned(memory);
    let rest = &mut rest;
    let own = share.channels.len();
    let buffers = Buffers {
        residual: part(rest, dims.d_model),
        u: part(rest, dims.d_model),
        xz: part(rest, dims.d_inner + own),
        x_proj: part(rest, dims.x_proj_rows()),
        log_delta: part(rest, own),
        dx: part(rest, own),
        powers: part(rest, own),
        down: &mut [],
        y: part(rest, dims.d_inner),
    };
    (buffers, part(rest, VOCAB))
}

impl<'b, S: DerefMut<Target = [i32]>> Shard<'b, S> {
    /// A shard with `share` of the work.
    ///
    /// * `scratch`: at least [`Dims::shard_len`] elements, contents irrelevant.
    ///
    /// # Errors
    /// [`StateError::TooSmall`].
    pub fn new(blob: Blob<'b>, backend: Backend, share: Share, scratch: S) -> Result<Self, StateError> {
        let (need, have) = (blob.dims().shard_len(), scratch.len());
        if have < need {
            return Err(StateError::TooSmall { what: "scratch memory of the shard", need, have });
        }
        Ok(Self { blob, backend: backend.for_blob(&blob), share, scratch })
    }

    /// What this shard computes.
    pub const fn share(&self) -> &Share {
        &self.share
    }

    /// Reads one byte, with the others; returns the logits of its own rows of the head. `None` if `exchange` ends the
    /// step.
    ///
    /// * `state`: its own channels of all layers' states, [`Share::take_state`]; `strided`: [`Share::take_strided`] of
    ///   all layers.
    pub fn step(
        &mut self,
        byte: u8,
        state: &mut [i16],
        strided: &[u8],
        exchange: &mut impl Exchange,
    ) -> Option<&[i32]> {
        let (dims, share, blob) = (*self.blob.dims(), &self.share, self.blob);
        let (mut buffers, logits) = split(&dims, share, &mut self.scratch);
        let logits = logits.get_mut(share.head.clone()).unwrap_or_else(|| never("own rows of the head", &mut []));
        let (code, row) = blob.embedding_of(byte);
        let shape = Shape { dims: &dims, eps: blob.head.norm_eps };
        let states = state.chunks_exact_mut(share.layer_state_len(&dims).max(1));
        let strided = strided.chunks_exact(share.strided_len(&dims).max(1));
        with_kernels!(self.backend, |k| {
            k.embed(row, code, blob.head.embedding_shift, buffers.residual);
            // The share of a small model can be empty: then there is no state, but the exchanges still happen.
            let (mut states, mut strided) = (states, strided);
            for layer in blob.blocks() {
                let state = states.next().unwrap_or(&mut []);
                let mut team = Sharing { share, strided: strided.next().unwrap_or(&[]), exchange };
                let runs = &mut [Run { state, positions: 1, keep: &mut [] }];
                block::run(k, &mut One, shape, &layer, &mut buffers, runs, &mut team, &mut untimed)?;
            }
            let Buffers { residual, u, .. } = buffers;
            let (weight, bias) = blob.norm_f();
            k.norm(residual, weight, bias, blob.head.norm_f_shift, blob.head.norm_eps, u);
            k.pack(u);
            let w = blob.head_weights().part(&share.head);
            k.project(w, Activations::new(u, dims.d_model), ToI32, &mut One, logits);
        });
        Some(logits)
    }
}
