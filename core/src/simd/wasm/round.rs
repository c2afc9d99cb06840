//! Products of 64 bits, rounded and narrowed.

use core::arch::wasm32::*;

/// `round_shift(x, shift)`, `shift` in `1..=62`, `|x| < 2^61`.
///
/// The shift is unsigned, of a sum that cannot be negative: a signed one takes several instructions on x86-64.
#[inline(always)]
pub(super) fn round_64(x: v128, shift: u32) -> v128 {
    const LIFT: i64 = 1 << 62;
    let lifted = i64x2_add(x, i64x2_splat(LIFT.wrapping_add(1i64.wrapping_shl(shift.wrapping_sub(1)))));
    i64x2_sub(u64x2_shr(lifted, shift), i64x2_splat(LIFT.wrapping_shr(shift)))
}

/// Saturates four integers to 32 bits.
#[inline(always)]
pub(super) fn narrow_64(first: v128, last: v128) -> v128 {
    let low = i32x4_shuffle::<0, 2, 4, 6>(first, last);
    let high = i32x4_shuffle::<1, 3, 5, 7>(first, last);
    let fits = i32x4_eq(high, i32x4_shr(low, 31));
    let end = v128_xor(i32x4_shr(high, 31), i32x4_splat(i32::MAX));
    v128_bitselect(low, end, fits)
}
