//! One byte through the model: [`Decoder::step`].
//!
//! ```text
//! res   = embedding[byte]                                   i32, residual_frac fractional bits
//! per layer:
//!   u      = norm(res)                                      i16, static scale
//!   x, z   = in_proj u                                      i16, z with z_frac fractional bits
//!   x      = silu(conv1d(x) + bias)                         i16, x_frac fractional bits
//!   dt,B,C = x_proj x                                       i16, static scales; |C| <= c_limit
//!   l      = log2(softplus(dt_proj dt + dt_bias))           Q10 octaves
//!   h, y   = selective scan                                 h i16 with a scale per channel, y exact i32
//!   g      = (y + D x) * silu(z)                            i32, then i16 by a power of two chosen at this byte
//!   res   += out_proj g                                     i32, saturating
//! logits = head norm_f(res)                                 i32, log2 units, Q16
//! ```
//!
//! Scales are the converter's business: every rescaling here is one row multiplier or one shift of the blob.

use core::ops::DerefMut;

use super::scratch;
use crate::blob::Blob;
use crate::block::{self, Alone, Run, Shape};
use crate::cannot::never;
use crate::dims::{Logits, VOCAB};
use crate::simd::{Backend, Kernels, NO_LOGITS, ToI32, with_kernels};
use crate::span::{Activations, One};
use crate::stage::{Stage, untimed};
use crate::state::{State, StateError};

/// `ln(2) / 65536`, from a [`Logits`] element to a natural logit.
pub const LOGIT_SCALE: f64 = core::f64::consts::LN_2 / 65536.0;

/// Fractional bits of a logit.
pub const LOGIT_FRAC: u32 = 16;

/// A model, a state and scratch memory: reads bytes, gives logits.
///
/// ```
/// # use mambabyte_core::{Blob, Decoder, include_blob};
/// let blob = Blob::parse(include_blob!("../../../models/sensor-pico/model.mbb"))?;
/// let mut state = [0i16; 2112]; // or Dims::of_blob(..).state_len() in a constant
/// let mut scratch = [0i32; 512];
/// let mut decoder = Decoder::new(blob, &mut state[..], &mut scratch[..])?;
/// for &byte in b"$GPGGA," {
///     decoder.step(byte);
/// }
/// assert_eq!(decoder.state().position(), 7);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// `M` holds the state and `S` the scratch memory: `&mut [_]` on a device, `Vec<_>` on a host (`Decoder::owned`).
pub struct Decoder<'b, M, S> {
    blob: Blob<'b>,
    state: State<M>,
    scratch: S,
    backend: Backend,
}

impl<'b, M: DerefMut<Target = [i16]>, S: DerefMut<Target = [i32]>> Decoder<'b, M, S> {
    /// A decoder at the zero state, on the fastest backend of this machine.
    ///
    /// * `state`: at least `Dims::state_len` elements; `scratch`: at least `Dims::scratch_len`.
    ///
    /// # Errors
    /// [`StateError::TooSmall`].
    pub fn new(blob: Blob<'b>, state: M, scratch: S) -> Result<Self, StateError> {
        let state = State::new(&blob, state)?;
        let (need, have) = (blob.dims().scratch_len(), scratch.len());
        if have < need {
            return Err(StateError::TooSmall { what: "scratch memory", need, have });
        }
        Ok(Self { blob, state, scratch, backend: Backend::detect().for_blob(&blob) })
    }

    /// The same decoder on another backend, with the same bits; in scalar code if the blob is in tiles and the backend
    /// is not made for them.
    pub fn with_backend(self, backend: Backend) -> Self {
        Self { backend: backend.for_blob(&self.blob), ..self }
    }

    /// What this decoder runs on.
    pub const fn backend(&self) -> Backend {
        self.backend
    }

    /// The model.
    pub const fn blob(&self) -> &Blob<'b> {
        &self.blob
    }

    /// The state after the bytes read so far.
    pub const fn state(&self) -> &State<M> {
        &self.state
    }

    /// The state, to reset, restore or copy into.
    pub const fn state_mut(&mut self) -> &mut State<M> {
        &mut self.state
    }

    /// Reads `bytes` and returns the logits after the last one; `None` if there is none.
    pub fn prefill(&mut self, bytes: &[u8]) -> Option<&Logits> {
        if bytes.is_empty() {
            return None;
        }
        Some(with_kernels!(self.backend, |k| {
            bytes.iter().for_each(|&byte| self.advance(k, byte, &mut untimed));
            self.logits(k)
        }))
    }

    /// Reads one byte; returns the logits of the next one.
    ///
    /// # Cost
    /// One multiply-add per weight, `d_inner * (d_state or 1)` decays per layer. No allocation, no float.
    pub fn step(&mut self, byte: u8) -> &Logits {
        self.step_timed(byte, &mut untimed)
    }

    /// [`Decoder::step`]; `done` hears the end of each of its stages.
    #[inline]
    pub fn step_timed(&mut self, byte: u8, done: &mut impl FnMut(Stage)) -> &Logits {
        with_kernels!(self.backend, |k| {
            self.advance(k, byte, done);
            let logits = self.logits(k);
            done(Stage::Head);
            logits
        })
    }

    /// Reads one byte; the logits are not computed.
    #[cfg(feature = "flash")]
    pub(crate) fn feed(&mut self, byte: u8) {
        with_kernels!(self.backend, |k| self.advance(k, byte, &mut untimed));
    }

    /// All of a step but the head, which prefill skips.
    fn advance<K: Kernels>(&mut self, k: K, byte: u8, done: &mut impl FnMut(Stage)) {
        let dims = *self.blob.dims();
        let mut buffers = scratch::one_position(&dims, &mut self.scratch);
        let (code, row) = self.blob.embedding_of(byte);
        k.embed(row, code, self.blob.head.embedding_shift, buffers.residual);
        done(Stage::Embed);
        let shape = Shape { dims: &dims, eps: self.blob.head.norm_eps };
        let states = self.state.advance().chunks_exact_mut(dims.layer_state_len().max(1));
        for (state, layer) in states.zip(self.blob.blocks()) {
            let mut runs = [Run { state, positions: 1, keep: &mut [] }];
            // A pass that is alone always completes.
            let _ = block::run(k, &mut One, shape, &layer, &mut buffers, &mut runs, &mut Alone, done);
        }
    }

    /// The last norm and the head.
    fn logits<K: Kernels>(&mut self, k: K) -> &Logits {
        let scratch::Head { residual, u, logits } = scratch::one_head(self.blob.dims(), &mut self.scratch);
        let (weight, bias) = self.blob.norm_f();
        k.norm(residual, weight, bias, self.blob.head.norm_f_shift, self.blob.head.norm_eps, u);
        k.pack(u);
        k.project(self.blob.head_weights(), Activations::new(u, weight.len()), ToI32, &mut One, logits);
        match logits.first_chunk::<VOCAB>() {
            Some(logits) => logits,
            None => never("room for the logits", NO_LOGITS),
        }
    }
}

#[cfg(feature = "std")]
impl<'b> Decoder<'b, std::vec::Vec<i16>, std::vec::Vec<i32>> {
    /// A decoder that owns its memory, on the fastest backend of this machine.
    pub fn owned(blob: Blob<'b>) -> Self {
        let dims = *blob.dims();
        let state = State::new(&blob, std::vec![0; dims.state_len()]);
        // The memory has just been sized by the same functions that `State::new` checks.
        let state = state.unwrap_or_else(|_| unreachable!());
        Self { blob, state, scratch: std::vec![0; dims.scratch_len()], backend: Backend::detect().for_blob(&blob) }
    }
}
