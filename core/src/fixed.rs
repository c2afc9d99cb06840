//! The rounding and saturation rules of the integer path. There is one of each.
//!
//! Everything else in this crate is built from these functions, so that another implementation (a SIMD backend, a GPU
//! kernel, C) has exactly these lines to reproduce.

use crate::tables::ROW_MULTIPLIER;

/// Largest magnitude of an activation. Symmetric, so that a product of two never reaches `2^30`.
pub const ACTIVATION_MAX: i64 = 32767;

/// `(x + 2^(shift-1)) >> shift`: division by a power of two, rounded half up. `shift` in `1..=62`.
#[cfg_attr(not(mambabyte_dsp), inline(always))]
#[cfg_attr(mambabyte_dsp, inline(never))]
pub const fn round_shift(x: i64, shift: u32) -> i64 {
    x.wrapping_add(1i64.wrapping_shl(shift.wrapping_sub(1))).wrapping_shr(shift)
}

/// Saturates to an activation, `-32767..=32767`.
#[inline(always)]
pub const fn saturate_i16(x: i64) -> i16 {
    if x > ACTIVATION_MAX {
        32767
    } else if x < -ACTIVATION_MAX {
        -32767
    } else {
        x as i16
    }
}

/// Saturates to i32.
#[inline(always)]
pub const fn saturate_i32(x: i64) -> i32 {
    if x > i32::MAX as i64 {
        i32::MAX
    } else if x < i32::MIN as i64 {
        i32::MIN
    } else {
        x as i32
    }
}

/// `(a * b + 2^14) >> 15`, the product of two Q15 numbers: PMULHRSW, SQRDMULH, VQRDMULH, wasm `q15mulr_sat`.
///
/// The only pair on which those instructions differ, `-32768 * -32768`, cannot occur: one operand is always an
/// activation or a decay.
#[inline(always)]
pub const fn mul_q15(a: i16, b: i16) -> i16 {
    ((a as i32 * b as i32 + (1 << 14)) >> 15) as i16
}

/// The multiplier of a row of weights: `ROW_MULTIPLIER[code % 32] * 2^-(base + code / 32)`.
///
/// Codes are steps of `2^(-1/32)`, so one byte spans eight octaves below the largest row of a tensor.
#[inline(always)]
pub const fn row_multiplier(code: u8, base: u8) -> (i64, u32) {
    (ROW_MULTIPLIER[(code & 31) as usize] as i64, base as u32 + (code >> 5) as u32)
}

/// Rescales an exact accumulator by its row's multiplier. `|acc| < 2^47`.
#[cfg_attr(not(mambabyte_dsp), inline(always))]
#[cfg_attr(mambabyte_dsp, inline(never))]
pub const fn requantize(acc: i64, code: u8, base: u8) -> i64 {
    let (multiplier, shift) = row_multiplier(code, base);
    round_shift(acc.wrapping_mul(multiplier), shift)
}
