//! AVX2: processors of workstations since 2013 (Haswell) and 2015 (Excavator).
//!
//! A vector of [`Isa`] is two registers. Weights are widened to 16 bits; `VPMADDWD` multiplies them by activations in
//! their own order, as the pairs of `VPMADDUBSW` would saturate.
#![allow(unsafe_code, reason = "intrinsics; every block has its reason")]

use core::arch::x86_64::*;

use crate::linear::BLOCK;
use crate::simd::isa::{Isa, ROWS, STEPS, Sums};
use crate::simd::narrow::MULTIPLIER;
use crate::simd::vector::project::Products;
use crate::simd::vector::{DECAYS, LAST_DECAY};

/// The proof that the processor has AVX2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Avx2(());

impl Avx2 {
    /// The token, where the processor has the instructions.
    pub(crate) fn detect() -> Option<Self> {
        #[cfg(feature = "std")]
        let present = std::is_x86_feature_detected!("avx2");
        #[cfg(not(feature = "std"))]
        let present = cfg!(target_feature = "avx2");
        present.then_some(Self(()))
    }

    /// Runs `f` compiled for AVX2, if it is inlined: the compiler then has wide registers for its loops.
    #[inline(always)]
    pub(crate) fn run<R>(self, f: impl FnOnce() -> R) -> R {
        #[target_feature(enable = "avx2")]
        fn run<R>(f: impl FnOnce() -> R) -> R {
            f()
        }
        // SAFETY: the token exists, so the processor has the instructions.
        unsafe { run(f) }
    }
}

/// An expression of intrinsics in a method of [`Avx2`].
macro_rules! avx2 {
    ($e:expr) => {{
        // SAFETY: the method's token exists, so the processor has the instructions; pointers are of references to
        // arrays of the vectors' size.
        #[allow(clippy::macro_metavars_in_unsafe, reason = "the whole expression is meant")]
        unsafe {
            $e
        }
    }};
}

/// An intrinsic on both registers.
macro_rules! both {
    ($f:expr, $a:expr $(, $b:expr)*) => {
        avx2!([$f($a[0] $(, $b[0])*), $f($a[1] $(, $b[1])*)])
    };
}

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

    /// Saturates the 64-bit lanes of even and odd elements to i32 and joins them.
    #[inline(always)]
    fn join(self, even: __m256i, odd: __m256i) -> __m256i {
        avx2!(_mm256_blend_epi32::<0xaa>(self.hold(even), _mm256_slli_epi64::<32>(self.hold(odd))))
    }

    /// Saturates 64-bit lanes to i32.
    #[inline(always)]
    fn hold(self, x: __m256i) -> __m256i {
        avx2!({
            let (least, most) = (_mm256_set1_epi64x(i32::MIN as i64), _mm256_set1_epi64x(i32::MAX as i64));
            let x = _mm256_blendv_epi8(x, most, _mm256_cmpgt_epi64(x, most));
            _mm256_blendv_epi8(x, least, _mm256_cmpgt_epi64(least, x))
        })
    }

    /// `(x + 2^(shift-1)) >> shift` in 64 bits, `|x| < 2^61`. There is no arithmetic shift: 2^62 makes `x` positive.
    #[inline(always)]
    fn round(self, x: __m256i, shift: u32) -> __m256i {
        avx2!({
            let half = 1i64.wrapping_shl(shift.wrapping_sub(1));
            let positive = _mm256_add_epi64(x, _mm256_set1_epi64x(half + (1 << 62)));
            let shifted = _mm256_srl_epi64(positive, _mm_cvtsi32_si128(shift as i32));
            _mm256_sub_epi64(shifted, _mm256_set1_epi64x((1i64 << 62).wrapping_shr(shift)))
        })
    }

    #[inline(always)]
    fn round_one(self, a: __m256i, b: __m256i, shift: u32) -> __m256i {
        avx2!({
            let odd = _mm256_mul_epi32(_mm256_srli_epi64::<32>(a), _mm256_srli_epi64::<32>(b));
            self.join(self.round(_mm256_mul_epi32(a, b), shift), self.round(odd, shift))
        })
    }

    #[inline(always)]
    fn round_add_one(self, a: __m256i, b: __m256i, shift: u32, c: __m256i) -> __m256i {
        avx2!({
            let sign = _mm256_srai_epi32::<31>(c);
            let even_c = _mm256_blend_epi32::<0xaa>(c, _mm256_slli_epi64::<32>(sign));
            let odd_c = _mm256_blend_epi32::<0xaa>(_mm256_srli_epi64::<32>(c), sign);
            let odd = _mm256_mul_epi32(_mm256_srli_epi64::<32>(a), _mm256_srli_epi64::<32>(b));
            let even = _mm256_add_epi64(self.round(_mm256_mul_epi32(a, b), shift), even_c);
            self.join(even, _mm256_add_epi64(self.round(odd, shift), odd_c))
        })
    }

    #[inline(always)]
    fn sums_one(self, high: __m256i, low: __m256i, b: __m256i, shift: u32) -> __m256i {
        avx2!({
            let even = _mm256_slli_epi64::<8>(_mm256_mul_epi32(high, b));
            let even = _mm256_add_epi64(even, _mm256_mul_epi32(low, b));
            let (high, low) = (_mm256_srli_epi64::<32>(high), _mm256_srli_epi64::<32>(low));
            let b = _mm256_srli_epi64::<32>(b);
            let odd = _mm256_slli_epi64::<8>(_mm256_mul_epi32(high, b));
            let odd = _mm256_add_epi64(odd, _mm256_mul_epi32(low, b));
            self.join(self.round(even, shift), self.round(odd, shift))
        })
    }

    #[inline(always)]
    fn add_saturating_one(self, a: __m256i, b: __m256i) -> __m256i {
        avx2!({
            let sum = _mm256_add_epi32(a, b);
            // Overflow: the sum's sign differs from both.
            let over = _mm256_and_si256(_mm256_xor_si256(sum, a), _mm256_xor_si256(sum, b));
            let limit = _mm256_xor_si256(_mm256_srai_epi32::<31>(a), _mm256_set1_epi32(i32::MAX));
            _mm256_blendv_epi8(sum, limit, _mm256_srai_epi32::<31>(over))
        })
    }

    /// 16 elements, saturated to i16.
    #[inline(always)]
    fn narrow_16(self, x: [__m256i; 2]) -> __m256i {
        avx2!(_mm256_permute4x64_epi64::<0xd8>(_mm256_packs_epi32(x[0], x[1])))
    }

    /// The decays of 16 indices of 16 bits.
    #[inline(always)]
    fn decays_16(self, index: __m256i, code: __m256i) -> __m256i {
        avx2!({
            let index = _mm256_add_epi16(index, _mm256_slli_epi16::<2>(code));
            let index = _mm256_min_epi16(index, _mm256_set1_epi16(LAST_DECAY));
            let index = _mm256_max_epi16(index, _mm256_setzero_si256());
            let first = _mm256_cvtepu16_epi32(_mm256_castsi256_si128(index));
            let last = _mm256_cvtepu16_epi32(_mm256_extracti128_si256::<1>(index));
            self.narrow_16([self.decays_8(first), self.decays_8(last)])
        })
    }

    /// The decays of eight indices that are in the table.
    #[inline(always)]
    fn decays_8(self, index: __m256i) -> __m256i {
        // Four bytes from the second to last entry on are in the table.
        avx2!(_mm256_and_si256(_mm256_i32gather_epi32::<2>(DECAYS.as_ptr().cast(), index), _mm256_set1_epi32(0xffff)))
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
        [self.round_add_one(a[0], b[0], shift, c[0]), self.round_add_one(a[1], b[1], shift, c[1])]
    }
    #[inline(always)]
    fn mul_round(self, a: Self::W, b: Self::W, shift: u32) -> Self::W {
        [self.round_one(a[0], b[0], shift), self.round_one(a[1], b[1], shift)]
    }
    #[inline(always)]
    fn sums_round(self, sums: Sums<Self::W>, b: Self::W, shift: u32) -> Self::W {
        let Sums { high, low } = sums;
        [self.sums_one(high[0], low[0], b[0], shift), self.sums_one(high[1], low[1], b[1], shift)]
    }

    #[inline(always)]
    fn multipliers(self, code: &[u8; 16]) -> Self::W {
        let code = self.load_u8(code);
        // A byte is in the table of 256.
        avx2!({
            let table = MULTIPLIER.as_ptr();
            let (first, last) =
                (_mm256_i32gather_epi32::<4>(table, code[0]), _mm256_i32gather_epi32::<4>(table, code[1]));
            [_mm256_srli_epi32::<9>(first), _mm256_srli_epi32::<9>(last)]
        })
    }
    #[inline(always)]
    fn look_up(self, table: &[u32; STEPS], index: Self::W) -> Self::W {
        let index = self.and(index, self.splat(STEPS as i32 - 1));
        avx2!({
            let table = table.as_ptr().cast();
            [_mm256_i32gather_epi32::<4>(table, index[0]), _mm256_i32gather_epi32::<4>(table, index[1])]
        })
    }
    #[inline(always)]
    fn look_up_u16(self, table: &[u16; 1025], index: Self::W) -> Self::W {
        let index = self.and(index, self.splat(1023));
        // Four bytes from the second to last entry on are in the table.
        let entries = avx2!({
            let table = table.as_ptr().cast();
            [_mm256_i32gather_epi32::<2>(table, index[0]), _mm256_i32gather_epi32::<2>(table, index[1])]
        });
        self.and(entries, self.splat(0xffff))
    }
    #[inline(always)]
    fn decays(self, index: Self::W) -> Self::W {
        let index = self.max(self.min(index, self.splat(LAST_DECAY as i32)), self.splat(0));
        [self.decays_8(index[0]), self.decays_8(index[1])]
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
    type Rates = Self::H;
    #[inline(always)]
    fn rates(self, index: Self::H) -> Self::H {
        index
    }
    type Factors = [u8; 32];
    #[inline(always)]
    fn factors(self, code: &[u8; 32]) -> [u8; 32] {
        *code
    }
    #[inline(always)]
    fn decays_h(self, index: Self::H, code: [u8; 32]) -> Self::H {
        let code = avx2!([
            _mm256_cvtepu8_epi16(_mm_loadu_si128(code.as_ptr().cast())),
            _mm256_cvtepu8_epi16(_mm_loadu_si128(code.as_ptr().add(16).cast()))
        ]);
        [self.decays_16(index[0], code[0]), self.decays_16(index[1], code[1])]
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
        super::fetch_line(x);
    }

    #[inline(always)]
    fn pack(self, _: &mut [i16]) {}
    #[inline(always)]
    fn unpack(self, _: &mut [i16]) {}
    #[inline(always)]
    fn start(self, _: &[i16]) {}

    #[inline(always)]
    fn dot_rows(self, w: &[i8], x: &[i16], (): ()) -> Sums<Self::W> {
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

    #[inline(always)]
    fn dot_panel(self, w: &[i8], x: &[i16], (): (), ahead: &[i8]) -> [Sums<Self::W>; 4] {
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
                    (0..n.div_ceil(64)).for_each(|i| super::fetch(first.wrapping_add(256 * i)));
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

    #[inline(always)]
    fn dot_short_rows(self, w: &[i8], columns: usize, x: &[i16; 16]) -> Self::W {
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

impl Products for Avx2 {}

crate::simd::instances::kernels_of!(Avx2, "avx2", "avx2");
