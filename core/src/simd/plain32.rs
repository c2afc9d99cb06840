//! Chips without SIMD: plain 32-bit code. Four rows of a projection share the loads of activations.

#![allow(dead_code, reason = "on cores with loops of their own it is there to be compared")]

use super::narrow::{self, Requantizer, with_scale};
use super::output::{AddToI32, Output, Target, ToI16, ToI32, each_position};
use super::{Gate, Kernels, channels, rare};
use crate::linear::BLOCK;
use crate::span::{Activations, Span};
use crate::weights::WeightsView;

/// The kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plain32;

/// The sums of the four rows of `w`.
#[inline(always)]
fn dot4(w: &[i8], x: &[i16]) -> [i32; 4] {
    let mut sums = [0i32; 4];
    let mut rows = w.chunks_exact(x.len().max(1)).map(|row| row.as_chunks::<4>());
    let mut row = || rows.next().unwrap_or((&[], &[]));
    let [a, b, c, d] = [row(), row(), row(), row()];
    let (fours, rest) = x.as_chunks::<4>();
    for ((x, (a, b)), (c, d)) in fours.iter().zip(a.0.iter().zip(b.0)).zip(c.0.iter().zip(d.0)) {
        for i in 0..4 {
            for (sum, row) in sums.iter_mut().zip([a, b, c, d]) {
                *sum = sum.wrapping_add(row[i] as i32 * x[i] as i32);
            }
        }
    }
    if !rest.is_empty() {
        for (sum, row) in sums.iter_mut().zip([a.1, b.1, c.1, d.1]) {
            *sum = sum.wrapping_add(dot(row, rest));
        }
    }
    sums
}

/// The sum of one row.
#[inline(always)]
fn dot(w: &[i8], x: &[i16]) -> i32 {
    w.iter().zip(x).fold(0i32, |sum, (&w, &x)| sum.wrapping_add(w as i32 * x as i32))
}

/// The codes and results of as many rows as all have.
#[inline(always)]
fn whole<'c, 'y, T>(w: &[i8], code: &'c [u8], x: &[i16], y: &'y mut [T]) -> (&'c [u8], &'y mut [T]) {
    let rows = (w.len() / x.len().max(1)).min(code.len()).min(y.len());
    (code.get(..rows).unwrap_or(&[]), y.get_mut(..rows).unwrap_or(&mut []))
}

/// `emit(y, saturate(requantize(sum)))` for all rows.
#[inline(always)]
fn rows<T, const LOW: bool>(
    scale: Requantizer<LOW>,
    w: &[i8],
    code: &[u8],
    x: &[i16],
    y: &mut [T],
    emit: impl Fn(&mut T, i32),
) {
    let n = x.len().max(1);
    let blocks = w.chunks_exact(4 * n);
    let (codes, rest_codes) = code.as_chunks::<4>();
    let (ys, rest_y) = y.as_chunks_mut::<4>();
    let left = blocks.remainder();
    for ((block, codes), ys) in blocks.zip(codes).zip(ys.iter_mut()) {
        let sums = dot4(block, x);
        for i in 0..4 {
            emit(&mut ys[i], scale.apply(sums[i], codes[i]));
        }
    }
    // The rows that are left are the last ones of the slices, which have equal numbers of rows.
    for ((w, &code), y) in left.chunks_exact(n).zip(rest_codes).zip(rest_y) {
        emit(y, scale.apply(dot(w, x), code));
    }
}

impl Kernels for Plain32 {
    const NAME: &'static str = "plain32";

    fn embed(self, row: &[i8], code: u8, base: u8, res: &mut [i32]) {
        channels::embed(row, code, base, res);
    }

    #[inline(always)]
    fn project<O: Output, P: Span>(self, w: WeightsView<'_>, x: Activations<'_>, out: O, _: &mut P, y: &mut [O::T]) {
        each_position::<O, P>(w, x, out, y, |w, x, y| match out.target(y) {
            Target::I16(y) => to_i16(w, x, y),
            Target::I32(y) => to_i32(w, x, y),
            Target::Add(y) => add_to_i32(w, x, y),
            Target::LogDelta(bias, l) => log_delta(w.bytes, w.codes, w.shift, x, bias, l),
        });
    }

    fn norm(self, x: &[i32], weight: &[i16], bias: &[i16], shift: u8, eps: u64, u: &mut [i16]) {
        match channels::scale_of(x, bias, shift, eps) {
            Some(scaled) => channels::normalize(scaled, x, weight, u),
            None => rare::norm(x, weight, bias, shift, eps, u),
        }
    }

    fn conv1d_silu(self, x: &mut [i16], history: &mut [i16], w: &[i8], code: &[u8], bias: &[i16], base: u8, frac: u8) {
        channels::conv1d_silu(x, history, w, code, bias, base, frac);
    }

    fn delta_x(self, x: &[i16], l: &[i16], base: i32, code: &[u8], dx: &mut [i16]) {
        channels::delta_x(x, l, base, code, dx);
    }

    fn gate(self, p: &Gate<'_>, y: &mut [i32], x: &mut [i16], z: &mut [i16]) -> u8 {
        channels::gate(p, y, x, z)
    }
}

#[inline(never)]
fn to_i16(w: WeightsView<'_>, x: &[i16], y: &mut [i16]) {
    if x.len() > BLOCK {
        return rare::project(w, x, ToI16, y);
    }
    let (code, y) = whole(w.bytes, w.codes, x, y);
    with_scale!(w.shift, |scale| rows(scale, w.bytes, code, x, y, |y, q| *y = narrow::saturate(q)));
}

fn to_i32(w: WeightsView<'_>, x: &[i16], y: &mut [i32]) {
    if x.len() > BLOCK {
        return rare::project(w, x, ToI32, y);
    }
    let (code, y) = whole(w.bytes, w.codes, x, y);
    with_scale!(w.shift, |scale| rows(scale, w.bytes, code, x, y, |y, q| *y = q));
}

fn add_to_i32(w: WeightsView<'_>, x: &[i16], y: &mut [i32]) {
    if x.len() > BLOCK {
        return rare::project(w, x, AddToI32(&[]), y);
    }
    let (code, y) = whole(w.bytes, w.codes, x, y);
    with_scale!(w.shift, |scale| rows(scale, w.bytes, code, x, y, |y, q| *y = y.saturating_add(q)));
}

/// `l = log2(softplus(dt_proj dt + bias))`, also for kernels that have no loop of their own for it.
pub(super) fn log_delta(w: &[i8], code: &[u8], base: u8, dt: &[i16], bias: &[i16], l: &mut [i16]) {
    channels::log_delta(w, code, base, dt, bias, l);
}
