//! Probabilities from logits, in integers: what a byte was worth, the same on every machine.
//!
//! Logits are in log2 units, so `p(byte) = 2^(logit[byte] - log2(sum_j 2^logit[j]))` needs no change of base, and the
//! surprise `-log2 p` is a difference.

use crate::dims::Logits;
use crate::dims::VOCAB;
use crate::nonlinear::{exp2_fraction, log2_q16};

/// One in the format of [`weight`].
const ONE: u64 = 1 << 31;

/// `2^-(distance / 65536)` in Q31, `0..=2^31`.
#[inline(always)]
pub fn weight(distance: u64) -> u64 {
    weight_q31(distance.min(u32::MAX as u64) as u32) as u64
}

/// The same of a distance below 2^32.
#[inline(always)]
fn weight_q31(distance: u32) -> u32 {
    // Beyond 32 octaves nothing is left of 2^31. 2^-d = 2^(n - d) / 2^n, n the next integer; the mantissa is Q15.
    let distance = distance.min(33 << 16);
    (exp2_fraction(distance.wrapping_neg() as u16) << 16).unbounded_shr((distance + 0xffff) >> 16)
}

/// The same in Q24, rounded down: quicker, where 64 bits have a price.
#[inline(always)]
pub(crate) fn weight_q24(distance: u32) -> u32 {
    // Beyond 25 octaves nothing is left of 2^24. A chip leaves the rest out; a host does not foresee such a branch.
    if cfg!(mambabyte_mcu) && distance >= 25 << 16 {
        return 0;
    }
    let distance = distance.min(26 << 16);
    (exp2_fraction(distance.wrapping_neg() as u16) << 9) >> ((distance + 0xffff) >> 16)
}

/// [`weight_q24`] and [`weight`] at once, for the work of one.
#[inline(always)]
pub(crate) fn weights(distance: u32) -> [u32; 2] {
    if cfg!(mambabyte_mcu) && distance >= 32 << 16 {
        return [0; 2];
    }
    let distance = distance.min(33 << 16);
    let (mantissa, octaves) = (exp2_fraction(distance.wrapping_neg() as u16), (distance + 0xffff) >> 16);
    [(mantissa << 9).unbounded_shr(octaves), (mantissa << 16).unbounded_shr(octaves)]
}

/// A sum of at most 2^16 weights in Q31, in halves, so that 32 bits are enough while it is added up.
#[derive(Clone, Copy, Default)]
pub(crate) struct Sum {
    pub(crate) high: u32,
    pub(crate) low: u32,
}

impl Sum {
    #[inline(always)]
    pub(crate) fn add(&mut self, weight: u32) {
        self.high += weight >> 16;
        self.low += weight & 0xffff;
    }

    pub(crate) fn total(self) -> u64 {
        ((self.high as u64) << 16) + self.low as u64
    }
}

/// The largest logit.
#[inline(always)]
pub(crate) fn largest(logits: &Logits) -> i32 {
    logits.iter().fold(i32::MIN, |m, &l| if l > m { l } else { m })
}

/// Largest logit and `sum_j 2^(logit[j] - largest)` in Q31.
fn partition(logits: &Logits) -> (i32, u64) {
    #[cfg(mambabyte_avx2)]
    if let Some(avx2) = crate::simd::Avx2::detect() {
        let largest = avx2.run(|| largest(logits));
        return (largest, avx2.weigh(logits, largest).1.total());
    }
    let largest = largest(logits);
    let mut sum = Sum::default();
    logits.iter().for_each(|&logit| sum.add(weight_q31(largest.wrapping_sub(logit) as u32)));
    let sum = sum.total();
    debug_assert!(sum >= ONE, "the largest logit weighs one");
    (largest, sum)
}

/// `-log2 p(byte)` in Q16: the bits that an ideal coder spends on `byte`. Error below 2e-4 bits; the sum over all
/// bytes of `2^-surprise` is 1 within 1e-4.
///
/// # Cost
/// 256 exponentials and one logarithm.
pub fn surprise(logits: &Logits, byte: u8) -> u32 {
    let (largest, sum) = partition(logits);
    surprise_in(largest, sum, logits[byte as usize])
}

/// `-log2` of the share of `logit` in Q16, given the largest logit and the sum of [`weight`]s.
pub(crate) fn surprise_in(largest: i32, sum: u64, logit: i32) -> u32 {
    let bits = largest.abs_diff(logit) as u64 + log2_q16(sum) as u64;
    let offset = ONE.trailing_zeros() as u64 * 65_536;
    bits.saturating_sub(offset).min(u32::MAX as u64) as u32
}

/// `p(byte)` in Q32, at most `2^32 - 1`.
pub fn probability(logits: &Logits, byte: u8) -> u32 {
    let (largest, sum) = partition(logits);
    let share = (weight(largest.abs_diff(logits[byte as usize]) as u64) << 32) / if sum == 0 { 1 } else { sum };
    share.min(u32::MAX as u64) as u32
}

/// The most probable byte, the smallest one of equals.
pub fn most_probable(logits: &Logits) -> u8 {
    let mut best = 0;
    for byte in 1..VOCAB {
        if logits[byte] > logits[best] {
            best = byte;
        }
    }
    best as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_powers_of_two() {
        for distance in (0..52 << 16).step_by(13).chain((0..64).map(|octaves| octaves << 16)) {
            let (octaves, fraction) = (distance >> 16, distance as u16);
            let mantissa = if fraction == 0 { 1 << 16 } else { exp2_fraction(fraction.wrapping_neg()) as u64 };
            let want = (mantissa << 15) >> octaves;
            assert_eq!(weight(distance), want, "{distance}");
            assert_eq!(weight_q24(distance as u32) as u64, want >> 7, "{distance}");
            assert_eq!(weights(distance as u32).map(u64::from), [want >> 7, want], "{distance}");
        }
        assert_eq!((weight(u32::MAX as u64), weight_q24(u32::MAX), weights(u32::MAX)), (0, 0, [0; 2]));
    }
}
