//! Skip and gate: `(y + D * x) * silu(z)`, then the power of two that fits this byte.
#![allow(unsafe_code, reason = "the loops are assembly; each call has its reason")]

use core::arch::{asm, naked_asm};

use super::conv::silu;
use crate::cannot::never;
use crate::simd::narrow::{self, MULTIPLIER};
use crate::simd::{Gate, rare};

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
    y_up: u32,
    /// r7.
    d_shift: u32,
    /// `16 - gate_shift`: r8.
    gate_up: u32,
    /// The bits of all magnitudes: r9.
    largest: u32,
    end: *const i32,
}

#[unsafe(naked)]
unsafe extern "C" fn gate_loop(_pass: &mut Operands) {
    naked_asm!(
        cpu!(),
        "push {{r0, r4-r11, lr}}",
        "ldm r0, {{r0-r9}}",
        "2:",
        ".rept 2",
        "ldr r10, [r0]",
        "ldrb r11, [r4], #1",
        "ldr r11, [r5, r11, lsl #2]",
        "lsl r12, r10, r6",
        "asr lr, r12, r6",
        "cmp lr, r10",
        "bne 3f",
        "smmulr r10, r12, r11",
        "ldrsh r11, [r3], #2",
        "ldrsh r12, [r1], #2",
        "smulbb r11, r11, r12",
        "asrs r11, r11, r7",
        "adc r11, r11, #0",
        "qadd r10, r10, r11",
        "lsl r12, r10, r8",
        "asr lr, r12, r8",
        "cmp lr, r10",
        "bne 3f",
        "ldrsh r11, [r2], #2",
        "lsl r11, r11, #16",
        "smmulr r10, r12, r11",
        "str r10, [r0], #4",
        "eor r11, r10, r10, asr #31",
        "sub r11, r11, r10, asr #31",
        "orr r9, r9, r11",
        ".endr",
        "ldr r11, [sp]",
        "ldr r11, [r11, #40]",
        "cmp r0, r11",
        "bne 2b",
        "3:",
        "ldr r11, [sp]",
        "str r0, [r11]",
        "str r9, [r11, #36]",
        "pop {{r0, r4-r11, pc}}",
    )
}

/// [`gate`](crate::simd::Kernels::gate).
pub(super) fn gate(p: &Gate<'_>, y: &mut [i32], x: &mut [i16], z: &mut [i16]) -> u8 {
    let n = x.len();
    let Some(y) = y.get_mut(..n) else { return never("as many sums as channels", 0) };
    let whole = z.len() == n && p.d_skip.len() == n && p.state_code.len() == n && n % 2 == 0;
    let fits = whole && p.y_shift <= 16 && p.gate_shift <= 16 && p.d_shift <= 31;
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
            y_up: 16u32.wrapping_sub(p.y_shift as u32),
            d_shift: p.d_shift as u32,
            gate_up: 16u32.wrapping_sub(p.gate_shift as u32),
            largest,
            end: ends.end,
        };
        if fits {
            // SAFETY: the loop goes through the channels from `from` to `n`, both even; all rows have `n`.
            unsafe { gate_loop(&mut pass) };
        }
        largest = pass.largest;
        from = (pass.y as usize - ends.start as usize) / 4;
        // It has finished, or stopped at a channel whose sum has no room for the shift up. It resumes at an even
        // channel.
        let stop = if fits { (from + 2) & !1 } else { n };
        while from < stop.min(n) {
            if let (Some(y), Some(&x), Some(&z), Some(&d), Some(&code)) =
                (y.get_mut(from), x.get(from), z.get(from), p.d_skip.get(from), p.state_code.get(from))
            {
                *y = rare::gated(p, *y, x, z, d, code);
                largest |= y.unsigned_abs();
            }
            from += 1;
        }
    }
    let down = 17 - largest.leading_zeros().min(17);
    shift_down(y, x, down);
    down as u8
}

/// `x = saturate(round_shift(y, down))`; the lengths are equal.
fn shift_down(y: &[i32], x: &mut [i16], down: u32) {
    let ends = x.as_mut_ptr_range();
    if x.is_empty() || x.len() % 2 != 0 || ends.start as usize % 4 != 0 || down == 0 {
        let one = |y: i32| if down == 0 { y as i16 } else { narrow::saturate(narrow::round(y, down)) };
        return x.iter_mut().zip(y).for_each(|(x, &y)| *x = one(y));
    }
    // SAFETY: two channels per iteration until `x` is at its end; `y` has as many (`gate` has compared them). The carry
    // is the bit that the shift drops last.
    unsafe {
        asm!(
            "2:",
            "ldrd {a}, {b}, [{y}], #8",
            "asrs {a}, {a}, {down}",
            "adc {a}, {a}, #0",
            "asrs {b}, {b}, {down}",
            "adc {b}, {b}, #0",
            "ssat {a}, #16, {a}",
            "ssat {b}, #16, {b}",
            "pkhbt {a}, {a}, {b}, lsl #16",
            "qsub16 {a}, {a}, {ones}",
            "qadd16 {a}, {a}, {ones}",
            "str {a}, [{x}], #4",
            "cmp {x}, {end}",
            "bne 2b",
            x = inout(reg) ends.start => _,
            end = in(reg) ends.end,
            y = inout(reg) y.as_ptr() => _,
            down = in(reg) down,
            ones = in(reg) 0x0001_0001,
            a = out(reg) _,
            b = out(reg) _,
            options(nostack),
        );
    }
}
