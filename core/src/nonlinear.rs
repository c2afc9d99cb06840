//! Integer nonlinearities: `2^x`, `log2`, softplus, the decay `exp(delta * A)`, SiLU, `1 / sqrt`.
//!
//! Each is a small table with linear interpolation (the decay: none) and has a test over its whole input range against
//! f64 (`tests/tests/nonlinear.rs`), which holds the bound stated here.
//!
//! Delta lives in the log domain. With `l = log2(softplus(v))` the decay `exp(-delta * exp(A_log))` is a function of
//! the *sum* `l + A_log * log2(e) + log2(log2(e))`: one addition and one lookup per state. The lookup sees the decay
//! *rate* at constant relative precision; the decay that it gives is then rounded to Q15 and at most 32767.
//! Logs are in octaves, Q10.

#[cfg(mambabyte_dsp)]
use crate::decays::DECAYS as DECAY;
use crate::fixed::round_shift;
#[cfg(not(mambabyte_dsp))]
use crate::tables::DECAY;
use crate::tables::{EXP2, LOG2, LOG2_SOFTPLUS, RSQRT, SIGMOID};

/// The argument of softplus saturates at +-1024, in Q10.
pub(crate) const SOFTPLUS_LIMIT: i64 = 1 << 20;

/// `2^(fraction / 65536)` in Q15, `32768..=65535`. Relative error at most 3.1e-5 (half a Q15 step).
#[inline(always)]
pub const fn exp2_fraction(fraction: u16) -> u32 {
    let index = (fraction >> 9) as usize; // 0..=127
    let low = (fraction & 511) as u32;
    let base = EXP2[index] as u32;
    base + (((EXP2[index + 1] as u32 - base) * low + 256) >> 9)
}

/// `log2(x)` in Q16 for `x >= 1`; 0 for `x = 0`. Absolute error at most 2.5e-5.
#[inline(always)]
pub fn log2_q16(x: u64) -> u32 {
    let x = if x == 0 { 1 } else { x };
    let exponent = 63 - x.leading_zeros();
    log2_of(exponent, (x << (63 - exponent) >> 32) as u32)
}

/// The same of 32 bits: on small cores, 64 have a price.
#[inline(always)]
pub(crate) fn log2_q16_of_u32(x: u32) -> u32 {
    let x = if x == 0 { 1 } else { x };
    let exponent = 31 - x.leading_zeros();
    log2_of(exponent, x << (31 - exponent))
}

/// `leading` are the first 32 bits, the top one set.
#[inline(always)]
fn log2_of(exponent: u32, leading: u32) -> u32 {
    let index = ((leading >> 24) & 127) as usize;
    let low = leading >> 8 & 0xffff;
    let base = LOG2[index] as u32;
    (exponent << 16) + base + (((LOG2[index + 1] as u32 - base) * low + 0x8000) >> 16)
}

/// `log2(softplus(v))` in Q10 octaves, `v` in Q10. Exact log-linear tail below -16; above 16 softplus is the identity,
/// so it never saturates here; the step clamps `v` to +-1024. Absolute error at most 1e-3 octaves, 0.07 % of delta, for
/// `v >= -32`; it grows to 8e-3 octaves at -1024, where the step has long saturated the result at -32 octaves.
#[cfg_attr(not(mambabyte_dsp), inline(always))]
#[cfg_attr(mambabyte_dsp, inline(never))]
pub fn log2_softplus(v: i32) -> i32 {
    const EDGE: i32 = 16 << 10;
    if v < -EDGE {
        round_shift(v as i64 * 94_548, 16) as i32 // log2(e) in Q16
    } else if v < EDGE {
        let offset = (v + EDGE) as u32;
        let index = ((offset >> 6) & 511) as usize;
        let low = (offset & 63) as i32;
        let base = LOG2_SOFTPLUS[index] as i32;
        base + (((LOG2_SOFTPLUS[index + 1] as i32 - base) * low + 32) >> 6)
    } else {
        (log2_q16(v as u64) as i32 - (10 << 16) + 32) >> 6
    }
}

/// `2^-(2^l)` in Q15, `l` in Q10 octaves: the decay of a state whose rate times delta is `2^l`.
/// `l` is rounded to 1/128 octave, so the rate is right to 1/256 octave (0.28 %); then the result is rounded to Q15.
/// It is in `0..=32767`: 32767 for every `l` below -15 octaves, 0 from 4 octaves on.
#[cfg_attr(not(mambabyte_dsp), inline(always))]
#[cfg_attr(mambabyte_dsp, inline(never))]
pub fn decay(l: i32) -> i16 {
    const LOW: i32 = -15 << 10;
    let index = (l - LOW + 4) >> 3;
    if index < 0 {
        32767
    } else {
        match DECAY.get(index as usize) {
            Some(&a) => a,
            None => 0,
        }
    }
}

/// `1 / (1 + e^-x)` in Q15 for `x` with `frac` fractional bits, `frac` in `0..=15`. Absolute error at most 3.9e-5.
#[inline(always)]
pub fn sigmoid(x: i16, frac: u8) -> i32 {
    let position = (x.unsigned_abs() as u32).wrapping_shl(16 - frac as u32 % 16); // Q16
    let index = (position >> 11) as usize;
    let positive = if index < 512 {
        let base = SIGMOID[index] as i32;
        base + (((SIGMOID[index + 1] as i32 - base) * (position & 2047) as i32 + 1024) >> 11)
    } else {
        32768
    };
    if x < 0 { 32768 - positive } else { positive }
}

/// SiLU, `x * sigmoid(x)`, in the format of `x`: within half a step plus 3.9e-5 of `|x|`.
#[cfg_attr(not(mambabyte_dsp), inline(always))]
#[cfg_attr(mambabyte_dsp, inline(never))]
pub fn silu(x: i16, frac: u8) -> i16 {
    ((x as i32 * sigmoid(x, frac) + (1 << 14)) >> 15) as i16
}

/// `1 / sqrt(x)` as `(r, e)` with `r * 2^-(23 + e)`, `r` in `32768..=65535`, `e` in `-7..=24`, `x >= 1`.
/// Relative error at most 6e-5.
#[inline(always)]
pub fn rsqrt(x: u64) -> (u32, i32) {
    let x = if x == 0 { 1 } else { x };
    let shift = (x.leading_zeros() & !1) as i32; // even, so that the exponent halves
    let mantissa = ((x << shift) >> 48) as u32; // 2^14 ..= 2^16 - 1
    let index = (((mantissa >> 8).wrapping_sub(64)) & 255) as usize;
    let low = mantissa & 255;
    let base = *RSQRT.get(index).unwrap_or(&0) as u32;
    let next = *RSQRT.get(index + 1).unwrap_or(&0) as u32;
    (base - (((base - next) * low + 128) >> 8), (48 - shift) / 2)
}
