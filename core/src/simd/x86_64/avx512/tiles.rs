//! Products with weights in [tiles](crate::tiles): lanes are rows, four activations at a time are broadcast to them.
//!
//! The signs of activations go to the weights, as in [`super`]: where one is negative the weight is inverted, and the
//! magnitudes of all such activations are what every row begins with.

use core::arch::x86_64::*;
use core::marker::PhantomData;
use core::mem::MaybeUninit;

use super::token::{Avx512, first_bytes};
use crate::linear::BLOCK;
use crate::simd::Output;
use crate::simd::isa::{Isa, Sums};
use crate::simd::vector::tiled::{self, Panels};
use crate::tiles::{COLUMNS, MOST_COLUMNS, ROWS};
use crate::weights::WeightsView;

/// Memory for the planes of up to `N` activations.
type Memory<const N: usize> = [[MaybeUninit<u8>; N]; 3];

/// Activations as three rows of bytes, and what the sums begin with.
#[derive(Clone, Copy)]
struct Planes<'m> {
    /// Upper and lower bytes of the magnitudes, and -1 where the activation is negative: `columns` of each.
    bytes: [*const u8; 3],
    columns: usize,
    /// The magnitudes' bytes of all negative activations, added up.
    start: [__m512i; 2],
    memory: PhantomData<&'m u8>,
}

impl<'m> Planes<'m> {
    /// Those of packed activations, of the first `N` if there are more.
    #[inline(always)]
    fn new<const N: usize>(isa: Avx512, memory: &'m mut Memory<N>, x: &[i16]) -> Self {
        const { assert!(N.is_multiple_of(64)) };
        let x = x.get(..N).unwrap_or(x);
        // One after the other, so that short ones are near each other.
        let width = x.len().next_multiple_of(64).min(N);
        let bytes = memory.as_mut_ptr().cast::<u8>();
        let mut sums = [isa.splat(0); 2];
        for (x, at) in x.chunks(64).zip((0..N).step_by(64)) {
            let (n, x) = (x.len(), x.as_ptr().cast::<i8>());
            let mask = if n == 64 { !0 } else { first_bytes(n) };
            // SAFETY: both planes of the chunk are `n` bytes; 64 bytes from `at` on, a multiple of 64 below `width`,
            // are in each of the three rows of `width` bytes.
            unsafe {
                let (high, low) = (_mm512_maskz_loadu_epi8(mask, x), _mm512_maskz_loadu_epi8(mask, x.add(n)));
                sums = isa.add_negative(sums, high, low);
                let planes = isa.planes(high, low);
                _mm512_storeu_si512(bytes.add(at).cast(), planes[0]);
                _mm512_storeu_si512(bytes.add(width + at).cast(), planes[1]);
                _mm512_storeu_si512(bytes.add(2 * width + at).cast(), planes[2]);
            }
        }
        let start = avx512!([
            _mm512_set1_epi32(_mm512_reduce_add_epi32(sums[0])),
            _mm512_set1_epi32(_mm512_reduce_add_epi32(sums[1])),
        ]);
        let bytes = [bytes.cast_const(), bytes.wrapping_add(width), bytes.wrapping_add(2 * width)];
        Self { bytes, columns: x.len(), start, memory: PhantomData }
    }

    /// The sums of the rows of a panel of `T` tiles side by side.
    ///
    /// # Safety
    /// `w` are `T * ROWS * columns` bytes.
    #[inline(always)]
    unsafe fn panel<const T: usize>(self, w: *const i8) -> [[__m512i; 2]; T] {
        let mut sums = [self.start; T];
        let [high, low, negative] = self.bytes;
        for four in 0..self.columns / COLUMNS {
            // SAFETY: as promised by the caller, and the planes have as many; planes exist only where a token does.
            unsafe {
                let high = _mm512_set1_epi32(high.add(4 * four).cast::<i32>().read_unaligned());
                let low = _mm512_set1_epi32(low.add(4 * four).cast::<i32>().read_unaligned());
                let negative = _mm512_set1_epi32(negative.add(4 * four).cast::<i32>().read_unaligned());
                let w = w.add(four * T * 64);
                for (t, sums) in sums.iter_mut().enumerate() {
                    let w = _mm512_xor_si512(_mm512_loadu_si512(w.add(64 * t).cast()), negative);
                    sums[0] = _mm512_dpbusd_epi32(sums[0], high, w);
                    sums[1] = _mm512_dpbusd_epi32(sums[1], low, w);
                }
            }
        }
        sums
    }
}

impl Panels<Avx512> for Planes<'_> {
    #[inline(always)]
    fn sums(self, isa: Avx512, w: &[i8]) -> [Sums<__m512i>; 4] {
        let columns = self.columns;
        // SAFETY: the length says how many tiles there are.
        unsafe {
            match w.len() / (ROWS * columns.max(1)) {
                0 => whole(isa, columns, []),
                1 => whole(isa, columns, self.panel::<1>(w.as_ptr())),
                2 => whole(isa, columns, self.panel::<2>(w.as_ptr())),
                3 => whole(isa, columns, self.panel::<3>(w.as_ptr())),
                _ => whole(isa, columns, self.panel::<4>(w.as_ptr())),
            }
        }
    }
}

/// The sums of tiles, with the halves in one where they have room there.
#[inline(always)]
fn whole<const T: usize>(isa: Avx512, columns: usize, sums: [[__m512i; 2]; T]) -> [Sums<__m512i>; 4] {
    let zero = isa.splat(0);
    let mut all = [Sums { high: zero, low: zero }; 4];
    for (all, [high, low]) in all.iter_mut().zip(sums) {
        *all = if columns <= BLOCK {
            Sums { high: zero, low: isa.add(isa.shl(high, 8), low) }
        } else {
            Sums { high, low }
        };
    }
    all
}

/// A matrix in tiles times packed activations.
#[inline(always)]
pub(super) fn matvec<O: Output>(isa: Avx512, w: WeightsView<'_>, x: &[i16], out: O, y: &mut [O::T]) {
    matvec_from(isa, w, x, out, 0, y);
}

/// The rows from `row` on of a whole matrix.
#[inline(always)]
pub(super) fn matvec_from<O: Output>(isa: Avx512, w: WeightsView<'_>, x: &[i16], out: O, row: usize, y: &mut [O::T]) {
    let mut memory: Memory<MOST_COLUMNS> = [[MaybeUninit::uninit(); _]; 3];
    tiled::matvec(isa, w, x, Planes::new(isa, &mut memory, x), out, row, y);
}
