//! The loops over channels in 32-bit arithmetic: norm, convolution, step size, `delta * x`, gate. For all chips.
//!
//! Channels are taken four at a time, so that the addresses of up to ten rows are updated once for four.

#![allow(dead_code, reason = "each kind of chip uses a part of it")]

use super::narrow::{self, Requantizer, with_scale};
use super::{Gate, rare};
use crate::cannot::never;
use crate::fixed::row_multiplier;
use crate::linear;
use crate::nonlinear::rsqrt;

/// [`embed`](super::Kernels::embed): a weight times a multiplier has 23 bits.
pub(crate) fn embed(row: &[i8], code: u8, base: u8, res: &mut [i32]) {
    let (multiplier, shift) = row_multiplier(code, base);
    for (res, &w) in res.iter_mut().zip(row) {
        *res = narrow::round(w as i32 * multiplier as i32, shift);
    }
}

/// What [`normalize`] multiplies by.
#[derive(Clone, Copy)]
pub(crate) struct Scaled {
    /// `q = round(x, down)`.
    pub(crate) down: u32,
    /// `n = high_round(q << up, r)`.
    pub(crate) up: u32,
    pub(crate) r: i32,
    /// `u = high_round(n, weight << weight_up)`.
    pub(crate) weight_up: u32,
}

/// The scale of RMSNorm; `None` for LayerNorm and for shifts that no trained model has.
#[inline(always)]
pub(crate) fn scale_of(x: &[i32], bias: &[i16], shift: u8, eps: u64) -> Option<Scaled> {
    let largest = x.iter().fold(0u32, |m, &x| m | x.unsigned_abs());
    scale_by(largest, |down| squares(x, down), bias, shift, eps)
}

/// The same by the bits of all magnitudes and a function that sums the squares of elements shifted down.
#[inline(always)]
pub(crate) fn scale_by(
    largest: u32,
    sum_of_squares: impl Fn(u32) -> u64,
    bias: &[i16],
    shift: u8,
    eps: u64,
) -> Option<Scaled> {
    let down = 9u32.saturating_sub(largest.leading_zeros());
    let (r, e) = rsqrt(sum_of_squares(down).wrapping_add(eps >> (2 * down)));
    // n = round(q * r, e - 1), and r * 2^-(23 + e) is at most 1 / max |q|: with |q| < 2^b, e is at least b - 9. So
    // q << 19 - e is below 2^28; the product with r << 14 is rounded at bit 32.
    let up = 19 - e;
    let usual = bias.is_empty() && (17..=32).contains(&shift) && (0..=28).contains(&up);
    usual.then_some(Scaled { down, up: up as u32, r: (r << 14) as i32, weight_up: 32u32.wrapping_sub(shift as u32) })
}

/// The last pass of [`norm`](crate::norm::norm).
#[inline(always)]
pub(crate) fn normalize(scaled: Scaled, x: &[i32], weight: &[i16], u: &mut [i16]) {
    let Scaled { down, up, r, weight_up } = scaled;
    let one = |q: i32, w: i16| {
        let n = narrow::high_round(q << up, r);
        narrow::saturate(narrow::high_round(n, (w as i32) << weight_up))
    };
    if down == 0 {
        x.iter().zip(weight).zip(u).for_each(|((&x, &w), u)| *u = one(x, w));
    } else {
        x.iter().zip(weight).zip(u).for_each(|((&x, &w), u)| *u = one(narrow::round(x, down), w));
    }
}

/// The sum of squares of `round(x, down)`.
#[inline(always)]
pub(crate) fn squares(x: &[i32], down: u32) -> u64 {
    let square = |q: i32| (q as i64 * q as i64) as u64;
    if down == 0 {
        x.iter().fold(0u64, |sum, &x| sum.wrapping_add(square(x)))
    } else {
        x.iter().fold(0u64, |sum, &x| sum.wrapping_add(square(narrow::round(x, down))))
    }
}

/// SiLU in place.
#[inline(always)]
fn silu(x: &mut [i16], frac: u8) {
    for x in x {
        *x = narrow::silu(*x, frac) as i16;
    }
}

/// [`conv1d_silu`](crate::conv1d::conv1d_silu): four taps as one pass without inner loop, else the scalar function.
#[inline(always)]
pub(crate) fn conv1d_silu(x: &mut [i16], history: &mut [i16], w: &[i8], code: &[u8], bias: &[i16], base: u8, frac: u8) {
    let n = x.len();
    let whole = w.len() == 4 * n && history.len() == 3 * n && code.len() == n && bias.len() == n;
    if whole && n.is_multiple_of(4) {
        with_scale!(base, |scale| conv_four_taps(scale, x, history, w, code, bias));
        silu(x, frac);
    } else {
        rare::conv1d_silu(x, history, w, code, bias, base, frac);
    }
}

#[inline(never)]
fn conv_four_taps<const LOW: bool>(
    scale: Requantizer<LOW>,
    x: &mut [i16],
    history: &mut [i16],
    w: &[i8],
    code: &[u8],
    bias: &[i16],
) {
    let n = x.len();
    let Some((h0, rest)) = history.split_at_mut_checked(n) else {
        return never("rows of the lengths that were compared", ());
    };
    let Some((h1, h2)) = rest.split_at_mut_checked(n) else {
        return never("rows of the lengths that were compared", ());
    };
    let Some((w0, rest)) = w.split_at_checked(n) else { return never("rows of the lengths that were compared", ()) };
    let Some((w1, rest)) = rest.split_at_checked(n) else { return never("rows of the lengths that were compared", ()) };
    let Some((w2, w3)) = rest.split_at_checked(n) else { return never("rows of the lengths that were compared", ()) };
    let columns = fours_mut(x).zip(fours_mut(h0)).zip(fours_mut(h1)).zip(fours_mut(h2));
    let taps = fours(w0).zip(fours(w1)).zip(fours(w2)).zip(fours(w3));
    for (((((x, h0), h1), h2), (((w0, w1), w2), w3)), (code, bias)) in
        columns.zip(taps).zip(fours(code).zip(fours(bias)))
    {
        for i in 0..4 {
            let acc = w0[i] as i32 * h0[i] as i32
                + w1[i] as i32 * h1[i] as i32
                + w2[i] as i32 * h2[i] as i32
                + w3[i] as i32 * x[i] as i32;
            h0[i] = h1[i];
            h1[i] = h2[i];
            h2[i] = x[i];
            x[i] = narrow::saturate(scale.apply(acc, code[i]).saturating_add(bias[i] as i32));
        }
    }
}

fn fours<T>(x: &[T]) -> impl Iterator<Item = &[T; 4]> {
    x.as_chunks::<4>().0.iter()
}

fn fours_mut<T>(x: &mut [T]) -> impl Iterator<Item = &mut [T; 4]> {
    x.as_chunks_mut::<4>().0.iter_mut()
}

/// `l = log2(softplus(dt_proj dt + dt_bias))`, ranks of 2, 4 and 8 without inner loop.
#[inline(always)]
pub(crate) fn log_delta(w: &[i8], code: &[u8], base: u8, dt: &[i16], bias: &[i16], l: &mut [i16]) {
    with_scale!(base, |scale| match dt.len() {
        2 => short_rows::<2, _>(scale, w, code, dt, bias, l),
        4 => short_rows::<4, _>(scale, w, code, dt, bias, l),
        8 => short_rows::<8, _>(scale, w, code, dt, bias, l),
        n if n <= linear::BLOCK => {
            for ((w, l), (&code, &bias)) in w.chunks_exact(n.max(1)).zip(l).zip(code.iter().zip(bias)) {
                let v = scale.apply(linear::dot_i8_i16(w, dt) as i32, code).saturating_add(bias as i32);
                *l = narrow::log_delta(v) as i16;
            }
        }
        _ => rare::log_delta(w, code, base, dt, bias, l),
    });
}

#[inline(always)]
fn short_rows<const N: usize, const LOW: bool>(
    scale: Requantizer<LOW>,
    w: &[i8],
    code: &[u8],
    dt: &[i16],
    bias: &[i16],
    l: &mut [i16],
) {
    let Some(dt) = dt.first_chunk::<N>() else { return never("rows of the lengths that were compared", ()) };
    let dt = dt.map(|dt| dt as i32);
    let (w, _) = w.as_chunks::<N>();
    for ((w, l), (&code, &bias)) in w.iter().zip(l).zip(code.iter().zip(bias)) {
        let sum = w.iter().zip(&dt).fold(0, |sum, (&w, &dt)| sum + w as i32 * dt);
        *l = narrow::log_delta(scale.apply(sum, code).saturating_add(bias as i32)) as i16;
    }
}

/// [`delta_x`](crate::selective_scan::delta_x) of all channels.
#[inline(always)]
pub(crate) fn delta_x(x: &[i16], l: &[i16], base: i32, code: &[u8], dx: &mut [i16]) {
    for (dx, ((&x, &l), &code)) in dx.iter_mut().zip(x.iter().zip(l).zip(code)) {
        *dx = narrow::saturate(narrow::delta_x(x, l as i32 + base + 32 * code as i32));
    }
}

/// [`gate`](super::Kernels::gate).
#[inline(always)]
pub(crate) fn gate(p: &Gate<'_>, y: &mut [i32], x: &mut [i16], z: &mut [i16]) -> u8 {
    silu(z, p.z_frac);
    let largest = with_scale!(p.y_shift, |scale| gated(p, scale, y, x, z));
    let down = 17 - largest.leading_zeros().min(17);
    if down == 0 {
        for (x, &y) in x.iter_mut().zip(y.iter()) {
            *x = y as i16;
        }
    } else {
        for (x, &y) in x.iter_mut().zip(y.iter()) {
            *x = narrow::saturate(narrow::round(y, down));
        }
    }
    down as u8
}

#[inline(never)]
fn gated<const LOW: bool>(p: &Gate<'_>, scale: Requantizer<LOW>, y: &mut [i32], x: &[i16], silu_z: &[i16]) -> u32 {
    let up = if p.gate_shift <= 16 { 16 - p.gate_shift as u32 } else { 32 };
    let mut largest = 0u32;
    let channels = x.iter().zip(silu_z).zip(y.iter_mut()).zip(p.d_skip.iter().zip(p.state_code));
    for (((&x, &z), y), (&d, &code)) in channels {
        let skip = narrow::round(d as i32 * x as i32, p.d_shift as u32);
        let sum = narrow::skipped(scale, *y, code, skip);
        *y = narrow::gated(sum, z, up, p.gate_shift);
        largest |= y.unsigned_abs();
    }
    largest
}
