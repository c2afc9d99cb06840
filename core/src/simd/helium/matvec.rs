//! Projections: four rows at a time, each sum in one register, then requantised as one vector.
//!
//! `VMLADAVA` is a dot product into one register; its loop is predicated by the columns left, so that no length needs
//! another loop. A row's multiplier is a gathering load; `VMULH` gives the high word of a sum times it, `VRSHL` rounds.
#![allow(unsafe_code, reason = "the loops are assembly; the call has its reason")]

use core::arch::naked_asm;

use crate::simd::narrow::{MULTIPLIER, with_scale};

/// What a loop over blocks of four rows reads and keeps, in the order of its loads.
#[repr(C)]
pub(super) struct Rows {
    /// `[n]`.
    x: *const i16,
    /// r10.
    n: usize,
    /// `[rows]`: r0.
    code: *const u8,
    /// `[rows, n]`: r1.
    w: *const i8,
    multiplier: *const i32,
    /// `16 - base`.
    up: i32,
    /// `[rows]` of i16 or i32.
    y: *mut u8,
    /// After the last row of `y`.
    end: *const u8,
}

/// A loop over blocks of four rows.
pub(super) type Loop = unsafe extern "C" fn(&mut Rows);

/// r0 codes, r1, r3, r5 and r7 rows, r2, r4, r6 and r8 their sums, r9 activations, r11 from the end of the loads to the
/// end of a row. `$finish` stores q0 at r6 and advances it; q3 is -32767 eight times.
macro_rules! rows {
    ($name:ident, [$($finish:literal),*]) => {
        #[unsafe(naked)]
        pub(super) unsafe extern "C" fn $name(_rows: &mut Rows) {
            naked_asm!(
                ".cpu cortex-m55",
                "push {{r4-r11, lr}}",
                "mov r12, r0",
                "ldrd r10, r0, [r12, #4]",
                "ldr r1, [r12, #12]",
                "movw r2, #0x8001",
                "vdup.16 q3, r2",
                "add r11, r10, #7",
                "bic r11, r11, #7",
                "sub r11, r10, r11",
                "3:",
                "ldr r9, [r12]",
                "add r3, r1, r10",
                "add r5, r3, r10",
                "add r7, r5, r10",
                "movs r2, #0",
                "movs r4, #0",
                "movs r6, #0",
                "mov r8, #0",
                "dlstp.16 lr, r10",
                "2:",
                "vldrh.u16 q0, [r9], #16",
                "vldrb.s16 q1, [r1], #8",
                "vmladava.s16 r2, q1, q0",
                "vldrb.s16 q1, [r3], #8",
                "vmladava.s16 r4, q1, q0",
                "vldrb.s16 q1, [r5], #8",
                "vmladava.s16 r6, q1, q0",
                "vldrb.s16 q1, [r7], #8",
                "vmladava.s16 r8, q1, q0",
                "letp lr, 2b",
                "add r1, r7, r11",
                "vmov q0[2], q0[0], r2, r6",
                "vmov q0[3], q0[1], r4, r8",
                "vldrb.u32 q1, [r0], #4",
                "ldrd r2, r4, [r12, #16]",
                "vldrw.u32 q2, [r2, q1, uxtw #2]",
                "cmp r4, #0",
                "bge 5f",
                "vmulh.s32 q0, q0, q2",
                "vrshl.s32 q0, r4",
                "4:",
                "ldrd r6, r2, [r12, #24]",
                $($finish,)*
                "str r6, [r12, #24]",
                "cmp r6, r2",
                "bne 3b",
                "pop {{r4-r11, pc}}",
                // A base below 17: the sums are shifted up, so that the high word has all bits. Without room for that
                // the loop ends here.
                "5:",
                "vcls.s32 q1, q0",
                "vcmp.s32 lt, q1, r4",
                "vmrs r2, p0",
                "cbnz r2, 6f",
                "vshl.s32 q0, r4",
                "vrmulh.s32 q0, q0, q2",
                "b 4b",
                "6:",
                "pop {{r4-r11, pc}}",
            )
        }
    };
}

// Saturated to -32768..=32767, then -32768 becomes -32767.
rows!(to_i16, ["vqmovnb.s32 q0, q0", "vmax.s16 q0, q0, q3", "vstrh.32 q0, [r6], #8"]);
rows!(to_i32, ["vstrw.32 q0, [r6], #16"]);
rows!(add_to_i32, ["vldrw.u32 q1, [r6]", "vqadd.s32 q0, q0, q1", "vstrw.32 q0, [r6], #16"]);

/// Runs the loop over as many blocks of four rows as there are from row `from` on; returns the row it ended at: the
/// first of a block whose sums have no room, or of a remainder.
fn run<T>(function: Loop, from: usize, w: &[i8], code: &[u8], base: u8, x: &[i16], y: &mut [T]) -> usize {
    let n = x.len();
    let (Some(w), Some(code), Some(y)) = (w.get(from * n..), code.get(from..), y.get_mut(from..)) else { return from };
    let rows = (w.len() / n.max(1)).min(code.len()).min(y.len()) & !3;
    if rows == 0 || n == 0 {
        return from;
    }
    let start = y.as_mut_ptr();
    let mut block = Rows {
        x: x.as_ptr(),
        n,
        code: code.as_ptr(),
        w: w.as_ptr(),
        multiplier: MULTIPLIER.as_ptr(),
        up: 16 - base as i32,
        y: start.cast(),
        end: start.wrapping_add(rows).cast(),
    };
    // SAFETY: the loop reads `n` activations, `rows * n` weights and `rows` codes and writes `rows` results; `rows` is
    // at most what each slice holds, and a multiple of four above zero, at which the loop stops.
    unsafe { function(&mut block) };
    from + (block.y as usize - start as usize) / size_of::<T>()
}

/// All rows; `emit(y, requantized)` where the loop for blocks does not do it. `again`: a row may be computed twice, as
/// it does not add to what is there, so that a remainder is the end of a last block.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "the operands of one product, and what is done with them")]
pub(super) fn matvec<T>(
    function: Loop,
    again: bool,
    w: &[i8],
    code: &[u8],
    base: u8,
    x: &[i16],
    y: &mut [T],
    emit: impl Fn(&mut T, i32),
) {
    let n = x.len().max(1);
    let rows = (w.len() / n).min(code.len()).min(y.len());
    let mut row = 0;
    while row < rows {
        let from = if again && rows - row < 4 { rows.saturating_sub(4).min(row) } else { row };
        let before = row;
        row = run(function, from, w, code, base, x, y).max(row);
        if row > before {
            continue;
        }
        // The block without room, or the remainder.
        for ((w, &code), y) in w.chunks_exact(n).zip(code).zip(y.iter_mut()).skip(row).take(4) {
            emit(y, one(w, code, base, x));
            row += 1;
        }
    }
}

/// One row.
#[inline(never)]
fn one(w: &[i8], code: u8, base: u8, x: &[i16]) -> i32 {
    let sum = w.iter().zip(x).fold(0i32, |sum, (&w, &x)| sum.wrapping_add(w as i32 * x as i32));
    with_scale!(base, |scale| scale.apply(sum, code))
}
