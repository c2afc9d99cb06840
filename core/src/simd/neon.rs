//! NEON, which every AArch64 processor of a workstation has; with and without the dot products of Armv8.2.
//!
//! A vector of [`Isa`] is four registers. Without dot products weights are widened to 16 bits. With them, activations
//! are packed into planes of their upper bytes and of their lower ones less 128; `sum w` makes up for those.
#![allow(unsafe_code, reason = "intrinsics; every block has its reason")]

use core::arch::aarch64::*;
use core::arch::asm;

use super::isa::{Isa, ROWS, STEPS, Sums};
use super::narrow::MULTIPLIER;
use super::vector::project::Products;
use super::vector::{DECAYS, LAST_DECAY};
use crate::linear::BLOCK;

/// The proof that the processor has NEON, and with `DOT` the dot products.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Neon<const DOT: bool>(());

impl Neon<false> {
    /// The token: the target has NEON.
    pub(crate) const fn detect() -> Option<Self> {
        Some(Self(()))
    }
}

impl Neon<true> {
    /// The token, where the processor has the instructions.
    pub(crate) fn detect() -> Option<Self> {
        #[cfg(feature = "std")]
        let present = std::arch::is_aarch64_feature_detected!("dotprod");
        #[cfg(not(feature = "std"))]
        let present = cfg!(target_feature = "dotprod");
        present.then_some(Self(()))
    }
}

/// An expression of intrinsics in a method of [`Neon`].
macro_rules! neon {
    ($e:expr) => {{
        // SAFETY: the method's token exists, so the processor has the instructions; pointers are of references to
        // arrays of the vectors' size.
        #[allow(unused_unsafe, reason = "some intrinsics are safe where the target has NEON")]
        #[allow(clippy::macro_metavars_in_unsafe, reason = "the whole expression is meant")]
        unsafe {
            $e
        }
    }};
}

/// An intrinsic on all four registers.
macro_rules! each {
    ($f:expr, $a:expr $(, $b:expr)*) => {
        neon!([
            $f($a[0] $(, $b[0])*),
            $f($a[1] $(, $b[1])*),
            $f($a[2] $(, $b[2])*),
            $f($a[3] $(, $b[3])*),
        ])
    };
}

/// Columns whose products always fit the four sums of a row.
const COLUMNS: usize = 4 * BLOCK;

/// The weights of 16 columns of four rows, their planes if `DOT`: upper bytes, lower bytes.
type Rows = [*const i8; 4];

/// The sums of four rows: of upper bytes, of lower ones, of weights. Without `DOT` the first one is all.
type Parts = [[int32x4_t; 3]; 4];

impl<const DOT: bool> Neon<DOT> {
    /// The sum of each vector's lanes.
    #[inline(always)]
    fn sum_4(self, v: [int32x4_t; 4]) -> int32x4_t {
        neon!(vpaddq_s32(vpaddq_s32(v[0], v[1]), vpaddq_s32(v[2], v[3])))
    }

    /// `sum + a . b` of each four bytes.
    #[inline(always)]
    fn dot(self, mut sum: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
        // SAFETY: called with `DOT` only, whose token stands for the instruction.
        unsafe {
            asm!(
                ".arch_extension dotprod",
                "sdot {sum:v}.4s, {a:v}.16b, {b:v}.16b",
                sum = inout(vreg) sum,
                a = in(vreg) a,
                b = in(vreg) b,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        sum
    }

    /// Adds the products of 16 columns of four rows, not packed.
    ///
    /// # Safety
    /// `w` are 16 bytes each, `x` is 16 activations.
    #[inline(always)]
    unsafe fn add_wide(self, sums: &mut Parts, w: Rows, x: *const i16) {
        // SAFETY: as above.
        unsafe {
            let (x0, x1) = (vld1q_s16(x), vld1q_s16(x.add(8)));
            for (sum, w) in sums.iter_mut().zip(w) {
                let w = vld1q_s8(w);
                let (w0, w1) = (vmovl_s8(vget_low_s8(w)), vmovl_high_s8(w));
                let first = vmlal_high_s16(vmlal_s16(sum[0], vget_low_s16(w0), vget_low_s16(x0)), w0, x0);
                sum[0] = vmlal_high_s16(vmlal_s16(first, vget_low_s16(w1), vget_low_s16(x1)), w1, x1);
            }
        }
    }

    /// Adds the products of 16 columns of four rows by dot products.
    ///
    /// # Safety
    /// `w` are 16 bytes each; so are `high` and `low`.
    #[inline(always)]
    unsafe fn add_dot(self, sums: &mut Parts, w: Rows, high: *const i8, low: *const i8) {
        // SAFETY: as above.
        unsafe {
            let (high, low, one) = (vld1q_s8(high), vld1q_s8(low), vdupq_n_s8(1));
            for (sum, w) in sums.iter_mut().zip(w) {
                let w = vld1q_s8(w);
                *sum = [self.dot(sum[0], w, high), self.dot(sum[1], w, low), self.dot(sum[2], w, one)];
            }
        }
    }

    /// The sums of four rows over the columns from `from` to `to`; `from` is a multiple of 16.
    ///
    /// # Safety
    /// `w` are `to` bytes each, `x` is `n` activations, `to <= n`.
    #[inline(always)]
    unsafe fn four_rows(self, w: Rows, x: *const i16, from: usize, to: usize) -> Parts {
        let mut sums = [neon!([vdupq_n_s32(0); 3]); 4];
        let mut at = from;
        while at + 16 <= to {
            // SAFETY: 16 columns from `at` on end at `to`; with `DOT` they are two planes of 16 bytes.
            unsafe {
                let (rows, x) = ([w[0].add(at), w[1].add(at), w[2].add(at), w[3].add(at)], x.add(at));
                if DOT {
                    self.add_dot(&mut sums, rows, x.cast(), x.cast::<i8>().add(16));
                } else {
                    self.add_wide(&mut sums, rows, x);
                }
            }
            at += 16;
        }
        if at < to {
            let n = to - at;
            let mut rows = [[0i8; 16]; 4];
            let (mut columns, mut low) = ([0i16; 16], [0i8; 16]);
            // SAFETY: `n` columns, less than 16, are left: `2 * n` bytes of activations.
            unsafe {
                for (row, w) in rows.iter_mut().zip(w) {
                    core::ptr::copy_nonoverlapping(w.add(at), row.as_mut_ptr(), n);
                }
                let rows = [rows[0].as_ptr(), rows[1].as_ptr(), rows[2].as_ptr(), rows[3].as_ptr()];
                let x = x.add(at);
                if DOT {
                    core::ptr::copy_nonoverlapping(x.cast::<i8>(), columns.as_mut_ptr().cast(), n);
                    core::ptr::copy_nonoverlapping(x.cast::<i8>().add(n), low.as_mut_ptr(), n);
                    self.add_dot(&mut sums, rows, columns.as_ptr().cast(), low.as_ptr());
                } else {
                    core::ptr::copy_nonoverlapping(x, columns.as_mut_ptr(), n);
                    self.add_wide(&mut sums, rows, columns.as_ptr());
                }
            }
        }
        sums
    }

    #[inline(always)]
    fn round_one(self, a: int32x4_t, b: int32x4_t, shift: u32) -> int32x4_t {
        neon!({
            let by = vdupq_n_s64(-(shift as i64));
            let low = vrshlq_s64(vmull_s32(vget_low_s32(a), vget_low_s32(b)), by);
            vqmovn_high_s64(vqmovn_s64(low), vrshlq_s64(vmull_high_s32(a, b), by))
        })
    }

    #[inline(always)]
    fn round_add_one(self, a: int32x4_t, b: int32x4_t, shift: u32, c: int32x4_t) -> int32x4_t {
        neon!({
            let by = vdupq_n_s64(-(shift as i64));
            let low = vaddw_s32(vrshlq_s64(vmull_s32(vget_low_s32(a), vget_low_s32(b)), by), vget_low_s32(c));
            let high = vaddw_high_s32(vrshlq_s64(vmull_high_s32(a, b), by), c);
            vqmovn_high_s64(vqmovn_s64(low), high)
        })
    }

    #[inline(always)]
    fn sums_one(self, high: int32x4_t, low: int32x4_t, b: int32x4_t, shift: u32) -> int32x4_t {
        neon!({
            let by = vdupq_n_s64(-(shift as i64));
            let first = vshlq_n_s64::<8>(vmull_s32(vget_low_s32(high), vget_low_s32(b)));
            let first = vmlal_s32(first, vget_low_s32(low), vget_low_s32(b));
            let last = vmlal_high_s32(vshlq_n_s64::<8>(vmull_high_s32(high, b)), low, b);
            vqmovn_high_s64(vqmovn_s64(vrshlq_s64(first, by)), vrshlq_s64(last, by))
        })
    }

    /// Packs or unpacks 16 activations: upper bytes, lower bytes less 128; of the last block fewer.
    #[inline(always)]
    fn repack(self, x: &mut [i16], packs: bool) {
        for block in x.chunks_mut(16) {
            let n = block.len();
            let bytes: &mut [u8] = bytemuck::cast_slice_mut(block);
            let mut from = [0u8; 32];
            from.iter_mut().zip(bytes.iter()).for_each(|(to, &byte)| *to = byte);
            for (to, byte) in bytes.iter_mut().enumerate() {
                // In memory: low, high, low, high. Packed: the high ones, then the low ones.
                let (at, flip) = match (packs, to < n, to % 2) {
                    (true, true, _) => (2 * to + 1, 0),
                    (true, false, _) => (2 * (to - n), 0x80),
                    (false, _, 0) => (n + to / 2, 0x80),
                    (false, ..) => (to / 2, 0),
                };
                *byte = from.get(at).map_or(0, |b| b ^ flip);
            }
        }
    }

    /// An element of a table for each index.
    #[inline(always)]
    fn each_of(self, index: [int32x4_t; 4], of: impl Fn(i32) -> i32) -> [int32x4_t; 4] {
        let mut each = [0; 16];
        self.store_i32(index, &mut each);
        each.iter_mut().for_each(|e| *e = of(*e));
        self.load_i32(&each)
    }
}

impl<const DOT: bool> Isa for Neon<DOT> {
    type W = [int32x4_t; 4];
    type H = [int16x8_t; 4];
    type Y = [[int32x4_t; 2]; 4];
    type Q = uint64x2_t;
    type Start = ();

    #[inline(always)]
    fn splat(self, x: i32) -> Self::W {
        neon!([vdupq_n_s32(x); 4])
    }
    #[inline(always)]
    fn load_i32(self, x: &[i32; 16]) -> Self::W {
        let x = x.as_ptr();
        neon!([vld1q_s32(x), vld1q_s32(x.add(4)), vld1q_s32(x.add(8)), vld1q_s32(x.add(12))])
    }
    #[inline(always)]
    fn load_i16(self, x: &[i16; 16]) -> Self::W {
        neon!({
            let (a, b) = (vld1q_s16(x.as_ptr()), vld1q_s16(x.as_ptr().add(8)));
            [vmovl_s16(vget_low_s16(a)), vmovl_high_s16(a), vmovl_s16(vget_low_s16(b)), vmovl_high_s16(b)]
        })
    }
    #[inline(always)]
    fn load_i8(self, x: &[i8; 16]) -> Self::W {
        neon!({
            let x = vld1q_s8(x.as_ptr());
            let (a, b) = (vmovl_s8(vget_low_s8(x)), vmovl_high_s8(x));
            [vmovl_s16(vget_low_s16(a)), vmovl_high_s16(a), vmovl_s16(vget_low_s16(b)), vmovl_high_s16(b)]
        })
    }
    #[inline(always)]
    fn load_u8(self, x: &[u8; 16]) -> Self::W {
        neon!({
            let x = vld1q_u8(x.as_ptr());
            let (a, b) = (vmovl_u8(vget_low_u8(x)), vmovl_high_u8(x));
            [
                vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(a))),
                vreinterpretq_s32_u32(vmovl_high_u16(a)),
                vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(b))),
                vreinterpretq_s32_u32(vmovl_high_u16(b)),
            ]
        })
    }
    #[inline(always)]
    fn store_i32(self, x: Self::W, to: &mut [i32; 16]) {
        let to = to.as_mut_ptr();
        neon!({
            vst1q_s32(to, x[0]);
            vst1q_s32(to.add(4), x[1]);
            vst1q_s32(to.add(8), x[2]);
            vst1q_s32(to.add(12), x[3]);
        });
    }
    #[inline(always)]
    fn store_i16(self, x: Self::W, to: &mut [i16; 16]) {
        let to = to.as_mut_ptr();
        neon!({
            let least = vdupq_n_s16(-32767);
            vst1q_s16(to, vmaxq_s16(vqmovn_high_s32(vqmovn_s32(x[0]), x[1]), least));
            vst1q_s16(to.add(8), vmaxq_s16(vqmovn_high_s32(vqmovn_s32(x[2]), x[3]), least));
        });
    }

    #[inline(always)]
    fn add(self, a: Self::W, b: Self::W) -> Self::W {
        each!(vaddq_s32, a, b)
    }
    #[inline(always)]
    fn sub(self, a: Self::W, b: Self::W) -> Self::W {
        each!(vsubq_s32, a, b)
    }
    #[inline(always)]
    fn mul(self, a: Self::W, b: Self::W) -> Self::W {
        each!(vmulq_s32, a, b)
    }
    #[inline(always)]
    fn min(self, a: Self::W, b: Self::W) -> Self::W {
        each!(vminq_s32, a, b)
    }
    #[inline(always)]
    fn max(self, a: Self::W, b: Self::W) -> Self::W {
        each!(vmaxq_s32, a, b)
    }
    #[inline(always)]
    fn abs(self, a: Self::W) -> Self::W {
        each!(vabsq_s32, a)
    }
    #[inline(always)]
    fn and(self, a: Self::W, b: Self::W) -> Self::W {
        each!(vandq_s32, a, b)
    }
    #[inline(always)]
    fn or(self, a: Self::W, b: Self::W) -> Self::W {
        each!(vorrq_s32, a, b)
    }
    #[inline(always)]
    fn add_saturating(self, a: Self::W, b: Self::W) -> Self::W {
        each!(vqaddq_s32, a, b)
    }
    #[inline(always)]
    fn shl(self, a: Self::W, by: u32) -> Self::W {
        let by = neon!([vdupq_n_s32(by as i32); 4]);
        each!(vshlq_s32, a, by)
    }
    #[inline(always)]
    fn shr(self, a: Self::W, by: u32) -> Self::W {
        let by = neon!([vdupq_n_s32(-(by as i32)); 4]);
        each!(vshlq_s32, a, by)
    }
    #[inline(always)]
    fn shr_each(self, a: Self::W, by: Self::W) -> Self::W {
        let by = each!(vnegq_s32, by);
        each!(vshlq_s32, a, by)
    }
    #[inline(always)]
    fn if_negative(self, test: Self::W, a: Self::W, b: Self::W) -> Self::W {
        let mask = each!(vcltzq_s32, test);
        each!(vbslq_s32, mask, a, b)
    }
    #[inline(always)]
    fn any_negative(self, a: Self::W) -> bool {
        neon!(vminvq_s32(vminq_s32(vminq_s32(a[0], a[1]), vminq_s32(a[2], a[3]))) < 0)
    }

    #[inline(always)]
    fn mul_round_add(self, a: Self::W, b: Self::W, shift: u32, c: Self::W) -> Self::W {
        let one = |i: usize| self.round_add_one(a[i], b[i], shift, c[i]);
        [one(0), one(1), one(2), one(3)]
    }
    #[inline(always)]
    fn mul_round<const BITS: u32>(self, a: Self::W, b: Self::W, shift: u32) -> Self::W {
        let one = |i: usize| self.round_one(a[i], b[i], shift);
        [one(0), one(1), one(2), one(3)]
    }
    #[inline(always)]
    fn sums_round(self, sums: Sums<Self::W>, b: Self::W, shift: u32) -> Self::W {
        let one = |i: usize| self.sums_one(sums.high[i], sums.low[i], b[i], shift);
        [one(0), one(1), one(2), one(3)]
    }

    #[inline(always)]
    fn multipliers(self, code: &[u8; 16]) -> Self::W {
        let mut each = [0; 16];
        each.iter_mut().zip(code).for_each(|(to, &code)| *to = MULTIPLIER[code as usize] >> 9);
        self.load_i32(&each)
    }
    #[inline(always)]
    fn look_up(self, table: &[u32; STEPS], index: Self::W) -> Self::W {
        self.each_of(index, |i| table[i as usize % STEPS] as i32)
    }
    #[inline(always)]
    fn look_up_u16(self, table: &[u16; 1025], index: Self::W) -> Self::W {
        self.each_of(index, |i| table[i as usize & 1023] as i32)
    }
    #[inline(always)]
    fn decays(self, index: Self::W) -> Self::W {
        let index = self.max(self.min(index, self.splat(LAST_DECAY as i32)), self.splat(0));
        self.each_of(index, |i| DECAYS.get(i as usize).map_or(0, |&a| a as i32))
    }

    #[inline(always)]
    fn no_squares(self) -> uint64x2_t {
        neon!(vdupq_n_u64(0))
    }
    #[inline(always)]
    fn add_squares(self, sum: uint64x2_t, a: Self::W) -> uint64x2_t {
        neon!({
            let mut sum = vreinterpretq_s64_u64(sum);
            for a in a {
                sum = vmlal_high_s32(vmlal_s32(sum, vget_low_s32(a), vget_low_s32(a)), a, a);
            }
            vreinterpretq_u64_s64(sum)
        })
    }
    #[inline(always)]
    fn total(self, sum: uint64x2_t) -> u64 {
        neon!(vaddvq_u64(sum))
    }

    #[inline(always)]
    fn narrow(self, first: Self::W, last: Self::W) -> Self::H {
        neon!([
            vqmovn_high_s32(vqmovn_s32(first[0]), first[1]),
            vqmovn_high_s32(vqmovn_s32(first[2]), first[3]),
            vqmovn_high_s32(vqmovn_s32(last[0]), last[1]),
            vqmovn_high_s32(vqmovn_s32(last[2]), last[3]),
        ])
    }
    #[inline(always)]
    fn splat_h(self, x: i16) -> Self::H {
        neon!([vdupq_n_s16(x); 4])
    }
    #[inline(always)]
    fn load_h(self, x: &[i16; 32]) -> Self::H {
        let x = x.as_ptr();
        neon!([vld1q_s16(x), vld1q_s16(x.add(8)), vld1q_s16(x.add(16)), vld1q_s16(x.add(24))])
    }
    #[inline(always)]
    fn store_h(self, x: Self::H, to: &mut [i16; 32]) {
        let to = to.as_mut_ptr();
        neon!({
            vst1q_s16(to, x[0]);
            vst1q_s16(to.add(8), x[1]);
            vst1q_s16(to.add(16), x[2]);
            vst1q_s16(to.add(24), x[3]);
        });
    }
    #[inline(always)]
    fn mul_q15(self, a: Self::H, b: Self::H) -> Self::H {
        each!(vqrdmulhq_s16, a, b)
    }
    #[inline(always)]
    fn add_saturating_h(self, a: Self::H, b: Self::H) -> Self::H {
        each!(vqaddq_s16, a, b)
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
        let mut each = [0i16; 32];
        self.store_h(index, &mut each);
        for (index, code) in each.iter_mut().zip(code) {
            let at = (*index as i32 + 4 * code as i32).clamp(0, LAST_DECAY as i32);
            *index = DECAYS.get(at as usize).map_or(0, |&a| a);
        }
        self.load_h(&each)
    }
    #[inline(always)]
    fn no_sums(self) -> Self::Y {
        neon!([[vdupq_n_s32(0); 2]; 4])
    }
    #[inline(always)]
    fn add_products(self, y: Self::Y, a: Self::H, b: Self::H, c: [i16; 2]) -> Self::Y {
        let one = |i: usize| {
            let ([low, high], a, b): ([int32x4_t; 2], int16x8_t, int16x8_t) = (y[i], a[i], b[i]);
            neon!({
                let low = vmlal_n_s16(vmlal_n_s16(low, vget_low_s16(a), c[0]), vget_low_s16(b), c[1]);
                [low, vmlal_high_n_s16(vmlal_high_n_s16(high, a, c[0]), b, c[1])]
            })
        };
        [one(0), one(1), one(2), one(3)]
    }
    #[inline(always)]
    fn store_sums(self, y: Self::Y, to: &mut [i32; 32]) {
        for (y, to) in y.into_iter().zip(to.as_chunks_mut::<8>().0) {
            neon!({
                vst1q_s32(to.as_mut_ptr(), y[0]);
                vst1q_s32(to.as_mut_ptr().add(4), y[1]);
            });
        }
    }

    #[inline(always)]
    fn pack(self, x: &mut [i16]) {
        if DOT {
            self.repack(x, true);
        }
    }
    #[inline(always)]
    fn unpack(self, x: &mut [i16]) {
        if DOT {
            self.repack(x, false);
        }
    }
    #[inline(always)]
    fn start(self, _: &[i16]) {}

    #[inline(always)]
    fn dot_rows(self, w: &[i8], x: &[i16], (): ()) -> Sums<Self::W> {
        let n = x.len().max(1);
        let last = (w.len() / n).saturating_sub(1);
        let (mut high, mut low) = (self.splat(0), self.splat(0));
        for block in 0..ROWS / 4 {
            if 4 * block > last || w.len() < n {
                break;
            }
            // Rows after the last one are the last one again.
            let row = |i: usize| w.as_ptr().wrapping_add((4 * block + i).min(last) * n);
            let rows = [row(0), row(1), row(2), row(3)];
            let mut from = 0;
            while from < n {
                let to = (from + COLUMNS).min(n);
                // SAFETY: each row has `n` weights, `x` has `n` activations; `to` is at most `n`.
                let sums = unsafe { self.four_rows(rows, x.as_ptr(), from, to) };
                from = to;
                let (mut upper, mut lower) = (sums.map(|s| s[0]), sums.map(|s| s[0]));
                for (i, [a, b, weights]) in sums.into_iter().enumerate() {
                    neon!(if DOT {
                        lower[i] = vaddq_s32(b, vshlq_n_s32::<7>(weights));
                        if n <= BLOCK {
                            lower[i] = vaddq_s32(lower[i], vshlq_n_s32::<8>(a));
                        }
                    } else if n > BLOCK {
                        upper[i] = vshrq_n_s32::<8>(a);
                        lower[i] = vandq_s32(a, vdupq_n_s32(255));
                    });
                }
                neon!({
                    high[block] = vaddq_s32(high[block], self.sum_4(upper));
                    low[block] = vaddq_s32(low[block], self.sum_4(lower));
                });
            }
        }
        Sums { high, low }
    }

    #[inline(always)]
    fn dot_panel(self, w: &[i8], x: &[i16], (): (), _: &[i8]) -> [Sums<Self::W>; 4] {
        let block = ROWS * x.len();
        let rows = |i: usize| self.dot_rows(w.get(i * block..(i + 1) * block).unwrap_or(&[]), x, ());
        [rows(0), rows(1), rows(2), rows(3)]
    }

    #[inline(always)]
    fn dot_short_rows(self, w: &[i8], columns: usize, x: &[i16; 16]) -> Self::W {
        if w.len() < 15 * columns + 16 {
            return self.splat(0);
        }
        let four = |first: usize| {
            let row = |i: usize| w.as_ptr().wrapping_add((first + i) * columns);
            let mut sums = [neon!([vdupq_n_s32(0); 3]); 4];
            // SAFETY: sixteen bytes from the start of each row on are in `w`.
            unsafe { self.add_wide(&mut sums, [row(0), row(1), row(2), row(3)], x.as_ptr()) };
            self.sum_4(sums.map(|s| s[0]))
        };
        [four(0), four(4), four(8), four(12)]
    }
}

impl<const DOTPROD: bool> Products for Neon<DOTPROD> {}

super::instances::kernels_of!(Neon<false>, "neon", "neon");
super::instances::kernels_of!(Neon<true>, "neon-dotprod", "neon,dotprod");
