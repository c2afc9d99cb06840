//! The step's inner loops for particular processors, behind one private trait.
//!
//! `Scalar` is the truth: every other implementation has the same bits, and `check` (feature `kernel-check`)
//! compares them on the processor itself. A trait function that an implementation leaves out is the scalar one.
//!
//! An implementation is a value without size, a token. Those for chips can be made anywhere, as the target has the
//! instructions; those for workstations only where the processor was seen to have them. [`Backend`] is a choice among
//! the tokens, `with_kernels!` makes one copy of generic code for each.

#![allow(clippy::too_many_arguments, reason = "the operands of one equation")]

use crate::cannot::never;
use crate::conv1d;
use crate::fixed::{requantize, round_shift, saturate_i16, saturate_i32};
use crate::nonlinear::{decay, silu};
use crate::norm;
use crate::selective_scan;
use crate::span::{Activations, Span};
use crate::weights::WeightsView;

mod backend;
#[cfg(any(mambabyte_mcu, feature = "kernel-check"))]
mod channels;
#[cfg(feature = "kernel-check")]
pub mod check;
#[cfg(mambabyte_dsp)]
mod cortex_m_dsp;
#[cfg(any(mambabyte_mve, mambabyte_thumb1, target_arch = "riscv32"))]
mod decays;
#[cfg(mambabyte_mve)]
mod helium;
#[cfg(mambabyte_vector)]
mod instances;
#[cfg(mambabyte_vector)]
mod isa;
#[cfg(any(mambabyte_mcu, mambabyte_vector, feature = "kernel-check"))]
mod narrow;
#[cfg(mambabyte_neon)]
mod neon;
mod output;
#[cfg(any(mambabyte_mcu, feature = "kernel-check"))]
mod plain32;
#[cfg(any(mambabyte_mcu, feature = "kernel-check"))]
mod rare;
#[cfg(target_arch = "riscv32")]
mod riscv32;
#[cfg(mambabyte_thumb1)]
mod thumb1;
#[cfg(mambabyte_vector)]
mod vector;
#[cfg(mambabyte_simd128)]
mod wasm;
#[cfg(any(mambabyte_avx2, mambabyte_avx512))]
mod x86_64;

pub use backend::{Backend, UnknownBackend};
pub(crate) use backend::{Choice, with_kernels};
#[cfg(mambabyte_neon)]
pub(crate) use neon::Neon;
#[cfg(mambabyte_vector)]
use output::Target;
pub(crate) use output::{AddToI32, LogDelta, Output, ToI16, ToI32};
use output::{each_position, rounded};
#[cfg(mambabyte_simd128)]
pub(crate) use wasm::Simd128;
#[cfg(mambabyte_avx2)]
pub(crate) use x86_64::avx2::Avx2;
#[cfg(mambabyte_avx512)]
pub(crate) use x86_64::avx512::Avx512;

/// The only kernels of a chip.
#[cfg(mambabyte_dsp)]
pub(crate) use cortex_m_dsp::Dsp as Chip;
#[cfg(mambabyte_mve)]
pub(crate) use helium::Helium as Chip;
#[cfg(all(mambabyte_mcu, not(any(mambabyte_dsp, mambabyte_mve, mambabyte_thumb1, target_arch = "riscv32"))))]
pub(crate) use plain32::Plain32 as Chip;
#[cfg(target_arch = "riscv32")]
pub(crate) use riscv32::Riscv32 as Chip;
#[cfg(mambabyte_thumb1)]
pub(crate) use thumb1::Thumb1 as Chip;

/// As long as logits are. A reference points to it, and nothing reads it.
#[cfg(not(mambabyte_mcu))]
pub(crate) static NO_LOGITS: &[i32; 256] = &[0; 256];
#[cfg(mambabyte_mcu)]
pub(crate) static NO_LOGITS: &[i32; 256] = &narrow::MULTIPLIER;

/// What [`Kernels::gate`] reads besides the activations: two rows of the blob and three of its shifts.
pub(crate) struct Gate<'a> {
    pub(crate) d_skip: &'a [i16],
    pub(crate) state_code: &'a [u8],
    pub(crate) y_shift: u8,
    pub(crate) d_shift: u8,
    pub(crate) gate_shift: u8,
    pub(crate) z_frac: u8,
}

/// The inner loops. Each function's equation is in the module that holds the scalar one.
pub(crate) trait Kernels: Copy {
    /// As in [`Backend::by_name`].
    const NAME: &'static str;

    /// Whether it is made for weights in tiles. Only these backends and [`Scalar`] get such weights.
    #[cfg_attr(not(mambabyte_tiles), allow(dead_code, reason = "no backend of this target is"))]
    const TILES: bool = false;

    /// `res = saturate_i32(requantize(row))`: a row of the embedding.
    #[inline(always)]
    fn embed(self, row: &[i8], code: u8, base: u8, res: &mut [i32]) {
        for (res, &w) in res.iter_mut().zip(row) {
            *res = saturate_i32(requantize(w as i64, code, base));
        }
    }

    /// Brings activations into the order in which [`Kernels::project`] reads them; [`Kernels::unpack`] undoes it. The
    /// order depends on the length only.
    fn pack(self, _x: &mut [i16]) {}

    /// Back to the order of channels.
    fn unpack(self, _x: &mut [i16]) {}

    /// A matrix times the activations of every position: `out` says what becomes of the sums.
    ///
    /// * `x`: packed, but for [`LogDelta`], whose rows are short. `y`: `[positions, rows]`.
    #[inline(always)]
    fn project<O: Output, P: Span>(
        self,
        w: WeightsView<'_>,
        x: Activations<'_>,
        out: O,
        _span: &mut P,
        y: &mut [O::T],
    ) {
        each_position::<O, P>(w, x, out, y, |w, x, y| {
            w.each_row(x, |row, acc, code| {
                if let Some(y) = y.get_mut(row) {
                    out.store(row, rounded(acc, code, w.shift), y);
                }
            });
        });
    }

    /// [`norm::norm`].
    #[inline(always)]
    fn norm(self, x: &[i32], weight: &[i16], bias: &[i16], shift: u8, eps: u64, u: &mut [i16]) {
        norm::norm(x, weight, bias, shift, eps, u);
    }

    /// [`conv1d::conv1d_silu`].
    #[inline(always)]
    fn conv1d_silu(self, x: &mut [i16], history: &mut [i16], w: &[i8], code: &[u8], bias: &[i16], base: u8, frac: u8) {
        conv1d::conv1d_silu(x, history, w, code, bias, base, frac);
    }

    /// [`selective_scan::delta_x`] of all channels.
    #[inline(always)]
    fn delta_x(self, x: &[i16], l: &[i16], base: i32, code: &[u8], dx: &mut [i16]) {
        for (dx, ((&x, &l), &code)) in dx.iter_mut().zip(x.iter().zip(l).zip(code)) {
            *dx = selective_scan::delta_x(x, l as i32, base, code);
        }
    }

    /// Replaces `l` by the decay of each channel's first state, if decays are tied.
    #[inline(always)]
    fn first_decay(self, l: &mut [i16], a_log: &[u8], a_base: i16) {
        for (l, &a_log) in l.iter_mut().zip(a_log) {
            *l = decay(*l as i32 + a_base as i32 + 32 * a_log as i32);
        }
    }

    /// [`selective_scan::scan_step_free`] of one stream, from position to position.
    ///
    /// * `log_delta`, `dx`, `y`: `[positions, channels]`.
    #[inline(always)]
    fn scan_free<P: Span>(
        self,
        h: &mut [i16],
        a_log: &[u8],
        a_base: i16,
        bc: Selected<'_>,
        log_delta: &[i16],
        dx: &[i16],
        y: &mut [i32],
    ) {
        bc.each_position::<P>(h.len(), log_delta, dx, y, |b, c, log_delta, dx, y| {
            selective_scan::scan_step_free(h, a_log, a_base, b, c, log_delta, dx, y);
        });
    }

    /// [`selective_scan::scan_step_tied`] of one stream, from position to position.
    ///
    /// * `r`, `dx`, `y`: `[positions, channels]`; `a`: `[channels]`, memory for powers of `r`.
    #[inline(always)]
    fn scan_tied<P: Span>(self, h: &mut [i16], bc: Selected<'_>, r: &[i16], a: &mut [i16], dx: &[i16], y: &mut [i32]) {
        bc.each_position::<P>(h.len(), r, dx, y, |b, c, r, dx, y| selective_scan::scan_step_tied(h, b, c, r, a, dx, y));
    }

    /// `x = (y + D * x) * silu(z) * 2^-down`; returns `down`. `y` and `z` are overwritten.
    ///
    /// Single channels of the gated output can be a hundred times the rest, at some bytes only. So it is made in i32
    /// first and then shifted until the largest channel of *this* byte fits: always 15 bits, where a static scale
    /// leaves most bytes with 8.
    #[inline(always)]
    fn gate(self, p: &Gate<'_>, y: &mut [i32], x: &mut [i16], z: &mut [i16]) -> u8 {
        let down = gate_shift(self.gate_wide(p, y, x, z));
        self.gate_narrow(y, down, x);
        down
    }

    /// The first half of [`Kernels::gate`], `y = (y + D * x) * silu(z)` in i32; returns the bits of all magnitudes,
    /// or-ed. `z` is overwritten, `x` may be.
    #[inline(always)]
    fn gate_wide(self, p: &Gate<'_>, y: &mut [i32], x: &mut [i16], z: &mut [i16]) -> u32 {
        let channels = x.iter().zip(z.iter()).zip(y.iter_mut()).zip(p.d_skip.iter().zip(p.state_code));
        let mut largest = 0u32;
        for (((&x, &z), y), (&d, &code)) in channels {
            let skip = round_shift(d as i64 * x as i64, p.d_shift as u32);
            let sum = saturate_i32(requantize(*y as i64, code, p.y_shift) + skip);
            *y = saturate_i32(round_shift(sum as i64 * silu(z, p.z_frac) as i64, p.gate_shift as u32));
            largest |= y.unsigned_abs();
        }
        largest
    }

    /// The second half: `x = sat16(round(y, down))`.
    #[inline(always)]
    fn gate_narrow(self, y: &[i32], down: u8, x: &mut [i16]) {
        for (x, &y) in x.iter_mut().zip(y) {
            *x = if down == 0 { y as i16 } else { saturate_i16(round_shift(y as i64, down as u32)) };
        }
    }
}

/// The least shift after which every channel fits 15 bits, from [`Kernels::gate_wide`]'s result.
#[inline(always)]
pub(crate) const fn gate_shift(largest: u32) -> u8 {
    let zeros = largest.leading_zeros();
    if zeros > 17 { 0 } else { (17 - zeros) as u8 }
}

/// What a byte selects, dt, B and C, at every position of a stream.
#[derive(Clone, Copy)]
pub(crate) struct Selected<'a> {
    /// `[positions, dt_rank + 2 * d_state]`.
    pub(crate) rows: &'a [i16],
    pub(crate) dt_rank: usize,
    pub(crate) d_state: usize,
}

impl<'a> Selected<'a> {
    /// `B` and `C` `[d_state]` of a position.
    #[inline(always)]
    fn split(self, row: &'a [i16]) -> (&'a [i16], &'a [i16]) {
        let bc = row.get(self.dt_rank..).unwrap_or_else(|| never("a row with dt", &[]));
        bc.split_at_checked(self.d_state).unwrap_or_else(|| never("a row with B and C", (&[], &[])))
    }

    const fn stride(self) -> usize {
        self.dt_rank + 2 * self.d_state
    }

    /// Calls `one(B, C, decay, dx, y)` at every position. `state_len`: elements of the state; `decay`: logarithms of
    /// step sizes or first decays; `decay`, `dx`, `y`: `[positions, channels]`.
    #[inline(always)]
    pub(crate) fn each_position<P: Span>(
        self,
        state_len: usize,
        decay: &[i16],
        dx: &[i16],
        y: &mut [i32],
        mut one: impl FnMut(&[i16], &[i16], &[i16], &[i16], &mut [i32]),
    ) {
        let channels = if P::ONE { 0 } else { state_len / self.d_state.max(1) };
        let inputs = P::rows(decay, channels).zip(P::rows(dx, channels));
        let rows = P::rows(self.rows, self.stride());
        for (row, ((decay, dx), y)) in rows.zip(inputs.zip(P::rows_mut(y, channels))) {
            let (b, c) = self.split(row);
            one(b, c, decay, dx, y);
        }
    }

    /// `B` and `C` of every one of many positions.
    #[cfg(mambabyte_vector)]
    #[inline(always)]
    pub(crate) fn positions(self) -> impl Iterator<Item = (&'a [i16], &'a [i16])> {
        self.rows.chunks_exact(self.stride().max(1)).map(move |row| self.split(row))
    }

    /// `B` and `C` of the only position.
    #[cfg(mambabyte_vector)]
    #[inline(always)]
    pub(crate) fn one(self) -> (&'a [i16], &'a [i16]) {
        self.split(self.rows)
    }

    /// `B`, `C` `[2 * d_state]` of every position.
    #[cfg(mambabyte_vector)]
    #[inline(always)]
    pub(crate) fn both(self) -> impl Iterator<Item = &'a [i16]> {
        let rows = self.rows.chunks_exact(self.stride().max(1));
        rows.map(move |row| row.get(self.dt_rank..).unwrap_or_else(|| never("a row with dt", &[])))
    }

    /// `positions` of them at a time.
    #[cfg(mambabyte_vector)]
    #[inline(always)]
    pub(crate) fn chunks(self, positions: usize) -> impl Iterator<Item = Self> {
        self.rows.chunks((positions * self.stride()).max(1)).map(move |rows| Self { rows, ..self })
    }
}

/// Plain integer code, no assumption about the processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scalar;

impl Kernels for Scalar {
    const NAME: &'static str = "scalar";
}
