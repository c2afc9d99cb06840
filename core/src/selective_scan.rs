//! The selective scan of one byte: the recurrent heart of a Mamba layer.
//!
//! ```text
//! h[n, d] = a[n, d] * h[n, d] + (delta[d] * x[d]) * B[n]        a = exp(-delta[d] * exp(A_log[d, n]))
//! y[d]    = sum_n C[n] * h[n, d]
//! ```
//!
//! (Mamba, arXiv 2312.00752, eq. 2a-2b; B discretised as in the reference code.) In integers:
//! `h = saturate(mul_q15(a, h) + mul_q15(dx, B))`, with `dx` scaled per channel so that its product with `B` in Q15
//! is in units of `h`. Rounding holds small values: `h` stays where it is if `|h| * (32768 - a) < 2^14` and nothing is
//! added. The sum over `n` is exact in i32 since `C` is limited to `65535 / d_state`.
//!
//! The outer loops run over states and the inner ones over channels, so that LLVM (and every SIMD backend) vectorises
//! over channels.

use crate::fixed::{mul_q15, round_shift, saturate_i16};
use crate::nonlinear::{decay, exp2_fraction};

/// `delta * x` in the channel's units: `x * 2^((log_delta + base + 32 * code) / 1024)`, rounded and saturated.
///
/// The factor is a Q15 mantissa and a shift that is clamped to `1..=40`. A tiny factor gives 0 with and without that
/// bound. A factor of `2^15` or more is moved to the octave from `2^14` to `2^15`; its mantissa stays. All values of
/// `x` but `+-1` saturate with that one too; `x = +-1` gives the mantissa halved, `+-16384..=32767`, where 32767 would
/// be nearer.
#[inline(always)]
pub fn delta_x(x: i16, log_delta: i32, base: i32, code: u8) -> i16 {
    let exponent = log_delta + base + 32 * code as i32;
    let mantissa = exp2_fraction(((exponent & 1023) << 6) as u16); // Q15
    let shift = (15 - (exponent >> 10)).clamp(1, 40) as u32;
    saturate_i16(round_shift(x as i64 * mantissa as i64, shift))
}

/// Advances the state of one layer whose decays are free.
///
/// * `h`: `[d_state, d_inner]`, in place. `a_log`: `[d_state, d_inner]`. `b`, `c`: `[d_state]`.
/// * `log_delta`, `dx`: `[d_inner]`. `y`: i32 `[d_inner]`, overwritten.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "the operands of one equation")]
pub fn scan_step_free(
    h: &mut [i16],
    a_log: &[u8],
    a_base: i16,
    b: &[i16],
    c: &[i16],
    log_delta: &[i16],
    dx: &[i16],
    y: &mut [i32],
) {
    y.fill(0);
    let d_inner = if y.is_empty() { 1 } else { y.len() };
    let states = h.chunks_exact_mut(d_inner).zip(a_log.chunks_exact(d_inner));
    for ((h, a_log), (&b, &c)) in states.zip(b.iter().zip(c)) {
        let channels = h.iter_mut().zip(a_log).zip(log_delta.iter().zip(dx)).zip(y.iter_mut());
        for (((h, &a_log), (&log_delta, &dx)), y) in channels {
            let a = decay(log_delta as i32 + a_base as i32 + 32 * a_log as i32);
            *y = update(h, a, mul_q15(dx, b), c, *y);
        }
    }
}

/// Advances the state of one layer whose decays are powers of one number per channel.
///
/// * `a`, `r`: `[d_inner]` each; `r` holds the decay of the first state, `a` is scratch for its powers.
#[inline(always)]
pub fn scan_step_tied(h: &mut [i16], b: &[i16], c: &[i16], r: &[i16], a: &mut [i16], dx: &[i16], y: &mut [i32]) {
    y.fill(0);
    let d_inner = if y.is_empty() { 1 } else { y.len() };
    let mut first = true;
    for (h, (&b, &c)) in h.chunks_exact_mut(d_inner).zip(b.iter().zip(c)) {
        let channels = h.iter_mut().zip(a.iter_mut().zip(r)).zip(dx).zip(y.iter_mut());
        for (((h, (a, &r)), &dx), y) in channels {
            let power = if first { r } else { *a };
            *y = update(h, power, mul_q15(dx, b), c, *y);
            *a = mul_q15(power, r);
        }
        first = false;
    }
}

/// The new state, and the sum of outputs with it.
#[inline(always)]
pub(crate) fn update(h: &mut i16, a: i16, bx: i16, c: i16, y: i32) -> i32 {
    *h = mul_q15(a, *h).saturating_add(bx);
    y.wrapping_add(c as i32 * *h as i32)
}
