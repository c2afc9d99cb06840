//! Free decays, `2^-(2^(index / 128 - 15))` of a channel's index plus four times a state's byte, as products.
//!
//! [`DECAY`](crate::tables::DECAY) is a table, and a gather of 32 decays takes about 60 cycles. The rate of a sum of
//! logarithms is a product: one of 128 mantissas for the channel, one of 32 for the state, looked up in registers. Then
//! `2^-rate` is a polynomial and a scaling. Lanes of f32 are a calculator here, not an approximation: the coefficients
//! were searched until each of the 2.6 million pairs of an index and a byte rounds to the table's entry, and a test
//! compares them all. Rounding modes are in the instructions, whatever the thread's control register says.

use core::arch::x86_64::*;

use super::token::Avx512;

/// `2^(i / 128)`, f32.
#[rustfmt::skip]
static MANTISSA: [u32; 128] = [
    0x3f80_0000, 0x3f80_b1ed, 0x3f81_64d2, 0x3f82_18af, 0x3f82_cd87, 0x3f83_8359, 0x3f84_3a29, 0x3f84_f1f6, 0x3f85_aac3,
    0x3f86_6491, 0x3f87_1f62, 0x3f87_db35, 0x3f88_980f, 0x3f89_55ee, 0x3f8a_14d5, 0x3f8a_d4c6, 0x3f8b_95c2, 0x3f8c_57ca,
    0x3f8d_1adf, 0x3f8d_df04, 0x3f8e_a43a, 0x3f8f_6a81, 0x3f90_31dc, 0x3f90_fa4d, 0x3f91_c3d3, 0x3f92_8e72, 0x3f93_5a2b,
    0x3f94_26ff, 0x3f94_f4f0, 0x3f95_c3ff, 0x3f96_942d, 0x3f97_657d, 0x3f98_37f0, 0x3f99_0b88, 0x3f99_e046, 0x3f9a_b62b,
    0x3f9b_8d3a, 0x3f9c_6573, 0x3f9d_3eda, 0x3f9e_196e, 0x3f9e_f532, 0x3f9f_d228, 0x3fa0_b051, 0x3fa1_8faf, 0x3fa2_7043,
    0x3fa3_520f, 0x3fa4_3516, 0x3fa5_1958, 0x3fa5_fed7, 0x3fa6_e595, 0x3fa7_cd94, 0x3fa8_b6d5, 0x3fa9_a15b, 0x3faa_8d26,
    0x3fab_7a3a, 0x3fac_6897, 0x3fad_583f, 0x3fae_4934, 0x3faf_3b79, 0x3fb0_2f0e, 0x3fb1_23f6, 0x3fb2_1a32, 0x3fb3_11c4,
    0x3fb4_0aaf, 0x3fb5_04f3, 0x3fb6_0094, 0x3fb6_fd92, 0x3fb7_fbf0, 0x3fb8_fbaf, 0x3fb9_fcd2, 0x3fba_ff5b, 0x3fbc_034a,
    0x3fbd_08a4, 0x3fbe_0f68, 0x3fbf_179a, 0x3fc0_213b, 0x3fc1_2c4d, 0x3fc2_38d2, 0x3fc3_46cd, 0x3fc4_563f, 0x3fc5_672a,
    0x3fc6_7991, 0x3fc7_8d75, 0x3fc8_a2d8, 0x3fc9_b9be, 0x3fca_d226, 0x3fcb_ec15, 0x3fcd_078c, 0x3fce_248c, 0x3fcf_4319,
    0x3fd0_6334, 0x3fd1_84df, 0x3fd2_a81e, 0x3fd3_ccf1, 0x3fd4_f35b, 0x3fd6_1b5e, 0x3fd7_44fd, 0x3fd8_7039, 0x3fd9_9d16,
    0x3fda_cb94, 0x3fdb_fbb8, 0x3fdd_2d82, 0x3fde_60f5, 0x3fdf_9613, 0x3fe0_ccdf, 0x3fe2_055b, 0x3fe3_3f89, 0x3fe4_7b6d,
    0x3fe5_b907, 0x3fe6_f85b, 0x3fe8_396a, 0x3fe9_7c38, 0x3fea_c0c7, 0x3fec_0719, 0x3fed_4f30, 0x3fee_9910, 0x3fef_e4ba,
    0x3ff1_3231, 0x3ff2_8177, 0x3ff3_d290, 0x3ff5_257d, 0x3ff6_7a41, 0x3ff7_d0df, 0x3ff9_295a, 0x3ffa_83b3, 0x3ffb_dfed,
    0x3ffd_3e0c, 0x3ffe_9e11,
];

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

/// `2^15 * 2^x` on `0..1`, constant term first: 32767.97, 22713.37, 7869.171, 1829.861, 293.5277, 62.10694.
const COEFFICIENTS: [u32; 6] = [0x46ff_fff0, 0x46b1_72bb, 0x45f5_e95e, 0x44e4_bb8d, 0x4392_c38c, 0x4278_6d82];

/// The sign, and the exponent of `2^-15`.
const SIGN_AND_SCALE: i32 = i32::MIN.wrapping_sub(15 << 23);

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
    use crate::nonlinear::decay;
    use crate::simd::isa::Isa;

    #[test]
    fn every_index_with_every_byte_has_the_decay_of_the_table() {
        let Some(isa) = Avx512::detect() else { return };
        assert!((0..128).all(|i| f32::from_bits(MANTISSA[i]) == 2f64.powf(i as f64 / 128.0) as f32));
        for first in (-5120..5120).step_by(32) {
            let mut index = [0; 32];
            index.iter_mut().zip(first..).for_each(|(i, n)| *i = n);
            let rates = isa.rates(isa.load_h(&index));
            for code in 0..=255 {
                let mut found = [0; 32];
                isa.store_h(isa.decays_h(rates, isa.factors(&[code; 32])), &mut found);
                for (found, index) in found.into_iter().zip(index) {
                    assert_eq!(
                        found,
                        decay((i32::from(index) + 4 * i32::from(code)) * 8 - (15 << 10)),
                        "{index} {code}"
                    );
                }
            }
        }
        for index in [i16::MIN, i16::MAX, -5121, 5120] {
            let mut found = [0; 32];
            isa.store_h(isa.decays_h(isa.rates(isa.splat_h(index)), isa.factors(&[0; 32])), &mut found);
            assert_eq!(found, [if index < 0 { 32767 } else { 0 }; 32]);
        }
    }
}
