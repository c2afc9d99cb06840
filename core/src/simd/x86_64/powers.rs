//! Numbers for free decays in lanes of f32: mantissas, and a polynomial for `2^-rate`.
//!
//! The rate of a decay, `2^(index / 128 - 15)`, is a product: of a mantissa for the channel, one of 128, and one for the
//! byte of the state, one of 32. Lanes of f32 are a calculator here, not an approximation: the coefficients were searched
//! until each of the 2.6 million pairs of an index and a byte rounds to the entry of
//! [`DECAY`](crate::tables::DECAY), and a test compares them all, for each processor that calculates so.

/// `2^(i / 128)`, f32.
#[rustfmt::skip]
pub(super) static MANTISSA: [u32; 128] = [
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

/// `2^15 * 2^x` on `0..1`, constant term first: 32767.97, 22713.37, 7869.171, 1829.861, 293.5277, 62.10694.
pub(super) const COEFFICIENTS: [u32; 6] =
    [0x46ff_fff0, 0x46b1_72bb, 0x45f5_e95e, 0x44e4_bb8d, 0x4392_c38c, 0x4278_6d82];

/// The sign, and the exponent of `2^-15`.
pub(super) const SIGN_AND_SCALE: i32 = i32::MIN.wrapping_sub(15 << 23);

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::nonlinear::decay;
    use crate::simd::isa::Isa;

    /// Compares the decays of `isa` with the table's.
    pub(in crate::simd::x86_64) fn every_pair<I: Isa>(isa: I) {
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
