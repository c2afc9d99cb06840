//! Cortex-M0 and M0+: eight registers for arithmetic, loads of signed values by register offsets only.
//!
//! Sums are in the high registers, to which `ADD` adds; three rows share an index and the activations.
#![allow(unsafe_code, reason = "the loops are assembly; each block has its reason")]

use core::arch::asm;

use super::decays::{DECAYS, index_base};
use super::{Kernels, Scalar};

/// The sums of three rows.
#[inline(always)]
pub(crate) fn dot3(w: &[i8], x: &[i16]) -> [i32; 3] {
    let n = x.len();
    let mut sums = [0i32; 3];
    let even = n & !3;
    if w.len() == 3 * n && even > 0 && x.as_ptr() as usize % 4 == 0 {
        let [a, b, c] = &mut sums;
        // SAFETY: reads `even` weights of each of three rows of `n`, and `even` activations, four a turn. r6 and r7 are
        // not available as operands; they are kept in high registers.
        unsafe {
            asm!(
                "mov r11, r6",
                "mov r12, r7",
                "2:",
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
                "cmp r4, lr",
                "bne 2b",
                "mov r6, r11",
                "mov r7, r12",
                inout("r0") x.as_ptr() => _,
                in("r1") w.as_ptr(),
                in("r2") w.as_ptr().wrapping_add(n),
                in("r3") w.as_ptr().wrapping_add(2 * n),
                inout("r4") 0 => _,
                out("r5") _,
                inout("r8") *a,
                inout("r9") *b,
                inout("r10") *c,
                out("r11") _,
                out("r12") _,
                in("lr") even,
                options(readonly, nostack),
            );
        }
        rest(&mut sums, w, x, even);
    } else {
        rest(&mut sums, w, x, 0);
    }
    sums
}

/// The columns from `from` on.
#[inline(always)]
fn rest(sums: &mut [i32; 3], w: &[i8], x: &[i16], from: usize) {
    for (sum, w) in sums.iter_mut().zip(w.chunks_exact(x.len().max(1))) {
        for (&w, &x) in w.iter().zip(x).skip(from) {
            *sum = sum.wrapping_add(w as i32 * x as i32);
        }
    }
}

/// B and C of one state.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Selected {
    b: i32,
    c: i32,
}

/// Most states that a model can have (`Dims`).
const MOST: usize = 64;

fn selected(b: &[i16], c: &[i16]) -> ([Selected; MOST], usize) {
    let mut all = [Selected::default(); MOST];
    let mut states = 0;
    for (s, (&b, &c)) in all.iter_mut().zip(b.iter().zip(c)) {
        *s = Selected { b: b as i32, c: c as i32 };
        states += 1;
    }
    (all, states)
}

/// One channel through all states; evaluates to y. `$decay` leaves the decay in r3, `$next` makes the next one of it.
///
/// r0 the channel's decays, or the factor of their powers; r1 a_log; r2 h; r6 dx; r7 B and C; r8 y; r9 2^14; r10 the end
/// of B and C; r12 bytes from one row of a_log to the next, lr of h.
macro_rules! channel {
    ($r0:expr, $r1:expr, $r3:expr, $h:expr, $n:expr, $dx:expr, $selected:expr, [$($decay:literal),*], [$($next:literal),*]) => {{
        let y: i32;
        let selected: &[Selected] = $selected;
        let ends = selected.as_ptr_range();
        asm!(
            "push {{r6, r7}}",
            "mov r6, r4",
            "mov r7, r5",
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
            "beq 3f",
            // Out of range: 32767, or its complement if the sum is negative.
            "asrs r4, r4, #31",
            "mov r5, r9",
            "lsls r5, r5, #1",
            "subs r5, #1",
            "eors r4, r5",
            "3:",
            "strh r4, [r2]",
            "add r2, lr",
            "ldmia r7!, {{r5}}",
            "muls r4, r5, r4",
            "add r8, r4",
            "cmp r7, r10",
            "bne 2b",
            "pop {{r6, r7}}",
            inout("r0") $r0 => _,
            inout("r1") $r1 => _,
            inout("r2") $h => _,
            inout("r3") $r3 => _,
            inout("r4") $dx as i32 => _,
            inout("r5") ends.start => _,
            inout("r8") 0 => y,
            in("r9") 1 << 14,
            in("r10") ends.end,
            in("r12") $n,
            in("lr") 2 * $n,
        );
        y
    }};
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
    let n = log_delta.len();
    let (all, states) = selected(b, c);
    let whole = dx.len() == n && y.len() >= n && h.len() == n * b.len() && a_log.len() == h.len() && b.len() == c.len();
    let (Some(selected), true) = (all.get(..states), whole && states == b.len() && states > 0) else {
        return Scalar::scan_free(h, a_log, a_base, b, c, log_delta, dx, y);
    };
    let base = index_base(a_base);
    for (d, ((&l, &dx), y)) in log_delta.iter().zip(dx).zip(y).enumerate() {
        let index = ((l as i32 + base) >> 3).clamp(0, 4092) as usize;
        let Some(table) = DECAYS.get(index..) else { return };
        // SAFETY: column `d`, below `n`, of `states` rows of `n` in `h` and `a_log`. A byte adds 0..=1020 to the index,
        // which stays inside the table. r6 and r7 are saved on the stack.
        *y = unsafe {
            channel!(
                table.as_ptr(),
                a_log.as_ptr().wrapping_add(d),
                0,
                h.as_mut_ptr().wrapping_add(d),
                n,
                dx,
                selected,
                ["ldrb r3, [r1]", "lsls r3, r3, #3", "ldrh r3, [r0, r3]", "add r1, r12"],
                []
            )
        };
    }
}

/// [`Kernels::scan_tied`].
#[inline(never)]
pub(crate) fn scan_tied(h: &mut [i16], b: &[i16], c: &[i16], r: &[i16], a: &mut [i16], dx: &[i16], y: &mut [i32]) {
    let n = r.len();
    let (all, states) = selected(b, c);
    let whole = dx.len() == n && y.len() >= n && h.len() == n * b.len() && b.len() == c.len();
    let (Some(selected), true) = (all.get(..states), whole && states == b.len() && states > 0) else {
        return Scalar::scan_tied(h, b, c, r, a, dx, y);
    };
    for (d, ((&r, &dx), y)) in r.iter().zip(dx).zip(y).enumerate() {
        // SAFETY: as above; r1 is not read.
        *y = unsafe {
            channel!(
                r as i32,
                0,
                r as i32,
                h.as_mut_ptr().wrapping_add(d),
                n,
                dx,
                selected,
                [],
                ["muls r3, r0, r3", "add r3, r9", "asrs r3, r3, #15"]
            )
        };
    }
}
