//! RMSNorm, four elements at a time.
#![allow(unsafe_code, reason = "the loops are assembly; each call has its reason")]

use core::arch::naked_asm;

use crate::simd::Kernels;
use crate::simd::channels::{self, Scaled};
use crate::simd::plain32::Plain32;

/// What the first loop finds: the bits of all magnitudes, and the sum of squares modulo 2^64.
#[repr(C)]
#[derive(Default)]
struct Measure {
    low: u32,
    high: u32,
    largest: u32,
}

/// r0 and r1 x and iterations, then the sum; r2 what it finds.
#[unsafe(naked)]
unsafe extern "C" fn measure_loop(_x: *const i32, _fours: usize, _measure: &mut Measure) {
    naked_asm!(
        ".cpu cortex-m55",
        "push {{r4-r7, lr}}",
        "mov r4, r0",
        "dls lr, r1",
        "movs r0, #0",
        "movs r1, #0",
        "vmov.i32 q1, #0",
        "2:",
        "vldrw.u32 q0, [r4], #16",
        "vmlaldava.s32 r0, r1, q0, q0",
        "vabs.s32 q0, q0",
        "vorr q1, q1, q0",
        "le lr, 2b",
        "strd r0, r1, [r2]",
        "vmov r4, r5, d2",
        "vmov r6, r7, d3",
        "orrs r4, r5",
        "orrs r6, r7",
        "orrs r4, r6",
        "str r4, [r2, #8]",
        "pop {{r4-r7, pc}}",
    )
}

/// What the second loop reads, in the order of its loads.
#[repr(C)]
struct Operands {
    /// `[n]`: r0.
    u: *mut i16,
    /// `[n]`: r1.
    x: *const i32,
    /// `[n]`: r2.
    weight: *const i16,
    /// r3.
    fours: usize,
    /// `-down`: r4.
    down: i32,
    /// r5.
    up: i32,
    /// r6.
    r: i32,
    /// r7.
    weight_up: i32,
}

#[unsafe(naked)]
unsafe extern "C" fn normalize_loop(_pass: &Operands) {
    naked_asm!(
        ".cpu cortex-m55",
        "push {{r4-r7, lr}}",
        "ldm r0, {{r0-r7}}",
        "dls lr, r3",
        "vdup.32 q2, r6",
        "movw r6, #0x8001",
        "vdup.16 q3, r6",
        "2:",
        "vldrw.u32 q0, [r1], #16",
        "vrshl.s32 q0, r4",
        "vshl.s32 q0, r5",
        "vrmulh.s32 q0, q0, q2",
        "vldrh.s32 q1, [r2], #8",
        "vshl.s32 q1, r7",
        "vrmulh.s32 q0, q0, q1",
        "vqmovnb.s32 q0, q0",
        "vmax.s16 q0, q0, q3",
        "vstrh.32 q0, [r0], #8",
        "le lr, 2b",
        "pop {{r4-r7, pc}}",
    )
}

/// [`norm`](crate::norm::norm).
pub(super) fn norm(x: &[i32], weight: &[i16], bias: &[i16], shift: u8, eps: u64, u: &mut [i16]) {
    let n = x.len();
    if weight.len() != n || u.len() != n || n % 4 != 0 || n == 0 {
        return Plain32.norm(x, weight, bias, shift, eps, u);
    }
    let mut found = Measure::default();
    // SAFETY: four elements per iteration, `n` in all, a multiple of four above zero.
    unsafe { measure_loop(x.as_ptr(), n / 4, &mut found) };
    let sum = (found.high as u64) << 32 | found.low as u64;
    let squares = |down| if down == 0 { sum } else { channels::squares(x, down) };
    let Some(Scaled { down, up, r, weight_up }) = channels::scale_by(found.largest, squares, bias, shift, eps) else {
        return Plain32.norm(x, weight, bias, shift, eps, u);
    };
    let pass = Operands {
        u: u.as_mut_ptr(),
        x: x.as_ptr(),
        weight: weight.as_ptr(),
        fours: n / 4,
        down: -(down as i32),
        up: up as i32,
        r,
        weight_up: weight_up as i32,
    };
    // SAFETY: as above; `weight` and `u` have `n` elements too.
    unsafe { normalize_loop(&pass) };
}
