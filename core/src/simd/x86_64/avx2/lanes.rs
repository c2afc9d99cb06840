//! The operations of [`Isa`], on two registers each.

use core::arch::x86_64::*;

use super::decay;
use super::token::Avx2;
use crate::simd::isa::{Isa, STEPS, Sums};
use crate::simd::vector::{DECAYS, LAST_DECAY};
use crate::simd::x86_64::fetch_line;
use crate::tables::ROW_MULTIPLIER;

/// The lower bytes of `ROW_MULTIPLIER` in two tables of 16, then the upper ones.
static MULTIPLIERS: [[u8; 16]; 4] = {
    let mut tables = [[0; 16]; 4];
    let mut i = 0;
    while i < 32 {
        let [low, high] = ROW_MULTIPLIER[i].to_le_bytes();
        (tables[i / 16][i % 16], tables[2 + i / 16][i % 16]) = (low, high);
        i += 1;
    }
    tables
};

impl Avx2 {
    /// 16 elements, saturated to i16.
    #[inline(always)]
    fn narrow_16(self, x: [__m256i; 2]) -> __m256i {
        avx2!(_mm256_permute4x64_epi64::<0xd8>(_mm256_packs_epi32(x[0], x[1])))
    }

    /// An entry of a table for each index, which are in it. A gather takes twice as long.
    #[inline(always)]
    pub(super) fn entries<T: Copy + Into<u32>, const N: usize>(self, table: &[T; N], index: __m256i) -> __m256i {
        const { assert!(N.is_power_of_two()) };
        avx2!({
            let (low, high) = (_mm256_castsi256_si128(index), _mm256_extracti128_si256::<1>(index));
            let [a, b] = [_mm_cvtsi128_si64(low) as u64, _mm_extract_epi64::<1>(low) as u64];
            let [c, d] = [_mm_cvtsi128_si64(high) as u64, _mm_extract_epi64::<1>(high) as u64];
            let first = |pair: u64| table[pair as u32 as usize % N].into() as i32;
            let second = |pair: u64| table[(pair >> 32) as usize % N].into() as i32;
            let low = _mm_set_epi32(second(b), first(b), second(a), first(a));
            _mm256_set_m128i(_mm_set_epi32(second(d), first(d), second(c), first(c)), low)
        })
    }
}

impl Isa for Avx2 {
    type W = [__m256i; 2];
    type H = [__m256i; 2];
    type Y = [__m256i; 4];
    type Q = __m256i;
    type Start = ();

    #[inline(always)]
    fn splat(self, x: i32) -> Self::W {
        avx2!([_mm256_set1_epi32(x); 2])
    }
    #[inline(always)]
    fn load_i32(self, x: &[i32; 16]) -> Self::W {
        avx2!([_mm256_loadu_si256(x.as_ptr().cast()), _mm256_loadu_si256(x.as_ptr().add(8).cast())])
    }
    #[inline(always)]
    fn load_i16(self, x: &[i16; 16]) -> Self::W {
        avx2!([
            _mm256_cvtepi16_epi32(_mm_loadu_si128(x.as_ptr().cast())),
            _mm256_cvtepi16_epi32(_mm_loadu_si128(x.as_ptr().add(8).cast()))
        ])
    }
    #[inline(always)]
    fn load_i8(self, x: &[i8; 16]) -> Self::W {
        avx2!([
            _mm256_cvtepi8_epi32(_mm_loadl_epi64(x.as_ptr().cast())),
            _mm256_cvtepi8_epi32(_mm_loadl_epi64(x.as_ptr().add(8).cast()))
        ])
    }
    #[inline(always)]
    fn load_u8(self, x: &[u8; 16]) -> Self::W {
        avx2!([
            _mm256_cvtepu8_epi32(_mm_loadl_epi64(x.as_ptr().cast())),
            _mm256_cvtepu8_epi32(_mm_loadl_epi64(x.as_ptr().add(8).cast()))
        ])
    }
    #[inline(always)]
    fn store_i32(self, x: Self::W, to: &mut [i32; 16]) {
        avx2!({
            _mm256_storeu_si256(to.as_mut_ptr().cast(), x[0]);
            _mm256_storeu_si256(to.as_mut_ptr().add(8).cast(), x[1]);
        });
    }
    #[inline(always)]
    fn store_i16(self, x: Self::W, to: &mut [i16; 16]) {
        avx2!({
            let held = _mm256_max_epi16(self.narrow_16(x), _mm256_set1_epi16(-32767));
            _mm256_storeu_si256(to.as_mut_ptr().cast(), held);
        });
    }

    #[inline(always)]
    fn add(self, a: Self::W, b: Self::W) -> Self::W {
        both!(_mm256_add_epi32, a, b)
    }
    #[inline(always)]
    fn sub(self, a: Self::W, b: Self::W) -> Self::W {
        both!(_mm256_sub_epi32, a, b)
    }
    #[inline(always)]
    fn mul(self, a: Self::W, b: Self::W) -> Self::W {
        both!(_mm256_mullo_epi32, a, b)
    }
    #[inline(always)]
    fn min(self, a: Self::W, b: Self::W) -> Self::W {
        both!(_mm256_min_epi32, a, b)
    }
    #[inline(always)]
    fn max(self, a: Self::W, b: Self::W) -> Self::W {
        both!(_mm256_max_epi32, a, b)
    }
    #[inline(always)]
    fn abs(self, a: Self::W) -> Self::W {
        both!(_mm256_abs_epi32, a)
    }
    #[inline(always)]
    fn and(self, a: Self::W, b: Self::W) -> Self::W {
        both!(_mm256_and_si256, a, b)
    }
    #[inline(always)]
    fn or(self, a: Self::W, b: Self::W) -> Self::W {
        both!(_mm256_or_si256, a, b)
    }
    #[inline(always)]
    fn add_saturating(self, a: Self::W, b: Self::W) -> Self::W {
        [self.add_saturating_one(a[0], b[0]), self.add_saturating_one(a[1], b[1])]
    }
    #[inline(always)]
    fn shl(self, a: Self::W, by: u32) -> Self::W {
        avx2!({
            let by = _mm_cvtsi32_si128(by as i32);
            [_mm256_sll_epi32(a[0], by), _mm256_sll_epi32(a[1], by)]
        })
    }
    #[inline(always)]
    fn shr(self, a: Self::W, by: u32) -> Self::W {
        avx2!({
            let by = _mm_cvtsi32_si128(by as i32);
            [_mm256_sra_epi32(a[0], by), _mm256_sra_epi32(a[1], by)]
        })
    }
    #[inline(always)]
    fn shr_each(self, a: Self::W, by: Self::W) -> Self::W {
        both!(_mm256_srav_epi32, a, by)
    }
    #[inline(always)]
    fn if_negative(self, test: Self::W, a: Self::W, b: Self::W) -> Self::W {
        let mask = both!(_mm256_srai_epi32::<31>, test);
        both!(_mm256_blendv_epi8, b, a, mask)
    }
    #[inline(always)]
    fn any_negative(self, a: Self::W) -> bool {
        avx2!(_mm256_movemask_ps(_mm256_castsi256_ps(_mm256_or_si256(a[0], a[1]))) != 0)
    }

    #[inline(always)]
    fn mul_round_add(self, a: Self::W, b: Self::W, shift: u32, c: Self::W) -> Self::W {
        self.rounded_sum(a, b, shift, c)
    }
    #[inline(always)]
    fn mul_round<const BITS: u32>(self, a: Self::W, b: Self::W, shift: u32) -> Self::W {
        self.rounded::<BITS>(a, b, shift)
    }
    #[inline(always)]
    fn sums_round(self, sums: Sums<Self::W>, b: Self::W, shift: u32) -> Self::W {
        self.rounded_sums(sums, b, shift)
    }

    #[inline(always)]
    fn multipliers(self, code: &[u8; 16]) -> Self::W {
        avx2!({
            let code = _mm_loadu_si128(code.as_ptr().cast());
            let index = _mm_and_si128(code, _mm_set1_epi8(31));
            // An index whose bit 7 is set finds a 0.
            let first = _mm_add_epi8(index, _mm_set1_epi8(0x70));
            let last = _mm_sub_epi8(index, _mm_set1_epi8(16));
            let table = |n: usize| _mm_loadu_si128(MULTIPLIERS[n].as_ptr().cast());
            let low = _mm_or_si128(_mm_shuffle_epi8(table(0), first), _mm_shuffle_epi8(table(1), last));
            let high = _mm_or_si128(_mm_shuffle_epi8(table(2), first), _mm_shuffle_epi8(table(3), last));
            let octaves = _mm_and_si128(_mm_srli_epi16::<5>(code), _mm_set1_epi8(7));
            let up = _mm_sub_epi8(_mm_set1_epi8(7), octaves);
            [
                _mm256_sllv_epi32(_mm256_cvtepu16_epi32(_mm_unpacklo_epi8(low, high)), _mm256_cvtepu8_epi32(up)),
                _mm256_sllv_epi32(
                    _mm256_cvtepu16_epi32(_mm_unpackhi_epi8(low, high)),
                    _mm256_cvtepu8_epi32(_mm_srli_si128::<8>(up)),
                ),
            ]
        })
    }
    #[inline(always)]
    fn look_up(self, table: &[u32; STEPS], index: Self::W) -> Self::W {
        [self.entries(table, index[0]), self.entries(table, index[1])]
    }
    #[inline(always)]
    fn look_up_u16(self, table: &[u16; 1025], index: Self::W) -> Self::W {
        let table = table.first_chunk::<1024>().unwrap_or(&[0; 1024]);
        [self.entries(table, index[0]), self.entries(table, index[1])]
    }
    #[inline(always)]
    fn decays(self, index: Self::W) -> Self::W {
        // Four bytes from the second to last entry on are in the table.
        let index = self.max(self.min(index, self.splat(LAST_DECAY as i32)), self.splat(0));
        let entries = avx2!({
            let table = DECAYS.as_ptr().cast();
            [_mm256_i32gather_epi32::<2>(table, index[0]), _mm256_i32gather_epi32::<2>(table, index[1])]
        });
        self.and(entries, self.splat(0xffff))
    }

    #[inline(always)]
    fn no_squares(self) -> __m256i {
        avx2!(_mm256_setzero_si256())
    }
    #[inline(always)]
    fn add_squares(self, sum: __m256i, a: Self::W) -> __m256i {
        let even = both!(_mm256_mul_epi32, a, a);
        let odd = both!(_mm256_srli_epi64::<32>, a);
        let odd = both!(_mm256_mul_epi32, odd, odd);
        avx2!({
            let squares = _mm256_add_epi64(_mm256_add_epi64(even[0], even[1]), _mm256_add_epi64(odd[0], odd[1]));
            _mm256_add_epi64(sum, squares)
        })
    }
    #[inline(always)]
    fn total(self, sum: __m256i) -> u64 {
        let mut each = [0u64; 4];
        avx2!(_mm256_storeu_si256(each.as_mut_ptr().cast(), sum));
        each.iter().fold(0, |sum, &s| sum.wrapping_add(s))
    }

    #[inline(always)]
    fn narrow(self, first: Self::W, last: Self::W) -> Self::H {
        [self.narrow_16(first), self.narrow_16(last)]
    }
    #[inline(always)]
    fn splat_h(self, x: i16) -> Self::H {
        avx2!([_mm256_set1_epi16(x); 2])
    }
    #[inline(always)]
    fn load_h(self, x: &[i16; 32]) -> Self::H {
        avx2!([_mm256_loadu_si256(x.as_ptr().cast()), _mm256_loadu_si256(x.as_ptr().add(16).cast())])
    }
    #[inline(always)]
    fn store_h(self, x: Self::H, to: &mut [i16; 32]) {
        avx2!({
            _mm256_storeu_si256(to.as_mut_ptr().cast(), x[0]);
            _mm256_storeu_si256(to.as_mut_ptr().add(16).cast(), x[1]);
        });
    }
    #[inline(always)]
    fn mul_q15(self, a: Self::H, b: Self::H) -> Self::H {
        both!(_mm256_mulhrs_epi16, a, b)
    }
    #[inline(always)]
    fn add_saturating_h(self, a: Self::H, b: Self::H) -> Self::H {
        both!(_mm256_adds_epi16, a, b)
    }
    #[inline(always)]
    fn floats(self) -> bool {
        decay::nearest()
    }
    type Rates = decay::Rates;
    #[inline(always)]
    fn rates(self, index: Self::H) -> decay::Rates {
        decay::rates(self, index)
    }
    type Factors = decay::Factors;
    #[inline(always)]
    fn factors(self, code: &[u8; 32]) -> decay::Factors {
        decay::factors(self, code)
    }
    #[inline(always)]
    fn decays_h(self, rates: decay::Rates, factors: decay::Factors) -> Self::H {
        decay::decays(self, rates, factors)
    }
    #[inline(always)]
    fn no_sums(self) -> Self::Y {
        avx2!([_mm256_setzero_si256(); 4])
    }
    #[inline(always)]
    fn add_products(self, y: Self::Y, a: Self::H, b: Self::H, c: [i16; 2]) -> Self::Y {
        avx2!({
            let c = _mm256_set1_epi32((c[0] as u16 as i32) | ((c[1] as i32) << 16));
            [
                _mm256_add_epi32(y[0], _mm256_madd_epi16(_mm256_unpacklo_epi16(a[0], b[0]), c)),
                _mm256_add_epi32(y[1], _mm256_madd_epi16(_mm256_unpackhi_epi16(a[0], b[0]), c)),
                _mm256_add_epi32(y[2], _mm256_madd_epi16(_mm256_unpacklo_epi16(a[1], b[1]), c)),
                _mm256_add_epi32(y[3], _mm256_madd_epi16(_mm256_unpackhi_epi16(a[1], b[1]), c)),
            ]
        })
    }
    #[inline(always)]
    fn store_sums(self, y: Self::Y, to: &mut [i32; 32]) {
        // Each vector has every other four channels.
        avx2!({
            let to = to.as_mut_ptr();
            _mm256_storeu_si256(to.cast(), _mm256_permute2x128_si256::<0x20>(y[0], y[1]));
            _mm256_storeu_si256(to.add(8).cast(), _mm256_permute2x128_si256::<0x31>(y[0], y[1]));
            _mm256_storeu_si256(to.add(16).cast(), _mm256_permute2x128_si256::<0x20>(y[2], y[3]));
            _mm256_storeu_si256(to.add(24).cast(), _mm256_permute2x128_si256::<0x31>(y[2], y[3]));
        });
    }

    #[inline(always)]
    fn fetch<T>(self, x: &T) {
        fetch_line(x);
    }

    #[inline(always)]
    fn pack(self, _: &mut [i16]) {}
    #[inline(always)]
    fn unpack(self, _: &mut [i16]) {}
    #[inline(always)]
    fn start(self, _: &[i16]) {}

    #[inline(always)]
    fn dot_rows(self, w: &[i8], x: &[i16], (): ()) -> Sums<Self::W> {
        self.all_rows(w, x)
    }
    #[inline(always)]
    fn dot_panel(self, w: &[i8], x: &[i16], (): (), ahead: &[i8]) -> [Sums<Self::W>; 4] {
        self.panel_of_rows(w, x, ahead)
    }
    #[inline(always)]
    fn dot_short_rows(self, w: &[i8], columns: usize, x: &[i16; 16]) -> Self::W {
        self.short_rows(w, columns, x)
    }
}
