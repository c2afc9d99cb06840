//! The step's inner loops for particular processors, behind one private trait.
//!
//! `Scalar` is the truth: every other implementation has the same bits, and `check` (feature `kernel-check`)
//! compares them on the processor itself. A trait function that an implementation leaves out is the scalar one.
//!
//! An implementation is a value without size, a token. Those for chips can be made anywhere, as the target has the
//! instructions; those for workstations only where the processor was seen to have them. [`Backend`] is a choice among
//! the tokens, `with_kernels!` makes one copy of generic code for each.

#![allow(clippy::too_many_arguments, reason = "the operands of one equation")]

use crate::conv1d;
use crate::fixed::{requantize, round_shift, saturate_i16, saturate_i32};
use crate::linear;
use crate::nonlinear::{decay, log2_softplus, silu};
use crate::norm;
use crate::selective_scan;

mod backend;
#[cfg(any(mambabyte_narrow, feature = "kernel-check"))]
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
#[cfg(any(mambabyte_narrow, mambabyte_vector, feature = "kernel-check"))]
mod narrow;
#[cfg(mambabyte_neon)]
mod neon;
#[cfg(any(mambabyte_narrow, feature = "kernel-check"))]
mod plain32;
#[cfg(any(mambabyte_narrow, feature = "kernel-check"))]
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
#[cfg(mambabyte_simd128)]
pub(crate) use wasm::Simd128;
#[cfg(mambabyte_avx2)]
pub(crate) use x86_64::avx2::Avx2;
#[cfg(mambabyte_avx512)]
pub(crate) use x86_64::avx512::Avx512;

/// The only kernels of a chip.
#[cfg(mambabyte_dsp)]
pub(crate) use cortex_m_dsp::DECAYS;
#[cfg(mambabyte_dsp)]
pub(crate) use cortex_m_dsp::Dsp as Chip;
#[cfg(mambabyte_mve)]
pub(crate) use helium::Helium as Chip;
#[cfg(all(mambabyte_narrow, not(any(mambabyte_dsp, mambabyte_mve, mambabyte_thumb1, target_arch = "riscv32"))))]
pub(crate) use plain32::Plain32 as Chip;
#[cfg(target_arch = "riscv32")]
pub(crate) use riscv32::Riscv32 as Chip;
#[cfg(mambabyte_thumb1)]
pub(crate) use thumb1::Thumb1 as Chip;

/// As long as logits are, for a reference that needs memory behind it and is never read.
#[cfg(not(mambabyte_narrow))]
pub(crate) static NO_LOGITS: &[i32; 256] = &[0; 256];
#[cfg(mambabyte_narrow)]
pub(crate) static NO_LOGITS: &[i32; 256] = &narrow::MULTIPLIER;

/// The argument of softplus saturates at +-1024, in Q10.
const V_LIMIT: i64 = 1 << 20;

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

    /// Whether it is made for weights in tiles. The functions whose names begin so are called on such a backend and on
    /// [`Scalar`] only.
    const TILES: bool = false;

    /// `res = saturate_i32(requantize(row))`: a row of the embedding.
    #[inline(always)]
    fn embed(self, row: &[i8], code: u8, base: u8, res: &mut [i32]) {
        for (res, &w) in res.iter_mut().zip(row) {
            *res = saturate_i32(requantize(w as i64, code, base));
        }
    }

    /// Brings activations into the order that `matvec` reads them in; `unpack` undoes it. It depends on the length
    /// only.
    fn pack(self, _x: &mut [i16]) {}

    /// Back to the order of channels.
    fn unpack(self, _x: &mut [i16]) {}

    /// `y[row] = saturate_i16(requantize(sum_j w[row, j] * x[j]))`; `x` is packed.
    #[inline(always)]
    fn matvec_i16(self, w: &[i8], code: &[u8], base: u8, x: &[i16], y: &mut [i16]) {
        linear::matvec_i8_to_i16(w, code, base, x, y);
    }

    /// `y[row] = saturate_i32(requantize(sum_j w[row, j] * x[j]))`; `x` is packed.
    #[inline(always)]
    fn matvec_i32(self, w: &[i8], code: &[u8], base: u8, x: &[i16], y: &mut [i32]) {
        linear::matvec_i8(w, code, x, |row, acc, code| {
            if let Some(y) = y.get_mut(row) {
                *y = saturate_i32(requantize(acc, code, base));
            }
        });
    }

    /// `y[row] = saturate_i32(y[row] + saturate_i32(requantize(sum_j w[row, j] * x[j])))`; `x` is packed.
    #[inline(always)]
    fn matvec_add(self, w: &[i8], code: &[u8], base: u8, x: &[i16], y: &mut [i32]) {
        linear::matvec_i8(w, code, x, |row, acc, code| {
            if let Some(y) = y.get_mut(row) {
                *y = y.saturating_add(saturate_i32(requantize(acc, code, base)));
            }
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

    /// `l = log2(softplus(dt_proj dt + dt_bias))`; `dt` is not packed.
    #[inline(always)]
    fn log_delta(self, w: &[i8], code: &[u8], base: u8, dt: &[i16], bias: &[i16], l: &mut [i16]) {
        linear::matvec_i8(w, code, dt, |row, acc, code| {
            if let (Some(l), Some(&bias)) = (l.get_mut(row), bias.get(row)) {
                let v = requantize(acc, code, base) + bias as i64;
                *l = saturate_i16(log2_softplus(v.clamp(-V_LIMIT, V_LIMIT) as i32) as i64);
            }
        });
    }

    /// [`selective_scan::delta_x`] of all channels.
    #[inline(always)]
    fn delta_x(self, x: &[i16], l: &[i16], base: i32, code: &[u8], dx: &mut [i16]) {
        for (dx, ((&x, &l), &code)) in dx.iter_mut().zip(x.iter().zip(l).zip(code)) {
            *dx = selective_scan::delta_x(x, l as i32, base, code);
        }
    }

    /// The decay of the first state of each channel if decays are tied, in place of `l`.
    #[inline(always)]
    fn first_decay(self, l: &mut [i16], a_log: &[u8], a_base: i16) {
        for (l, &a_log) in l.iter_mut().zip(a_log) {
            *l = decay(*l as i32 + a_base as i32 + 32 * a_log as i32);
        }
    }

    /// [`selective_scan::scan_step_free`].
    #[inline(always)]
    fn scan_free(
        self,
        h: &mut [i16],
        a_log: &[u8],
        a_base: i16,
        b: &[i16],
        c: &[i16],
        log_delta: &[i16],
        dx: &[i16],
        y: &mut [i32],
    ) {
        selective_scan::scan_step_free(h, a_log, a_base, b, c, log_delta, dx, y);
    }

    /// [`selective_scan::scan_step_tied`].
    #[inline(always)]
    fn scan_tied(self, h: &mut [i16], b: &[i16], c: &[i16], r: &[i16], a: &mut [i16], dx: &[i16], y: &mut [i32]) {
        selective_scan::scan_step_tied(h, b, c, r, a, dx, y);
    }

    /// `x = (y + D * x) * silu(z) * 2^-down`; returns `down`. `y` and `z` are overwritten.
    ///
    /// Single channels of the gated output can be a hundred times the rest, at some bytes only. So it is made in i32
    /// first and then shifted until the largest channel of *this* byte fits: 15 bits always, where a static scale
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

    // Matrices in tiles: `crate::tiles`. The defaults are for packed activations in the order of channels.

    /// [`Kernels::matvec_i16`].
    #[inline(always)]
    fn tiled_i16(self, w: &[i8], code: &[u8], base: u8, x: &[i16], y: &mut [i16]) {
        tiled(w, code, x, |row, acc, code| {
            if let Some(y) = y.get_mut(row) {
                *y = saturate_i16(requantize(acc, code, base));
            }
        });
    }

    /// [`Kernels::matvec_add`].
    #[inline(always)]
    fn tiled_add(self, w: &[i8], code: &[u8], base: u8, x: &[i16], y: &mut [i32]) {
        tiled(w, code, x, |row, acc, code| {
            if let Some(y) = y.get_mut(row) {
                *y = y.saturating_add(saturate_i32(requantize(acc, code, base)));
            }
        });
    }

    /// [`Kernels::log_delta`].
    #[inline(always)]
    fn tiled_log_delta(self, w: &[i8], code: &[u8], base: u8, dt: &[i16], bias: &[i16], l: &mut [i16]) {
        tiled(w, code, dt, |row, acc, code| {
            if let (Some(l), Some(&bias)) = (l.get_mut(row), bias.get(row)) {
                let v = requantize(acc, code, base) + bias as i64;
                *l = saturate_i16(log2_softplus(v.clamp(-V_LIMIT, V_LIMIT) as i32) as i64);
            }
        });
    }

    /// [`Kernels::matmul_i16`].
    #[inline(always)]
    fn tiled_matmul_i16(self, w: &[i8], code: &[u8], base: u8, x: &[i16], columns: usize, y: &mut [i16]) {
        for (x, y) in x.chunks_exact(columns.max(1)).zip(y.chunks_exact_mut(code.len().max(1))) {
            self.tiled_i16(w, code, base, x, y);
        }
    }

    /// [`Kernels::matmul_add`].
    #[inline(always)]
    fn tiled_matmul_add(self, w: &[i8], code: &[u8], base: u8, down: &[u8], x: &[i16], columns: usize, y: &mut [i32]) {
        let positions = x.chunks_exact(columns.max(1)).zip(y.chunks_exact_mut(code.len().max(1)));
        for ((x, y), &down) in positions.zip(down) {
            self.tiled_add(w, code, base.wrapping_sub(down), x, y);
        }
    }

    /// [`Kernels::matmul_log_delta`].
    #[inline(always)]
    fn tiled_matmul_log_delta(
        self,
        w: &[i8],
        code: &[u8],
        base: u8,
        dt: &[i16],
        rank: usize,
        stride: usize,
        bias: &[i16],
        l: &mut [i16],
    ) {
        for (dt, l) in dt.chunks_exact(stride.max(1)).zip(l.chunks_exact_mut(code.len().max(1))) {
            self.tiled_log_delta(w, code, base, dt.get(..rank).unwrap_or(&[]), bias, l);
        }
    }

    // Many positions at once: blocks of a known text, or one byte each of many streams. `x` and `y` are
    // `[positions, columns]` and `[positions, rows]`, each position of `x` is packed. No function asks for scratch
    // memory: one that packs a panel does so on its stack, in blocks of columns. The defaults go position by position.

    /// [`Kernels::matvec_i16`] at every position.
    #[inline(always)]
    fn matmul_i16(self, w: &[i8], code: &[u8], base: u8, x: &[i16], columns: usize, y: &mut [i16]) {
        let rows = code.len().max(1);
        for (x, y) in x.chunks_exact(columns.max(1)).zip(y.chunks_exact_mut(rows)) {
            self.matvec_i16(w, code, base, x, y);
        }
    }

    /// [`Kernels::matvec_i32`] at every position.
    #[inline(always)]
    fn matmul_i32(self, w: &[i8], code: &[u8], base: u8, x: &[i16], columns: usize, y: &mut [i32]) {
        let rows = code.len().max(1);
        for (x, y) in x.chunks_exact(columns.max(1)).zip(y.chunks_exact_mut(rows)) {
            self.matvec_i32(w, code, base, x, y);
        }
    }

    /// [`Kernels::matvec_add`] at every position, with `base - down[position]` in place of `base`.
    #[inline(always)]
    fn matmul_add(self, w: &[i8], code: &[u8], base: u8, down: &[u8], x: &[i16], columns: usize, y: &mut [i32]) {
        let rows = code.len().max(1);
        let positions = x.chunks_exact(columns.max(1)).zip(y.chunks_exact_mut(rows));
        for ((x, y), &down) in positions.zip(down) {
            self.matvec_add(w, code, base.wrapping_sub(down), x, y);
        }
    }

    /// [`Kernels::log_delta`] at every position. `dt`: the first `rank` of every `stride` elements, not packed.
    #[inline(always)]
    fn matmul_log_delta(
        self,
        w: &[i8],
        code: &[u8],
        base: u8,
        dt: &[i16],
        rank: usize,
        stride: usize,
        bias: &[i16],
        l: &mut [i16],
    ) {
        let rows = code.len().max(1);
        for (dt, l) in dt.chunks_exact(stride.max(1)).zip(l.chunks_exact_mut(rows)) {
            self.log_delta(w, code, base, dt.get(..rank).unwrap_or(&[]), bias, l);
        }
    }

    /// [`Kernels::conv1d_silu`] of one stream, from position to position. `x`: `[positions, channels]`.
    #[inline(always)]
    fn conv1d_silu_block(
        self,
        x: &mut [i16],
        history: &mut [i16],
        w: &[i8],
        code: &[u8],
        bias: &[i16],
        base: u8,
        frac: u8,
    ) {
        for x in x.chunks_exact_mut(code.len().max(1)) {
            self.conv1d_silu(x, history, w, code, bias, base, frac);
        }
    }

    /// [`Kernels::scan_free`] of one stream, from position to position. `log_delta`, `dx`, `y`:
    /// `[positions, channels]`.
    #[inline(always)]
    fn scan_free_block(
        self,
        h: &mut [i16],
        a_log: &[u8],
        a_base: i16,
        bc: BlockBc<'_>,
        log_delta: &[i16],
        dx: &[i16],
        y: &mut [i32],
    ) {
        let channels = (a_log.len() / bc.d_state.max(1)).max(1);
        let inputs = log_delta.chunks_exact(channels).zip(dx.chunks_exact(channels));
        for ((b, c), ((log_delta, dx), y)) in bc.positions().zip(inputs.zip(y.chunks_exact_mut(channels))) {
            self.scan_free(h, a_log, a_base, b, c, log_delta, dx, y);
        }
    }

    /// [`Kernels::scan_tied`] of one stream, from position to position. `r`, `dx`, `y`: `[positions, channels]`;
    /// `a`: `[channels]`.
    #[inline(always)]
    fn scan_tied_block(self, h: &mut [i16], bc: BlockBc<'_>, r: &[i16], a: &mut [i16], dx: &[i16], y: &mut [i32]) {
        let channels = a.len().max(1);
        let inputs = r.chunks_exact(channels).zip(dx.chunks_exact(channels));
        for ((b, c), ((r, dx), y)) in bc.positions().zip(inputs.zip(y.chunks_exact_mut(channels))) {
            self.scan_tied(h, b, c, r, a, dx, y);
        }
    }
}

/// The least shift after which every channel fits 15 bits, from [`Kernels::gate_wide`]'s result.
#[inline(always)]
pub(crate) const fn gate_shift(largest: u32) -> u8 {
    let zeros = largest.leading_zeros();
    if zeros > 17 { 0 } else { (17 - zeros) as u8 }
}

/// `B` and `C` of a block: the last `2 * d_state` of every `stride` elements.
#[derive(Clone, Copy)]
pub(crate) struct BlockBc<'a> {
    pub(crate) x_proj: &'a [i16],
    pub(crate) stride: usize,
    pub(crate) d_state: usize,
}

impl<'a> BlockBc<'a> {
    /// `B`, `C` `[d_state]` of every position, one behind the other.
    #[cfg(mambabyte_vector)]
    #[inline(always)]
    pub(crate) fn rows(self) -> impl Iterator<Item = &'a [i16]> {
        let skipped = self.stride.saturating_sub(2 * self.d_state);
        self.x_proj.chunks_exact(self.stride.max(1)).map(move |row| row.get(skipped..).unwrap_or(&[]))
    }

    /// So many positions at a time.
    #[cfg(mambabyte_vector)]
    #[inline(always)]
    pub(crate) fn chunks(self, positions: usize) -> impl Iterator<Item = Self> {
        self.x_proj.chunks((positions * self.stride).max(1)).map(move |x_proj| Self { x_proj, ..self })
    }

    /// `B`, `C` `[d_state]` of every position.
    pub(crate) fn positions(self) -> impl Iterator<Item = (&'a [i16], &'a [i16])> {
        self.x_proj.chunks_exact(self.stride.max(1)).map(move |row| {
            let bc = row.get(row.len().saturating_sub(2 * self.d_state)..).unwrap_or(&[]);
            bc.split_at_checked(self.d_state).unwrap_or((&[], &[]))
        })
    }
}

/// Plain integer code, no assumption about the processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scalar;

impl Kernels for Scalar {
    const NAME: &'static str = "scalar";
}

/// Matrix in tiles times vector. Where no kernels read tiles there are none.
#[inline(always)]
fn tiled(w: &[i8], code: &[u8], x: &[i16], emit: impl FnMut(usize, i64, u8)) {
    #[cfg(mambabyte_tiles)]
    crate::tiles::matvec_i8(w, code, x, emit);
    #[cfg(not(mambabyte_tiles))]
    let _ = (w, code, x, emit);
}
