//! Products of 64 bits, rounded and saturated to 32.
//!
//! There is no arithmetic shift of 64 bits and no saturation of them. But as one factor is short, the rounding bit can
//! mostly be brought into the upper half of the product, where 32 bits are all there is to shift.

use core::arch::x86_64::*;

use super::token::Avx2;
use crate::simd::isa::{Isa, Sums};

type W = [__m256i; 2];

impl Avx2 {
    /// [`Isa::mul_round`].
    #[inline(always)]
    pub(super) fn rounded<const BITS: u32>(self, a: W, b: W, shift: u32) -> W {
        match self.quick::<BITS>(a, b, shift) {
            Some(rounded) => rounded,
            None => avx2!(slow(a, b, shift)),
        }
    }

    /// [`Isa::mul_round_add`].
    #[inline(always)]
    pub(super) fn rounded_sum(self, a: W, b: W, shift: u32, c: W) -> W {
        match self.quick::<22>(a, b, shift) {
            Some(rounded) => self.add_saturating(rounded, c),
            None => avx2!(slow_sum(a, b, shift, c)),
        }
    }

    /// [`Isa::sums_round`]. The lower halves of all blocks of 512 columns are below `2^26`.
    #[inline(always)]
    pub(super) fn rounded_sums(self, Sums { high, low }: Sums<W>, b: W, shift: u32) -> W {
        if self.any_negative(self.sub(self.splat((1 << 22) - 1), self.abs(high))) {
            avx2!(slow_sums(high, low, b, shift))
        } else {
            self.rounded::<22>(self.add(self.shl(high, 8), low), b, shift)
        }
    }

    /// The products' upper halves, rounded: none if the rounding bit stays below them.
    ///
    /// With `b` shifted up as far as it has room, the bit is at `shift + up - 1`. If that is below 32, `a` is shifted up
    /// too, if it has room. `floor((floor(p / 2^32 / 2^k) + 1) / 2)` is `p` rounded at bit `32 + k`.
    #[inline(always)]
    fn quick<const BITS: u32>(self, mut a: W, b: W, shift: u32) -> Option<W> {
        const { assert!(BITS <= 22) };
        let up = 31 - BITS;
        let b = self.shl(b, up);
        let at = shift.saturating_add(up);
        let missing = 33u32.saturating_sub(at);
        if missing > 0 {
            let shifted = self.shl(a, missing);
            let back = self.shr(shifted, missing);
            let same = avx2!({
                let same = _mm256_and_si256(_mm256_cmpeq_epi32(a[0], back[0]), _mm256_cmpeq_epi32(a[1], back[1]));
                _mm256_movemask_epi8(same) == -1
            });
            if !same {
                return None;
            }
            a = shifted;
        }
        let high = [self.upper(a[0], b[0]), self.upper(a[1], b[1])];
        let half = self.shr(high, at.saturating_sub(33).min(31));
        Some(avx2!([
            _mm256_srai_epi32::<1>(_mm256_sub_epi32(half[0], _mm256_set1_epi32(-1))),
            _mm256_srai_epi32::<1>(_mm256_sub_epi32(half[1], _mm256_set1_epi32(-1))),
        ]))
    }

    /// The upper halves of the products.
    #[inline(always)]
    fn upper(self, a: __m256i, b: __m256i) -> __m256i {
        avx2!({
            let even = _mm256_srli_epi64::<32>(_mm256_mul_epi32(a, b));
            let odd = _mm256_mul_epi32(_mm256_srli_epi64::<32>(a), _mm256_srli_epi64::<32>(b));
            _mm256_blend_epi32::<0xaa>(even, odd)
        })
    }

    /// `a + b`, saturated.
    #[inline(always)]
    pub(super) fn add_saturating_one(self, a: __m256i, b: __m256i) -> __m256i {
        avx2!({
            let sum = _mm256_add_epi32(a, b);
            // Overflow: the sum's sign differs from both.
            let over = _mm256_and_si256(_mm256_xor_si256(sum, a), _mm256_xor_si256(sum, b));
            let limit = _mm256_xor_si256(_mm256_srai_epi32::<31>(a), _mm256_set1_epi32(i32::MAX));
            _mm256_blendv_epi8(sum, limit, _mm256_srai_epi32::<31>(over))
        })
    }
}

/// `saturate_i32(round_shift(a * b, shift))` in 64 bits.
#[cold]
#[inline(never)]
#[target_feature(enable = "avx2")]
fn slow(a: W, b: W, shift: u32) -> W {
    [round_one(a[0], b[0], shift), round_one(a[1], b[1], shift)]
}

/// `saturate_i32(round_shift(a * b, shift) + c)` in 64 bits.
#[cold]
#[inline(never)]
#[target_feature(enable = "avx2")]
fn slow_sum(a: W, b: W, shift: u32, c: W) -> W {
    [round_add_one(a[0], b[0], shift, c[0]), round_add_one(a[1], b[1], shift, c[1])]
}

/// `saturate_i32(round_shift((256 * high + low) * b, shift))` in 64 bits.
#[cold]
#[inline(never)]
#[target_feature(enable = "avx2")]
fn slow_sums(high: W, low: W, b: W, shift: u32) -> W {
    [sums_one(high[0], low[0], b[0], shift), sums_one(high[1], low[1], b[1], shift)]
}

/// Saturates the 64-bit lanes of even and odd elements to i32 and joins them.
#[inline]
#[target_feature(enable = "avx2")]
fn join(even: __m256i, odd: __m256i) -> __m256i {
    _mm256_blend_epi32::<0xaa>(hold(even), _mm256_slli_epi64::<32>(hold(odd)))
}

/// Saturates 64-bit lanes to i32.
#[inline]
#[target_feature(enable = "avx2")]
fn hold(x: __m256i) -> __m256i {
    let (least, most) = (_mm256_set1_epi64x(i32::MIN as i64), _mm256_set1_epi64x(i32::MAX as i64));
    let x = _mm256_blendv_epi8(x, most, _mm256_cmpgt_epi64(x, most));
    _mm256_blendv_epi8(x, least, _mm256_cmpgt_epi64(least, x))
}

/// `(x + 2^(shift-1)) >> shift` in 64 bits, `|x| < 2^61`. There is no arithmetic shift: 2^62 makes `x` positive.
#[inline]
#[target_feature(enable = "avx2")]
fn round(x: __m256i, shift: u32) -> __m256i {
    let half = 1i64.wrapping_shl(shift.wrapping_sub(1));
    let positive = _mm256_add_epi64(x, _mm256_set1_epi64x(half + (1 << 62)));
    let shifted = _mm256_srl_epi64(positive, _mm_cvtsi32_si128(shift as i32));
    _mm256_sub_epi64(shifted, _mm256_set1_epi64x((1i64 << 62).wrapping_shr(shift)))
}

#[inline]
#[target_feature(enable = "avx2")]
fn round_one(a: __m256i, b: __m256i, shift: u32) -> __m256i {
    let odd = _mm256_mul_epi32(_mm256_srli_epi64::<32>(a), _mm256_srli_epi64::<32>(b));
    join(round(_mm256_mul_epi32(a, b), shift), round(odd, shift))
}

#[inline]
#[target_feature(enable = "avx2")]
fn round_add_one(a: __m256i, b: __m256i, shift: u32, c: __m256i) -> __m256i {
    let sign = _mm256_srai_epi32::<31>(c);
    let even_c = _mm256_blend_epi32::<0xaa>(c, _mm256_slli_epi64::<32>(sign));
    let odd_c = _mm256_blend_epi32::<0xaa>(_mm256_srli_epi64::<32>(c), sign);
    let odd = _mm256_mul_epi32(_mm256_srli_epi64::<32>(a), _mm256_srli_epi64::<32>(b));
    let even = _mm256_add_epi64(round(_mm256_mul_epi32(a, b), shift), even_c);
    join(even, _mm256_add_epi64(round(odd, shift), odd_c))
}

#[inline]
#[target_feature(enable = "avx2")]
fn sums_one(high: __m256i, low: __m256i, b: __m256i, shift: u32) -> __m256i {
    let even = _mm256_slli_epi64::<8>(_mm256_mul_epi32(high, b));
    let even = _mm256_add_epi64(even, _mm256_mul_epi32(low, b));
    let (high, low) = (_mm256_srli_epi64::<32>(high), _mm256_srli_epi64::<32>(low));
    let b = _mm256_srli_epi64::<32>(b);
    let odd = _mm256_slli_epi64::<8>(_mm256_mul_epi32(high, b));
    let odd = _mm256_add_epi64(odd, _mm256_mul_epi32(low, b));
    join(round(even, shift), round(odd, shift))
}
