//! Probabilities from logits, in integers: what a byte was worth, the same on every machine.
//!
//! Logits are in log2 units, so `p(byte) = 2^(logit[byte] - log2(sum_j 2^logit[j]))` needs no change of base, and the
//! surprise `-log2 p` is a difference.

use crate::dims::VOCAB;
use crate::nonlinear::{exp2_fraction, log2_q16};
use crate::step::Logits;

/// One in the format of [`weight`].
const ONE: u64 = 1 << 31;

/// `2^-(distance / 65536)` in Q31, `0..=2^31`.
#[inline(always)]
pub fn weight(distance: u64) -> u64 {
    let fraction = (distance & 0xffff) as u16;
    let halvings = distance >> 16;
    // 2^-f = 2^(1 - f) / 2; the mantissa is Q15, so it is 2^-f in Q16.
    let mantissa = if fraction == 0 { 1 << 16 } else { exp2_fraction(fraction.wrapping_neg()) };
    if halvings > 47 { 0 } else { ((mantissa as u64) << 15) >> halvings }
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
