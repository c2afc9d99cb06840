//! Free decays, `2^-(2^(index / 128 - 15))` of a channel's index plus four times a state's byte, as products.
//!
//! [`DECAY`](crate::tables::DECAY) is a table, and a gather of 32 decays takes about 60 cycles. The rate of a sum of
//! logarithms is a product: one of 128 mantissas for the channel, one of 32 for the state, looked up in registers. Then
//! `2^-rate` is a polynomial and a scaling. [`powers`](crate::simd::x86_64::powers) says why the bits are right.
//! Rounding modes are in the instructions, whatever the thread's control register says.

use core::arch::x86_64::*;

use super::token::Avx512;
use crate::simd::x86_64::powers::{COEFFICIENTS, MANTISSA, SIGN_AND_SCALE};

/// Every fourth mantissa, `2^(i / 32)`: its upper and its lower halves.
static HALVES: [[u16; 32]; 2] = {
    let mut halves = [[0; 32]; 2];
    let mut i = 0;
    while i < 32 {
        halves[0][i] = (MANTISSA[4 * i] >> 16) as u16;
        halves[1][i] = MANTISSA[4 * i] as u16;
        i += 1;
    }
    halves
};

const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
/// Of `VREDUCEPS`: what is left of a number above the largest integer that is not above it.
const FRACTION: i32 = 1;

/// The negative rates of 32 channels at byte 0: channels 0 to 3, 8 to 11, ... and the others, as `VPUNPCK` has them.
#[derive(Clone, Copy)]
pub(crate) struct Rates([__m512; 2]);

/// `MANTISSA[index % 128]` of every lane: four tables of 32 in registers, then one of the four. A gather takes three
/// times as long.
#[inline(always)]
fn mantissas(index: __m512i) -> __m512i {
    let mut tables = [index; 4];
    avx512!({
        for (n, table) in tables.iter_mut().enumerate() {
            let first = MANTISSA.as_ptr().add(32 * n);
            let (low, high) = (_mm512_loadu_si512(first.cast()), _mm512_loadu_si512(first.add(16).cast()));
            *table = _mm512_permutex2var_epi32(low, index, high);
        }
        let odd = _mm512_test_epi32_mask(index, _mm512_set1_epi32(32));
        let upper = _mm512_test_epi32_mask(index, _mm512_set1_epi32(64));
        let [a, b, c, d] = tables;
        _mm512_mask_mov_epi32(_mm512_mask_mov_epi32(a, odd, b), upper, _mm512_mask_mov_epi32(c, odd, d))
    })
}

/// The negative rates of 16 channels.
#[inline(always)]
fn rates_16(index: __m512i) -> __m512 {
    avx512!({
        let octave = _mm512_slli_epi32::<16>(_mm512_andnot_si512(_mm512_set1_epi32(127), index));
        let scale = _mm512_add_epi32(octave, _mm512_set1_epi32(SIGN_AND_SCALE));
        _mm512_castsi512_ps(_mm512_add_epi32(mantissas(index), scale))
    })
}

/// The rates of channels by their indices.
#[inline(always)]
pub(super) fn rates(_: Avx512, index: __m512i) -> Rates {
    avx512!({
        // 32 octaves on either side: beyond them a decay is 32767 or 0 with every byte.
        let index = _mm512_max_epi16(index, _mm512_set1_epi16(-32 * 128));
        let index = _mm512_min_epi16(index, _mm512_set1_epi16(32 * 128));
        let sign = _mm512_srai_epi16::<15>(index);
        Rates([rates_16(_mm512_unpacklo_epi16(index, sign)), rates_16(_mm512_unpackhi_epi16(index, sign))])
    })
}

/// The factors of the rates of 32 channels at a state, in the order of [`Rates`].
#[derive(Clone, Copy)]
pub(crate) struct Factors([__m512; 2]);

/// The factors of a state's bytes.
#[inline(always)]
pub(super) fn factors(_: Avx512, code: &[u8; 32]) -> Factors {
    avx512!({
        let code = _mm512_cvtepu8_epi16(_mm256_loadu_si256(code.as_ptr().cast()));
        // An index of a permutation is its lower five bits.
        let high = _mm512_permutexvar_epi16(code, _mm512_loadu_si512(HALVES[0].as_ptr().cast()));
        let low = _mm512_permutexvar_epi16(code, _mm512_loadu_si512(HALVES[1].as_ptr().cast()));
        let octave = _mm512_slli_epi16::<2>(_mm512_and_si512(code, _mm512_set1_epi16(0xe0)));
        let high = _mm512_add_epi16(high, octave);
        Factors([
            _mm512_castsi512_ps(_mm512_unpacklo_epi16(low, high)),
            _mm512_castsi512_ps(_mm512_unpackhi_epi16(low, high)),
        ])
    })
}

/// The decays of 32 channels at a state.
#[inline(always)]
pub(super) fn decays(_: Avx512, rates: Rates, factors: Factors) -> __m512i {
    avx512!({
        let first = power(rates.0[0], factors.0[0]);
        let last = power(rates.0[1], factors.0[1]);
        _mm512_packs_epi32(first, last) // 32768 becomes 32767
    })
}

/// `2^15 * 2^(a * b)`, rounded.
///
/// # Safety
/// The processor has AVX-512.
#[inline(always)]
unsafe fn power(a: __m512, b: __m512) -> __m512i {
    // SAFETY: as above.
    unsafe {
        let x = _mm512_mul_round_ps::<NEAREST>(a, b);
        let fraction = _mm512_reduce_ps::<FRACTION>(x);
        let [rest @ .., last] = COEFFICIENTS;
        let mut sum = _mm512_set1_ps(f32::from_bits(last));
        for c in rest.into_iter().rev() {
            sum = _mm512_fmadd_round_ps::<NEAREST>(sum, fraction, _mm512_set1_ps(f32::from_bits(c)));
        }
        _mm512_cvt_roundps_epi32::<NEAREST>(_mm512_scalef_round_ps::<NEAREST>(sum, x))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_index_with_every_byte_has_the_decay_of_the_table() {
        if let Some(isa) = Avx512::detect() {
            crate::simd::x86_64::powers::tests::every_pair(isa);
        }
    }
}
