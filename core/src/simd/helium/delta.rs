//! The step size of each channel, `l = log2(softplus(dt_proj dt + bias))`, and `delta * x`: four channels at a time.
#![allow(unsafe_code, reason = "the loops are assembly; each call has its reason")]

use core::arch::naked_asm;

use crate::simd::Kernels;
use crate::simd::narrow::{self, EXP2_Q10, MULTIPLIER, with_scale};
use crate::simd::plain32::{self, Plain32};
use crate::tables::LOG2_SOFTPLUS;

/// What the loop reads and keeps, in the order of its loads.
#[repr(C)]
struct Operands {
    /// `[n]`: r0.
    l: *mut i16,
    /// `[n, rank]`: r1.
    w: *const i8,
    /// `[rank]`: r2.
    dt: *const i16,
    rank: usize,
    /// `[n]`: r4.
    code: *const u8,
    /// `[n]`: r5.
    bias: *const i16,
    multiplier: *const i32,
    /// `16 - base`: r7.
    down: i32,
    table: *const i16,
    end: *const i16,
}

/// q0 sums, q3 the weights of four rows from the first one on, q2 63 four times.
#[unsafe(naked)]
unsafe extern "C" fn log_delta_loop(_pass: &mut Operands) {
    naked_asm!(
        ".cpu cortex-m55",
        "push {{r0, r4-r11, lr}}",
        "vpush {{d8-d11}}",
        // r3 rank, r6 multipliers, r8 the table, r9 the end
        "ldm r0, {{r0-r9}}",
        "movs r10, #0",
        "vidup.u32 q3, r10, #1",
        "vmul.i32 q3, q3, r3",
        "vmov.i32 q2, #63",
        "3:",
        "mov r11, r2",
        "mov r12, r1",
        "vmov.i32 q0, #0",
        "dls lr, r3",
        "2:",
        "vldrb.s32 q1, [r12, q3]",
        "ldrsh r10, [r11], #2",
        "adds r12, #1",
        "vmla.i32 q0, q1, r10",
        "le lr, 2b",
        "vldrb.u32 q1, [r4], #4",
        "vldrw.u32 q4, [r6, q1, uxtw #2]",
        "vmulh.s32 q0, q0, q4",
        "vrshl.s32 q0, r7",
        "vldrh.s32 q1, [r5], #8",
        "vadd.i32 q0, q0, q1",
        // Between -16 and 16 the table; else the loop ends here.
        "mov r10, #0x4000",
        "vadd.i32 q0, q0, r10",
        "mov r10, #0x8000",
        "vcmp.u32 cs, q0, r10",
        "vmrs r10, p0",
        "cmp r10, #0",
        "bne 4f",
        "vand q1, q0, q2",
        "vshr.u32 q0, q0, #6",
        "add r10, r8, #2",
        "vldrh.s32 q4, [r8, q0, uxtw #1]",
        "vldrh.s32 q5, [r10, q0, uxtw #1]",
        "vsub.i32 q5, q5, q4",
        "vmul.i32 q1, q1, q5",
        "vrshr.s32 q1, q1, #6",
        "vadd.i32 q1, q1, q4",
        "vstrh.32 q1, [r0], #8",
        "add r1, r1, r3, lsl #2",
        "cmp r0, r9",
        "bne 3b",
        "4:",
        "vpop {{d8-d11}}",
        "pop {{r1}}",
        "str r0, [r1]",
        "pop {{r4-r11, pc}}",
    )
}

/// [`project`](crate::simd::Kernels::project) of [`LogDelta`](crate::simd::LogDelta).
pub(super) fn log_delta(w: &[i8], code: &[u8], base: u8, dt: &[i16], bias: &[i16], l: &mut [i16]) {
    let (n, rank) = (l.len(), dt.len());
    let whole = code.len() == n && bias.len() == n && w.len() == n * rank;
    if base < 17 || !whole || n == 0 || n % 4 != 0 || rank == 0 || rank > 512 {
        return plain32::log_delta(w, code, base, dt, bias, l);
    }
    let mut from = 0;
    while from < n {
        let ends = l.as_mut_ptr_range();
        let mut pass = Operands {
            l: ends.start.wrapping_add(from),
            w: w.as_ptr().wrapping_add(from * rank),
            dt: dt.as_ptr(),
            rank,
            code: code.as_ptr().wrapping_add(from),
            bias: bias.as_ptr().wrapping_add(from),
            multiplier: MULTIPLIER.as_ptr(),
            down: 16 - base as i32,
            table: LOG2_SOFTPLUS.as_ptr(),
            end: ends.end,
        };
        // SAFETY: the loop goes through the channels from `from` to `n`, both multiples of four; all rows have `n` of
        // them, `w` has `rank` columns. An index has 9 bits, and the table has 513 entries.
        unsafe { log_delta_loop(&mut pass) };
        from = (pass.l as usize - ends.start as usize) / 2;
        // It has finished, or stopped at four channels of which one is beyond the table.
        let stop = (from + 4).min(n);
        while from < stop {
            let weights = w.get(from * rank..(from + 1) * rank);
            if let (Some(w), Some(&code), Some(&bias), Some(l)) =
                (weights, code.get(from), bias.get(from), l.get_mut(from))
            {
                let sum = w.iter().zip(dt).fold(0i32, |sum, (&w, &dt)| sum.wrapping_add(w as i32 * dt as i32));
                let v = with_scale!(base, |scale| scale.apply(sum, code)).saturating_add(bias as i32);
                *l = narrow::log_delta(v) as i16;
            }
            from += 1;
        }
    }
}

/// What the loop over `delta * x` reads, in the order of its loads.
#[repr(C)]
struct Factors {
    /// `[n]`: r0.
    dx: *mut i16,
    /// `[n]`: r1.
    x: *const i16,
    /// `[n]`: r2.
    l: *const i16,
    /// `[n]`: r3.
    code: *const u8,
    /// r4.
    fours: usize,
    /// r5.
    base: i32,
    /// r6.
    table: *const u16,
}

/// ```text
/// exponent = l + base + 32 code
/// dx       = round(x * EXP2_Q10[exponent % 1024], 15 - exponent / 1024)          VRSHL, by -32 to -1
/// ```
#[unsafe(naked)]
unsafe extern "C" fn delta_x_loop(_factors: &Factors) {
    naked_asm!(
        ".cpu cortex-m55",
        "push {{r4-r7, lr}}",
        "vpush {{d8-d13}}",
        "ldm r0, {{r0-r6}}",
        "dls lr, r4",
        "movw r4, #0x8001",
        "vdup.16 q6, r4",
        "movw r4, #1023",
        "vdup.32 q5, r4",
        "vmvn.i32 q4, #31",
        "vmvn.i32 q3, #0",
        "2:",
        "vldrh.s32 q0, [r2], #8",
        "vldrb.u32 q1, [r3], #4",
        "vshl.i32 q1, q1, #5",
        "vadd.i32 q0, q0, r5",
        "vadd.i32 q0, q0, q1",
        "vand q1, q0, q5",
        "vldrh.u32 q2, [r6, q1, uxtw #1]",
        "vshr.s32 q0, q0, #10",
        "movs r4, #15",
        "vsub.i32 q0, q0, r4",
        "vmin.s32 q0, q0, q3",
        "vmax.s32 q0, q0, q4",
        "vldrh.s32 q1, [r1], #8",
        "vmul.i32 q1, q1, q2",
        "vrshl.s32 q1, q1, q0",
        "vqmovnb.s32 q1, q1",
        "vmax.s16 q1, q1, q6",
        "vstrh.32 q1, [r0], #8",
        "le lr, 2b",
        "vpop {{d8-d13}}",
        "pop {{r4-r7, pc}}",
    )
}

/// [`delta_x`](crate::selective_scan::delta_x) of all channels.
pub(super) fn delta_x(x: &[i16], l: &[i16], base: i32, code: &[u8], dx: &mut [i16]) {
    let n = dx.len();
    if x.len() != n || l.len() != n || code.len() != n || n % 4 != 0 || n == 0 {
        return Plain32.delta_x(x, l, base, code, dx);
    }
    let factors = Factors {
        dx: dx.as_mut_ptr(),
        x: x.as_ptr(),
        l: l.as_ptr(),
        code: code.as_ptr(),
        fours: n / 4,
        base,
        table: EXP2_Q10.as_ptr(),
    };
    // SAFETY: four channels per iteration, `n` in all, a multiple of four above zero, of all rows. An index has 10
    // bits.
    unsafe { delta_x_loop(&factors) };
}
