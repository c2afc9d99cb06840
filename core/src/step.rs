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

use crate::blob::{Blob, LayerView};
use crate::dims::{Dims, VOCAB, even};
use crate::prefill::Stage;
use crate::projection::{self, Matrix};
use crate::simd::{Backend, Gate, Kernels, NO_LOGITS, with_kernels};
use crate::state::{State, StateError};

/// One logit per byte value, in log2 units with 16 fractional bits: `p(byte) ~ 2^(logit / 65536)`.
/// Multiply by [`LOGIT_SCALE`] for natural logits.
pub type Logits = [i32; VOCAB];

/// `ln(2) / 65536`, from a [`Logits`] element to a natural logit.
pub const LOGIT_SCALE: f64 = core::f64::consts::LN_2 / 65536.0;

/// Fractional bits of a logit.
pub const LOGIT_FRAC: u32 = 16;

/// A model, a state and scratch memory: reads bytes, gives logits.
///
/// ```
/// # use mambabyte_core::{Blob, Decoder, include_blob};
/// let blob = Blob::parse(include_blob!("../../models/sensor-pico/model.mbb"))?;
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

/// The parts of the scratch memory. The scan's accumulators and the logits share the tail: the logits are written last.
struct Scratch<'s> {
    residual: &'s mut [i32],
    u: &'s mut [i16],
    xz: &'s mut [i16],
    log_delta: &'s mut [i16],
    x_proj: &'s mut [i16],
    tail: &'s mut [i32],
}

/// Nobody hears of the stages. A function and no closure, so that the step is compiled once.
const fn untimed(_: Stage) {}

/// Takes the first `n` elements off `rest`; fewer if it is shorter (it never is).
#[inline(always)]
pub(crate) fn take<'s, T>(rest: &mut &'s mut [T], n: usize) -> &'s mut [T] {
    let all = core::mem::take(rest);
    let n = if n > all.len() { all.len() } else { n };
    match all.split_at_mut_checked(n) {
        Some((head, tail)) => {
            *rest = tail;
            head
        }
        None => &mut [],
    }
}

impl<'s> Scratch<'s> {
    #[inline(always)]
    fn split(dims: &Dims, memory: &'s mut [i32]) -> Self {
        let mut rest = memory;
        let residual = take(&mut rest, dims.d_model);
        let mut halves = |n: usize| -> &'s mut [i16] {
            let words = take(&mut rest, even(n) / 2);
            let mut all: &'s mut [i16] = bytemuck::cast_slice_mut(words);
            take(&mut all, n)
        };
        let u = halves(dims.d_model);
        let xz = halves(2 * dims.d_inner);
        let log_delta = halves(dims.d_inner);
        let x_proj = halves(dims.x_proj_rows());
        Self { residual, u, xz, log_delta, x_proj, tail: rest }
    }
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
        let Scratch { residual, u, xz, log_delta, x_proj, tail } = Scratch::split(&dims, &mut self.scratch);
        let (codes, rows) = self.blob.embedding();
        let code = codes.get(byte as usize).copied().unwrap_or(0);
        let row = rows.chunks_exact(dims.d_model.max(1)).nth(byte as usize).unwrap_or(&[]);
        k.embed(row, code, self.blob.head.embedding_shift, residual);
        done(Stage::Embed);
        let eps = self.blob.head.norm_eps;
        let states = self.state.advance().chunks_exact_mut(dims.layer_state_len().max(1));
        for (state, layer) in states.zip(self.blob.layers()) {
            let p = layer.params;
            k.norm(residual, layer.norm_weight, layer.norm_bias, p.norm_shift, eps, u);
            k.pack(u);
            done(Stage::Norm);
            projection::in_proj(k, &layer, &dims, u, xz);
            done(Stage::InProj);
            let Some((x, z)) = xz.split_at_mut_checked(dims.d_inner) else { return };
            let Some((history, h)) = state.split_at_mut_checked(dims.conv_state_len()) else { return };
            k.conv1d_silu(x, history, layer.conv, layer.conv_code, layer.conv_bias, p.conv_shift, p.x_frac);
            done(Stage::Conv);
            project_x(k, &layer, &dims, x, x_proj);
            done(Stage::XProj);
            let Some((dt, bc)) = x_proj.split_at_checked(dims.dt_rank) else { return };
            let Some((b, c)) = bc.split_at_checked(dims.d_state) else { return };
            Matrix::dt_proj(&layer, &dims).log_delta(k, p.dt_proj_shift, dt, layer.dt_bias, log_delta);
            done(Stage::DtProj);
            scan(k, &layer, &dims, h, b, c, x, log_delta, tail);
            done(Stage::Scan);
            let down = gate(k, &layer, tail, x, z);
            k.pack(x);
            done(Stage::Gate);
            Matrix::out_proj(&layer, &dims).add(k, p.out_proj_shift - down, x, residual);
            done(Stage::OutProj);
        }
    }

    /// The last norm and the head.
    fn logits<K: Kernels>(&mut self, k: K) -> &Logits {
        let Scratch { residual, u, tail, .. } = Scratch::split(self.blob.dims(), &mut self.scratch);
        let (weight, bias) = self.blob.norm_f();
        k.norm(residual, weight, bias, self.blob.head.norm_f_shift, self.blob.head.norm_eps, u);
        k.pack(u);
        let (codes, rows) = self.blob.head();
        k.matvec_i32(rows, codes, self.blob.head.head_shift, u, tail);
        match tail.first_chunk() {
            Some(logits) => logits,
            // The scratch memory has been measured: there are always enough.
            None => NO_LOGITS,
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

/// `dt, B, C = x_proj x`.
#[inline(always)]
fn project_x<K: Kernels>(k: K, layer: &LayerView<'_>, dims: &Dims, x: &mut [i16], out: &mut [i16]) {
    k.pack(x);
    Matrix::x_proj(layer, dims).to_i16(k, layer.params.x_proj_shift, x, out);
    k.unpack(x);
    let limit = dims.c_limit() as i16;
    for c in out.iter_mut().skip(dims.dt_rank + dims.d_state) {
        *c = (*c).clamp(-limit, limit);
    }
}

/// The scan: decays and `delta * x` per channel, then the states. `y` lands in the first half of `tail`.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "the operands of one equation")]
fn scan<K: Kernels>(
    k: K,
    layer: &LayerView<'_>,
    dims: &Dims,
    h: &mut [i16],
    b: &[i16],
    c: &[i16],
    x: &[i16],
    log_delta: &mut [i16],
    tail: &mut [i32],
) {
    let p = layer.params;
    let mut rest = tail;
    let y = take(&mut rest, dims.d_inner);
    let mut halves: &mut [i16] = bytemuck::cast_slice_mut(rest);
    let dx = take(&mut halves, dims.d_inner);
    let a = take(&mut halves, dims.d_inner);
    k.delta_x(x, log_delta, p.dx_base, layer.state_code, dx);
    if dims.tied_decays {
        k.first_decay(log_delta, layer.a_log, p.a_base);
        k.scan_tied(h, b, c, log_delta, a, dx, y);
    } else {
        k.scan_free(h, layer.a_log, p.a_base, b, c, log_delta, dx, y);
    }
}

/// The gate of a layer.
#[inline(always)]
fn gate<K: Kernels>(k: K, layer: &LayerView<'_>, y: &mut [i32], x: &mut [i16], z: &mut [i16]) -> u8 {
    let p = layer.params;
    let gate = Gate {
        d_skip: layer.d_skip,
        state_code: layer.state_code,
        y_shift: p.y_shift,
        d_shift: p.d_shift,
        gate_shift: p.gate_shift,
        z_frac: p.z_frac,
    };
    k.gate(&gate, y, x, z)
}
