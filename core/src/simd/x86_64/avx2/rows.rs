//! Products with rows that lie one after the other: four rows share the loads of activations.

use core::arch::x86_64::*;

use super::token::Avx2;
use crate::linear::BLOCK;
use crate::simd::isa::{Isa, ROWS, Sums};
use crate::simd::x86_64::fetch;

/// Columns whose products always fit the eight sums of a row.
const COLUMNS: usize = 8 * BLOCK;

impl Avx2 {
    /// Lane `L` of the result has the sums of lane `L` of each vector.
    #[inline(always)]
    fn sum_4(self, v: [__m256i; 4]) -> __m256i {
        avx2!({
            let low = _mm256_add_epi32(_mm256_unpacklo_epi32(v[0], v[1]), _mm256_unpackhi_epi32(v[0], v[1]));
            let high = _mm256_add_epi32(_mm256_unpacklo_epi32(v[2], v[3]), _mm256_unpackhi_epi32(v[2], v[3]));
            _mm256_add_epi32(_mm256_unpacklo_epi64(low, high), _mm256_unpackhi_epi64(low, high))
        })
    }

    /// The sums of both lanes of two results of [`Avx2::sum_4`].
    #[inline(always)]
    fn sum_8(self, a: __m256i, b: __m256i) -> __m256i {
        avx2!(_mm256_add_epi32(_mm256_permute2x128_si256::<0x20>(a, b), _mm256_permute2x128_si256::<0x31>(a, b)))
    }

    /// Adds the products of 16 columns of four rows.
    ///
    /// # Safety
    /// `w` are 16 bytes each, `x` is 16 activations.
    #[inline(always)]
    unsafe fn add_4(self, sums: [__m256i; 4], w: [*const i8; 4], x: *const i16) -> [__m256i; 4] {
        // SAFETY: as above.
        unsafe {
            let x = _mm256_loadu_si256(x.cast());
            let w0 = _mm256_cvtepi8_epi16(_mm_loadu_si128(w[0].cast()));
            let w1 = _mm256_cvtepi8_epi16(_mm_loadu_si128(w[1].cast()));
            let w2 = _mm256_cvtepi8_epi16(_mm_loadu_si128(w[2].cast()));
            let w3 = _mm256_cvtepi8_epi16(_mm_loadu_si128(w[3].cast()));
            [
                _mm256_add_epi32(sums[0], _mm256_madd_epi16(w0, x)),
                _mm256_add_epi32(sums[1], _mm256_madd_epi16(w1, x)),
                _mm256_add_epi32(sums[2], _mm256_madd_epi16(w2, x)),
                _mm256_add_epi32(sums[3], _mm256_madd_epi16(w3, x)),
            ]
        }
    }

    /// The eight sums of each of four rows over the columns from `from` to `to`, at most [`COLUMNS`].
    ///
    /// # Safety
    /// `w` are `to` bytes each, `x` is `to` activations.
    #[inline(always)]
    unsafe fn four_rows(self, w: [*const i8; 4], x: *const i16, from: usize, to: usize) -> [__m256i; 4] {
        let mut sums = avx2!([_mm256_setzero_si256(); 4]);
        let mut at = from;
        while at + 16 <= to {
            // SAFETY: 16 columns from `at` on end at `to`.
            sums = unsafe { self.add_4(sums, [w[0].add(at), w[1].add(at), w[2].add(at), w[3].add(at)], x.add(at)) };
            at += 16;
        }
        if at < to {
            let (mut rows, mut columns) = ([[0i8; 16]; 4], [0i16; 16]);
            // SAFETY: `to - at` columns, less than 16, are left.
            unsafe {
                for (row, w) in rows.iter_mut().zip(w) {
                    core::ptr::copy_nonoverlapping(w.add(at), row.as_mut_ptr(), to - at);
                }
                core::ptr::copy_nonoverlapping(x.add(at), columns.as_mut_ptr(), to - at);
                let rows = [rows[0].as_ptr(), rows[1].as_ptr(), rows[2].as_ptr(), rows[3].as_ptr()];
                sums = self.add_4(sums, rows, columns.as_ptr());
            }
        }
        sums
    }

    /// The eight sums of each of four rows as `256 * first + second`; up to 512 columns all is in the second.
    ///
    /// # Safety
    /// `w` are `n` bytes each, `x` is `n` activations.
    #[inline(always)]
    unsafe fn halves(self, w: [*const i8; 4], x: *const i16, n: usize) -> [[__m256i; 4]; 2] {
        let zero = avx2!([_mm256_setzero_si256(); 4]);
        if n <= BLOCK {
            // SAFETY: as above.
            return [zero, unsafe { self.four_rows(w, x, 0, n) }];
        }
        let (mut high, mut low, mut from) = (zero, zero, 0);
        while from < n {
            let to = (from + COLUMNS).min(n);
            // SAFETY: as above, `to` is at most `n`.
            let sums = unsafe { self.four_rows(w, x, from, to) };
            for i in 0..4 {
                avx2!({
                    high[i] = _mm256_add_epi32(high[i], _mm256_srai_epi32::<8>(sums[i]));
                    low[i] = _mm256_add_epi32(low[i], _mm256_and_si256(sums[i], _mm256_set1_epi32(255)));
                });
            }
            from = to;
        }
        [high, low]
    }

    /// [`Isa::dot_rows`].
    #[inline(always)]
    pub(super) fn all_rows(self, w: &[i8], x: &[i16]) -> Sums<[__m256i; 2]> {
        let n = x.len().max(1);
        let last = (w.len() / n).saturating_sub(1);
        let zero = avx2!(_mm256_setzero_si256());
        let (mut high, mut low) = ([zero; 4], [zero; 4]);
        for block in 0..ROWS / 4 {
            if 4 * block > last || w.len() < n {
                break;
            }
            // Rows after the last one are the last one again.
            let row = |i: usize| w.as_ptr().wrapping_add((4 * block + i).min(last) * n);
            // SAFETY: each row has `n` weights, `x` has `n` activations.
            let [upper, lower] = unsafe { self.halves([row(0), row(1), row(2), row(3)], x.as_ptr(), n) };
            (high[block], low[block]) = (self.sum_4(upper), self.sum_4(lower));
        }
        Sums {
            high: [self.sum_8(high[0], high[1]), self.sum_8(high[2], high[3])],
            low: [self.sum_8(low[0], low[1]), self.sum_8(low[2], low[3])],
        }
    }

    /// [`Isa::dot_panel`].
    #[inline(always)]
    pub(super) fn panel_of_rows(self, w: &[i8], x: &[i16], ahead: &[i8]) -> [Sums<[__m256i; 2]>; 4] {
        let n = x.len().max(1);
        let zero = avx2!(_mm256_setzero_si256());
        let (mut high, mut low) = ([[zero; 4]; 4], [[zero; 4]; 4]);
        if w.len() < 4 * ROWS * n {
            return [Sums { high: [zero; 2], low: [zero; 2] }; 4];
        }
        for quad in 0..4 {
            let (mut upper, mut lower) = ([[zero; 4]; 4], [[zero; 4]; 4]);
            for row in 0..4 {
                let first = w.as_ptr().wrapping_add((4 * quad + row) * n);
                let far = ROWS * n;
                let rows = [first, first.wrapping_add(far), first.wrapping_add(2 * far), first.wrapping_add(3 * far)];
                if !ahead.is_empty() {
                    let first = ahead.as_ptr().wrapping_add((4 * quad + row) * 4 * n);
                    (0..n.div_ceil(64)).for_each(|i| fetch(first.wrapping_add(256 * i)));
                }
                // SAFETY: each row has `n` weights, `x` has `n` activations.
                let [h, l] = unsafe { self.halves(rows, x.as_ptr(), n) };
                for block in 0..4 {
                    (upper[block][row], lower[block][row]) = (h[block], l[block]);
                }
            }
            for block in 0..4 {
                low[block][quad] = self.sum_4(lower[block]);
                if n > BLOCK {
                    high[block][quad] = self.sum_4(upper[block]);
                }
            }
        }
        let mut out = [Sums { high: [zero; 2], low: [zero; 2] }; 4];
        for block in 0..4 {
            let (h, l) = (high[block], low[block]);
            out[block] = Sums {
                high: [self.sum_8(h[0], h[1]), self.sum_8(h[2], h[3])],
                low: [self.sum_8(l[0], l[1]), self.sum_8(l[2], l[3])],
            };
        }
        out
    }

    /// [`Isa::dot_short_rows`].
    #[inline(always)]
    pub(super) fn short_rows(self, w: &[i8], columns: usize, x: &[i16; 16]) -> [__m256i; 2] {
        if w.len() < 15 * columns + 16 {
            return self.splat(0);
        }
        let zero = avx2!([_mm256_setzero_si256(); 4]);
        let row = |i: usize| w.as_ptr().wrapping_add(i * columns);
        // SAFETY: sixteen bytes from the start of each row on are in `w`.
        let quads = unsafe {
            [
                self.sum_4(self.add_4(zero, [row(0), row(1), row(2), row(3)], x.as_ptr())),
                self.sum_4(self.add_4(zero, [row(4), row(5), row(6), row(7)], x.as_ptr())),
                self.sum_4(self.add_4(zero, [row(8), row(9), row(10), row(11)], x.as_ptr())),
                self.sum_4(self.add_4(zero, [row(12), row(13), row(14), row(15)], x.as_ptr())),
            ]
        };
        [self.sum_8(quads[0], quads[1]), self.sum_8(quads[2], quads[3])]
    }
}
