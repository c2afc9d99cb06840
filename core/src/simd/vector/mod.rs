//! The step in vectors: the same algorithms for every [`Isa`].
//!
//! Channels go 16 or 32 at a time; what is left over goes through the scalar functions. Products that pass 32 bits
//! are rounded in 64 (`mul_round`), so that no model needs another path.

pub(crate) mod project;
mod scan;
pub(crate) mod softplus;
mod tables;
#[cfg(any(mambabyte_avx2, mambabyte_avx512))]
pub(crate) mod tiled;

pub(crate) use project::project;
pub(crate) use scan::{scan_free, scan_tied};
pub(crate) use tables::{DECAYS, LAST_DECAY};
use tables::{EXP2_PADDED, index_base};

use self::softplus::far;
use super::isa::{Isa, STEPS};
use super::narrow::SIGMOID_STEPS;
use super::{Gate, Kernels, Scalar};
use crate::cannot::never;
use crate::fixed::{requantize, saturate_i16};
use crate::nonlinear::{self, rsqrt};

/// What is left over after blocks of 16.
#[inline(always)]
fn rest<T>(x: &[T]) -> &[T] {
    x.as_chunks::<16>().1
}

#[inline(always)]
fn rest_mut<T>(x: &mut [T]) -> &mut [T] {
    x.as_chunks_mut::<16>().1
}

/// [`Kernels::embed`].
#[inline(always)]
pub(crate) fn embed<I: Isa>(isa: I, row: &[i8], code: u8, base: u8, res: &mut [i32]) {
    let n = row.len().min(res.len());
    let (Some(row), Some(res)) = (row.get(..n), res.get_mut(..n)) else {
        return never("rows of the lengths that were compared", ());
    };
    let multiplier = isa.multipliers(&[code; 16]);
    for (row, res) in row.as_chunks().0.iter().zip(res.as_chunks_mut().0) {
        isa.store_i32(isa.mul_round::<22>(isa.load_i8(row), multiplier, base as u32 + 7), res);
    }
    Scalar.embed(rest(row), code, base, rest_mut(res));
}

/// [`Kernels::norm`].
///
/// The largest magnitude has the leading zeros of all of them or-ed, so the least and the largest element are enough.
#[inline(always)]
pub(crate) fn norm<I: Isa>(isa: I, x: &[i32], weight: &[i16], bias: &[i16], shift: u8, eps: u64, u: &mut [i16]) {
    let n = x.len();
    let whole =
        n.is_multiple_of(16) && n != 0 && weight.len() >= n && u.len() >= n && (bias.is_empty() || bias.len() >= n);
    let blocks = x.as_chunks::<16>().0;
    let (mut least, mut most) = (isa.splat(i32::MAX), isa.splat(i32::MIN));
    for x in blocks {
        let x = isa.load_i32(x);
        (least, most) = (isa.min(least, x), isa.max(most, x));
    }
    let (mut low, mut high) = ([0; 16], [0; 16]);
    isa.store_i32(least, &mut low);
    isa.store_i32(most, &mut high);
    let (low, high) = (low.iter().fold(i32::MAX, |m, &x| m.min(x)), high.iter().fold(i32::MIN, |m, &x| m.max(x)));
    let mean = if bias.is_empty() { 0 } else { mean(isa, blocks, n) };
    let (low, high) = (low as i64 - mean, high as i64 - mean);
    if !whole || low != low as i32 as i64 || high != high as i32 as i64 {
        return Scalar.norm(x, weight, bias, shift, eps, u);
    }
    let largest = low.unsigned_abs().max(high.unsigned_abs());
    let down = 41 - (largest.leading_zeros()).min(41);
    let mean = isa.splat(mean as i32);
    let mut squares = isa.no_squares();
    for x in blocks {
        squares = isa.add_squares(squares, scaled(isa, x, mean, down));
    }
    let (r, e) = rsqrt(isa.total(squares).wrapping_add(eps >> (2 * down)));
    let factor = isa.splat(r as i32);
    let outputs = blocks.iter().zip(weight.as_chunks().0).zip(u.as_chunks_mut().0);
    let mut biases = bias.as_chunks().0.iter();
    for ((x, weight), u) in outputs {
        let q = scaled(isa, x, mean, down);
        // n = round(q * r, e - 1), in Q24; below e = 2 nothing is cut off, and q is so small that it fits.
        let n = if e >= 2 {
            isa.mul_round::<16>(q, factor, (e - 1) as u32)
        } else {
            isa.shl(isa.mul(q, factor), (1 - e) as u32)
        };
        let n = isa.mul_round::<15>(n, isa.load_i16(weight), shift as u32);
        match biases.next() {
            None => isa.store_i16(n, u),
            Some(bias) => isa.store_i16(isa.add(far(isa, n), isa.load_i16(bias)), u),
        }
    }
}

/// `round(x - mean, down)`, half up in two steps: `(x >> down - 1) + 1 >> 1`.
#[inline(always)]
fn scaled<I: Isa>(isa: I, x: &[i32; 16], mean: I::W, down: u32) -> I::W {
    let q = isa.sub(isa.load_i32(x), mean);
    if down == 0 { q } else { halved(isa, isa.shr(q, down - 1)) }
}

/// `x / 2`, rounded half up. One more than the largest `x` has no room, but half of it has.
#[inline(always)]
fn halved<I: Isa>(isa: I, x: I::W) -> I::W {
    isa.add(isa.shr(x, 1), isa.and(x, isa.splat(1)))
}

/// The mean of `n` elements, rounded half up. Halves of 16 bits cannot overflow: a lane has 256 elements at most.
#[inline(always)]
fn mean<I: Isa>(isa: I, x: &[[i32; 16]], n: usize) -> i64 {
    let (mut high, mut low) = (isa.splat(0), isa.splat(0));
    for x in x {
        let x = isa.load_i32(x);
        high = isa.add(high, isa.shr(x, 16));
        low = isa.add(low, isa.and(x, isa.splat(0xffff)));
    }
    let (mut highs, mut lows) = ([0; 16], [0; 16]);
    isa.store_i32(high, &mut highs);
    isa.store_i32(low, &mut lows);
    let sum = highs.iter().zip(&lows).fold(0i64, |sum, (&h, &l)| sum + ((h as i64) << 16) + l as i64);
    let n = if n == 0 { 1 } else { n as i64 };
    (2 * sum + n).div_euclid(2 * n)
}

/// [`narrow::silu`](super::narrow::silu).
#[inline(always)]
fn silu<I: Isa>(isa: I, x: I::W, frac: u8) -> I::W {
    let magnitude = isa.abs(x);
    let position = isa.min(isa.shl(magnitude, 16 - frac as u32 % 16), isa.splat((1 << 20) - 1));
    let sigmoid = interpolate(isa, &SIGMOID_STEPS, position, 11);
    let product = isa.shr(isa.add(isa.mul(magnitude, sigmoid), isa.splat(1 << 14)), 15);
    isa.add(product, isa.min(x, isa.splat(0)))
}

/// `base + round(step * low, bits)` of the entry at `position >> bits`; the base is unsigned.
#[inline(always)]
fn interpolate<I: Isa>(isa: I, table: &[u32; STEPS], position: I::W, bits: u32) -> I::W {
    let entry = isa.look_up(table, isa.shr(position, bits));
    let low = isa.and(position, isa.splat((1 << bits) - 1));
    let step = isa.mul(isa.shr(entry, 16), low);
    let step = isa.shr(isa.add(step, isa.splat(1 << (bits - 1))), bits);
    isa.add(isa.and(entry, isa.splat(0xffff)), step)
}

/// [`Kernels::conv1d_silu`]: four taps; the scalar function for others.
#[inline(always)]
pub(crate) fn conv1d_silu<I: Isa>(
    isa: I,
    x: &mut [i16],
    history: &mut [i16],
    w: &[i8],
    code: &[u8],
    bias: &[i16],
    base: u8,
    frac: u8,
) {
    let n = x.len();
    let whole = n != 0 && w.len() == 4 * n && history.len() == 3 * n && code.len() == n && bias.len() == n;
    if !whole {
        return Scalar.conv1d_silu(x, history, w, code, bias, base, frac);
    }
    let Some((h0, later)) = history.split_at_mut_checked(n) else {
        return never("rows of the lengths that were compared", ());
    };
    let Some((h1, h2)) = later.split_at_mut_checked(n) else {
        return never("rows of the lengths that were compared", ());
    };
    let Some((w0, later)) = w.split_at_checked(n) else { return never("rows of the lengths that were compared", ()) };
    let Some((w1, later)) = later.split_at_checked(n) else {
        return never("rows of the lengths that were compared", ());
    };
    let Some((w2, w3)) = later.split_at_checked(n) else { return never("rows of the lengths that were compared", ()) };
    let columns = x.as_chunks_mut().0.iter_mut().zip(h0.as_chunks_mut().0).zip(h1.as_chunks_mut().0);
    let columns = columns.zip(h2.as_chunks_mut().0);
    let taps = w0.as_chunks().0.iter().zip(w1.as_chunks().0).zip(w2.as_chunks().0).zip(w3.as_chunks().0);
    let rows = code.as_chunks().0.iter().zip(bias.as_chunks().0);
    for (((((x, h0), h1), h2), (((w0, w1), w2), w3)), (code, bias)) in columns.zip(taps).zip(rows) {
        let sum = isa.mul(isa.load_i8(w0), isa.load_i16(h0));
        let sum = isa.add(sum, isa.mul(isa.load_i8(w1), isa.load_i16(h1)));
        let sum = isa.add(sum, isa.mul(isa.load_i8(w2), isa.load_i16(h2)));
        let sum = isa.add(sum, isa.mul(isa.load_i8(w3), isa.load_i16(x)));
        (*h0, *h1, *h2) = (*h1, *h2, *x);
        let scaled = far(isa, isa.mul_round::<22>(sum, isa.multipliers(code), base as u32 + 7));
        let sum = isa.add(scaled, isa.load_i16(bias));
        let sum = isa.max(isa.min(sum, isa.splat(32767)), isa.splat(-32767));
        isa.store_i16(silu(isa, sum, frac), x);
    }
    let columns = rest_mut(x).iter_mut().zip(rest_mut(h0)).zip(rest_mut(h1)).zip(rest_mut(h2));
    let taps = rest(w0).iter().zip(rest(w1)).zip(rest(w2)).zip(rest(w3));
    let rows = rest(code).iter().zip(rest(bias));
    for (((((x, h0), h1), h2), (((&w0, &w1), &w2), &w3)), (&code, &bias)) in columns.zip(taps).zip(rows) {
        let sum = w0 as i32 * *h0 as i32 + w1 as i32 * *h1 as i32 + w2 as i32 * *h2 as i32 + w3 as i32 * *x as i32;
        (*h0, *h1, *h2) = (*h1, *h2, *x);
        let sum = saturate_i16(requantize(sum as i64, code, base) + bias as i64);
        *x = nonlinear::silu(sum, frac);
    }
}

/// [`Kernels::delta_x`].
#[inline(always)]
pub(crate) fn delta_x<I: Isa>(isa: I, x: &[i16], l: &[i16], base: i32, code: &[u8], dx: &mut [i16]) {
    let n = x.len().min(l.len()).min(code.len()).min(dx.len());
    let (Some(x), Some(l), Some(code), Some(dx)) = (x.get(..n), l.get(..n), code.get(..n), dx.get_mut(..n)) else {
        return never("rows of the lengths that were compared", ());
    };
    let base_w = isa.splat(base);
    let channels = x.as_chunks().0.iter().zip(l.as_chunks().0).zip(code.as_chunks().0).zip(dx.as_chunks_mut().0);
    for (((x, l), code), dx) in channels {
        let exponent = isa.add(isa.add(isa.load_i16(l), base_w), isa.shl(isa.load_u8(code), 5));
        let mantissa = isa.look_up_u16(&EXP2_PADDED, exponent);
        let shift = isa.sub(isa.splat(14), isa.shr(exponent, 10));
        let shift = isa.max(isa.min(shift, isa.splat(31)), isa.splat(0));
        let product = isa.shr_each(isa.mul(isa.load_i16(x), mantissa), shift);
        isa.store_i16(halved(isa, product), dx);
    }
    Scalar.delta_x(rest(x), rest(l), base, rest(code), rest_mut(dx));
}

/// [`Kernels::first_decay`].
#[inline(always)]
pub(crate) fn first_decay<I: Isa>(isa: I, l: &mut [i16], a_log: &[u8], a_base: i16) {
    let n = l.len().min(a_log.len());
    let (Some(l), Some(a_log)) = (l.get_mut(..n), a_log.get(..n)) else {
        return never("rows of the lengths that were compared", ());
    };
    let base = isa.splat(index_base(a_base));
    for (l, a_log) in l.as_chunks_mut().0.iter_mut().zip(a_log.as_chunks().0) {
        let sum = isa.add(isa.add(isa.load_i16(l), base), isa.shl(isa.load_u8(a_log), 5));
        isa.store_i16(isa.decays(isa.shr(sum, 3)), l);
    }
    Scalar.first_decay(rest_mut(l), rest(a_log), a_base);
}

/// [`Kernels::gate_wide`].
#[inline(always)]
pub(crate) fn gate_wide<I: Isa>(isa: I, p: &Gate<'_>, y: &mut [i32], x: &mut [i16], z: &mut [i16]) -> u32 {
    let n = x.len().min(z.len()).min(y.len()).min(p.d_skip.len()).min(p.state_code.len());
    let (Some(x), Some(z), Some(y)) = (x.get_mut(..n), z.get_mut(..n), y.get_mut(..n)) else {
        return never("rows of the lengths that were compared", 0);
    };
    let (Some(d_skip), Some(state_code)) = (p.d_skip.get(..n), p.state_code.get(..n)) else {
        return never("rows of the lengths that were compared", 0);
    };
    let mut bits = isa.splat(0);
    let d_shift = (p.d_shift as u32).wrapping_sub(1).min(31);
    let rows = d_skip.as_chunks().0.iter().zip(state_code.as_chunks().0);
    let channels = x.as_chunks().0.iter().zip(z.as_chunks().0).zip(y.as_chunks_mut().0);
    for (((x, z), y), (d, code)) in channels.zip(rows) {
        let skip = halved(isa, isa.shr(isa.mul(isa.load_i16(d), isa.load_i16(x)), d_shift));
        let sum = isa.mul_round_add(isa.load_i32(y), isa.multipliers(code), p.y_shift as u32 + 7, skip);
        let gated = isa.mul_round::<15>(sum, silu(isa, isa.load_i16(z), p.z_frac), p.gate_shift as u32);
        isa.store_i32(gated, y);
        bits = isa.or(bits, isa.abs(gated));
    }
    let mut each = [0; 16];
    isa.store_i32(bits, &mut each);
    let bits = each.iter().fold(0, |bits, &b| bits | b as u32);
    let p = Gate { d_skip: rest(d_skip), state_code: rest(state_code), ..*p };
    bits | Scalar.gate_wide(&p, rest_mut(y), rest_mut(x), rest_mut(z))
}

/// [`Kernels::gate_narrow`].
#[inline(always)]
pub(crate) fn gate_narrow<I: Isa>(isa: I, y: &[i32], down: u8, x: &mut [i16]) {
    let n = x.len().min(y.len());
    let (Some(x), Some(y)) = (x.get_mut(..n), y.get(..n)) else {
        return never("rows of the lengths that were compared", ());
    };
    for (x, y) in x.as_chunks_mut().0.iter_mut().zip(y.as_chunks().0) {
        let y = isa.load_i32(y);
        let shifted = if down == 0 { y } else { halved(isa, isa.shr(y, down as u32 - 1)) };
        isa.store_i16(shifted, x);
    }
    Scalar.gate_narrow(rest(y), down, rest_mut(x));
}
