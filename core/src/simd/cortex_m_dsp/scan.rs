//! The scan: two channels at a time through all states, with everything in registers.
//!
//! ```text
//! SMMULR(dx << 16, b << 1)        = (dx * b + 2^14) >> 15          mul_q15
//! SMMLAR(2a, h << 16, u)          = u + mul_q15(a, h)              then SSAT
//! SMMLAR(a, (r << 17) - 2^32, a)  = mul_q15(a, r)                  for r >= 2^14: the next power of a tied decay
//! ```
//!
//! Free decays are looked up in [`DECAYS`]: a channel's address there plus eight times the byte `a_log`.
#![allow(unsafe_code, reason = "the loops are assembly; each call has its reason")]

use core::arch::naked_asm;

use crate::simd::decays::{DECAYS, index_base};
use crate::simd::{Kernels, Scalar};

/// States that one pass takes.
const STATES: usize = 8;
/// Twice `B[n]`, and `C[n]`.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct Selected {
    b2: i32,
    c: i32,
}

/// What a pass reads and keeps, in the order of its loads.
#[repr(C)]
struct Pass {
    /// `[d_inner]`: logarithm of delta, or the decay of the first state if decays are tied.
    rate: *const i16,
    /// `[d_inner]`.
    dx: *const i16,
    /// From a logarithm of delta to the index of its channel in [`DECAYS`], times eight.
    base: i32,
    table: *const u16,
    /// `[d_inner]`; free decays add to it, tied ones overwrite it.
    y: *mut i32,
    end: *const i32,
    /// `[8, d_inner]`.
    a_log: *const u8,
    /// `[8, d_inner]`.
    h: *mut i16,
    selected: [Selected; STATES],
}

/// Saves the registers, and copies B and C to the stack, where the loops read them without an address register.
macro_rules! enter {
    () => {
        "push {{r4-r11, lr}}
        sub sp, sp, #72
        str r0, [sp, #64]
        add r1, r0, #32
        mov r12, sp
        ldm r1!, {{r2-r9}}
        stm r12!, {{r2-r9}}
        ldm r1, {{r2-r9}}
        stm r12, {{r2-r9}}
        ldrd r6, r7, [r0, #24]"
    };
}

/// Stores y and goes on to the next two channels.
macro_rules! next {
    () => {
        "ldr lr, [sp, #64]
        ldrd r8, r9, [lr, #16]
        strd r4, r5, [r8], #8
        str r8, [lr, #16]
        cmp r8, r9"
    };
}

macro_rules! leave {
    () => {
        "add sp, sp, #72
        pop {{r4-r11, pc}}"
    };
}

/// Free decays. r0-r1 addresses of the channels' decays, r2-r3 dx << 16, r4-r5 y, r6 a_log, r7 h.
macro_rules! free {
    ($name:ident, $d:literal) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name(_pass: &mut Pass) {
            naked_asm!(
                cpu!(),
                enter!(),
                "2:",
                "ldr lr, [sp, #64]",
                "ldrd r8, r9, [lr]",
                "ldr r10, [r8], #4",
                "ldr r3, [r9], #4",
                "strd r8, r9, [lr]",
                "ldrd r8, r9, [lr, #8]",
                "ldr r11, [lr, #16]",
                "ldrd r4, r5, [r11]",
                "sxtah r11, r8, r10",
                "sxtah r12, r8, r10, ror #16",
                "usat lr, #10, r11, asr #5",
                "ubfx r11, r11, #3, #2",
                "add lr, r9, lr, lsl #3",
                "add r0, lr, r11, lsl #1",
                "usat lr, #10, r12, asr #5",
                "ubfx r12, r12, #3, #2",
                "add lr, r9, lr, lsl #3",
                "add r1, lr, r12, lsl #1",
                "lsl r2, r3, #16",
                "bfc r3, #0, #16",
                ".set n, 0",
                ".rept 8",
                "ldrd r8, r9, [sp, #8 * n]",
                "ldr r10, [r7, #2 * {d} * n]",
                "ldrb r12, [r6, #{d} * n]",
                "smmulr r11, r2, r8",
                "smmulr r8, r3, r8",
                "ldrh r12, [r0, r12, lsl #3]",
                "lsl lr, r10, #16",
                "bfc r10, #0, #16",
                "smmlar r11, r12, lr, r11",
                "ldrb r12, [r6, #{d} * n + 1]",
                "ssat r11, #16, r11",
                "ldrh r12, [r1, r12, lsl #3]",
                "mla r4, r11, r9, r4",
                "smmlar r8, r12, r10, r8",
                "ssat r8, #16, r8",
                "pkhbt r11, r11, r8, lsl #16",
                "mla r5, r8, r9, r5",
                "str r11, [r7, #2 * {d} * n]",
                ".set n, n + 1",
                ".endr",
                "adds r6, #2",
                "adds r7, #4",
                next!(),
                "bne 2b",
                leave!(),
                d = const $d,
            )
        }
    };
}

/// Tied decays. r0-r1 powers, r2-r3 their factor, r4-r5 y, r6 2^14, r7 h, r8-r9 dx << 16.
macro_rules! tied {
    ($name:ident, $d:literal) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name(_pass: &mut Pass) {
            naked_asm!(
                cpu!(),
                enter!(),
                "mov r6, #0x4000",
                "2:",
                "ldr lr, [sp, #64]",
                "ldrd r2, r3, [lr]",
                "ldr r10, [r2], #4",
                "ldr r9, [r3], #4",
                "strd r2, r3, [lr]",
                "mov r4, #0",
                "mov r5, #0",
                "uxth r0, r10",
                "lsr r1, r10, #16",
                "lsl r8, r9, #16",
                "bfc r9, #0, #16",
                // Both at least 2^14? Their bits 14, of the lower and of the upper half.
                "and r12, r0, r1",
                "tst r12, #0x4000",
                "beq 4f",
                "lsl r2, r0, #17",
                "lsl r3, r1, #17",
                ".set n, 0",
                ".rept 8",
                "ldr r12, [sp, #8 * n]",
                "ldr r10, [r7, #2 * {d} * n]",
                "smmulr r11, r8, r12",
                "smmulr r12, r9, r12",
                "smlabb lr, r0, r10, r6",
                "smlabt r10, r1, r10, r6",
                "pkhbt r11, r11, r12, lsl #16",
                "lsl r10, r10, #1",
                "pkhtb r10, r10, lr, asr #15",
                "ldr r12, [sp, #8 * n + 4]",
                "qadd16 r11, r11, r10",
                "str r11, [r7, #2 * {d} * n]",
                "smlabb r4, r11, r12, r4",
                "smlatb r5, r11, r12, r5",
                ".if n < 7",
                "smmlar r0, r0, r2, r0",
                "smmlar r1, r1, r3, r1",
                ".endif",
                ".set n, n + 1",
                ".endr",
                "3:",
                "adds r7, #4",
                next!(),
                "bne 2b",
                leave!(),
                // A fast decay: the powers in two instructions each.
                "4:",
                "mov r2, r0",
                "mov r3, r1",
                ".set n, 0",
                ".rept 8",
                "ldr r12, [sp, #8 * n]",
                "ldr r10, [r7, #2 * {d} * n]",
                "smmulr r11, r8, r12",
                "smmulr r12, r9, r12",
                "smlabb lr, r0, r10, r6",
                "smlabt r10, r1, r10, r6",
                "pkhbt r11, r11, r12, lsl #16",
                "lsl r10, r10, #1",
                "pkhtb r10, r10, lr, asr #15",
                "ldr r12, [sp, #8 * n + 4]",
                "qadd16 r11, r11, r10",
                "str r11, [r7, #2 * {d} * n]",
                "smlabb r4, r11, r12, r4",
                "smlatb r5, r11, r12, r5",
                "smlabb r0, r0, r2, r6",
                "smlabb r1, r1, r3, r6",
                "asr r0, r0, #15",
                "asr r1, r1, #15",
                ".set n, n + 1",
                ".endr",
                "b 3b",
                d = const $d,
            )
        }
    };
}

free!(free_64, 64);
free!(free_128, 128);
free!(free_256, 256);
tied!(tied_64, 64);
tied!(tied_128, 128);
tied!(tied_256, 256);

type Loop = unsafe extern "C" fn(&mut Pass);

/// Whether a loop may run: eight states at a time, two channels at a time, words at multiples of four.
fn fits(lengths_in_channels: [usize; 3], y: usize, states: usize, addresses: usize) -> bool {
    y > 0 && lengths_in_channels.iter().all(|&n| n == y) && states > 0 && states % STATES == 0 && addresses % 4 == 0
}

/// B and C of eight states.
fn selected(b: &[i16], c: &[i16]) -> [Selected; STATES] {
    let mut all = [Selected::default(); STATES];
    for (s, (&b, &c)) in all.iter_mut().zip(b.iter().zip(c)) {
        *s = Selected { b2: 2 * b as i32, c: c as i32 };
    }
    all
}

/// [`Kernels::scan_free`].
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
    let chosen: Option<Loop> = match n {
        64 => Some(free_64),
        128 => Some(free_128),
        256 => Some(free_256),
        _ => None,
    };
    let addresses = h.as_ptr() as usize | y.as_ptr() as usize | log_delta.as_ptr() as usize | dx.as_ptr() as usize;
    let whole = h.len() == n * b.len() && a_log.len() == h.len() && c.len() == b.len();
    let (Some(function), true) = (chosen, whole && fits([log_delta.len(), dx.len(), n], n, b.len(), addresses)) else {
        return Scalar.scan_free(h, a_log, a_base, b, c, log_delta, dx, y);
    };
    y.fill(0);
    let ends = y.as_mut_ptr_range();
    let blocks = h.chunks_exact_mut(STATES * n).zip(a_log.chunks_exact(STATES * n));
    for ((h, a_log), (b, c)) in blocks.zip(b.chunks_exact(STATES).zip(c.chunks_exact(STATES))) {
        let mut pass = Pass {
            rate: log_delta.as_ptr(),
            dx: dx.as_ptr(),
            base: index_base(a_base),
            table: DECAYS.as_ptr(),
            y: ends.start,
            end: ends.end,
            a_log: a_log.as_ptr(),
            h: h.as_mut_ptr(),
            selected: selected(b, c),
        };
        // SAFETY: the loop ends when `y` has reached `end`, after `n` channels, an even number; `log_delta` and `dx`
        // have as many; `h` and `a_log` have eight rows of `n`. A channel's base is held to 0..=1023 steps of four
        // entries and a byte adds 0..=255, so the last entry read is 4 * (1023 + 255) + 3, inside the table.
        unsafe { function(&mut pass) };
    }
}

/// [`Kernels::scan_tied`].
pub(super) fn scan_tied(h: &mut [i16], b: &[i16], c: &[i16], r: &[i16], a: &mut [i16], dx: &[i16], y: &mut [i32]) {
    let n = y.len();
    let chosen: Option<Loop> = match n {
        64 => Some(tied_64),
        128 => Some(tied_128),
        256 => Some(tied_256),
        _ => None,
    };
    let addresses = h.as_ptr() as usize | y.as_ptr() as usize | r.as_ptr() as usize | dx.as_ptr() as usize;
    let whole = h.len() == n * b.len() && c.len() == b.len() && b.len() == STATES;
    let (Some(function), true) = (chosen, whole && fits([r.len(), dx.len(), n], n, b.len(), addresses)) else {
        return Scalar.scan_tied(h, b, c, r, a, dx, y);
    };
    let ends = y.as_mut_ptr_range();
    let mut pass = Pass {
        rate: r.as_ptr(),
        dx: dx.as_ptr(),
        base: 0,
        table: DECAYS.as_ptr(),
        y: ends.start,
        end: ends.end,
        a_log: core::ptr::null(),
        h: h.as_mut_ptr(),
        selected: selected(b, c),
    };
    // SAFETY: as above; `table` and `a_log` are not read.
    unsafe { function(&mut pass) };
}
