//! Free decays, `2^-(2^(index / 128 - 15))` of a channel's index plus four times a state's byte, as products in lanes of
//! f32: [`powers`](crate::simd::x86_64::powers). A gather of eight decays takes 9 cycles on a Zen 3 and up to 100 where
//! processors were made safe against one that tells what others gathered; these take 4.
//!
//! The instructions say no rounding mode, so this thread's must be the usual one: [`nearest`].

use core::arch::asm;
use core::arch::x86_64::*;

use super::token::Avx2;
use crate::simd::x86_64::powers::{COEFFICIENTS, MANTISSA, SIGN_AND_SCALE};

/// Every fourth mantissa, `2^(i / 32)`: byte `n` of each in `PLANES[n]`, as two tables of 16. The last byte is `TOP`.
static PLANES: [[[u8; 16]; 2]; 3] = {
    let mut planes = [[[0; 16]; 2]; 3];
    let mut i = 0;
    while i < 32 {
        let bytes = MANTISSA[4 * i].to_le_bytes();
        planes[0][i / 16][i % 16] = bytes[0];
        planes[1][i / 16][i % 16] = bytes[1];
        planes[2][i / 16][i % 16] = bytes[2];
        assert!(bytes[3] == TOP);
        i += 1;
    }
    planes
};
const TOP: u8 = 0x3f;

/// Powers below `2^-40` are 0 in 15 bits.
const LEAST: f32 = -40.0;

/// Whether this thread's results are rounded to the nearest.
#[inline(always)]
pub(super) fn nearest() -> bool {
    let mut control = 0u32;
    // SAFETY: writes the control register of vectors to the four bytes, which every x86-64 can.
    unsafe {
        asm!("stmxcsr [{}]", in(reg) &raw mut control, options(nostack, preserves_flags));
    }
    control & 0x6000 == 0
}

/// The negative rates of 32 channels at byte 0, of each 16 channels: 0 to 3 and 8 to 11, then the others, as `VPUNPCK`
/// has them.
#[derive(Clone, Copy)]
pub(crate) struct Rates([__m256; 4]);

/// The negative rates of eight channels.
#[inline(always)]
fn rates_8(isa: Avx2, index: __m256i) -> __m256 {
    avx2!({
        let octave = _mm256_slli_epi32::<16>(_mm256_andnot_si256(_mm256_set1_epi32(127), index));
        let scale = _mm256_add_epi32(octave, _mm256_set1_epi32(SIGN_AND_SCALE));
        let mantissas = isa.entries(&MANTISSA, _mm256_and_si256(index, _mm256_set1_epi32(127)));
        _mm256_castsi256_ps(_mm256_add_epi32(mantissas, scale))
    })
}

/// The rates of channels by their indices.
#[inline(always)]
pub(super) fn rates(isa: Avx2, index: [__m256i; 2]) -> Rates {
    let [a, b] = [half(isa, index[0]), half(isa, index[1])];
    Rates([a[0], a[1], b[0], b[1]])
}

/// The rates of 16 channels.
#[inline(always)]
fn half(isa: Avx2, index: __m256i) -> [__m256; 2] {
    avx2!({
        // 32 octaves on either side: beyond them a decay is 32767 or 0 with every byte.
        let index = _mm256_max_epi16(index, _mm256_set1_epi16(-32 * 128));
        let index = _mm256_min_epi16(index, _mm256_set1_epi16(32 * 128));
        let sign = _mm256_srai_epi16::<15>(index);
        [rates_8(isa, _mm256_unpacklo_epi16(index, sign)), rates_8(isa, _mm256_unpackhi_epi16(index, sign))]
    })
}

/// The factors of the rates of 32 channels at a state, in the order of [`Rates`].
#[derive(Clone, Copy)]
pub(crate) struct Factors([__m256; 4]);

/// The factors of a state's bytes.
#[inline(always)]
pub(super) fn factors(_: Avx2, code: &[u8; 32]) -> Factors {
    avx2!({
        // The lower halves of both lanes are the first 16 channels.
        let code = _mm256_permute4x64_epi64::<0xd8>(_mm256_loadu_si256(code.as_ptr().cast()));
        let index = _mm256_and_si256(code, _mm256_set1_epi8(31));
        // An index whose bit 7 is set finds a 0.
        let first = _mm256_add_epi8(index, _mm256_set1_epi8(0x70));
        let last = _mm256_sub_epi8(index, _mm256_set1_epi8(16));
        let mut bytes = [code; 3];
        for (bytes, [low, high]) in bytes.iter_mut().zip(&PLANES) {
            let low = _mm256_broadcastsi128_si256(_mm_loadu_si128(low.as_ptr().cast()));
            let high = _mm256_broadcastsi128_si256(_mm_loadu_si128(high.as_ptr().cast()));
            *bytes = _mm256_or_si256(_mm256_shuffle_epi8(low, first), _mm256_shuffle_epi8(high, last));
        }
        let octave = _mm256_and_si256(code, _mm256_set1_epi8(0xe0u8 as i8));
        let (zero, top) = (_mm256_setzero_si256(), _mm256_set1_epi8(TOP as i8));
        let low = [_mm256_unpacklo_epi8(bytes[0], bytes[1]), _mm256_unpackhi_epi8(bytes[0], bytes[1])];
        let high = [
            _mm256_add_epi16(
                _mm256_unpacklo_epi8(bytes[2], top),
                _mm256_srli_epi16::<6>(_mm256_unpacklo_epi8(zero, octave)),
            ),
            _mm256_add_epi16(
                _mm256_unpackhi_epi8(bytes[2], top),
                _mm256_srli_epi16::<6>(_mm256_unpackhi_epi8(zero, octave)),
            ),
        ];
        Factors([
            _mm256_castsi256_ps(_mm256_unpacklo_epi16(low[0], high[0])),
            _mm256_castsi256_ps(_mm256_unpackhi_epi16(low[0], high[0])),
            _mm256_castsi256_ps(_mm256_unpacklo_epi16(low[1], high[1])),
            _mm256_castsi256_ps(_mm256_unpackhi_epi16(low[1], high[1])),
        ])
    })
}

/// The decays of 32 channels at a state.
#[inline(always)]
pub(super) fn decays(_: Avx2, Rates(a): Rates, Factors(b): Factors) -> [__m256i; 2] {
    // 32768 becomes 32767.
    avx2!([
        _mm256_packs_epi32(power(a[0], b[0]), power(a[1], b[1])),
        _mm256_packs_epi32(power(a[2], b[2]), power(a[3], b[3])),
    ])
}

/// `2^15 * 2^(a * b)`, rounded.
///
/// # Safety
/// The processor has AVX2 and FMA.
#[inline(always)]
unsafe fn power(a: __m256, b: __m256) -> __m256i {
    // SAFETY: as above.
    unsafe {
        let x = _mm256_max_ps(_mm256_mul_ps(a, b), _mm256_set1_ps(LEAST));
        let floor = _mm256_floor_ps(x);
        let fraction = _mm256_sub_ps(x, floor);
        let [rest @ .., last] = COEFFICIENTS;
        let mut sum = _mm256_set1_ps(f32::from_bits(last));
        for c in rest.into_iter().rev() {
            sum = _mm256_fmadd_ps(sum, fraction, _mm256_set1_ps(f32::from_bits(c)));
        }
        let octaves = _mm256_slli_epi32::<23>(_mm256_cvtps_epi32(floor));
        _mm256_cvtps_epi32(_mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(sum), octaves)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_index_with_every_byte_has_the_decay_of_the_table() {
        if let Some(isa) = Avx2::detect() {
            assert!(nearest());
            crate::simd::x86_64::powers::tests::every_pair(isa);
        }
    }
}
