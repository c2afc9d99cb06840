//! Products with weights in [tiles](crate::tiles).
//!
//! Sixteen bytes of a tile are four rows of four columns. They are widened to 16 bits and multiplied by four
//! activations, broadcast: two neighbouring lanes have the sums of a row, and are added at the end.

use core::arch::x86_64::*;

use super::token::Avx2;
use crate::linear::BLOCK;
use crate::simd::isa::Sums;
use crate::simd::vector::tiled::{Panels, Tiles, add_block, no_sums};
use crate::tiles::{COLUMNS, ROWS};

/// Bytes of a tile.
const TILE: usize = ROWS * COLUMNS;
/// Columns of two tiles before those of the next two: so few that all of them are read nearly in their order.
const TURN: usize = 8 * COLUMNS;

/// Most columns of tiles that are read one after the other.
const SHORT: usize = 64;

/// Activations as they are.
#[derive(Clone, Copy)]
pub(super) struct Plain<'x>(pub(super) &'x [i16]);

/// The sums of a tile's rows, two lanes a row.
type Halves = [__m256i; 4];

impl Avx2 {
    /// One sum a row.
    #[inline(always)]
    fn whole(self, sums: Halves) -> [__m256i; 2] {
        [self.pairs(sums[0], sums[1]), self.pairs(sums[2], sums[3])]
    }

    /// The sums of neighbouring lanes: those of `a`, then those of `b`.
    #[inline(always)]
    fn pairs(self, a: __m256i, b: __m256i) -> __m256i {
        avx2!(_mm256_permute4x64_epi64::<0xd8>(_mm256_hadd_epi32(a, b)))
    }

    /// Adds the products of `columns` columns of `T` tiles side by side, `step` bytes from four columns to the next.
    ///
    /// # Safety
    /// The weights are there, and as many activations.
    #[inline(always)]
    unsafe fn add_tiles<const T: usize>(
        self,
        mut sums: [Halves; T],
        w: *const i8,
        step: usize,
        x: *const i16,
        columns: usize,
    ) -> [Halves; T] {
        for four in 0..columns / COLUMNS {
            // SAFETY: as promised by the caller.
            unsafe {
                let x = _mm256_set1_epi64x(x.add(COLUMNS * four).cast::<i64>().read_unaligned());
                let w = w.add(step * four);
                for (t, sums) in sums.iter_mut().enumerate() {
                    for (quad, sum) in sums.iter_mut().enumerate() {
                        let w = _mm_loadu_si128(w.add(TILE * t + 16 * quad).cast());
                        *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(_mm256_cvtepi8_epi16(w), x));
                    }
                }
            }
        }
        sums
    }

    /// The sums of a panel of `T` tiles over at most [`BLOCK`] columns, a multiple of four.
    ///
    /// # Safety
    /// There are `T * ROWS * columns` weights, and `columns` activations.
    #[inline(always)]
    unsafe fn panel<const T: usize>(self, w: *const i8, x: *const i16, columns: usize) -> [[__m256i; 2]; T] {
        let zero = avx2!(_mm256_setzero_si256());
        let mut sums = [[zero; 4]; T];
        for from in (0..columns).step_by(TURN) {
            let n = TURN.min(columns - from);
            // SAFETY: as above; two tiles have room in registers, four have not.
            unsafe {
                let (w, x) = (w.add(from * T * ROWS), x.add(from));
                let (twos, one) = sums.as_chunks_mut::<2>();
                for (i, two) in twos.iter_mut().enumerate() {
                    *two = self.add_tiles(*two, w.add(2 * i * TILE), T * TILE, x, n);
                }
                if let [last] = one {
                    [*last] = self.add_tiles([*last], w.add((T - 1) * TILE), T * TILE, x, n);
                }
            }
        }
        // No closure: that would be compiled without the processor's instructions.
        let mut all = [[zero; 2]; T];
        for (all, sums) in all.iter_mut().zip(sums) {
            *all = self.whole(sums);
        }
        all
    }

    /// [`Avx2::panel`] of all columns.
    ///
    /// # Safety
    /// There are `T * ROWS * x.len()` weights.
    #[inline(always)]
    unsafe fn long_panel<const T: usize>(self, w: *const i8, x: &[i16]) -> [Sums<[__m256i; 2]>; 4] {
        let (mut sums, x_len) = ([no_sums(self); 4], x.len());
        for (x, from) in x.chunks(BLOCK).zip((0..).step_by(BLOCK)) {
            // SAFETY: as above.
            let blocks = unsafe { self.panel::<T>(w.add(from * T * ROWS), x.as_ptr(), x.len()) };
            for (sums, block) in sums.iter_mut().zip(blocks) {
                *sums = add_block(self, *sums, block, x_len);
            }
        }
        sums
    }
}

impl Panels<Avx2> for Plain<'_> {
    #[inline(always)]
    fn sums(self, isa: Avx2, w: &[i8]) -> [Sums<[__m256i; 2]>; 4] {
        let x = self.0;
        if x.len() <= SHORT {
            let (step, mut all) = (w.len() / x.len().max(1) * COLUMNS, [no_sums(isa); 4]);
            for (t, sums) in all.iter_mut().enumerate().take(step / TILE) {
                [sums.low] = isa.tile(w.get(t * TILE..).unwrap_or(&[]), step, [x]);
            }
            return all;
        }
        // SAFETY: the length says how many tiles there are.
        unsafe {
            match w.len() / (ROWS * x.len().max(1)) {
                0 => [no_sums(isa); 4],
                1 => isa.long_panel::<1>(w.as_ptr(), x),
                2 => isa.long_panel::<2>(w.as_ptr(), x),
                3 => isa.long_panel::<3>(w.as_ptr(), x),
                _ => isa.long_panel::<4>(w.as_ptr(), x),
            }
        }
    }
}

impl Tiles for Avx2 {
    #[inline(always)]
    fn tile<const P: usize>(self, w: &[i8], step: usize, x: [&[i16]; P]) -> [[__m256i; 2]; P] {
        let fours = x.first().map_or(0, |x| x.len() / COLUMNS);
        let zero = avx2!(_mm256_setzero_si256());
        let mut all = [[zero; 2]; P];
        if fours == 0 || w.len() < (fours - 1) * step + TILE || x.iter().any(|x| x.len() < fours * COLUMNS) {
            return all;
        }
        let (w, x) = (w.as_ptr(), x.map(<[i16]>::as_ptr));
        // Half a tile's rows, so that the sums of six positions have room in registers.
        for half in 0..2 {
            let mut sums = [[zero; 2]; P];
            for four in 0..fours {
                // SAFETY: a tile from `step * four` on and four activations of each position were counted.
                unsafe {
                    let w = w.add(step * four + 32 * half);
                    let first = _mm256_cvtepi8_epi16(_mm_loadu_si128(w.cast()));
                    let last = _mm256_cvtepi8_epi16(_mm_loadu_si128(w.add(16).cast()));
                    for (sums, x) in sums.iter_mut().zip(x) {
                        let x = _mm256_set1_epi64x(x.add(COLUMNS * four).cast::<i64>().read_unaligned());
                        sums[0] = _mm256_add_epi32(sums[0], _mm256_madd_epi16(first, x));
                        sums[1] = _mm256_add_epi32(sums[1], _mm256_madd_epi16(last, x));
                    }
                }
            }
            for (all, [a, b]) in all.iter_mut().zip(sums) {
                all[half] = self.pairs(a, b);
            }
        }
        all
    }
}
