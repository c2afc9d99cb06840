//! Products of rows of weights with activations, four rows at a time.

use core::arch::wasm32::*;

use crate::linear::BLOCK;
use crate::simd::isa::{ROWS, Sums};

/// Columns whose products always fit the four sums of a row.
const COLUMNS: usize = 4 * BLOCK;

/// The sum of each vector's lanes.
#[inline(always)]
fn sum_4(v: [v128; 4]) -> v128 {
    let pair = |a, b| i32x4_add(i32x4_shuffle::<0, 4, 1, 5>(a, b), i32x4_shuffle::<2, 6, 3, 7>(a, b));
    let (a, b) = (pair(v[0], v[1]), pair(v[2], v[3]));
    i32x4_add(i64x2_shuffle::<0, 2>(a, b), i64x2_shuffle::<1, 3>(a, b))
}

/// Adds the products of 16 columns of four rows.
///
/// # Safety
/// `w` are 16 bytes each, `x` is 16 activations.
#[inline(always)]
unsafe fn add_16(sums: &mut [v128; 4], w: [*const i8; 4], x: *const i16) {
    // SAFETY: as above; a load needs no alignment.
    unsafe {
        let (x0, x1) = (v128_load(x.cast()), v128_load(x.add(8).cast()));
        for (sum, w) in sums.iter_mut().zip(w) {
            let first = i32x4_dot_i16x8(i16x8_load_extend_i8x8(w), x0);
            let last = i32x4_dot_i16x8(i16x8_load_extend_i8x8(w.add(8)), x1);
            *sum = i32x4_add(*sum, i32x4_add(first, last));
        }
    }
}

/// The sums of four rows over the columns from `from` to `to`.
///
/// # Safety
/// `w` are `to` bytes each, `x` is `to` activations; `from <= to`.
#[inline(always)]
unsafe fn four_rows(w: [*const i8; 4], x: *const i16, from: usize, to: usize) -> [v128; 4] {
    let mut sums = [i32x4_splat(0); 4];
    let mut at = from;
    while at + 16 <= to {
        // SAFETY: 16 columns from `at` on end at `to`.
        unsafe { add_16(&mut sums, [w[0].add(at), w[1].add(at), w[2].add(at), w[3].add(at)], x.add(at)) };
        at += 16;
    }
    if at < to {
        let (mut rows, mut columns) = ([[0i8; 16]; 4], [0i16; 16]);
        // SAFETY: less than 16 columns are left from `at` to `to`; then four rows and `columns` of 16 elements.
        unsafe {
            for (row, w) in rows.iter_mut().zip(w) {
                core::ptr::copy_nonoverlapping(w.add(at), row.as_mut_ptr(), to - at);
            }
            core::ptr::copy_nonoverlapping(x.add(at), columns.as_mut_ptr(), to - at);
            add_16(&mut sums, rows.each_ref().map(|row| row.as_ptr()), columns.as_ptr());
        }
    }
    sums
}

/// [`Isa::dot_rows`](crate::simd::isa::Isa::dot_rows).
#[inline(always)]
pub(super) fn rows(w: &[i8], x: &[i16]) -> Sums<[v128; 4]> {
    let n = x.len().max(1);
    let last = (w.len() / n).saturating_sub(1);
    let mut sums = Sums { high: [i32x4_splat(0); 4], low: [i32x4_splat(0); 4] };
    for (block, (high, low)) in sums.high.iter_mut().zip(&mut sums.low).enumerate() {
        if 4 * block > last || w.len() < n || x.is_empty() {
            break;
        }
        // Rows after the last one are the last one again.
        let row = |i: usize| w.as_ptr().wrapping_add((4 * block + i).min(last) * n);
        let rows = [row(0), row(1), row(2), row(3)];
        let mut from = 0;
        while from < n {
            let to = (from + COLUMNS).min(n);
            // SAFETY: each row has `n` weights, `x` has `n` activations; `to` is at most `n`.
            let part = unsafe { four_rows(rows, x.as_ptr(), from, to) };
            from = to;
            if n > BLOCK {
                *high = i32x4_add(*high, sum_4(part.map(|sum| i32x4_shr(sum, 8))));
                *low = i32x4_add(*low, sum_4(part.map(|sum| v128_and(sum, i32x4_splat(255)))));
            } else {
                *low = sum_4(part);
            }
        }
    }
    sums
}

/// [`Isa::dot_panel`](crate::simd::isa::Isa::dot_panel).
#[inline(always)]
pub(super) fn panel(w: &[i8], x: &[i16]) -> [Sums<[v128; 4]>; 4] {
    let block = ROWS * x.len();
    let rows = |i: usize| rows(w.get(i * block..(i + 1) * block).unwrap_or(&[]), x);
    [rows(0), rows(1), rows(2), rows(3)]
}

/// [`Isa::dot_short_rows`](crate::simd::isa::Isa::dot_short_rows).
#[inline(always)]
pub(super) fn short_rows(w: &[i8], columns: usize, x: &[i16; 16]) -> [v128; 4] {
    if w.len() < 15 * columns + 16 {
        return [i32x4_splat(0); 4];
    }
    let four = |first: usize| {
        let row = |i: usize| w.as_ptr().wrapping_add((first + i) * columns);
        let mut sums = [i32x4_splat(0); 4];
        // SAFETY: sixteen bytes from the start of each row on are in `w`.
        unsafe { add_16(&mut sums, [row(0), row(1), row(2), row(3)], x.as_ptr()) };
        sum_4(sums)
    };
    [four(0), four(4), four(8), four(12)]
}
