//! Skip and gate, four channels at a time: `(y + D * x) * silu(z)`, then the power of two that fits this byte.
//!
//! A shift up that has no room saturates, which sets the sticky bit QC; the loop then leaves those four channels to the
//! scalar arithmetic.
#![allow(unsafe_code, reason = "the loops are assembly; each call has its reason")]

use core::arch::naked_asm;

use super::conv::silu;
use crate::simd::narrow::{self, MULTIPLIER, with_scale};
use crate::simd::plain32::Plain32;
use crate::simd::{Gate, Kernels};

/// What the loop reads and keeps, in the order of its loads.
#[repr(C)]
struct Operands {
    /// `[n]`, in place: r0.
    y: *mut i32,
    /// `[n]`: r1.
    x: *const i16,
    /// `silu(z)`, `[n]`: r2.
    z: *const i16,
    /// `[n]`: r3.
    d_skip: *const i16,
    /// `[n]`: r4.
    code: *const u8,
    /// r5.
    multiplier: *const i32,
    /// `16 - y_shift`: r6.
    y_up: i32,
    /// `-d_shift`: r7.
    d_down: i32,
    /// `16 - gate_shift`: r8.
    gate_up: i32,
    /// r9.
    end: *const i32,
    /// The bits of all magnitudes.
    largest: u32,
}

#[unsafe(naked)]
unsafe extern "C" fn gate_loop(_pass: &mut Operands) {
    naked_asm!(
        ".cpu cortex-m55",
        "push {{r0, r4-r11, lr}}",
        "ldm r0, {{r0-r9}}",
        "vmov.i32 q3, #0",
        // QC is cleared, the modes stay.
        "vmrs r10, fpscr",
        "bic r10, r10, #0x08000000",
        "vmsr fpscr, r10",
        "2:",
        "vldrw.u32 q0, [r0]",
        "vqshl.s32 q0, r6",
        "vldrb.u32 q1, [r4], #4",
        "vldrw.u32 q2, [r5, q1, uxtw #2]",
        "vrmulh.s32 q0, q0, q2",
        "vldrh.s32 q1, [r3], #8",
        "vldrh.s32 q2, [r1], #8",
        "vmul.i32 q1, q1, q2",
        "vrshl.s32 q1, r7",
        "vqadd.s32 q0, q0, q1",
        "vqshl.s32 q0, r8",
        "vldrh.s32 q1, [r2], #8",
        "vshl.i32 q1, q1, #16",
        "vrmulh.s32 q0, q0, q1",
        "vmrs r10, fpscr",
        "lsls r10, r10, #4",
        "bmi 3f",
        "vstrw.32 q0, [r0], #16",
        "vabs.s32 q0, q0",
        "vorr q3, q3, q0",
        "cmp r0, r9",
        "bne 2b",
        "3:",
        "pop {{r1}}",
        "str r0, [r1]",
        "vmov r2, r3, d6",
        "vmov r4, r5, d7",
        "orr r2, r2, r3",
        "orr r4, r4, r5",
        "orr r2, r2, r4",
        "str r2, [r1, #40]",
        "pop {{r4-r11, pc}}",
    )
}

/// r0 x, r1 y, r2 iterations, r3 the shift.
#[unsafe(naked)]
unsafe extern "C" fn shift_down(_x: *mut i16, _y: *const i32, _fours: usize, _shift: i32) {
    naked_asm!(
        ".cpu cortex-m55",
        "push {{r7, lr}}",
        "dls lr, r2",
        "movw r2, #0x8001",
        "vdup.16 q1, r2",
        "2:",
        "vldrw.u32 q0, [r1], #16",
        "vrshl.s32 q0, r3",
        "vqmovnb.s32 q0, q0",
        "vmax.s16 q0, q0, q1",
        "vstrh.32 q0, [r0], #8",
        "le lr, 2b",
        "pop {{r7, pc}}",
    )
}

/// [`gate`](crate::simd::Kernels::gate).
pub(super) fn gate(p: &Gate<'_>, y: &mut [i32], x: &mut [i16], z: &mut [i16]) -> u8 {
    let n = x.len();
    let whole = z.len() == n && p.d_skip.len() == n && p.state_code.len() == n && n % 4 == 0 && n > 0;
    if !whole || y.len() < n || p.y_shift > 16 || p.gate_shift > 16 {
        return Plain32.gate(p, y, x, z);
    }
    let Some(y) = y.get_mut(..n) else { return 0 };
    silu(z, p.z_frac);
    let mut largest = 0;
    let mut from = 0;
    while from < n {
        let ends = y.as_mut_ptr_range();
        let mut pass = Operands {
            y: ends.start.wrapping_add(from),
            x: x.as_ptr().wrapping_add(from),
            z: z.as_ptr().wrapping_add(from),
            d_skip: p.d_skip.as_ptr().wrapping_add(from),
            code: p.state_code.as_ptr().wrapping_add(from),
            multiplier: MULTIPLIER.as_ptr(),
            y_up: 16 - p.y_shift as i32,
            d_down: -(p.d_shift as i32),
            gate_up: 16 - p.gate_shift as i32,
            end: ends.end,
            largest: 0,
        };
        // SAFETY: the loop goes through the channels from `from` to `n`, both multiples of four; all rows have `n`.
        unsafe { gate_loop(&mut pass) };
        largest |= pass.largest;
        from = (pass.y as usize - ends.start as usize) / 4;
        // It has finished, or stopped at four channels of which one has no room for the shift up.
        let stop = (from + 4).min(n);
        while from < stop {
            if let (Some(y), Some(&x), Some(&z), Some(&d), Some(&code)) =
                (y.get_mut(from), x.get(from), z.get(from), p.d_skip.get(from), p.state_code.get(from))
            {
                let skip = narrow::round(d as i32 * x as i32, p.d_shift as u32);
                let sum = with_scale!(p.y_shift, |scale| narrow::skipped(scale, *y, code, skip));
                *y = narrow::gated(sum, z, 16 - p.gate_shift as u32, p.gate_shift);
                largest |= y.unsigned_abs();
            }
            from += 1;
        }
    }
    let down = 17 - largest.leading_zeros().min(17);
    // SAFETY: `n`, a multiple of four above zero, of both.
    unsafe { shift_down(x.as_mut_ptr(), y.as_ptr(), n / 4, -(down as i32)) };
    down as u8
}
