//! Depthwise causal convolution over the last `d_conv` bytes, then bias and SiLU.
//!
//! `c[d] = bias[d] + sum_k w[k, d] * x[t - (d_conv - 1) + k, d]`, the last tap multiplies the newest sample;
//! `x[d] = silu(c[d])`. History and weights are tap-major: vectors run over channels.

use crate::cannot::never;
use crate::fixed::{requantize, saturate_i16};
use crate::nonlinear::silu;

/// Convolves `x` `[d_inner]` in place and shifts it into `history` `[d_conv - 1, d_inner]`.
///
/// * `w`: `[d_conv, d_inner]`; `code`, `bias`: `[d_inner]`; `frac`: fractional bits of the result.
#[inline(always)]
pub fn conv1d_silu(x: &mut [i16], history: &mut [i16], w: &[i8], code: &[u8], bias: &[i16], base: u8, frac: u8) {
    let d_inner = if x.is_empty() { 1 } else { x.len() };
    let Some((old_taps, newest_tap)) = w.split_at_checked(w.len().saturating_sub(d_inner)) else {
        return never("a tap for every channel", ());
    };
    let channels = x.iter_mut().zip(newest_tap).zip(code).zip(bias);
    for (d, (((x, &tap), &code), &bias)) in channels.enumerate() {
        let newest = *x;
        let mut acc = tap as i32 * newest as i32;
        // Columns move one place towards the oldest while they are read.
        let mut previous: Option<&mut i16> = None;
        for (column, taps) in history.chunks_exact_mut(d_inner).zip(old_taps.chunks_exact(d_inner)) {
            if let (Some(sample), Some(&tap)) = (column.get_mut(d), taps.get(d)) {
                acc += tap as i32 * *sample as i32;
                if let Some(previous) = previous {
                    *previous = *sample;
                }
                previous = Some(sample);
            }
        }
        if let Some(previous) = previous {
            *previous = newest;
        }
        let c = saturate_i16(requantize(acc as i64, code, base) + bias as i64);
        *x = silu(c, frac);
    }
}
