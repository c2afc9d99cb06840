//! Chips without SIMD: plain 32-bit code. Four rows of a projection share the loads of activations.

use super::channels::{self, rare};
use super::narrow::{self, Requantizer, with_scale};
use super::{Gate, Kernels, Scalar};
use crate::linear::BLOCK;

/// The kernels.
pub(crate) struct Plain32;

/// The sums of four rows of `w`.
#[cfg(not(mambabyte_thumb1))]
#[inline(always)]
fn dot_rows(w: [&[i8]; 4], x: &[i16]) -> [i32; 4] {
    let mut sums = [0i32; 4];
    let [a, b, c, d] = w.map(|row| row.as_chunks::<4>());
    let (fours, rest) = x.as_chunks::<4>();
    for ((x, (a, b)), (c, d)) in fours.iter().zip(a.0.iter().zip(b.0)).zip(c.0.iter().zip(d.0)) {
        for i in 0..4 {
            for (sum, row) in sums.iter_mut().zip([a, b, c, d]) {
                *sum = sum.wrapping_add(row[i] as i32 * x[i] as i32);
            }
        }
    }
    for (i, &x) in rest.iter().enumerate() {
        for (sum, row) in sums.iter_mut().zip([a.1, b.1, c.1, d.1]) {
            *sum = sum.wrapping_add(row.get(i).map_or(0, |&w| w as i32) * x as i32);
        }
    }
    sums
}

/// The sum of one row.
#[inline(always)]
fn dot(w: &[i8], x: &[i16]) -> i32 {
    w.iter().zip(x).fold(0i32, |sum, (&w, &x)| sum.wrapping_add(w as i32 * x as i32))
}

/// `emit(y, saturate(requantize(sum)))` for all rows.
#[cfg(not(mambabyte_thumb1))]
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
    let (blocks, codes) = (w.chunks_exact(4 * n), code.as_chunks::<4>());
    let (left, done) = (blocks.remainder(), blocks.len().min(codes.0.len()) * 4);
    let mut out = y.iter_mut();
    for (block, codes) in blocks.zip(codes.0) {
        let (ab, cd) = block.split_at(2 * n);
        let ((a, b), (c, d)) = (ab.split_at(n), cd.split_at(n));
        for (sum, &code) in dot_rows([a, b, c, d], x).into_iter().zip(codes) {
            if let Some(y) = out.next() {
                emit(y, scale.apply(sum, code));
            }
        }
    }
    for ((w, &code), y) in left.chunks_exact(n).zip(code.iter().skip(done)).zip(out) {
        emit(y, scale.apply(dot(w, x), code));
    }
}

/// Three rows at a time in assembly: [`super::thumb1`].
#[cfg(mambabyte_thumb1)]
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
    let mut out = y.iter_mut().zip(code);
    let blocks = w.chunks_exact(3 * n);
    let left = blocks.remainder();
    for block in blocks {
        for (sum, (y, &code)) in super::thumb1::dot3(block, x).into_iter().zip(&mut out) {
            emit(y, scale.apply(sum, code));
        }
    }
    for (w, (y, &code)) in left.chunks_exact(n).zip(out) {
        emit(y, scale.apply(dot(w, x), code));
    }
}

impl Kernels for Plain32 {
    fn embed(row: &[i8], code: u8, base: u8, res: &mut [i32]) {
        channels::embed(row, code, base, res);
    }

    #[inline(never)]
    fn matvec_i16(w: &[i8], code: &[u8], base: u8, x: &[i16], y: &mut [i16]) {
        if x.len() > BLOCK {
            return Scalar::matvec_i16(w, code, base, x, y);
        }
        with_scale!(base, |scale| rows(scale, w, code, x, y, |y, q| *y = narrow::saturate(q)));
    }

    fn matvec_i32(w: &[i8], code: &[u8], base: u8, x: &[i16], y: &mut [i32]) {
        if x.len() > BLOCK {
            return Scalar::matvec_i32(w, code, base, x, y);
        }
        with_scale!(base, |scale| rows(scale, w, code, x, y, |y, q| *y = q));
    }

    fn matvec_add(w: &[i8], code: &[u8], base: u8, x: &[i16], y: &mut [i32]) {
        if x.len() > BLOCK {
            return Scalar::matvec_add(w, code, base, x, y);
        }
        with_scale!(base, |scale| rows(scale, w, code, x, y, |y, q| *y = y.saturating_add(q)));
    }

    fn norm(x: &[i32], weight: &[i16], bias: &[i16], shift: u8, eps: u64, u: &mut [i16]) {
        match channels::scale_of(x, bias, shift, eps) {
            Some(scaled) => channels::normalize(scaled, x, weight, u),
            None => rare::norm(x, weight, bias, shift, eps, u),
        }
    }

    fn conv1d_silu(x: &mut [i16], history: &mut [i16], w: &[i8], code: &[u8], bias: &[i16], base: u8, frac: u8) {
        channels::conv1d_silu(x, history, w, code, bias, base, frac);
    }

    fn log_delta(w: &[i8], code: &[u8], base: u8, dt: &[i16], bias: &[i16], l: &mut [i16]) {
        channels::log_delta(w, code, base, dt, bias, l);
    }

    fn delta_x(x: &[i16], l: &[i16], base: i32, code: &[u8], dx: &mut [i16]) {
        channels::delta_x(x, l, base, code, dx);
    }

    fn gate(p: &Gate<'_>, y: &mut [i32], x: &mut [i16], z: &mut [i16]) -> u8 {
        channels::gate(p, y, x, z)
    }

    #[cfg(mambabyte_thumb1)]
    #[allow(clippy::too_many_arguments, reason = "the operands of one equation")]
    fn scan_free(
        h: &mut [i16],
        a_log: &[u8],
        a_base: i16,
        b: &[i16],
        c: &[i16],
        log_delta: &[i16],
        dx: &[i16],
        y: &mut [i32],
    ) {
        super::thumb1::scan_free(h, a_log, a_base, b, c, log_delta, dx, y);
    }

    #[cfg(mambabyte_thumb1)]
    fn scan_tied(h: &mut [i16], b: &[i16], c: &[i16], r: &[i16], a: &mut [i16], dx: &[i16], y: &mut [i32]) {
        super::thumb1::scan_tied(h, b, c, r, a, dx, y);
    }
}
