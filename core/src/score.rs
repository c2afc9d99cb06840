//! Probabilities from logits, in integers: what a byte was worth, the same on every machine.
//!
//! Logits are in log2 units, so `p(byte) = 2^(logit[byte] - log2(sum_j 2^logit[j]))` needs no change of base, and the
//! surprise `-log2 p` is a difference.

use crate::dims::Logits;
use crate::dims::VOCAB;
use crate::nonlinear::{exp2_fraction, log2_q16};

/// One in the format of [`weight`].
const ONE: u64 = 1 << 31;

/// Octaves from which on [`weight`] is 0.
const NOTHING: u64 = 48;

/// `2^-(distance / 65536)` in Q31, `0..=2^31`.
#[inline(always)]
pub fn weight(distance: u64) -> u64 {
    if distance >= NOTHING << 16 {
        return 0;
    }
    let distance = distance as u32;
    // 2^-d = 2^(n - d) / 2^n, n the next integer; the mantissa is Q15.
    let mantissa = exp2_fraction(distance.wrapping_neg() as u16) as u64;
    (mantissa << 16) >> ((distance + 0xffff) >> 16)
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

/// Largest logit and `sum_j 2^(logit[j] - largest)` in Q31.
fn partition(logits: &Logits) -> (i32, u64) {
    let largest = logits.iter().fold(i32::MIN, |m, &l| if l > m { l } else { m });
    let sum = logits.iter().map(|&l| weight(largest.abs_diff(l) as u64)).sum();
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
    let logit = logits[byte as usize];
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
            let want = if octaves > 47 { 0 } else { (mantissa << 15) >> octaves };
            assert_eq!(weight(distance), want, "{distance}");
            assert_eq!(weight_q24(distance as u32) as u64, want >> 7, "{distance}");
        }
        assert_eq!((weight(u32::MAX as u64), weight_q24(u32::MAX)), (0, 0));
    }
}
