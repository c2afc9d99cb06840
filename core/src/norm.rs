//! RMSNorm and LayerNorm of the i32 residual stream, integer.
//!
//! `u = (x - mean) / sqrt(mean((x - mean)^2) + eps) * weight + bias`, `mean = bias = 0` for RMSNorm. The stream is
//! scaled to 23 bits and a sign by its largest element, squares are summed exactly in u64, and `sqrt(d_model)` and
//! the output's scale are folded into the weights.

use crate::fixed::{round_shift, saturate_i16};
use crate::nonlinear::rsqrt;

/// Normalises `x` `[d_model]` into `u` `[d_model]`.
///
/// * `eps`: `norm_eps * d_model * 2^(2 * residual_frac)`, so that the sum of squares stays an integer.
/// * `weight`, `bias`: i16 `[d_model]`; an empty `bias` means RMSNorm.
#[inline(always)]
pub fn norm(x: &[i32], weight: &[i16], bias: &[i16], shift: u8, eps: u64, u: &mut [i16]) {
    let mean = if bias.is_empty() { 0 } else { mean(x) };
    let largest = x.iter().fold(0u64, |m, &x| m | (x as i64 - mean).unsigned_abs());
    // 2^23 > (x - mean) >> down
    let down = (41 - (largest.leading_zeros() as i32).min(41)) as u32;
    let mut squares = 0u64;
    for &x in x {
        let q = scale_down(x as i64 - mean, down);
        squares = squares.wrapping_add((q * q) as u64);
    }
    let eps = if down < 32 { eps >> (2 * down) } else { 0 };
    let (r, e) = rsqrt(squares.wrapping_add(eps));
    // q * r * 2^-(23 + e) is x / sqrt(sum of squares), at most 1; Q24 after this shift.
    let normalize = (11 + e).max(1) as u32;
    let one = |x: i32, weight: i16| {
        let q = scale_down(x as i64 - mean, down);
        let n = round_shift((q * r as i64).wrapping_shl(12), normalize);
        round_shift(n * weight as i64, shift as u32)
    };
    if bias.is_empty() {
        for ((&x, &w), u) in x.iter().zip(weight).zip(u) {
            *u = saturate_i16(one(x, w));
        }
    } else {
        for (((&x, &w), &b), u) in x.iter().zip(weight).zip(bias).zip(u) {
            *u = saturate_i16(one(x, w) + b as i64);
        }
    }
}

#[inline(always)]
fn scale_down(x: i64, down: u32) -> i64 {
    if down == 0 { x } else { round_shift(x, down) }
}

/// The mean, rounded half up.
#[inline(always)]
fn mean(x: &[i32]) -> i64 {
    let n = if x.is_empty() { 1 } else { x.len() as i64 };
    let sum = x.iter().fold(0i64, |s, &x| s + x as i64);
    (2 * sum + n).div_euclid(2 * n)
}
