//! The token, and what its loops share: sums across lanes, planes of activations, rounding.

use core::arch::x86_64::*;

use crate::tables::ROW_MULTIPLIER;

/// The proof that the processor has AVX-512 F, BW, DQ, VL and VNNI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Avx512(());

impl Avx512 {
    /// The token, where the processor has the instructions.
    pub(crate) fn detect() -> Option<Self> {
        #[cfg(feature = "std")]
        let present = std::is_x86_feature_detected!("avx512f")
            && std::is_x86_feature_detected!("avx512bw")
            && std::is_x86_feature_detected!("avx512dq")
            && std::is_x86_feature_detected!("avx512vl")
            && std::is_x86_feature_detected!("avx512vnni");
        #[cfg(not(feature = "std"))]
        let present = cfg!(all(
            target_feature = "avx512f",
            target_feature = "avx512bw",
            target_feature = "avx512dq",
            target_feature = "avx512vl",
            target_feature = "avx512vnni"
        ));
        present.then_some(Self(()))
    }
}

/// `ROW_MULTIPLIER << 7`.
pub(super) static MULTIPLIERS: [i32; 32] = {
    let mut table = [0; 32];
    let mut i = 0;
    while i < 32 {
        table[i] = (ROW_MULTIPLIER[i] as i32) << 7;
        i += 1;
    }
    table
};

/// The vector of the first `n` bytes, `n` below 64.
pub(super) const fn first_bytes(n: usize) -> __mmask64 {
    (1 << n) - 1
}

impl Avx512 {
    /// The first two steps of the sums of four vectors: lane `L` of the result has the sums of lane `L` of each.
    #[inline(always)]
    pub(super) fn sum_4(self, v: [__m512i; 4]) -> __m512i {
        avx512!({
            let low = _mm512_add_epi32(_mm512_unpacklo_epi32(v[0], v[1]), _mm512_unpackhi_epi32(v[0], v[1]));
            let high = _mm512_add_epi32(_mm512_unpacklo_epi32(v[2], v[3]), _mm512_unpackhi_epi32(v[2], v[3]));
            _mm512_add_epi32(_mm512_unpacklo_epi64(low, high), _mm512_unpackhi_epi64(low, high))
        })
    }

    /// Adds neighbouring lanes: those of `a`, then those of `b`.
    #[inline(always)]
    pub(super) fn sum_lanes(self, a: __m512i, b: __m512i) -> __m512i {
        avx512!(_mm512_add_epi32(_mm512_shuffle_i32x4::<0x88>(a, b), _mm512_shuffle_i32x4::<0xdd>(a, b)))
    }

    /// The sums of all lanes of four results of [`Avx512::sum_4`].
    #[inline(always)]
    pub(super) fn sum_16(self, v: [__m512i; 4]) -> __m512i {
        self.sum_lanes(self.sum_lanes(v[0], v[1]), self.sum_lanes(v[2], v[3]))
    }

    /// The planes of 64 activations: magnitude's high and low bytes, and -1 where the activation is negative.
    #[inline(always)]
    pub(super) fn planes(self, high: __m512i, low: __m512i) -> [__m512i; 3] {
        avx512!({
            let negative = _mm512_movm_epi8(_mm512_movepi8_mask(high));
            [_mm512_and_si512(high, _mm512_set1_epi8(0x7f)), low, negative]
        })
    }

    /// Adds the magnitudes of negative activations.
    #[inline(always)]
    pub(super) fn add_negative(self, sums: [__m512i; 2], high: __m512i, low: __m512i) -> [__m512i; 2] {
        let [high, low, negative] = self.planes(high, low);
        avx512!({
            let one = _mm512_set1_epi8(1);
            [
                _mm512_dpbusd_epi32(sums[0], _mm512_and_si512(high, negative), one),
                _mm512_dpbusd_epi32(sums[1], _mm512_and_si512(low, negative), one),
            ]
        })
    }

    /// Saturates the 64-bit lanes of even and odd elements to i32 and joins them.
    #[inline(always)]
    pub(super) fn join(self, even: __m512i, odd: __m512i) -> __m512i {
        avx512!({
            let even = _mm512_castsi256_si512(_mm512_cvtsepi64_epi32(even));
            let odd = _mm512_castsi256_si512(_mm512_cvtsepi64_epi32(odd));
            let places = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
            _mm512_permutex2var_epi32(even, places, odd)
        })
    }

    /// `(x + 2^(shift-1)) >> shift` in 64 bits.
    #[inline(always)]
    pub(super) fn round(self, x: __m512i, shift: u32) -> __m512i {
        avx512!({
            let half = _mm512_set1_epi64(1i64.wrapping_shl(shift.wrapping_sub(1)));
            _mm512_sra_epi64(_mm512_add_epi64(x, half), _mm_cvtsi32_si128(shift as i32))
        })
    }

    /// The 64-bit products of even and odd elements.
    #[inline(always)]
    pub(super) fn products(self, a: __m512i, b: __m512i) -> [__m512i; 2] {
        avx512!([_mm512_mul_epi32(a, b), _mm512_mul_epi32(_mm512_srli_epi64::<32>(a), _mm512_srli_epi64::<32>(b))])
    }
}
