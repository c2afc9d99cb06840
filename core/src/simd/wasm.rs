//! WebAssembly's 128-bit vectors, which browsers and Node have.
//!
//! A vector of [`Isa`] is four of them. Weights are widened to 16 bits as they are loaded. What WebAssembly lacks is
//! made of what it has: saturated sums of 32 bits, narrowing of 64, a shift for each lane.
#![allow(unsafe_code, reason = "loads and stores of vectors; every block has its reason")]

use core::arch::wasm32::*;

use super::isa::{Isa, STEPS, Sums};
use super::narrow::MULTIPLIER;
use super::vector::project::Products;
use super::vector::{DECAYS, LAST_DECAY};

mod dot;
mod round;

use round::{narrow_64, round_64};

/// The proof that the module may use the vectors: it was built for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Simd128(());

impl Simd128 {
    /// The token. A module with these instructions does not load where they are missing.
    pub(crate) const fn detect() -> Option<Self> {
        Some(Self(()))
    }
}

/// An intrinsic on all four vectors.
macro_rules! each {
    ($f:expr, $a:expr $(, $b:expr)*) => {
        [
            $f($a[0] $(, $b[0])*),
            $f($a[1] $(, $b[1])*),
            $f($a[2] $(, $b[2])*),
            $f($a[3] $(, $b[3])*),
        ]
    };
}

/// Four vectors of 64 bytes.
#[inline(always)]
fn load_4<T, const N: usize>(x: &[T; N]) -> [v128; 4] {
    const { assert!(size_of::<[T; N]>() == 64) };
    let x = x.as_ptr().cast::<v128>();
    // SAFETY: `x` has 64 bytes; a load needs no alignment.
    unsafe { [v128_load(x), v128_load(x.add(1)), v128_load(x.add(2)), v128_load(x.add(3))] }
}

#[inline(always)]
fn store_4<T, const N: usize>(from: [v128; 4], to: &mut [T; N]) {
    const { assert!(size_of::<[T; N]>() == 64) };
    let to = to.as_mut_ptr().cast::<v128>();
    // SAFETY: `to` has 64 bytes, of integers; a store needs no alignment.
    unsafe {
        v128_store(to, from[0]);
        v128_store(to.add(1), from[1]);
        v128_store(to.add(2), from[2]);
        v128_store(to.add(3), from[3]);
    }
}

/// An element of a table for each index.
#[inline(always)]
fn each_of(index: [v128; 4], of: impl Fn(i32) -> i32) -> [v128; 4] {
    each!(
        |v: v128| i32x4(
            of(i32x4_extract_lane::<0>(v)),
            of(i32x4_extract_lane::<1>(v)),
            of(i32x4_extract_lane::<2>(v)),
            of(i32x4_extract_lane::<3>(v)),
        ),
        index
    )
}

/// The decays at eight indices, which it clamps to the table.
#[inline(always)]
fn decays_8(index: v128) -> v128 {
    let at = i16x8_max(i16x8_min(index, i16x8_splat(LAST_DECAY)), i16x8_splat(0));
    macro_rules! lanes {
        ($($lane:literal)*) => {
            // SAFETY: each index is in `0..=LAST_DECAY`, and the table has `LAST_DECAY + 2` elements.
            i16x8($(unsafe { *DECAYS.as_ptr().add(u16x8_extract_lane::<$lane>(at) as usize) }),*)
        };
    }
    lanes!(0 1 2 3 4 5 6 7)
}

impl Isa for Simd128 {
    type W = [v128; 4];
    type H = [v128; 4];
    type Y = [[v128; 2]; 4];
    type Q = v128;
    type Start = ();

    #[inline(always)]
    fn splat(self, x: i32) -> Self::W {
        [i32x4_splat(x); 4]
    }
    #[inline(always)]
    fn load_i32(self, x: &[i32; 16]) -> Self::W {
        load_4(x)
    }
    #[inline(always)]
    fn load_i16(self, x: &[i16; 16]) -> Self::W {
        let x = x.as_ptr();
        // SAFETY: `x` has four times four elements; a load needs no alignment.
        unsafe {
            [
                i32x4_load_extend_i16x4(x),
                i32x4_load_extend_i16x4(x.add(4)),
                i32x4_load_extend_i16x4(x.add(8)),
                i32x4_load_extend_i16x4(x.add(12)),
            ]
        }
    }
    #[inline(always)]
    fn load_i8(self, x: &[i8; 16]) -> Self::W {
        // SAFETY: `x` has twice eight elements; a load needs no alignment.
        let (a, b) = unsafe { (i16x8_load_extend_i8x8(x.as_ptr()), i16x8_load_extend_i8x8(x.as_ptr().add(8))) };
        [i32x4_extend_low_i16x8(a), i32x4_extend_high_i16x8(a), i32x4_extend_low_i16x8(b), i32x4_extend_high_i16x8(b)]
    }
    #[inline(always)]
    fn load_u8(self, x: &[u8; 16]) -> Self::W {
        // SAFETY: `x` has twice eight elements; a load needs no alignment.
        let (a, b) = unsafe { (u16x8_load_extend_u8x8(x.as_ptr()), u16x8_load_extend_u8x8(x.as_ptr().add(8))) };
        [u32x4_extend_low_u16x8(a), u32x4_extend_high_u16x8(a), u32x4_extend_low_u16x8(b), u32x4_extend_high_u16x8(b)]
    }
    #[inline(always)]
    fn store_i32(self, x: Self::W, to: &mut [i32; 16]) {
        store_4(x, to);
    }
    #[inline(always)]
    fn store_i16(self, x: Self::W, to: &mut [i16; 16]) {
        let least = i16x8_splat(-32767);
        let to = to.as_mut_ptr().cast::<v128>();
        // SAFETY: `to` has room for two vectors; a store needs no alignment.
        unsafe {
            v128_store(to, i16x8_max(i16x8_narrow_i32x4(x[0], x[1]), least));
            v128_store(to.add(1), i16x8_max(i16x8_narrow_i32x4(x[2], x[3]), least));
        }
    }

    #[inline(always)]
    fn add(self, a: Self::W, b: Self::W) -> Self::W {
        each!(i32x4_add, a, b)
    }
    #[inline(always)]
    fn sub(self, a: Self::W, b: Self::W) -> Self::W {
        each!(i32x4_sub, a, b)
    }
    #[inline(always)]
    fn mul(self, a: Self::W, b: Self::W) -> Self::W {
        each!(i32x4_mul, a, b)
    }
    #[inline(always)]
    fn min(self, a: Self::W, b: Self::W) -> Self::W {
        each!(i32x4_min, a, b)
    }
    #[inline(always)]
    fn max(self, a: Self::W, b: Self::W) -> Self::W {
        each!(i32x4_max, a, b)
    }
    #[inline(always)]
    fn abs(self, a: Self::W) -> Self::W {
        each!(i32x4_abs, a)
    }
    #[inline(always)]
    fn and(self, a: Self::W, b: Self::W) -> Self::W {
        each!(v128_and, a, b)
    }
    #[inline(always)]
    fn or(self, a: Self::W, b: Self::W) -> Self::W {
        each!(v128_or, a, b)
    }
    #[inline(always)]
    fn add_saturating(self, a: Self::W, b: Self::W) -> Self::W {
        let one = |a, b| {
            let sum = i32x4_add(a, b);
            // The sum passed the end if its sign is neither that of `a` nor that of `b`.
            let passed = v128_and(v128_xor(a, sum), v128_xor(b, sum));
            let end = v128_xor(i32x4_shr(a, 31), i32x4_splat(i32::MAX));
            v128_bitselect(end, sum, i32x4_shr(passed, 31))
        };
        each!(one, a, b)
    }
    #[inline(always)]
    fn shl(self, a: Self::W, by: u32) -> Self::W {
        each!(|a| i32x4_shl(a, by), a)
    }
    #[inline(always)]
    fn shr(self, a: Self::W, by: u32) -> Self::W {
        each!(|a| i32x4_shr(a, by), a)
    }
    #[inline(always)]
    fn shr_each(self, a: Self::W, by: Self::W) -> Self::W {
        // By 1, 2, 4, 8 and 16 where that bit is set.
        let one = |a, by| {
            (0..5).fold(a, |a, bit| {
                let set = i32x4_shr(i32x4_shl(by, 31 - bit), 31);
                v128_bitselect(i32x4_shr(a, 1 << bit), a, set)
            })
        };
        each!(one, a, by)
    }
    #[inline(always)]
    fn if_negative(self, test: Self::W, a: Self::W, b: Self::W) -> Self::W {
        each!(|test, a, b| v128_bitselect(a, b, i32x4_shr(test, 31)), test, a, b)
    }
    #[inline(always)]
    fn any_negative(self, a: Self::W) -> bool {
        i32x4_bitmask(v128_or(v128_or(a[0], a[1]), v128_or(a[2], a[3]))) != 0
    }

    #[inline(always)]
    fn mul_round_add(self, a: Self::W, b: Self::W, shift: u32, c: Self::W) -> Self::W {
        let one = |a, b, c| {
            let low = i64x2_add(round_64(i64x2_extmul_low_i32x4(a, b), shift), i64x2_extend_low_i32x4(c));
            let high = i64x2_add(round_64(i64x2_extmul_high_i32x4(a, b), shift), i64x2_extend_high_i32x4(c));
            narrow_64(low, high)
        };
        each!(one, a, b, c)
    }
    #[inline(always)]
    fn mul_round<const BITS: u32>(self, a: Self::W, b: Self::W, shift: u32) -> Self::W {
        let one = |a, b| {
            let (low, high) = (i64x2_extmul_low_i32x4(a, b), i64x2_extmul_high_i32x4(a, b));
            narrow_64(round_64(low, shift), round_64(high, shift))
        };
        each!(one, a, b)
    }
    #[inline(always)]
    fn sums_round(self, sums: Sums<Self::W>, b: Self::W, shift: u32) -> Self::W {
        let one = |high, low, b| {
            let first = i64x2_shl(i64x2_extmul_low_i32x4(high, b), 8);
            let last = i64x2_shl(i64x2_extmul_high_i32x4(high, b), 8);
            let first = i64x2_add(first, i64x2_extmul_low_i32x4(low, b));
            let last = i64x2_add(last, i64x2_extmul_high_i32x4(low, b));
            narrow_64(round_64(first, shift), round_64(last, shift))
        };
        each!(one, sums.high, sums.low, b)
    }

    #[inline(always)]
    fn multipliers(self, code: &[u8; 16]) -> Self::W {
        let mut each = [0; 16];
        each.iter_mut().zip(code).for_each(|(to, &code)| *to = MULTIPLIER[code as usize] >> 9);
        load_4(&each)
    }
    #[inline(always)]
    fn look_up(self, table: &[u32; STEPS], index: Self::W) -> Self::W {
        each_of(index, |i| table[i as usize % STEPS] as i32)
    }
    #[inline(always)]
    fn look_up_u16(self, table: &[u16; 1025], index: Self::W) -> Self::W {
        each_of(index, |i| table[i as usize & 1023] as i32)
    }
    #[inline(always)]
    fn decays(self, index: Self::W) -> Self::W {
        // Indices beyond the table are still beyond it after they are saturated to 16 bits.
        let (a, b) = (i16x8_narrow_i32x4(index[0], index[1]), i16x8_narrow_i32x4(index[2], index[3]));
        let (a, b) = (decays_8(a), decays_8(b));
        [i32x4_extend_low_i16x8(a), i32x4_extend_high_i16x8(a), i32x4_extend_low_i16x8(b), i32x4_extend_high_i16x8(b)]
    }

    #[inline(always)]
    fn no_squares(self) -> v128 {
        i64x2_splat(0)
    }
    #[inline(always)]
    fn add_squares(self, sum: v128, a: Self::W) -> v128 {
        a.into_iter()
            .fold(sum, |sum, a| i64x2_add(i64x2_add(sum, i64x2_extmul_low_i32x4(a, a)), i64x2_extmul_high_i32x4(a, a)))
    }
    #[inline(always)]
    fn total(self, sum: v128) -> u64 {
        u64x2_extract_lane::<0>(sum).wrapping_add(u64x2_extract_lane::<1>(sum))
    }

    #[inline(always)]
    fn narrow(self, first: Self::W, last: Self::W) -> Self::H {
        [
            i16x8_narrow_i32x4(first[0], first[1]),
            i16x8_narrow_i32x4(first[2], first[3]),
            i16x8_narrow_i32x4(last[0], last[1]),
            i16x8_narrow_i32x4(last[2], last[3]),
        ]
    }
    #[inline(always)]
    fn splat_h(self, x: i16) -> Self::H {
        [i16x8_splat(x); 4]
    }
    #[inline(always)]
    fn load_h(self, x: &[i16; 32]) -> Self::H {
        load_4(x)
    }
    #[inline(always)]
    fn store_h(self, x: Self::H, to: &mut [i16; 32]) {
        store_4(x, to);
    }
    #[inline(always)]
    fn mul_q15(self, a: Self::H, b: Self::H) -> Self::H {
        each!(i16x8_q15mulr_sat, a, b)
    }
    #[inline(always)]
    fn add_saturating_h(self, a: Self::H, b: Self::H) -> Self::H {
        each!(i16x8_add_sat, a, b)
    }
    type Rates = Self::H;
    #[inline(always)]
    fn rates(self, index: Self::H) -> Self::H {
        index
    }
    type Factors = [u8; 32];
    #[inline(always)]
    fn factors(self, code: &[u8; 32]) -> [u8; 32] {
        *code
    }
    #[inline(always)]
    fn decays_h(self, index: Self::H, code: [u8; 32]) -> Self::H {
        let code = code.as_ptr();
        // SAFETY: `code` has four times eight elements; a load needs no alignment.
        let code = unsafe {
            [
                u16x8_load_extend_u8x8(code),
                u16x8_load_extend_u8x8(code.add(8)),
                u16x8_load_extend_u8x8(code.add(16)),
                u16x8_load_extend_u8x8(code.add(24)),
            ]
        };
        each!(|index, code| decays_8(i16x8_add_sat(index, i16x8_shl(code, 2))), index, code)
    }
    #[inline(always)]
    fn no_sums(self) -> Self::Y {
        [[i32x4_splat(0); 2]; 4]
    }
    #[inline(always)]
    fn add_products(self, y: Self::Y, a: Self::H, b: Self::H, c: [i16; 2]) -> Self::Y {
        let c = i32x4_splat(c[0] as u16 as i32 | (c[1] as i32) << 16);
        let one = |[low, high]: [v128; 2], a, b| {
            let first = i16x8_shuffle::<0, 8, 1, 9, 2, 10, 3, 11>(a, b);
            let last = i16x8_shuffle::<4, 12, 5, 13, 6, 14, 7, 15>(a, b);
            [i32x4_add(low, i32x4_dot_i16x8(first, c)), i32x4_add(high, i32x4_dot_i16x8(last, c))]
        };
        each!(one, y, a, b)
    }
    #[inline(always)]
    fn store_sums(self, y: Self::Y, to: &mut [i32; 32]) {
        if let [first, last] = to.as_chunks_mut::<16>().0 {
            store_4([y[0][0], y[0][1], y[1][0], y[1][1]], first);
            store_4([y[2][0], y[2][1], y[3][0], y[3][1]], last);
        }
    }

    #[inline(always)]
    fn pack(self, _: &mut [i16]) {}
    #[inline(always)]
    fn unpack(self, _: &mut [i16]) {}
    #[inline(always)]
    fn start(self, _: &[i16]) {}
    #[inline(always)]
    fn dot_rows(self, w: &[i8], x: &[i16], (): ()) -> Sums<Self::W> {
        dot::rows(w, x)
    }
    #[inline(always)]
    fn dot_panel(self, w: &[i8], x: &[i16], (): (), _: &[i8]) -> [Sums<Self::W>; 4] {
        dot::panel(w, x)
    }
    #[inline(always)]
    fn dot_short_rows(self, w: &[i8], columns: usize, x: &[i16; 16]) -> Self::W {
        dot::short_rows(w, columns, x)
    }
}

impl Products for Simd128 {}

super::instances::kernels_of!(Simd128, "simd128", "simd128");
