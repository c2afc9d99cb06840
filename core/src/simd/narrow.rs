//! The per-channel arithmetic in 32 bits, for processors whose 64-bit shifts are long: the same bits as the modules
//! that hold the scalar functions, by other routes. `check` compares the kernels that use them.

#![allow(dead_code, reason = "each kind of processor uses a part of it")]

use crate::fixed::{requantize, round_shift, saturate_i32};
use crate::nonlinear::{exp2_fraction, log2_softplus};
use crate::tables::{LOG2_SOFTPLUS, ROW_MULTIPLIER, SIGMOID};

/// `ROW_MULTIPLIER[code % 32] * 2^(16 - code / 32)`: with it a row's shift does not depend on its code.
pub(crate) static MULTIPLIER: [i32; 256] = {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = (ROW_MULTIPLIER[code & 31] as i32) << (16 - (code >> 5));
        code += 1;
    }
    table
};

/// `exp2_fraction` at the 1,024 fractions that a sum of Q10 logarithms can have.
pub(crate) static EXP2_Q10: [u16; 1024] = {
    let mut table = [0; 1024];
    let mut i = 0;
    while i < 1024 {
        table[i] = exp2_fraction((i as u16) << 6) as u16;
        i += 1;
    }
    table
};

/// Entry `i` of a table and its distance to the next one, `base | step << 16`: one load for an interpolation.
const fn steps<const N: usize, const M: usize>(table: &[i32; M]) -> [u32; N] {
    let mut out = [0; N];
    let mut i = 0;
    while i < N {
        out[i] = (table[i] as u32 & 0xffff) | (((table[i + 1] - table[i]) as u32) << 16);
        i += 1;
    }
    out
}

pub(crate) static SIGMOID_STEPS: [u32; 512] = {
    let mut wide = [0; 513];
    let mut i = 0;
    while i < 513 {
        wide[i] = SIGMOID[i] as i32;
        i += 1;
    }
    steps(&wide)
};

pub(crate) static SOFTPLUS_STEPS: [u32; 512] = {
    let mut wide = [0; 513];
    let mut i = 0;
    while i < 513 {
        wide[i] = LOG2_SOFTPLUS[i] as i32;
        i += 1;
    }
    steps(&wide)
};

/// How a matrix's rows are rescaled. `LOW`: its base is below 17.
#[derive(Clone, Copy)]
pub(crate) struct Requantizer<const LOW: bool> {
    base: u8,
    /// `base - 17`, or `16 - base` if `LOW`.
    shift: u32,
}

/// Calls `$f` with the [`Requantizer`] of `$base`: one copy of the loop for each kind.
#[cfg(any(mambabyte_mcu, feature = "kernel-check"))]
macro_rules! with_scale {
    ($base:expr, |$scale:ident| $f:expr) => {
        if $base < 17 {
            let $scale = $crate::simd::narrow::Requantizer::<true>::new($base);
            $f
        } else {
            let $scale = $crate::simd::narrow::Requantizer::<false>::new($base);
            $f
        }
    };
}
#[cfg(any(mambabyte_mcu, feature = "kernel-check"))]
pub(crate) use with_scale;

impl<const LOW: bool> Requantizer<LOW> {
    pub(crate) const fn new(base: u8) -> Self {
        // A shift of 48 and more leaves nothing but the rounding, as one of 47 does.
        let shift = if LOW { 16u8.wrapping_sub(base) as u32 & 31 } else { base.wrapping_sub(17) as u32 };
        Self { base, shift: if shift > 31 { 31 } else { shift } }
    }

    /// `requantize(acc, code, base)` if it needs no wider arithmetic than 32 x 32 to 64 bits, high word.
    ///
    /// With `M = MULTIPLIER[code]` it is `acc * M` rounded at bit `16 + base`. From `base = 17` on, the rounding bit is
    /// in the product's high word. Below, the accumulator is shifted up first, if it has room.
    #[inline(always)]
    pub(crate) fn quick(self, acc: i32, code: u8) -> Option<i32> {
        if cfg!(mambabyte_thumb1) {
            return self.quick_halves(acc, code);
        }
        let multiplier = MULTIPLIER[code as usize] as i64;
        if LOW {
            let shifted = acc << self.shift;
            let rounded = ((shifted as i64 * multiplier + (1 << 31)) >> 32) as i32;
            if shifted >> self.shift == acc { Some(rounded) } else { None }
        } else {
            let high = ((acc as i64 * multiplier) >> 32) as i32;
            Some(((high >> self.shift) + 1) >> 1)
        }
    }

    /// The same where a product has 32 bits at most: `acc * m = t * 2^16 + low` by the halves of `acc`.
    #[inline(always)]
    fn quick_halves(self, acc: i32, code: u8) -> Option<i32> {
        let multiplier = ROW_MULTIPLIER[code as usize & 31] as i32;
        let shift = self.base as u32 + (code >> 5) as u32;
        let product = (acc & 0xffff) * multiplier;
        let t = (acc >> 16) * multiplier + (product >> 16);
        if shift >= 17 {
            Some(((t >> (shift - 17).min(31)) + 1) >> 1)
        } else {
            let up = (16 - shift) & 15;
            let shifted = t << up;
            let low = (((product & 0xffff) >> ((shift - 1) & 15)) + 1) >> 1;
            if shifted >> up == t { shifted.checked_add(low) } else { None }
        }
    }

    /// `saturate_i32(requantize(acc, code, base))`.
    #[inline(always)]
    pub(crate) fn apply(self, acc: i32, code: u8) -> i32 {
        match self.quick(acc, code) {
            Some(q) => q,
            None => requantized(acc as i64, code, self.base),
        }
    }
}

/// `saturate_i32(requantize(sum))`, in 64 bits.
#[cold]
#[inline(never)]
pub(crate) fn requantized(sum: i64, code: u8, base: u8) -> i32 {
    saturate_i32(requantize(sum, code, base))
}

/// `requantize(y, code, y_shift) + skip`, saturated.
#[inline(always)]
pub(crate) fn skipped<const LOW: bool>(scale: Requantizer<LOW>, y: i32, code: u8, skip: i32) -> i32 {
    match scale.quick(y, code) {
        Some(scaled) => scaled.saturating_add(skip),
        None => wide_sum(y, code, scale.base, skip),
    }
}

#[cold]
#[inline(never)]
fn wide_sum(y: i32, code: u8, base: u8, skip: i32) -> i32 {
    saturate_i32(requantize(y as i64, code, base) + skip as i64)
}

/// `saturate_i32(round_shift(sum * silu_z, gate_shift))`: the product rounded at bit 32, if the sum has room for the
/// shift up. `up = 16 - gate_shift`, or 32 if that is negative.
#[inline(always)]
pub(crate) fn gated(sum: i32, silu_z: i16, up: u32, gate_shift: u8) -> i32 {
    let shifted = sum << (up & 31);
    if shifted >> (up & 31) == sum && up < 32 {
        (((shifted as i64 * ((silu_z as i32) << 16) as i64) + (1 << 31)) >> 32) as i32
    } else {
        wide_product(sum, silu_z, gate_shift)
    }
}

#[cold]
#[inline(never)]
fn wide_product(sum: i32, silu_z: i16, gate_shift: u8) -> i32 {
    saturate_i32(round_shift(sum as i64 * silu_z as i64, gate_shift as u32))
}

/// `(a * b + 2^31) >> 32`.
#[inline(always)]
pub(crate) fn high_round(a: i32, b: i32) -> i32 {
    ((a as i64 * b as i64 + (1 << 31)) >> 32) as i32
}

/// `round_shift(x, shift)` for any `shift` from 1.
#[inline(always)]
pub(crate) fn round(x: i32, shift: u32) -> i32 {
    ((x >> (shift - 1).min(31)) + 1) >> 1
}

/// [`silu`](crate::nonlinear::silu): `x * sigmoid(x) = |x| * sigmoid(|x|) + min(x, 0)`, also after rounding.
#[inline(always)]
pub(crate) fn silu(x: i16, frac: u8) -> i32 {
    let x = x as i32;
    let magnitude = x.unsigned_abs();
    // From 16 on the table is 1; its last entries are equal.
    let position = (magnitude << (16 - frac as u32 % 16)).min((1 << 20) - 1);
    let entry = SIGMOID_STEPS[(position >> 11) as usize];
    let sigmoid = (entry & 0xffff) as i32 + (((entry as i32 >> 16) * (position & 2047) as i32 + 1024) >> 11);
    ((magnitude as i32 * sigmoid + (1 << 14)) >> 15) + (x & (x >> 31))
}

/// `saturate_i16(log2_softplus(v))`, `v` in Q10 clamped to +-1024.
#[inline(always)]
pub(crate) fn log_delta(v: i32) -> i32 {
    const EDGE: i32 = 16 << 10;
    let offset = v.wrapping_add(EDGE) as u32;
    if offset < 2 * EDGE as u32 {
        let entry = SOFTPLUS_STEPS[(offset >> 6) as usize & 511];
        entry as i16 as i32 + (((entry as i32 >> 16) * (offset & 63) as i32 + 32) >> 6)
    } else {
        log2_softplus(v.clamp(-(1 << 20), 1 << 20)).clamp(-32767, 32767)
    }
}

/// [`delta_x`](crate::selective_scan::delta_x) of `exponent = log_delta + base + 32 * code`, before it saturates.
///
/// The product fits 32 bits: 32767 * 65535 < 2^31. Rounded half up in two steps: `(p >> s - 1) + 1 >> 1`.
#[inline(always)]
pub(crate) fn delta_x(x: i16, exponent: i32) -> i32 {
    let mantissa = EXP2_Q10[(exponent & 1023) as usize] as i32;
    let shift = (14 - (exponent >> 10)).clamp(0, 31);
    ((x as i32 * mantissa) >> shift).wrapping_add(1) >> 1
}

/// Clamps a value to `-32767..=32767`.
#[inline(always)]
pub(crate) fn saturate(x: i32) -> i16 {
    x.clamp(-32767, 32767) as i16
}
