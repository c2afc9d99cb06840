//! Projections: four rows share the activations, whose words are made once for all rows.
//!
//! A product costs a load, `MULS` and an addition to a high register. All rows share one column, which counts up to 0
//! from the ends of the rows.
#![allow(unsafe_code, reason = "the loop is assembly; its call has the reason")]

use core::arch::naked_asm;
use core::ops::Range;

use crate::simd::narrow::with_scale;
use crate::tables::ROW_MULTIPLIER;

/// What becomes of the results.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Finish {
    /// Saturated and stored as i16.
    I16,
    /// Stored as i32.
    I32,
    /// Added to an i32, saturating.
    Add,
}

/// What the loop over blocks of four rows reads and keeps.
#[repr(C)]
struct Rows {
    /// `[n]`.
    x: *const i16,
    /// A multiple of eight.
    n: usize,
    /// `[rows, n]`.
    w: *const i8,
    /// `[rows]`.
    code: *const u8,
    /// `[rows]` of i16 or i32.
    y: *mut u8,
    /// After the last row of `y`.
    end: *const u8,
    /// `base - 16`.
    shift: i32,
    finish: Finish,
    multiplier: *const i16,
}

/// r0 activations as words, on the stack, r1-r4 ends of rows, r5 column, r6 activation, r7 product; r8-r10 and r12
/// sums; r11 [`Rows`].
#[unsafe(naked)]
unsafe extern "C" fn rows(_rows: &mut Rows) {
    naked_asm!(
        "push {{r4-r7, lr}}",
        "mov r4, r8",
        "mov r5, r9",
        "mov r6, r10",
        "mov r7, r11",
        "push {{r4-r7}}",
        "mov r11, r0",
        "ldr r1, [r0]",
        "ldr r2, [r0, #4]",
        "lsls r2, r2, #2",
        "mov r3, sp",
        "mov r8, r3",
        "subs r3, r3, r2",
        "mov sp, r3",
        "1:",
        "ldmia r1!, {{r4, r6}}",
        "asrs r5, r4, #16",
        "sxth r4, r4",
        "asrs r7, r6, #16",
        "sxth r6, r6",
        "stmia r3!, {{r4, r5, r6, r7}}",
        "cmp r3, r8",
        "bne 1b",
        // The next four rows.
        "3:",
        "mov r7, r11",
        "ldr r0, [r7, #8]",
        "ldr r5, [r7, #4]",
        "adds r1, r0, r5",
        "adds r2, r1, r5",
        "adds r3, r2, r5",
        "adds r4, r3, r5",
        "str r4, [r7, #8]",
        "movs r0, #0",
        "mov r8, r0",
        "mov r9, r0",
        "mov r10, r0",
        "mov r12, r0",
        "rsbs r5, r5, #0",
        "mov r0, sp",
        "2:",
        ".rept 8",
        "ldmia r0!, {{r6}}",
        "ldrsb r7, [r1, r5]",
        "muls r7, r6, r7",
        "add r8, r7",
        "ldrsb r7, [r2, r5]",
        "muls r7, r6, r7",
        "add r9, r7",
        "ldrsb r7, [r3, r5]",
        "muls r7, r6, r7",
        "add r10, r7",
        "ldrsb r7, [r4, r5]",
        "muls r7, r6, r7",
        "add r12, r7",
        "adds r5, #1",
        ".endr",
        "bne 2b",
        // Requantize: a sum times its row's multiplier by halves; the bit that the shift drops last rounds. r7 is 0.
        "mov r7, r11",
        "ldr r6, [r7, #12]",
        "ldr r4, [r7, #32]",
        "ldr r5, [r7, #24]",
        "movs r7, #0",
        ".set n, 0",
        ".irp sum, r8, r9, r10, r12",
        "ldrb r1, [r6, #n]",
        "lsls r2, r1, #27",
        "lsrs r2, r2, #26",
        "ldrh r2, [r4, r2]",
        "lsrs r1, r1, #5",
        "mov r0, \\sum",
        "adds r1, r1, r5",
        "bgt 4f",
        "bl 11f",
        "b 5f",
        "4:",
        "uxth r3, r0",
        "muls r3, r2, r3",
        "lsrs r3, r3, #16",
        "asrs r0, r0, #16",
        "muls r0, r2, r0",
        "adds r0, r0, r3",
        "asrs r0, r1",
        "adcs r0, r7",
        "5:",
        "mov \\sum, r0",
        ".set n, n + 1",
        ".endr",
        "adds r6, #4",
        "mov r7, r11",
        "str r6, [r7, #12]",
        "mov r0, r8",
        "mov r1, r9",
        "mov r2, r10",
        "mov r3, r12",
        "ldr r4, [r7, #28]",
        "ldr r5, [r7, #16]",
        "cmp r4, #1",
        "blt 6f",
        "cmp r4, #2",
        "beq 7f",
        "10:",
        "stmia r5!, {{r0, r1, r2, r3}}",
        "8:",
        "mov r7, r11",
        "str r5, [r7, #16]",
        "ldr r4, [r7, #20]",
        "cmp r5, r4",
        "beq 9f",
        "b 3b",
        "9:",
        "ldr r4, [r7, #4]",
        "lsls r4, r4, #2",
        "add sp, r4",
        "pop {{r4-r7}}",
        "mov r8, r4",
        "mov r9, r5",
        "mov r10, r6",
        "mov r11, r7",
        "pop {{r4-r7, pc}}",
        // To i16: the sum with 32767 is at most 65534, or it is out of range.
        "6:",
        "movs r6, #1",
        "lsls r6, r6, #15",
        "subs r6, #1",
        "adds r7, r6, r6",
        ".set n, 0",
        ".irp q, r0, r1, r2, r3",
        "adds r4, \\q, r6",
        "cmp r4, r7",
        "bls 9f",
        "asrs r4, \\q, #31",
        "mov \\q, r6",
        "eors \\q, r4",
        "subs \\q, \\q, r4",
        "9:",
        "strh \\q, [r5, #2 * n]",
        ".set n, n + 1",
        ".endr",
        "adds r5, #8",
        "b 8b",
        // Added to what is there.
        "7:",
        ".set n, 0",
        ".irp q, r0, r1, r2, r3",
        "ldr r4, [r5, #4 * n]",
        "adds \\q, \\q, r4",
        "bvc 9f",
        "movs r6, #1",
        "lsls r6, r6, #31",
        "subs r6, #1",
        "asrs \\q, \\q, #31",
        "mvns \\q, \\q",
        "eors \\q, r6",
        "9:",
        ".set n, n + 1",
        ".endr",
        "b 10b",
        // A shift of 16 and less: the high part of r0 * r2 moves up by -r1 bits, its low half is rounded.
        "11:",
        "uxth r3, r0",
        "muls r3, r2, r3",
        "asrs r0, r0, #16",
        "muls r0, r2, r0",
        "lsrs r2, r3, #16",
        "adds r0, r0, r2",
        "uxth r3, r3",
        "mov r7, r1",
        "adds r7, #15",
        "lsrs r3, r7",
        "adds r3, #1",
        "lsrs r3, r3, #1",
        "rsbs r1, r1, #0",
        "mov r2, r0",
        "lsls r2, r1",
        "mov r7, r2",
        "asrs r7, r1",
        "cmp r7, r0",
        "bne 12f",
        "adds r2, r2, r3",
        "bvs 12f",
        "mov r0, r2",
        "movs r7, #0",
        "bx lr",
        // No room for it.
        "12:",
        "movs r2, #1",
        "lsls r2, r2, #31",
        "subs r2, #1",
        "asrs r0, r0, #31",
        "eors r0, r2",
        "movs r7, #0",
        "bx lr",
    )
}

/// Runs the loop over a multiple of four rows above zero.
fn run<T>(finish: Finish, w: &[i8], code: &[u8], base: u8, x: &[i16], y: &mut [T], range: Range<usize>) {
    let n = x.len();
    let start = y.as_mut_ptr();
    let mut block = Rows {
        x: x.as_ptr(),
        n,
        w: w.as_ptr().wrapping_add(range.start * n),
        code: code.as_ptr().wrapping_add(range.start),
        y: start.wrapping_add(range.start).cast(),
        end: start.wrapping_add(range.end).cast(),
        shift: base as i32 - 16,
        finish,
        multiplier: ROW_MULTIPLIER.as_ptr(),
    };
    // SAFETY: `matvec`, the only caller, has `range` end at what `y` and `code` have and `w` has rows of, and `finish`
    // stores elements of the size of `T`; the columns are a multiple of eight above zero, `x` is at a multiple of four.
    // The loop ends when `y` has reached `end`. It takes four bytes of stack for each of up to 512 columns.
    unsafe { rows(&mut block) };
}

/// All rows; `emit(y, requantized)` where the loop does not do it.
#[inline(always)]
pub(super) fn matvec<T>(
    finish: Finish,
    w: &[i8],
    code: &[u8],
    base: u8,
    x: &[i16],
    y: &mut [T],
    emit: impl Fn(&mut T, i32),
) {
    let n = x.len();
    let mut rows = code.len().min(y.len());
    if rows * n > w.len() {
        rows = w.len() / n.max(1);
    }
    let mut done = 0;
    if n % 8 == 0 && n > 0 && rows >= 4 && x.as_ptr() as usize % 4 == 0 {
        done = rows & !3;
        run(finish, w, code, base, x, y, 0..done);
        // A remainder is the end of a last block, where a row may be computed twice.
        if done < rows && finish != Finish::Add {
            run(finish, w, code, base, x, y, rows - 4..rows);
            done = rows;
        }
    }
    while done < rows {
        if let (Some(w), Some(&code), Some(y)) = (w.get(done * n..(done + 1) * n), code.get(done), y.get_mut(done)) {
            emit(y, one(w, code, base, x));
        }
        done += 1;
    }
}

/// One row.
#[inline(never)]
fn one(w: &[i8], code: u8, base: u8, x: &[i16]) -> i32 {
    let sum = w.iter().zip(x).fold(0i32, |sum, (&w, &x)| sum.wrapping_add(w as i32 * x as i32));
    with_scale!(base, |scale| scale.apply(sum, code))
}
