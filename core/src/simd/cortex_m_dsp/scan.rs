//! The scan: two channels at a time through all states, with everything in registers.
//!
//! ```text
//! t = dx * b + 2^14, its lower 15 bits replaced by 2^14     mul_q15(dx, b) << 15, and the rounding of what is added:
//! SMLAxy(a, h, t), SSAT #16 of it >> 15                     saturate(mul_q15(a, h) + mul_q15(dx, b))
//! SMMULR(dx << 16, b << 1)                                  mul_q15(dx, b)
//! SMMLAR(a, (r << 17) - 2^32, a)                            mul_q15(a, r) for r >= 2^14: next power of a tied decay
//! ```
//!
//! Free decays are looked up in [`FREE_DECAYS`]: a channel's address there plus eight times the byte `a_log`.
#![allow(unsafe_code, reason = "the loops are assembly; each call has its reason")]

use core::arch::naked_asm;

use crate::decays::longer_decays;
use crate::fixed::mul_q15;
use crate::selective_scan::update;
use crate::simd::rare;

/// States that one pass takes.
const STATES: usize = 8;

/// For free decays: channels have indices of `0..=2047`, and a byte adds up to `4 * 255`. A program has this table or
/// the other one, if the compiler knows the model.
static FREE_DECAYS: [i16; 2048 + 4 * 255] = longer_decays();

/// What is added to a logarithm of delta so that an eighth of the sum is its index: `l + a_base + 15 * 1024 + 4`, as in
/// [`decay`](crate::nonlinear::decay).
pub(super) const fn index_base(a_base: i16) -> i32 {
    a_base as i32 + (15 << 10) + 4
}

/// What a pass of free decays reads and keeps. The loop has a copy on the stack.
#[repr(C)]
struct Free {
    /// `B[n] | C[n] << 16`.
    selected: [u32; STATES],
    /// [`index_base`].
    base: i32,
    table: *const i16,
    /// `[d_inner]`: logarithm of delta.
    rate: *const i16,
    /// `[d_inner]`.
    dx: *const i16,
    end: *const i32,
    /// `[d_inner]`.
    y: *mut i32,
    /// `[8, d_inner]`.
    a_log: *const u8,
    /// `[8, d_inner]`.
    h: *mut i16,
    /// 0 to overwrite y, -1 to add to it.
    keep: i32,
}

/// r0-r1 addresses of the channels' decays, r2 dx, r3 2^14, r4-r5 y, r6 a_log, r7 h.
macro_rules! free {
    ($name:ident, $d:literal) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name(_pass: &mut Free) {
            naked_asm!(
                cpu!(),
                "push {{r0, r4-r11, lr}}",
                "sub sp, sp, #72",
                "mov r12, sp",
                "ldm r0!, {{r1-r9}}",
                "stm r12!, {{r1-r9}}",
                "ldm r0, {{r1-r8}}",
                "stm r12, {{r1-r8}}",
                "ldrd r6, r7, [sp, #56]",
                "mov r3, #0x4000",
                "2:",
                "ldrd r8, r9, [sp, #40]",
                "ldr r10, [r8], #4",
                "ldr r2, [r9], #4",
                "strd r8, r9, [sp, #40]",
                "ldrd r8, r9, [sp, #32]",
                "sxtah r0, r8, r10",
                "sxtah r1, r8, r10, ror #16",
                "asr r0, r0, #3",
                "asr r1, r1, #3",
                // Outside of 0..=2047 the loop ends here.
                "orr r11, r0, r1",
                "lsrs r11, r11, #11",
                "bne 3f",
                "add r0, r9, r0, lsl #1",
                "add r1, r9, r1, lsl #1",
                "ldr r8, [sp, #64]",
                "ldr r9, [sp, #52]",
                "ldrd r4, r5, [r9]",
                "and r4, r4, r8",
                "and r5, r5, r8",
                ".set n, 0",
                ".rept 8",
                "ldr r8, [sp, #4 * n]",
                "ldr r10, [r7, #2 * {d} * n]",
                "ldrb r12, [r6, #{d} * n]",
                "ldrb lr, [r6, #{d} * n + 1]",
                "ldrh r12, [r0, r12, lsl #3]",
                "ldrh lr, [r1, lr, lsl #3]",
                "smlabb r9, r2, r8, r3",
                "smlatb r11, r2, r8, r3",
                "bfi r9, r3, #0, #15",
                "bfi r11, r3, #0, #15",
                "smlabb r9, r12, r10, r9",
                "smlabt r11, lr, r10, r11",
                "ssat r9, #16, r9, asr #15",
                "ssat r11, #16, r11, asr #15",
                "smlabt r4, r9, r8, r4",
                "smlabt r5, r11, r8, r5",
                "pkhbt r9, r9, r11, lsl #16",
                "str r9, [r7, #2 * {d} * n]",
                ".set n, n + 1",
                ".endr",
                "adds r6, #2",
                "adds r7, #4",
                "ldrd r8, r9, [sp, #48]",
                "strd r4, r5, [r9], #8",
                "str r9, [sp, #52]",
                "cmp r9, r8",
                "bne 2b",
                "3:",
                "ldr r9, [sp, #52]",
                "add sp, sp, #72",
                "pop {{r0}}",
                "str r9, [r0, #52]",
                "pop {{r4-r11, pc}}",
                d = const $d,
            )
        }
    };
}

free!(free_64, 64);
free!(free_128, 128);
free!(free_256, 256);

/// Twice `B[n]`, and `C[n]`.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct Selected {
    b2: i32,
    c: i32,
}

/// What a pass of tied decays reads and keeps, in the order of its loads.
#[repr(C)]
struct Tied {
    /// `[d_inner]`: the decay of the first state.
    r: *const i16,
    /// `[d_inner]`.
    dx: *const i16,
    /// `[d_inner]`, overwritten.
    y: *mut i32,
    end: *const i32,
    /// `[8, d_inner]`.
    h: *mut i16,
    selected: [Selected; STATES],
}

/// One state of two channels: r0-r1 powers, r4-r5 y, r6 2^14, r7 h, r8-r9 dx << 16. Two sums of the same format are
/// added and saturated as one word.
macro_rules! state {
    () => {
        "ldrd r10, r11, [sp, #8 * n]
        .if n == 0
        ldr r12, [r7]
        .else
        ldr r12, [r7, #2 * {d} * n - 4]
        .endif
        smmulr lr, r8, r10
        smmulr r10, r9, r10
        pkhbt lr, lr, r10, lsl #16
        smlabb r10, r0, r12, r6
        smlabt r12, r1, r12, r6
        lsl r12, r12, #1
        pkhtb r12, r12, r10, asr #15
        qadd16 lr, lr, r12
        .if n == 0
        str lr, [r7], #4
        smulbb r4, lr, r11
        smultb r5, lr, r11
        .else
        str lr, [r7, #2 * {d} * n - 4]
        smlabb r4, lr, r11, r4
        smlatb r5, lr, r11, r5
        .endif"
    };
}

/// r2-r3 the factors of the powers.
macro_rules! tied {
    ($name:ident, $d:literal) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name(_pass: &mut Tied) {
            naked_asm!(
                cpu!(),
                "push {{r4-r11, lr}}",
                "sub sp, sp, #84",
                // B and C, where the loop reads them without an address register, then r, dx, y and end.
                "add r1, r0, #20",
                "mov r12, sp",
                "ldm r1!, {{r2-r9}}",
                "stm r12!, {{r2-r9}}",
                "ldm r1, {{r2-r9}}",
                "stm r12!, {{r2-r9}}",
                "ldm r0, {{r2-r5, r7}}",
                "stm r12, {{r2-r5}}",
                "mov r6, #0x4000",
                "2:",
                "ldrd r8, r11, [sp, #64]",
                "ldr r10, [r8], #4",
                "ldr r9, [r11], #4",
                "strd r8, r11, [sp, #64]",
                "uxth r0, r10",
                "lsr r1, r10, #16",
                "lsl r8, r9, #16",
                "bfc r9, #0, #16",
                // Both at least 2^14?
                "lsl r2, r0, #17",
                "lsl r3, r1, #17",
                "ands r12, r2, r3",
                "bpl 4f",
                ".set n, 0",
                ".rept 8",
                state!(),
                ".if n < 7",
                "smmlar r0, r0, r2, r0",
                "smmlar r1, r1, r3, r1",
                ".endif",
                ".set n, n + 1",
                ".endr",
                "3:",
                "ldrd r10, r11, [sp, #72]",
                "strd r4, r5, [r10], #8",
                "str r10, [sp, #72]",
                "cmp r10, r11",
                "bne 2b",
                "add sp, sp, #84",
                "pop {{r4-r11, pc}}",
                // A fast decay: the powers in two instructions each.
                "4:",
                "mov r2, r0",
                "mov r3, r1",
                ".set n, 0",
                ".rept 8",
                state!(),
                ".if n < 7",
                "smlabb r0, r0, r2, r6",
                "smlabb r1, r1, r3, r6",
                "asr r0, r0, #15",
                "asr r1, r1, #15",
                ".endif",
                ".set n, n + 1",
                ".endr",
                "b 3b",
                d = const $d,
            )
        }
    };
}

tied!(tied_64, 64);
tied!(tied_128, 128);
tied!(tied_256, 256);

/// Whether a loop may run: eight states at a time, two channels at a time, words at multiples of four.
fn fits(lengths_in_channels: [usize; 3], y: usize, states: usize, addresses: usize) -> bool {
    y > 0 && lengths_in_channels.iter().all(|&n| n == y) && states > 0 && states % STATES == 0 && addresses % 4 == 0
}

/// [`Kernels::scan_free`](crate::simd::Kernels::scan_free).
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "the operands of one equation")]
pub(super) fn scan_free(
    h: &mut [i16],
    a_log: &[u8],
    a_base: i16,
    b: &[i16],
    c: &[i16],
    log_delta: &[i16],
    dx: &[i16],
    y: &mut [i32],
) {
    let n = y.len();
    let chosen: Option<unsafe extern "C" fn(&mut Free)> = match n {
        64 => Some(free_64),
        128 => Some(free_128),
        256 => Some(free_256),
        _ => None,
    };
    let addresses = h.as_ptr() as usize | y.as_ptr() as usize | log_delta.as_ptr() as usize | dx.as_ptr() as usize;
    let whole = h.len() == n * b.len() && a_log.len() == h.len() && c.len() == b.len();
    let (Some(function), true) = (chosen, whole && fits([log_delta.len(), dx.len(), n], n, b.len(), addresses)) else {
        for (d, (y, (&l, &dx))) in y.iter_mut().zip(log_delta.iter().zip(dx)).enumerate() {
            *y = far_channel(h, a_log, n, d, l as i32 + index_base(a_base), b, c, dx, 0);
        }
        return;
    };
    let ends = y.as_mut_ptr_range();
    let blocks = h.chunks_exact_mut(STATES * n).zip(a_log.chunks_exact(STATES * n));
    let mut keep = 0;
    for ((h, a_log), (b, c)) in blocks.zip(b.chunks_exact(STATES).zip(c.chunks_exact(STATES))) {
        let mut selected = [0; STATES];
        for (s, (&b, &c)) in selected.iter_mut().zip(b.iter().zip(c)) {
            *s = b as u16 as u32 | (c as u32) << 16;
        }
        let mut from = 0;
        while from < n {
            let mut pass = Free {
                selected,
                base: index_base(a_base),
                table: FREE_DECAYS.as_ptr(),
                rate: log_delta.as_ptr().wrapping_add(from),
                dx: dx.as_ptr().wrapping_add(from),
                end: ends.end,
                y: ends.start.wrapping_add(from),
                a_log: a_log.as_ptr().wrapping_add(from),
                h: h.as_mut_ptr().wrapping_add(from),
                keep,
            };
            // SAFETY: the loop goes through the channels from `from` to `n`, both even; `log_delta`, `dx` and `y` have
            // `n`; `h` and `a_log` have eight rows of `n`. It continues only with channels whose index is in 0..=2047,
            // and a byte adds 0..=255 steps of four entries: inside the table.
            unsafe { function(&mut pass) };
            // It has finished, or stopped at two channels of which one has another index.
            from = (pass.y as usize - ends.start as usize) / 4;
            for d in from..n.min(from + 2) {
                if let (Some(y), Some(&l), Some(&dx)) = (y.get_mut(d), log_delta.get(d), dx.get(d)) {
                    *y = far_channel(h, a_log, n, d, l as i32 + index_base(a_base), b, c, dx, *y & keep);
                }
            }
            from += 2;
        }
        keep = -1;
    }
}

/// All states of channel `d`, by the scalar equation; `l` is eight times the index of its decays.
#[cold]
#[inline(never)]
#[allow(clippy::too_many_arguments, reason = "the operands of one equation")]
fn far_channel(
    h: &mut [i16],
    a_log: &[u8],
    n: usize,
    d: usize,
    l: i32,
    b: &[i16],
    c: &[i16],
    dx: i16,
    mut y: i32,
) -> i32 {
    let states = h.chunks_exact_mut(n.max(1)).zip(a_log.chunks_exact(n.max(1)));
    for ((h, a_log), (&b, &c)) in states.zip(b.iter().zip(c)) {
        if let (Some(h), Some(&a_log)) = (h.get_mut(d), a_log.get(d)) {
            let index = (l + 32 * a_log as i32) >> 3;
            let a = if index < 0 { 32767 } else { FREE_DECAYS.get(index as usize).copied().unwrap_or(0) };
            y = update(h, a, mul_q15(dx, b), c, y);
        }
    }
    y
}

/// [`Kernels::scan_tied`](crate::simd::Kernels::scan_tied).
#[inline(always)]
pub(super) fn scan_tied(h: &mut [i16], b: &[i16], c: &[i16], r: &[i16], a: &mut [i16], dx: &[i16], y: &mut [i32]) {
    let n = y.len();
    let chosen: Option<unsafe extern "C" fn(&mut Tied)> = match n {
        64 => Some(tied_64),
        128 => Some(tied_128),
        256 => Some(tied_256),
        _ => None,
    };
    let addresses = h.as_ptr() as usize | y.as_ptr() as usize | r.as_ptr() as usize | dx.as_ptr() as usize;
    let whole = h.len() == n * b.len() && c.len() == b.len() && b.len() == STATES;
    let (Some(function), true) = (chosen, whole && fits([r.len(), dx.len(), n], n, b.len(), addresses)) else {
        return rare::scan_tied(h, b, c, r, a, dx, y);
    };
    let mut selected = [Selected::default(); STATES];
    for (s, (&b, &c)) in selected.iter_mut().zip(b.iter().zip(c)) {
        *s = Selected { b2: 2 * b as i32, c: c as i32 };
    }
    let ends = y.as_mut_ptr_range();
    let mut pass = Tied { r: r.as_ptr(), dx: dx.as_ptr(), y: ends.start, end: ends.end, h: h.as_mut_ptr(), selected };
    // SAFETY: the loop ends when `y` has reached `end`, after `n` channels, an even number; `r` and `dx` have as many,
    // `h` has eight rows of `n`.
    unsafe { function(&mut pass) };
}
