//! The scan: channel by channel through all states, four at a time.
#![allow(unsafe_code, reason = "the loops are assembly; each call has its reason")]

use core::arch::naked_asm;

use crate::selective_scan;
use crate::simd::decays::{DECAYS, index_base};

/// What the loop over channels reads, in the order of its loads.
#[repr(C)]
struct Operands {
    /// `[states, n]`, in place: s0.
    h: *mut i16,
    /// `[states, n]`: s1.
    a_log: *const u8,
    /// `[n]`: s2, the logarithm of delta, or the decay of the first state if decays are tied.
    rate: *const i16,
    /// `[n]`: s3.
    dx: *const i16,
    /// `[states]`: s4.
    b: *const i16,
    /// s5.
    b_end: *const i16,
    /// `[states]`: s6.
    c: *const i16,
    /// `[n]`: s7.
    y: *mut i32,
    /// s8.
    end: *const i32,
    /// s9.
    n: usize,
    /// From a logarithm of delta to the index of its channel in the table, times eight: s10.
    base: i32,
    /// s11.
    table: *const u16,
}

/// `$first` makes a0 of the rate in a0, `$decay` the decay t0 with it, `$next` the next one.
///
/// a1 dx, a2 y, a3 h, a4 a_log, a5 B, a6 C, a7 2^14, t3 bytes of a row of h, t4 a power, t5 and t6 bounds.
macro_rules! scan {
    ($name:ident, [$($first:literal),*], [$($decay:literal),*], [$($next:literal),*]) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name(_pass: &Operands) {
            naked_asm!(
                ".option push",
                ".option arch, +m",
                "addi sp, sp, -48",
                ".irp i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11",
                "sw s\\i, 4*\\i(sp)",
                "lw s\\i, 4*\\i(a0)",
                ".endr",
                "lui a7, 4",
                "slli t3, s9, 1",
                "lui t5, 1",
                "addi t5, t5, -4",
                "lui t6, 8",
                "addi t6, t6, -1",
                "4:",
                "lh a0, 0(s2)",
                "lh a1, 0(s3)",
                $($first,)*
                "li a2, 0",
                "mv a3, s0",
                "mv a4, s1",
                "mv a5, s4",
                "mv a6, s6",
                "2:",
                ".irp i, 0, 1, 2, 3",
                $($decay,)*
                "lh t1, 0(a3)",
                "mul t0, t0, t1",
                "add t0, t0, a7",
                "srai t0, t0, 15",
                $($next,)*
                "lh t1, 2*\\i(a5)",
                "mul t1, t1, a1",
                "add t1, t1, a7",
                "srai t1, t1, 15",
                "add t0, t0, t1",
                "slli t1, t0, 16",
                "srai t1, t1, 16",
                "beq t0, t1, 1f",
                // Out of range: 32767, or its complement if the sum is negative.
                "srai t0, t0, 31",
                "xor t0, t0, t6",
                "1:",
                "sh t0, 0(a3)",
                "add a3, a3, t3",
                "lh t1, 2*\\i(a6)",
                "mul t0, t0, t1",
                "add a2, a2, t0",
                ".endr",
                "addi a5, a5, 8",
                "addi a6, a6, 8",
                "bne a5, s5, 2b",
                "sw a2, 0(s7)",
                "addi s0, s0, 2",
                "addi s1, s1, 1",
                "addi s2, s2, 2",
                "addi s3, s3, 2",
                "addi s7, s7, 4",
                "bne s7, s8, 4b",
                ".irp i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11",
                "lw s\\i, 4*\\i(sp)",
                ".endr",
                "addi sp, sp, 48",
                "ret",
                ".option pop",
            )
        }
    };
}

scan!(
    free,
    [
        "add a0, a0, s10",
        "srai a0, a0, 3",
        "bgez a0, 1f",
        "li a0, 0",
        "1:",
        "ble a0, t5, 1f",
        "mv a0, t5",
        "1:",
        "slli a0, a0, 1",
        "add a0, a0, s11"
    ],
    ["lbu t0, 0(a4)", "add a4, a4, s9", "slli t0, t0, 3", "add t0, t0, a0", "lhu t0, 0(t0)"],
    []
);
scan!(tied, ["mv t4, a0"], ["mv t0, t4"], ["mul t4, t4, a0", "add t4, t4, a7", "srai t4, t4, 15"]);

/// [`Kernels::scan_free`](crate::simd::Kernels::scan_free).
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
    if !whole || c.len() != states || n == 0 || states == 0 || states % 4 != 0 {
        return selective_scan::scan_step_free(h, a_log, a_base, b, c, log_delta, dx, y);
    }
    let ends = y.as_mut_ptr_range();
    let pass = Operands {
        h: h.as_mut_ptr(),
        a_log: a_log.as_ptr(),
        rate: log_delta.as_ptr(),
        dx: dx.as_ptr(),
        b: b.as_ptr(),
        b_end: b.as_ptr_range().end,
        c: c.as_ptr(),
        y: ends.start,
        end: ends.end,
        n,
        base: index_base(a_base),
        table: DECAYS.as_ptr(),
    };
    // SAFETY: the loop goes through `n` channels and for each through the states of `b`, a multiple of four, of which
    // `c` has as many and `h` and `a_log` rows of `n`. A byte adds 0..=1020 to an index of 0..=4092: inside the table.
    unsafe { free(&pass) };
}

/// [`Kernels::scan_tied`](crate::simd::Kernels::scan_tied).
pub(super) fn scan_tied(h: &mut [i16], b: &[i16], c: &[i16], r: &[i16], a: &mut [i16], dx: &[i16], y: &mut [i32]) {
    let (n, states) = (y.len(), b.len());
    let whole = r.len() == n && dx.len() == n && h.len() == n * states;
    if !whole || c.len() != states || n == 0 || states == 0 || states % 4 != 0 {
        return selective_scan::scan_step_tied(h, b, c, r, a, dx, y);
    }
    let ends = y.as_mut_ptr_range();
    let pass = Operands {
        h: h.as_mut_ptr(),
        a_log: core::ptr::null(),
        rate: r.as_ptr(),
        dx: dx.as_ptr(),
        b: b.as_ptr(),
        b_end: b.as_ptr_range().end,
        c: c.as_ptr(),
        y: ends.start,
        end: ends.end,
        n,
        base: 0,
        table: DECAYS.as_ptr(),
    };
    // SAFETY: as above; `a_log` and `table` are not read.
    unsafe { tied(&pass) };
}
