//! Cortex-M0 and M0+: eight registers for arithmetic, loads of signed values by register offsets only.
//!
//! Sums are in the high registers, to which `ADD` adds; three rows share an index and the activations.
#![allow(unsafe_code, reason = "the loops are assembly; each call has its reason")]

use core::arch::naked_asm;

use super::decays::{DECAYS, index_base};
use super::{Kernels, Scalar};

/// What the loop over columns reads and leaves, in the order of its loads.
#[repr(C)]
struct Dots {
    x: *const i16,
    w: *const i8,
    /// Columns that it takes, a multiple of eight.
    columns: usize,
    /// Bytes from one row to the next.
    row: usize,
    sums: [i32; 3],
}

/// r0 x, r1-r3 rows, r4 column, r5 two activations, r6 one, r7 product; r8-r10 sums, r11 the end.
#[unsafe(naked)]
unsafe extern "C" fn dot_loop(_dots: &mut Dots) {
    naked_asm!(
        "push {{r4-r7, lr}}",
        "mov r4, r8",
        "mov r5, r9",
        "mov r6, r10",
        "mov r7, r11",
        "push {{r0, r4-r7}}",
        "ldr r4, [r0, #8]",
        "mov r11, r4",
        "ldr r4, [r0, #12]",
        "ldr r1, [r0, #4]",
        "adds r2, r1, r4",
        "adds r3, r2, r4",
        "movs r4, #0",
        "mov r8, r4",
        "mov r9, r4",
        "mov r10, r4",
        "ldr r0, [r0]",
        "2:",
        ".rept 4",
        "ldmia r0!, {{r5}}",
        "sxth r6, r5",
        "ldrsb r7, [r1, r4]",
        "muls r7, r6, r7",
        "add r8, r7",
        "ldrsb r7, [r2, r4]",
        "muls r7, r6, r7",
        "add r9, r7",
        "ldrsb r7, [r3, r4]",
        "muls r7, r6, r7",
        "add r10, r7",
        "adds r4, #1",
        "asrs r5, r5, #16",
        "ldrsb r7, [r1, r4]",
        "muls r7, r5, r7",
        "add r8, r7",
        "ldrsb r7, [r2, r4]",
        "muls r7, r5, r7",
        "add r9, r7",
        "ldrsb r7, [r3, r4]",
        "muls r7, r5, r7",
        "add r10, r7",
        "adds r4, #1",
        ".endr",
        "cmp r4, r11",
        "bne 2b",
        "mov r5, r8",
        "mov r6, r9",
        "mov r7, r10",
        "pop {{r0}}",
        "adds r0, #16",
        "stmia r0!, {{r5, r6, r7}}",
        "pop {{r4-r7}}",
        "mov r8, r4",
        "mov r9, r5",
        "mov r10, r6",
        "mov r11, r7",
        "pop {{r4-r7, pc}}",
    )
}

/// The sums of three rows of `x.len()` weights.
pub(crate) fn dot3(w: &[i8], x: &[i16]) -> [i32; 3] {
    let n = x.len();
    let mut columns = n & !7;
    let mut dots = Dots { x: x.as_ptr(), w: w.as_ptr(), columns, row: n, sums: [0; 3] };
    if w.len() == 3 * n && columns > 0 && x.as_ptr() as usize % 4 == 0 {
        // SAFETY: reads `columns` activations and as many weights of three rows of `n`; weights have no alignment.
        unsafe { dot_loop(&mut dots) };
    } else {
        columns = 0;
    }
    if columns != n {
        for (sum, w) in dots.sums.iter_mut().zip(w.chunks_exact(n.max(1))) {
            for (&w, &x) in w.iter().zip(x).skip(columns) {
                *sum = sum.wrapping_add(w as i32 * x as i32);
            }
        }
    }
    dots.sums
}

/// B and C of one state.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Selected {
    b: i32,
    c: i32,
}

/// Most states that the loops take: as many as official models have.
const MOST: usize = 16;

/// What the loop over channels reads and keeps, in the order of its loads.
#[repr(C)]
struct Pass {
    /// `[n]`: the address of a channel's decays, or the factor of their powers; y when the channel is done.
    y: *mut i32,
    dx: *const i16,
    a_log: *const u8,
    h: *mut i16,
    selected: *const Selected,
    end: *const i32,
    selected_end: *const Selected,
    n: usize,
}

/// All channels through all states. `$first` and `$decay` leave the decay in r3, `$next` makes the next one of it.
///
/// r0 the channel's decays, or the factor of their powers; r1 a_log; r2 h; r6 dx; r7 B and C; r8 y; r9 2^14; r10 the end
/// of B and C; r11 bytes from one row of h to the next, r12 of a_log.
macro_rules! scan {
    ($name:ident, [$($first:literal),*], [$($decay:literal),*], [$($next:literal),*]) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name(_pass: &mut Pass) {
            naked_asm!(
                "push {{r4-r7, lr}}",
                "mov r4, r8",
                "mov r5, r9",
                "mov r6, r10",
                "mov r7, r11",
                "push {{r0, r4-r7}}",
                "ldr r4, [r0, #24]",
                "mov r10, r4",
                "ldr r4, [r0, #28]",
                "mov r12, r4",
                "lsls r4, r4, #1",
                "mov r11, r4",
                "movs r4, #1",
                "lsls r4, r4, #14",
                "mov r9, r4",
                "4:",
                "ldr r7, [sp]",
                "ldr r5, [r7]",
                "ldr r0, [r5]",
                $($first,)*
                "ldr r4, [r7, #4]",
                "ldrh r6, [r4]",
                "sxth r6, r6",
                "adds r4, #2",
                "str r4, [r7, #4]",
                "ldr r1, [r7, #8]",
                "adds r4, r1, #1",
                "str r4, [r7, #8]",
                "ldr r2, [r7, #12]",
                "adds r4, r2, #2",
                "str r4, [r7, #12]",
                "ldr r7, [r7, #16]",
                "movs r4, #0",
                "mov r8, r4",
                "2:",
                $($decay,)*
                "ldrh r4, [r2]",
                "sxth r4, r4",
                "muls r4, r3, r4",
                "add r4, r9",
                "asrs r4, r4, #15",
                $($next,)*
                "ldmia r7!, {{r5}}",
                "muls r5, r6, r5",
                "add r5, r9",
                "asrs r5, r5, #15",
                "adds r4, r4, r5",
                "sxth r5, r4",
                "cmp r5, r4",
                "bne 5f",
                "3:",
                "strh r4, [r2]",
                "add r2, r11",
                "ldmia r7!, {{r5}}",
                "muls r4, r5, r4",
                "add r8, r4",
                "cmp r7, r10",
                "bne 2b",
                "ldr r7, [sp]",
                "ldr r5, [r7]",
                "mov r4, r8",
                "stmia r5!, {{r4}}",
                "str r5, [r7]",
                "ldr r4, [r7, #20]",
                "cmp r5, r4",
                "bne 4b",
                "pop {{r0}}",
                "pop {{r4-r7}}",
                "mov r8, r4",
                "mov r9, r5",
                "mov r10, r6",
                "mov r11, r7",
                "pop {{r4-r7, pc}}",
                // Out of range: 32767, or its complement if the sum is negative.
                "5:",
                "asrs r4, r4, #31",
                "mov r5, r9",
                "lsls r5, r5, #1",
                "subs r5, #1",
                "eors r4, r5",
                "b 3b",
            )
        }
    };
}

scan!(free, [], ["ldrb r3, [r1]", "lsls r3, r3, #3", "ldrh r3, [r0, r3]", "add r1, r12"], []);
scan!(tied, ["mov r3, r0"], [], ["muls r3, r0, r3", "add r3, r9", "asrs r3, r3, #15"]);

/// B and C as the loops read them, and how many states there are.
fn selected(b: &[i16], c: &[i16]) -> ([Selected; MOST], usize) {
    let value = |x: &[i16], n: usize| x.get(n).map_or(0, |&x| x as i32);
    (core::array::from_fn(|n| Selected { b: value(b, n), c: value(c, n) }), b.len().min(c.len()).min(MOST))
}

/// [`Kernels::scan_free`].
#[inline(never)]
#[allow(clippy::too_many_arguments, reason = "the operands of one equation")]
pub(crate) fn scan_free(
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
    let (all, states) = selected(b, c);
    let rows = log_delta.len() == n && dx.len() == n && h.len() == n * b.len() && a_log.len() == h.len();
    if !rows || b.len() != c.len() || states != b.len() || states == 0 || n == 0 {
        return Scalar.scan_free(h, a_log, a_base, b, c, log_delta, dx, y);
    }
    let base = index_base(a_base);
    for (y, &l) in y.iter_mut().zip(log_delta) {
        let index = ((l as i32 + base) >> 3).clamp(0, 4092) as usize;
        *y = DECAYS.as_ptr().wrapping_add(index) as i32;
    }
    let (ends, selected) = (y.as_mut_ptr_range(), all.as_ptr());
    let (y, end) = (ends.start, ends.end);
    let (dx, a_log, h) = (dx.as_ptr(), a_log.as_ptr(), h.as_mut_ptr());
    let selected_end = selected.wrapping_add(states);
    // SAFETY: the loop goes through `n` channels and for each through `states` rows of `n` in `h` and `a_log`. A byte
    // adds 0..=1020 to an index of 0..=4092, which stays inside the table.
    unsafe { free(&mut Pass { y, dx, a_log, h, selected, end, selected_end, n }) };
}

/// [`Kernels::scan_tied`].
#[inline(never)]
pub(crate) fn scan_tied(h: &mut [i16], b: &[i16], c: &[i16], r: &[i16], a: &mut [i16], dx: &[i16], y: &mut [i32]) {
    let n = y.len();
    let (all, states) = selected(b, c);
    let rows = r.len() == n && dx.len() == n && h.len() == n * b.len();
    if !rows || b.len() != c.len() || states != b.len() || states == 0 || n == 0 {
        return Scalar.scan_tied(h, b, c, r, a, dx, y);
    }
    y.iter_mut().zip(r).for_each(|(y, &r)| *y = r as i32);
    let (ends, selected) = (y.as_mut_ptr_range(), all.as_ptr());
    let (y, end) = (ends.start, ends.end);
    let selected_end = selected.wrapping_add(states);
    // SAFETY: as above; `a_log` is counted up and not read.
    unsafe {
        tied(&mut Pass {
            y,
            dx: dx.as_ptr(),
            a_log: core::ptr::null(),
            h: h.as_mut_ptr(),
            selected,
            end,
            selected_end,
            n,
        })
    };
}
