//! Many known bytes at once: [`Prefill`].
//!
//! The same equations as [`step`](crate::step), layer by layer over a block of positions. The projections become
//! products of matrices, so a weight is read once per block and not once per byte; the convolution and the scan go from
//! position to position. Integer sums have no order: state and logits have the bits of stepping, wherever a text is
//! cut into blocks.
//!
//! A block may also hold one byte, or a few, of each of many streams: [`Prefill::layer`] takes the states that its
//! positions belong to. Streams that step together share every read of a weight.

use core::ops::DerefMut;

use super::scratch;
use crate::blob::Blob;
use crate::block::{self, Alone, Run, Shape};
use crate::cannot::never;
use crate::dims::Logits;
use crate::dims::VOCAB;
use crate::simd::{Backend, Kernels, ToI32, with_kernels};
use crate::span::{Activations, Many};
use crate::stage::{Stage, untimed};
use crate::state::{State, StateError};

/// Which logits [`Prefill::read`] shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Show {
    /// None: only the state matters.
    Nothing,
    /// Those after the last byte.
    Last,
    /// Those after every byte.
    All,
}

/// Reads blocks of bytes into states.
///
/// ```
/// # use mambabyte_core::{Blob, Decoder, Prefill, State, Show, include_blob};
/// let blob = Blob::parse(include_blob!("../../../models/sensor-pico/model.mbb"))?;
/// let text = b"$GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M";
/// let mut state = State::new(&blob, vec![0; blob.dims().state_len()])?;
/// let mut prefill = Prefill::new(blob, 16, vec![0; blob.dims().prefill_len(16)])?;
/// let mut last = [0; 256];
/// prefill.read(&mut state, text, Show::Last, &mut |_, logits| last = logits[0]);
///
/// let mut decoder = Decoder::owned(blob);
/// assert_eq!(decoder.prefill(text), Some(&last));
/// assert_eq!(decoder.state().as_slice(), state.as_slice());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Prefill<'b, S> {
    blob: Blob<'b>,
    backend: Backend,
    positions: usize,
    filled: usize,
    scratch: S,
}

impl<'b, S: DerefMut<Target = [i32]>> Prefill<'b, S> {
    /// Blocks of up to `positions` bytes, on the fastest backend of this machine.
    ///
    /// * `scratch`: at least [`Dims::prefill_len`](crate::Dims::prefill_len) elements, contents irrelevant.
    ///
    /// # Errors
    /// [`StateError::TooSmall`], also if `positions` is 0.
    pub fn new(blob: Blob<'b>, positions: usize, scratch: S) -> Result<Self, StateError> {
        if positions == 0 {
            return Err(StateError::TooSmall { what: "block of positions", need: 1, have: 0 });
        }
        let (need, have) = (blob.dims().prefill_len(positions), scratch.len());
        if have < need {
            return Err(StateError::TooSmall { what: "scratch memory of the block", need, have });
        }
        Ok(Self { blob, backend: Backend::detect().for_blob(&blob), positions, filled: 0, scratch })
    }

    /// The same on another backend, with the same bits; in scalar code if the blob is in tiles and the backend
    /// is not made for them.
    pub fn with_backend(self, backend: Backend) -> Self {
        Self { backend: backend.for_blob(&self.blob), ..self }
    }

    /// The model.
    pub const fn blob(&self) -> &Blob<'b> {
        &self.blob
    }

    /// The most positions that a block can have.
    pub const fn positions(&self) -> usize {
        self.positions
    }

    /// Reads `bytes` into `state`, block by block. `see(first, logits)` is shown the logits that `show` asks for: those
    /// after byte `first` and after the next ones.
    ///
    /// # Errors
    /// [`StateError::ForeignModel`] if `state` belongs to another model; it is unchanged then.
    /// # Cost
    /// One multiply-add per weight and byte, one read of every weight per block; the head only for logits that are
    /// wanted. No allocation.
    pub fn read<M: DerefMut<Target = [i16]>>(
        &mut self,
        state: &mut State<M>,
        bytes: &[u8],
        show: Show,
        see: &mut dyn FnMut(usize, &[Logits]),
    ) -> Result<(), StateError> {
        let (expected, found) = (self.blob.fingerprint(), state.fingerprint());
        if expected != found {
            return Err(StateError::ForeignModel { expected, found });
        }
        let mut first = 0;
        for block in bytes.chunks(self.positions) {
            self.embed(block);
            for (index, layer) in state.layers_mut(&self.blob).enumerate() {
                self.layer(index, &mut [Run { state: layer, positions: block.len(), keep: &mut [] }]);
            }
            state.count(block.len() as u64);
            let end = first + block.len();
            match show {
                Show::All => see(first, self.logits()),
                Show::Last if end == bytes.len() => see(end - 1, core::slice::from_ref(self.last_logits())),
                _ => {}
            }
            first = end;
        }
        Ok(())
    }

    /// Begins a block: the rows of the embedding. Bytes beyond [`Prefill::positions`] are left out.
    pub fn embed(&mut self, bytes: &[u8]) {
        let dims = *self.blob.dims();
        self.filled = bytes.len().min(self.positions);
        let (buffers, _) = scratch::positions(&dims, &mut self.scratch, self.filled);
        let (blob, base) = (self.blob, self.blob.head.embedding_shift);
        with_kernels!(self.backend, |k| {
            for (&byte, residual) in bytes.iter().zip(buffers.residual.chunks_exact_mut(dims.d_model.max(1))) {
                let (code, row) = blob.embedding_of(byte);
                k.embed(row, code, base, residual);
            }
        });
    }

    /// Runs layer `index` over the block that [`Prefill::embed`] began. Layers go in order.
    ///
    /// * `runs`: which positions belong to which state; together they are the block.
    pub fn layer(&mut self, index: usize, runs: &mut [Run<'_>]) {
        self.layer_timed(index, runs, &mut untimed);
    }

    /// [`Prefill::layer`]; `done` hears the end of each of its stages.
    pub fn layer_timed(&mut self, index: usize, runs: &mut [Run<'_>], done: &mut impl FnMut(Stage)) {
        let layer = self.blob.block(index);
        let dims = *self.blob.dims();
        let shape = Shape { dims: &dims, eps: self.blob.head.norm_eps };
        let (mut buffers, panel) = scratch::positions(&dims, &mut self.scratch, self.filled);
        let mut span = Many { panel };
        with_kernels!(self.backend, |k| {
            // A pass that is alone always completes.
            let _ = block::run(k, &mut span, shape, &layer, &mut buffers, runs, &mut Alone, done);
        });
    }

    /// Takes the state of layer `index` to position `count` of a block, from the state before that block, with the bits
    /// of a step for each: what speculation does with the part of a draft that is accepted.
    ///
    /// * `state`: of one layer, as in [`Run::state`].
    /// * `kept`: what that run has put in [`Run::keep`]; at most [`Prefill::positions`]. Layers go in any order.
    /// * `count`: at most as many as are kept; more is as many.
    ///
    /// # Cost
    /// The convolution's history and the scan: no projection, so no weight but the decays is read. No allocation.
    pub fn replay(&mut self, index: usize, state: &mut [i16], kept: &[i16], count: usize) {
        let (layer, dims) = (self.blob.block(index), *self.blob.dims());
        let (buffers, _) = scratch::positions(&dims, &mut self.scratch, self.positions);
        let memory = (buffers.powers, buffers.y);
        with_kernels!(self.backend, |k| {
            block::replay::<_, Many<'_>>(k, &dims, &layer, state, kept, count, memory);
        });
    }

    /// The logits after every position of the block.
    pub fn logits(&mut self) -> &[Logits] {
        self.head(0)
    }

    /// The logits after the last position of the block; zeros if it is empty.
    pub fn last_logits(&mut self) -> &Logits {
        match self.head(self.filled.saturating_sub(1)).first() {
            Some(logits) => logits,
            None => &[0; VOCAB],
        }
    }

    /// The last norm and the head of all positions from `first` on.
    fn head(&mut self, first: usize) -> &[Logits] {
        let dims = *self.blob.dims();
        let (buffers, panel) = scratch::positions(&dims, &mut self.scratch, self.filled);
        let (weight, bias) = self.blob.norm_f();
        let (head, w) = (self.blob.head, self.blob.head_weights());
        let from = first * dims.d_model;
        let (Some(residual), Some(u)) = (buffers.residual.get(from..), buffers.u.get_mut(from..)) else {
            return never("a position of the block", &[]);
        };
        let Some(logits) = buffers.y.get_mut(..(self.filled - first) * VOCAB) else {
            return never("room for the logits", &[]);
        };
        let d_model = dims.d_model.max(1);
        with_kernels!(self.backend, |k| {
            for (residual, u) in residual.chunks_exact(d_model).zip(u.chunks_exact_mut(d_model)) {
                k.norm(residual, weight, bias, head.norm_f_shift, head.norm_eps, u);
                k.pack(u);
            }
            k.project(w, Activations::new(u, d_model), ToI32, &mut Many { panel }, logits);
        });
        logits.as_chunks().0
    }
}
