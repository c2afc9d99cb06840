//! The operations of [`Isa`], one instruction each or a few.

use core::arch::x86_64::*;

use super::decay;
use super::token::{Avx512, MULTIPLIERS, first_bytes};
use crate::linear::BLOCK;
use crate::simd::isa::{Isa, ROWS, STEPS, Sums};
use crate::simd::vector::{DECAYS, LAST_DECAY};
use crate::simd::x86_64::fetch_line;

impl Isa for Avx512 {
    type W = __m512i;
    type H = __m512i;
    type Y = [__m512i; 2];
    type Q = __m512i;
    type Start = [__m512i; 2];

    #[inline(always)]
    fn splat(self, x: i32) -> __m512i {
        avx512!(_mm512_set1_epi32(x))
    }
    #[inline(always)]
    fn load_i32(self, x: &[i32; 16]) -> __m512i {
        avx512!(_mm512_loadu_si512(x.as_ptr().cast()))
    }
    #[inline(always)]
    fn load_i16(self, x: &[i16; 16]) -> __m512i {
        avx512!(_mm512_cvtepi16_epi32(_mm256_loadu_si256(x.as_ptr().cast())))
    }
    #[inline(always)]
    fn load_i8(self, x: &[i8; 16]) -> __m512i {
        avx512!(_mm512_cvtepi8_epi32(_mm_loadu_si128(x.as_ptr().cast())))
    }
    #[inline(always)]
    fn load_u8(self, x: &[u8; 16]) -> __m512i {
        avx512!(_mm512_cvtepu8_epi32(_mm_loadu_si128(x.as_ptr().cast())))
    }
    #[inline(always)]
    fn store_i32(self, x: __m512i, to: &mut [i32; 16]) {
        avx512!(_mm512_storeu_si512(to.as_mut_ptr().cast(), x));
    }
    #[inline(always)]
    fn store_i16(self, x: __m512i, to: &mut [i16; 16]) {
        avx512!({
            let held = _mm512_max_epi32(x, _mm512_set1_epi32(-32767));
            _mm256_storeu_si256(to.as_mut_ptr().cast(), _mm512_cvtsepi32_epi16(held));
        });
    }

    #[inline(always)]
    fn add(self, a: __m512i, b: __m512i) -> __m512i {
        avx512!(_mm512_add_epi32(a, b))
    }
    #[inline(always)]
    fn sub(self, a: __m512i, b: __m512i) -> __m512i {
        avx512!(_mm512_sub_epi32(a, b))
    }
    #[inline(always)]
    fn mul(self, a: __m512i, b: __m512i) -> __m512i {
        avx512!(_mm512_mullo_epi32(a, b))
    }
    #[inline(always)]
    fn min(self, a: __m512i, b: __m512i) -> __m512i {
        avx512!(_mm512_min_epi32(a, b))
    }
    #[inline(always)]
    fn max(self, a: __m512i, b: __m512i) -> __m512i {
        avx512!(_mm512_max_epi32(a, b))
    }
    #[inline(always)]
    fn abs(self, a: __m512i) -> __m512i {
        avx512!(_mm512_abs_epi32(a))
    }
    #[inline(always)]
    fn and(self, a: __m512i, b: __m512i) -> __m512i {
        avx512!(_mm512_and_si512(a, b))
    }
    #[inline(always)]
    fn or(self, a: __m512i, b: __m512i) -> __m512i {
        avx512!(_mm512_or_si512(a, b))
    }
    #[inline(always)]
    fn add_saturating(self, a: __m512i, b: __m512i) -> __m512i {
        avx512!({
            let sum = _mm512_add_epi32(a, b);
            // Overflow: the sum's sign differs from both.
            let over = _mm512_and_si512(_mm512_xor_si512(sum, a), _mm512_xor_si512(sum, b));
            let limit = _mm512_xor_si512(_mm512_srai_epi32::<31>(a), _mm512_set1_epi32(i32::MAX));
            _mm512_mask_mov_epi32(sum, _mm512_movepi32_mask(over), limit)
        })
    }
    #[inline(always)]
    fn shl(self, a: __m512i, by: u32) -> __m512i {
        avx512!(_mm512_sll_epi32(a, _mm_cvtsi32_si128(by as i32)))
    }
    #[inline(always)]
    fn shr(self, a: __m512i, by: u32) -> __m512i {
        avx512!(_mm512_sra_epi32(a, _mm_cvtsi32_si128(by as i32)))
    }
    #[inline(always)]
    fn shr_each(self, a: __m512i, by: __m512i) -> __m512i {
        avx512!(_mm512_srav_epi32(a, by))
    }
    #[inline(always)]
    fn if_negative(self, test: __m512i, a: __m512i, b: __m512i) -> __m512i {
        avx512!(_mm512_mask_mov_epi32(b, _mm512_movepi32_mask(test), a))
    }
    #[inline(always)]
    fn any_negative(self, a: __m512i) -> bool {
        avx512!(_mm512_movepi32_mask(a) != 0)
    }

    #[inline(always)]
    fn mul_round_add(self, a: __m512i, b: __m512i, shift: u32, c: __m512i) -> __m512i {
        let [even, odd] = self.products(a, b);
        let (even, odd) = (self.round(even, shift), self.round(odd, shift));
        avx512!({
            let even_c = _mm512_srai_epi64::<32>(_mm512_slli_epi64::<32>(c));
            let odd_c = _mm512_srai_epi64::<32>(c);
            self.join(_mm512_add_epi64(even, even_c), _mm512_add_epi64(odd, odd_c))
        })
    }
    #[inline(always)]
    fn mul_round<const BITS: u32>(self, a: __m512i, b: __m512i, shift: u32) -> __m512i {
        let [even, odd] = self.products(a, b);
        self.join(self.round(even, shift), self.round(odd, shift))
    }
    #[inline(always)]
    fn sums_round(self, sums: Sums<__m512i>, b: __m512i, shift: u32) -> __m512i {
        let ([even_h, odd_h], [even, odd]) = (self.products(sums.high, b), self.products(sums.low, b));
        avx512!({
            let even = _mm512_add_epi64(even, _mm512_slli_epi64::<8>(even_h));
            let odd = _mm512_add_epi64(odd, _mm512_slli_epi64::<8>(odd_h));
            self.join(self.round(even, shift), self.round(odd, shift))
        })
    }

    #[inline(always)]
    fn multipliers(self, code: &[u8; 16]) -> __m512i {
        let code = self.load_u8(code);
        avx512!({
            let table = MULTIPLIERS.as_ptr();
            let (first, last) = (_mm512_loadu_si512(table.cast()), _mm512_loadu_si512(table.add(16).cast()));
            let mantissa = _mm512_permutex2var_epi32(first, code, last);
            _mm512_srlv_epi32(mantissa, _mm512_srli_epi32::<5>(code))
        })
    }
    #[inline(always)]
    fn look_up(self, table: &[u32; STEPS], index: __m512i) -> __m512i {
        let index = self.and(index, self.splat(STEPS as i32 - 1));
        avx512!(_mm512_i32gather_epi32::<4>(index, table.as_ptr().cast()))
    }
    #[inline(always)]
    fn look_up_u16(self, table: &[u16; 1025], index: __m512i) -> __m512i {
        let index = self.and(index, self.splat(1023));
        // Four bytes from the second to last entry on are in the table.
        avx512!(_mm512_and_si512(_mm512_i32gather_epi32::<2>(index, table.as_ptr().cast()), _mm512_set1_epi32(0xffff)))
    }
    #[inline(always)]
    fn decays(self, index: __m512i) -> __m512i {
        let index = self.max(self.min(index, self.splat(LAST_DECAY as i32)), self.splat(0));
        // Four bytes from the second to last entry on are in the table.
        avx512!(_mm512_and_si512(_mm512_i32gather_epi32::<2>(index, DECAYS.as_ptr().cast()), _mm512_set1_epi32(0xffff)))
    }

    #[inline(always)]
    fn no_squares(self) -> __m512i {
        avx512!(_mm512_setzero_si512())
    }
    #[inline(always)]
    fn add_squares(self, sum: __m512i, a: __m512i) -> __m512i {
        let [even, odd] = self.products(a, a);
        avx512!(_mm512_add_epi64(sum, _mm512_add_epi64(even, odd)))
    }
    #[inline(always)]
    fn total(self, sum: __m512i) -> u64 {
        avx512!(_mm512_reduce_add_epi64(sum) as u64)
    }

    #[inline(always)]
    fn narrow(self, first: __m512i, last: __m512i) -> __m512i {
        avx512!({
            let first = _mm512_castsi256_si512(_mm512_cvtsepi32_epi16(first));
            _mm512_inserti64x4::<1>(first, _mm512_cvtsepi32_epi16(last))
        })
    }
    #[inline(always)]
    fn splat_h(self, x: i16) -> __m512i {
        avx512!(_mm512_set1_epi16(x))
    }
    #[inline(always)]
    fn load_h(self, x: &[i16; 32]) -> __m512i {
        avx512!(_mm512_loadu_si512(x.as_ptr().cast()))
    }
    #[inline(always)]
    fn store_h(self, x: __m512i, to: &mut [i16; 32]) {
        avx512!(_mm512_storeu_si512(to.as_mut_ptr().cast(), x));
    }
    #[inline(always)]
    fn mul_q15(self, a: __m512i, b: __m512i) -> __m512i {
        avx512!(_mm512_mulhrs_epi16(a, b))
    }
    #[inline(always)]
    fn add_saturating_h(self, a: __m512i, b: __m512i) -> __m512i {
        avx512!(_mm512_adds_epi16(a, b))
    }
    type Rates = decay::Rates;
    #[inline(always)]
    fn rates(self, index: __m512i) -> decay::Rates {
        decay::rates(self, index)
    }
    type Factors = decay::Factors;
    #[inline(always)]
    fn factors(self, code: &[u8; 32]) -> decay::Factors {
        decay::factors(self, code)
    }
    #[inline(always)]
    fn decays_h(self, rates: decay::Rates, factors: decay::Factors) -> __m512i {
        decay::decays(self, rates, factors)
    }
    #[inline(always)]
    fn no_sums(self) -> [__m512i; 2] {
        avx512!([_mm512_setzero_si512(); 2])
    }
    #[inline(always)]
    fn add_products(self, y: [__m512i; 2], a: __m512i, b: __m512i, c: [i16; 2]) -> [__m512i; 2] {
        avx512!({
            let c = _mm512_set1_epi32((c[0] as u16 as i32) | ((c[1] as i32) << 16));
            [
                _mm512_dpwssd_epi32(y[0], _mm512_unpacklo_epi16(a, b), c),
                _mm512_dpwssd_epi32(y[1], _mm512_unpackhi_epi16(a, b), c),
            ]
        })
    }
    #[inline(always)]
    fn store_sums(self, y: [__m512i; 2], to: &mut [i32; 32]) {
        avx512!({
            // Each vector has every other four channels.
            let first = _mm512_permutex2var_epi64(y[0], _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11), y[1]);
            let last = _mm512_permutex2var_epi64(y[0], _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15), y[1]);
            _mm512_storeu_si512(to.as_mut_ptr().cast(), first);
            _mm512_storeu_si512(to.as_mut_ptr().add(16).cast(), last);
        });
    }

    #[inline(always)]
    fn fetch<T>(self, x: &T) {
        fetch_line(x);
    }

    #[inline(always)]
    fn pack(self, x: &mut [i16]) {
        self.repack(x, true);
    }
    #[inline(always)]
    fn unpack(self, x: &mut [i16]) {
        self.repack(x, false);
    }

    /// The sums of the magnitudes of negative activations, lane by lane: what a row of zeros would get, negated.
    #[inline(always)]
    fn start(self, x: &[i16]) -> [__m512i; 2] {
        let (blocks, rest) = x.as_chunks::<64>();
        avx512!({
            let mut sums = [_mm512_setzero_si512(); 2];
            for block in blocks {
                let x = block.as_ptr().cast::<u8>();
                sums = self.add_negative(sums, _mm512_loadu_si512(x.cast()), _mm512_loadu_si512(x.add(64).cast()));
            }
            if !rest.is_empty() {
                let (x, mask) = (rest.as_ptr().cast::<i8>(), first_bytes(rest.len()));
                let (high, low) = (_mm512_maskz_loadu_epi8(mask, x), _mm512_maskz_loadu_epi8(mask, x.add(rest.len())));
                sums = self.add_negative(sums, high, low);
            }
            sums
        })
    }

    #[inline(always)]
    fn dot_rows(self, w: &[i8], x: &[i16], start: [__m512i; 2]) -> Sums<__m512i> {
        let n = x.len().max(1);
        let last = (w.len() / n).saturating_sub(1);
        let zero = self.splat(0);
        let (mut high, mut low) = ([zero; 4], [zero; 4]);
        if w.len() < n {
            return Sums { high: zero, low: zero };
        }
        for block in 0..ROWS / 4 {
            if 4 * block > last {
                break;
            }
            // Rows after the last one are the last one again.
            let row = |i: usize| w.as_ptr().wrapping_add((4 * block + i).min(last) * n);
            // SAFETY: each row has `n` weights, `x` has `n` activations.
            let sums = unsafe { self.four_rows([row(0), row(1), row(2), row(3)], x.as_ptr().cast(), n, start, None) };
            if n <= BLOCK {
                low[block] = self.sum_4(sums.map(|s| self.add(self.shl(s[0], 8), s[1])));
            } else {
                high[block] = self.sum_4(sums.map(|s| s[0]));
                low[block] = self.sum_4(sums.map(|s| s[1]));
            }
        }
        if n <= BLOCK {
            Sums { high: zero, low: self.sum_16(low) }
        } else {
            Sums { high: self.sum_16(high), low: self.sum_16(low) }
        }
    }

    #[inline(always)]
    fn dot_panel(self, w: &[i8], x: &[i16], start: [__m512i; 2], ahead: &[i8]) -> [Sums<__m512i>; 4] {
        if w.len() < 4 * ROWS * x.len() {
            return [Sums { high: self.splat(0), low: self.splat(0) }; 4];
        }
        let ahead = if ahead.is_empty() { None } else { Some(ahead.as_ptr()) };
        // SAFETY: there are as many weights.
        unsafe {
            if x.len() <= BLOCK {
                self.panel::<false>(w.as_ptr(), x, start, ahead)
            } else {
                self.panel::<true>(w.as_ptr(), x, start, ahead)
            }
        }
    }

    #[inline(always)]
    fn dot_short_rows(self, w: &[i8], columns: usize, x: &[i16; 16]) -> __m512i {
        if w.len() < 15 * columns + 16 {
            return self.splat(0);
        }
        // SAFETY: sixteen bytes from the start of each row on are in `w`.
        let row = |i: usize| unsafe { _mm_loadu_si128(w.as_ptr().add(i * columns).cast()) };
        avx512!({
            let x = _mm512_broadcast_i64x4(_mm256_loadu_si256(x.as_ptr().cast()));
            let two = |i: usize| {
                let w = _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(row(i)), row(i + 4));
                _mm512_madd_epi16(_mm512_cvtepi8_epi16(w), x)
            };
            let first = self.sum_4([two(0), two(1), two(2), two(3)]);
            self.sum_lanes(first, self.sum_4([two(8), two(9), two(10), two(11)]))
        })
    }
}
