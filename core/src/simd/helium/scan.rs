//! The scan: sixteen channels at a time through all states, then the outputs of four channels at a time.
//!
//! `VQRDMULH` is `mul_q15`; `VQRDMLAH` is the saturating sum of one and a third number, here `a * h + dx * B`. An
//! output is a dot product over the states of one channel: a gathering load and `VMLADAV`.
#![allow(unsafe_code, reason = "the loops are assembly; each call has its reason")]

use core::arch::naked_asm;

use crate::nonlinear::decay;
use crate::selective_scan;
use crate::simd::decays::{DECAYS, index_base};
use crate::simd::{Kernels, Scalar};

/// Channels per iteration of the loops over states.
const CHANNELS: usize = 16;
/// States of which one gathering load takes one channel.
const STATES: usize = 8;

/// What the loops over states read and keep, in the order of their loads.
#[repr(C)]
struct Operands {
    /// `[states, n]`, in place: r0.
    h: *mut i16,
    /// `[n]`: r1.
    dx: *const i16,
    /// `[n]`: r2, the logarithm of delta, or the decay of the first state if decays are tied.
    rate: *const i16,
    /// `[states]`: r3.
    b: *const i16,
    /// Pairs of states: r4.
    pairs: usize,
    /// Bytes of a row of `h`: r5.
    row: usize,
    /// Blocks of sixteen channels: r6.
    blocks: usize,
    /// `[states, n]`: r7.
    a_log: *const u8,
    /// Added to a logarithm of delta: r8.
    base: i32,
    /// r9.
    table: *const u16,
}

/// Sixteen channels of one state: `$decay` leaves the decays in `$a` and `$b`, q6 and q7 are h, q0 and q1 dx, r11 is B.
macro_rules! update {
    ($a:literal, $b:literal) => {
        concat!(
            "vqrdmulh.s16 q6, q6, ",
            $a,
            "\nvqrdmulh.s16 q7, q7, ",
            $b,
            "\nvqrdmlah.s16 q6, q0, r11\n",
            "vqrdmlah.s16 q7, q1, r11\n",
            "vstrh.16 q6, [r10]\n",
            "vstrh.16 q7, [r10, #16]\n",
            "add r10, r10, r5\n",
        )
    };
}

/// q2 and q3 powers, q4 and q5 their factors.
#[unsafe(naked)]
unsafe extern "C" fn tied(_pass: &mut Operands) {
    naked_asm!(
        ".cpu cortex-m55",
        "push {{r4-r12, lr}}",
        "vpush {{d8-d15}}",
        "ldm r0, {{r0-r6}}",
        "3:",
        "vldrh.u16 q0, [r1], #16",
        "vldrh.u16 q1, [r1], #16",
        "vldrh.u16 q4, [r2], #16",
        "vldrh.u16 q5, [r2], #16",
        "vmov q2, q4",
        "vmov q3, q5",
        "mov r10, r0",
        "mov r12, r3",
        "dls lr, r4",
        "2:",
        "ldr r11, [r12], #4",
        ".set n, 0",
        ".rept 2",
        "vldrh.u16 q6, [r10]",
        "vldrh.u16 q7, [r10, #16]",
        update!("q2", "q3"),
        "vqrdmulh.s16 q2, q2, q4",
        "vqrdmulh.s16 q3, q3, q5",
        ".if n == 0",
        "lsr r11, r11, #16",
        ".set n, 1",
        ".endif",
        ".endr",
        "le lr, 2b",
        "adds r0, #32",
        "subs r6, #1",
        "bne 3b",
        "vpop {{d8-d15}}",
        "pop {{r4-r12, pc}}",
    )
}

/// q2 and q3 the channels' indices in the table, q4 and q5 decays.
#[unsafe(naked)]
unsafe extern "C" fn free(_pass: &mut Operands) {
    naked_asm!(
        ".cpu cortex-m55",
        "push {{r4-r12, lr}}",
        "vpush {{d8-d15}}",
        "push {{r0}}",
        "ldm r0, {{r0-r9}}",
        "3:",
        "vldrh.u16 q0, [r1], #16",
        "vldrh.u16 q1, [r1], #16",
        "vldrh.u16 q2, [r2], #16",
        "vldrh.u16 q3, [r2], #16",
        "vmov.i32 q4, #0",
        "vqadd.s16 q2, q2, r8",
        "vqadd.s16 q3, q3, r8",
        "vmax.s16 q2, q2, q4",
        "vmax.s16 q3, q3, q4",
        "vshr.u16 q2, q2, #3",
        "vshr.u16 q3, q3, #3",
        "mov r10, r0",
        "mov r12, r3",
        "str r7, [sp, #-8]!",
        "dls lr, r4",
        "2:",
        "ldr r11, [r12], #4",
        ".set n, 0",
        ".rept 2",
        "vldrb.u16 q6, [r7]",
        "vldrb.u16 q7, [r7, #8]",
        "vshl.i16 q6, q6, #2",
        "vshl.i16 q7, q7, #2",
        "vadd.i16 q6, q6, q2",
        "vadd.i16 q7, q7, q3",
        "vldrh.u16 q4, [r9, q6, uxtw #1]",
        "vldrh.u16 q5, [r9, q7, uxtw #1]",
        "add r7, r7, r5, lsr #1",
        "vldrh.u16 q6, [r10]",
        "vldrh.u16 q7, [r10, #16]",
        update!("q4", "q5"),
        ".if n == 0",
        "lsr r11, r11, #16",
        ".set n, 1",
        ".endif",
        ".endr",
        "le lr, 2b",
        "ldr r7, [sp], #8",
        "adds r7, #16",
        "adds r0, #32",
        "subs r6, #1",
        "bne 3b",
        "pop {{r0}}",
        "vpop {{d8-d15}}",
        "pop {{r4-r12, pc}}",
    )
}

/// What the loops over outputs read, in the order of their loads.
#[repr(C)]
struct Outputs {
    /// `[8, n]`: r0.
    h: *const i16,
    /// `[n]`: r1.
    y: *mut i32,
    /// Blocks of four channels: r2.
    blocks: usize,
    /// C of the eight states, 0 for those that do not exist.
    c: [i16; STATES],
    /// From a channel to its eight states, in elements.
    at: [u16; STATES],
}

/// Four channels per iteration. `$before` fetches and `$sum` adds to what there is, or not.
macro_rules! outputs {
    ($name:ident, [$($before:literal)?], $sum:literal) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name(_outputs: &Outputs) {
            naked_asm!(
                ".cpu cortex-m55",
                "push {{r4-r8, lr}}",
                "vpush {{d8-d13}}",
                "add r3, r0, #12",
                "vldrh.u16 q4, [r3], #16",
                "vldrh.u16 q0, [r3]",
                "movs r3, #1",
                "vadd.i16 q1, q0, r3",
                "vadd.i16 q2, q1, r3",
                "vadd.i16 q3, q2, r3",
                "ldm r0, {{r0-r2}}",
                "dls lr, r2",
                "2:",
                $($before,)?
                "vldrh.u16 q5, [r0, q0, uxtw #1]",
                concat!($sum, " r2, q5, q4"),
                "vldrh.u16 q6, [r0, q1, uxtw #1]",
                concat!($sum, " r4, q6, q4"),
                "vldrh.u16 q5, [r0, q2, uxtw #1]",
                concat!($sum, " r6, q5, q4"),
                "vldrh.u16 q6, [r0, q3, uxtw #1]",
                concat!($sum, " r8, q6, q4"),
                "adds r0, #8",
                "stm r1!, {{r2, r4, r6, r8}}",
                "le lr, 2b",
                "vpop {{d8-d13}}",
                "pop {{r4-r8, pc}}",
            )
        }
    };
}

outputs!(first_outputs, [], "vmladav.s16");
outputs!(more_outputs, ["ldm r1, {{r2, r4, r6, r8}}"], "vmladava.s16");

/// `y = sum_n C[n] * h[n]`; the lengths have been compared.
fn output(h: &[i16], c: &[i16], y: &mut [i32]) {
    let n = y.len();
    let mut function: unsafe extern "C" fn(&Outputs) = first_outputs;
    for (h, some) in h.chunks(STATES * n).zip(c.chunks(STATES)) {
        let mut outputs = Outputs { h: h.as_ptr(), y: y.as_mut_ptr(), blocks: n / 4, c: [0; STATES], at: [0; STATES] };
        let lanes = outputs.c.iter_mut().zip(outputs.at.iter_mut()).zip(some);
        for (state, ((c, at), &some)) in lanes.enumerate() {
            *c = some;
            *at = (state * n) as u16;
        }
        // SAFETY: the loop reads channels 0 to `n`, a multiple of four above zero, of as many rows of `h` as `some` has
        // elements; for the others it reads the first row. It reads and writes `n` of `y`.
        unsafe { function(&outputs) };
        function = more_outputs;
    }
}

/// Whether the loops may run: pairs of states, sixteen channels, offsets of 16 bits.
fn fits(n: usize, states: usize) -> bool {
    n > 0 && n % CHANNELS == 0 && n <= 8192 && states > 0 && states % 2 == 0
}

/// The number that [`free`] adds to logarithms of delta, if it has 16 bits.
fn base(a_base: i16) -> Option<i32> {
    let base = index_base(a_base);
    (base <= i16::MAX as i32).then_some(base)
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
    let (n, states) = (y.len(), b.len());
    let whole = log_delta.len() == n && dx.len() == n && h.len() == n * states && a_log.len() == h.len();
    let (Some(base), true) = (base(a_base), whole && c.len() == states && fits(n, states)) else {
        return selective_scan::scan_step_free(h, a_log, a_base, b, c, log_delta, dx, y);
    };
    let mut pass = Operands {
        h: h.as_mut_ptr(),
        dx: dx.as_ptr(),
        rate: log_delta.as_ptr(),
        b: b.as_ptr(),
        pairs: states / 2,
        row: 2 * n,
        blocks: n / CHANNELS,
        a_log: a_log.as_ptr(),
        base,
        table: DECAYS.as_ptr(),
    };
    // SAFETY: `n`, a multiple of sixteen, channels of `states`, an even number, rows of `h` and `a_log`; `dx` and
    // `log_delta` have `n`, `b` has `states`. A channel's index is 0..=4095, a byte adds 0..=1020: inside the table.
    unsafe { free(&mut pass) };
    output(h, c, y);
}

/// [`Kernels::scan_tied`].
pub(super) fn scan_tied(h: &mut [i16], b: &[i16], c: &[i16], r: &[i16], a: &mut [i16], dx: &[i16], y: &mut [i32]) {
    let (n, states) = (y.len(), b.len());
    let whole = r.len() == n && dx.len() == n && h.len() == n * states;
    if !whole || c.len() != states || !fits(n, states) {
        return selective_scan::scan_step_tied(h, b, c, r, a, dx, y);
    }
    let mut pass = Operands {
        h: h.as_mut_ptr(),
        dx: dx.as_ptr(),
        rate: r.as_ptr(),
        b: b.as_ptr(),
        pairs: states / 2,
        row: 2 * n,
        blocks: n / CHANNELS,
        a_log: core::ptr::null(),
        base: 0,
        table: DECAYS.as_ptr(),
    };
    // SAFETY: as above; `a_log` and `table` are not read.
    unsafe { tied(&mut pass) };
    output(h, c, y);
}

/// r0 logarithms, r1 a_log, r2 32, r3 the table, r12 what is added.
#[unsafe(naked)]
unsafe extern "C" fn decays(_l: *mut i16, _a_log: *const u8, _eights: usize, _table: *const u16, _base: i32) {
    naked_asm!(
        ".cpu cortex-m55",
        "push {{r7, lr}}",
        "ldr r12, [sp, #8]",
        "dls lr, r2",
        "movs r2, #32",
        "vmov.i32 q3, #0",
        "2:",
        "vldrh.u16 q0, [r0]",
        "vldrb.u16 q1, [r1], #8",
        "vqadd.s16 q0, q0, r12",
        "vmax.s16 q0, q0, q3",
        "vmla.i16 q0, q1, r2",
        "vshr.u16 q0, q0, #3",
        "vldrh.u16 q2, [r3, q0, uxtw #1]",
        "vstrh.16 q2, [r0], #16",
        "le lr, 2b",
        "pop {{r7, pc}}",
    )
}

/// [`Kernels::first_decay`].
pub(super) fn first_decay(l: &mut [i16], a_log: &[u8], a_base: i16) {
    let Some(base) = base(a_base) else { return Scalar.first_decay(l, a_log, a_base) };
    let n = l.len().min(a_log.len());
    if n >= 8 {
        // SAFETY: eight channels per iteration, and not more than either slice has. An index is inside the table: it is
        // at most (32767 + 32 * 255) / 8.
        unsafe { decays(l.as_mut_ptr(), a_log.as_ptr(), n / 8, DECAYS.as_ptr(), base) };
    }
    for (l, &a_log) in l.iter_mut().zip(a_log).skip(n & !7) {
        *l = decay(*l as i32 + a_base as i32 + 32 * a_log as i32);
    }
}
