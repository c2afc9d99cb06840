//! The scalar functions for shapes and values that models for chips do not have: out of the way, one copy of each.

#![allow(dead_code, reason = "each kind of chip uses a part of it")]

use super::output::{LogDelta, Output};
use super::{Gate, Kernels, Scalar, narrow};
use crate::fixed::{requantize, round_shift, saturate_i16, saturate_i32};
use crate::linear;
use crate::nonlinear::{SOFTPLUS_LIMIT, log2_softplus};
use crate::selective_scan;
use crate::weights::WeightsView;

#[cold]
#[inline(never)]
pub(crate) fn norm(x: &[i32], weight: &[i16], bias: &[i16], shift: u8, eps: u64, u: &mut [i16]) {
    Scalar.norm(x, weight, bias, shift, eps, u);
}

/// A matrix times one vector.
#[cold]
#[inline(never)]
pub(crate) fn project<O: Output>(w: WeightsView<'_>, x: &[i16], out: O, y: &mut [O::T]) {
    let rows = w.bytes.chunks_exact(x.len().max(1)).zip(w.codes).zip(y);
    for (row, ((bytes, &code), y)) in rows.enumerate() {
        out.store(row, narrow::requantized(sum(bytes, x), code, w.shift), y);
    }
}

/// One row; one copy of the loop for all that becomes of it.
#[cold]
#[inline(never)]
fn sum(w: &[i8], x: &[i16]) -> i64 {
    linear::dot_i8_i16(w, x)
}

#[cold]
#[inline(never)]
pub(crate) fn conv1d_silu(x: &mut [i16], history: &mut [i16], w: &[i8], code: &[u8], bias: &[i16], base: u8, frac: u8) {
    Scalar.conv1d_silu(x, history, w, code, bias, base, frac);
}

#[cold]
#[inline(never)]
pub(crate) fn log_delta(w: &[i8], code: &[u8], base: u8, dt: &[i16], bias: &[i16], l: &mut [i16]) {
    project(WeightsView::of_rows(w, code, base, dt.len()), dt, LogDelta(bias), l);
}

/// One channel of [`log_delta`], from its sum.
#[cold]
#[inline(never)]
pub(crate) fn log_delta_of(sum: i64, code: u8, base: u8, bias: i16) -> i16 {
    let v = requantize(sum, code, base) + bias as i64;
    saturate_i16(log2_softplus(v.clamp(-SOFTPLUS_LIMIT, SOFTPLUS_LIMIT) as i32) as i64)
}

#[cold]
#[inline(never)]
pub(crate) fn delta_x(x: &[i16], l: &[i16], base: i32, code: &[u8], dx: &mut [i16]) {
    Scalar.delta_x(x, l, base, code, dx);
}

#[cold]
#[inline(never)]
pub(crate) fn first_decay(l: &mut [i16], a_log: &[u8], a_base: i16) {
    Scalar.first_decay(l, a_log, a_base);
}

#[cold]
#[inline(never)]
pub(crate) fn scan_tied(h: &mut [i16], b: &[i16], c: &[i16], r: &[i16], a: &mut [i16], dx: &[i16], y: &mut [i32]) {
    selective_scan::scan_step_tied(h, b, c, r, a, dx, y);
}

/// One channel of [`Kernels::gate`] before the shift that fits the byte; `silu_z` is SiLU of `z`.
#[cold]
#[inline(never)]
pub(crate) fn gated(p: &Gate<'_>, y: i32, x: i16, silu_z: i16, d: i16, code: u8) -> i32 {
    let skip = round_shift(d as i64 * x as i64, p.d_shift as u32);
    let sum = saturate_i32(requantize(y as i64, code, p.y_shift) + skip);
    saturate_i32(round_shift(sum as i64 * silu_z as i64, p.gate_shift as u32))
}
