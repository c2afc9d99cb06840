//! The scan: channel by channel through all states.
#![allow(unsafe_code, reason = "the loops are assembly; each call has its reason")]

use core::arch::naked_asm;

use crate::selective_scan;
use crate::simd::decays::{DECAYS, index_base};

/// B and C of one state.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Selected {
    b: i32,
    c: i32,
}

/// Most states that the loops take: as many as official models have.
const MOST: usize = 16;

/// What the loop over channels reads and keeps.
#[repr(C)]
struct Operands {
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

/// All channels through all states, four states per iteration. `$first` and `$decay` leave the decay in `$a`, `$next`
/// makes the next one of it.
///
/// r0 the channel's decays, or the factor of their powers; r1 a_log, or a power; r2 h; r6 dx; r7 B and C; r8 y; r9
/// 2^14; r10 the end of B and C; r11 bytes from one row of h to the next, r12 of a_log. The last bit that a shift drops
/// is the carry, which rounds the decayed state when the rest is added.
macro_rules! scan {
    ($name:ident, $a:literal, [$($first:literal),*], [$($decay:literal),*], [$($next:literal),*]) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name(_pass: &mut Operands) {
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
                "ldr r4, [r7, #4]",
                "ldrh r6, [r4]",
                "sxth r6, r6",
                "adds r4, #2",
                "str r4, [r7, #4]",
                "ldr r2, [r7, #12]",
                "adds r4, r2, #2",
                "str r4, [r7, #12]",
                $($first,)*
                "ldr r7, [r7, #16]",
                "movs r4, #0",
                "mov r8, r4",
                "2:",
                ".rept 4",
                $($decay,)*
                "ldrh r4, [r2]",
                "sxth r4, r4",
                concat!("muls r4, ", $a, ", r4"),
                $($next,)*
                "ldmia r7!, {{r3, r5}}",
                "muls r3, r6, r3",
                "add r3, r9",
                "asrs r3, r3, #15",
                "asrs r4, r4, #15",
                "adcs r4, r3",
                "sxth r3, r4",
                "cmp r3, r4",
                "beq 3f",
                // Out of range: 32767, or its complement if the sum is negative.
                "asrs r4, r4, #31",
                "mov r3, r9",
                "lsls r3, r3, #1",
                "subs r3, #1",
                "eors r4, r3",
                "3:",
                "strh r4, [r2]",
                "add r2, r11",
                "muls r4, r5, r4",
                "add r8, r4",
                ".endr",
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
            )
        }
    };
}

scan!(
    free,
    "r3",
    ["ldr r1, [r7, #8]", "adds r4, r1, #1", "str r4, [r7, #8]"],
    ["ldrb r3, [r1]", "lsls r3, r3, #3", "ldrh r3, [r0, r3]", "add r1, r12"],
    []
);
scan!(tied, "r1", ["mov r1, r0"], [], ["muls r1, r0, r1", "add r1, r9", "asrs r1, r1, #15"]);

/// B and C as the loops read them, and how many states there are.
fn selected(b: &[i16], c: &[i16]) -> ([Selected; MOST], usize) {
    let mut all = [Selected::default(); MOST];
    let mut states = 0;
    for (s, (&b, &c)) in all.iter_mut().zip(b.iter().zip(c)) {
        *s = Selected { b: b as i32, c: c as i32 };
        states += 1;
    }
    (all, states)
}

/// [`Kernels::scan_free`](crate::simd::Kernels::scan_free).
#[inline(never)]
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
    let (all, states) = selected(b, c);
    let rows = log_delta.len() == n && dx.len() == n && h.len() == n * b.len() && a_log.len() == h.len();
    if !rows || b.len() != c.len() || states != b.len() || states == 0 || states % 4 != 0 || n == 0 {
        return selective_scan::scan_step_free(h, a_log, a_base, b, c, log_delta, dx, y);
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
    // SAFETY: the loop goes through `n` channels and for each through `states`, a multiple of four, rows of `n` in `h`
    // and `a_log`. A byte adds 0..=1020 to an index of 0..=4092, which stays inside the table.
    unsafe { free(&mut Operands { y, dx, a_log, h, selected, end, selected_end, n }) };
}

/// [`Kernels::scan_tied`](crate::simd::Kernels::scan_tied).
#[inline(never)]
pub(super) fn scan_tied(h: &mut [i16], b: &[i16], c: &[i16], r: &[i16], a: &mut [i16], dx: &[i16], y: &mut [i32]) {
    let n = y.len();
    let (all, states) = selected(b, c);
    let rows = r.len() == n && dx.len() == n && h.len() == n * b.len();
    if !rows || b.len() != c.len() || states != b.len() || states == 0 || states % 4 != 0 || n == 0 {
        return selective_scan::scan_step_tied(h, b, c, r, a, dx, y);
    }
    y.iter_mut().zip(r).for_each(|(y, &r)| *y = r as i32);
    let (ends, selected) = (y.as_mut_ptr_range(), all.as_ptr());
    let (y, end) = (ends.start, ends.end);
    let selected_end = selected.wrapping_add(states);
    // SAFETY: as above; `a_log` is counted up and not read.
    unsafe {
        tied(&mut Operands {
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
