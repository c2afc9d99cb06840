//! Projections: four rows share the loads of activations; sums, addresses and the activation stay in registers.
#![allow(unsafe_code, reason = "the loop is assembly; its call has the reason")]

use core::arch::naked_asm;
use core::ops::Range;

use crate::simd::narrow::{MULTIPLIER, with_scale};

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

/// What the loop over blocks of four rows reads.
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
    multiplier: *const i32,
    base: i32,
    finish: Finish,
}

/// The products of some columns of four rows.
macro_rules! columns {
    ($columns:literal) => {
        concat!(
            ".irp i, ",
            $columns,
            "\n",
            "lh a7, 2*\\i(a1)\n",
            "lb t0, \\i(a2)\n",
            "mul t0, t0, a7\n",
            "add t3, t3, t0\n",
            "lb t0, \\i(a3)\n",
            "mul t0, t0, a7\n",
            "add t4, t4, t0\n",
            "lb t0, \\i(a4)\n",
            "mul t0, t0, a7\n",
            "add t5, t5, t0\n",
            "lb t0, \\i(a5)\n",
            "mul t0, t0, a7\n",
            "add t6, t6, t0\n",
            ".endr",
        )
    };
}

/// a1 activations, a2-a5 rows, a6 the end of the activations, a7 an activation, t0-t2 for one product, t3-t6 sums; s0
/// code, s1 y, s2 the end of y, s3 multipliers, s4 base - 17, s5 columns, s6 finish, s7 32767, s8 8 if the first
/// iteration takes eight columns instead of sixteen, s9 -32767.
#[unsafe(naked)]
unsafe extern "C" fn rows(_rows: &Rows) {
    naked_asm!(
        // Every RV32IM target has it; the assembler of such a function does not know.
        ".option push",
        ".option arch, +m",
        "addi sp, sp, -48",
        ".irp i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9",
        "sw s\\i, 4*\\i(sp)",
        ".endr",
        "lw s5, 4(a0)",
        "lw a2, 8(a0)",
        "lw s0, 12(a0)",
        "lw s1, 16(a0)",
        "lw s2, 20(a0)",
        "lw s3, 24(a0)",
        "lw s4, 28(a0)",
        "lw s6, 32(a0)",
        "lw a0, 0(a0)",
        "slli a6, s5, 1",
        "add a6, a6, a0",
        "addi s4, s4, -17",
        "lui s7, 8",
        "addi s7, s7, -1",
        "neg s9, s7",
        "andi s8, s5, 8",
        "sub a0, a0, s8",
        "sub a0, a0, s8",
        // The next four rows.
        "3:",
        "mv a1, a0",
        "sub a2, a2, s8",
        "add a3, a2, s5",
        "add a4, a3, s5",
        "add a5, a4, s5",
        "li t3, 0",
        "li t4, 0",
        "li t5, 0",
        "li t6, 0",
        "bnez s8, 4f",
        "2:",
        columns!("0, 1, 2, 3, 4, 5, 6, 7"),
        "4:",
        columns!("8, 9, 10, 11, 12, 13, 14, 15"),
        "addi a1, a1, 32",
        "addi a2, a2, 16",
        "addi a3, a3, 16",
        "addi a4, a4, 16",
        "addi a5, a5, 16",
        "bne a1, a6, 2b",
        "mv a2, a5",
        // Requantize. From a base of 17 on the rounding bit is in the high word of the product.
        "bltz s4, 6f",
        ".set n, 0",
        ".irp sum, t3, t4, t5, t6",
        "lbu t0, n(s0)",
        "slli t0, t0, 2",
        "add t0, t0, s3",
        "lw t0, 0(t0)",
        "mulh \\sum, \\sum, t0",
        "sra \\sum, \\sum, s4",
        "addi \\sum, \\sum, 1",
        "srai \\sum, \\sum, 1",
        ".set n, n + 1",
        ".endr",
        "5:",
        "addi s0, s0, 4",
        "bnez s6, 7f",
        ".set n, 0",
        ".irp sum, t3, t4, t5, t6",
        "ble \\sum, s7, 1f",
        "mv \\sum, s7",
        "1:",
        "bge \\sum, s9, 1f",
        "mv \\sum, s9",
        "1:",
        "sh \\sum, 2 * n(s1)",
        ".set n, n + 1",
        ".endr",
        "addi s1, s1, 8",
        "bne s1, s2, 3b",
        "j 9f",
        // As i32, or added to one.
        "7:",
        "addi t0, s6, -1",
        "beqz t0, 8f",
        ".set n, 0",
        ".irp sum, t3, t4, t5, t6",
        "lw t0, 4 * n(s1)",
        "add t1, \\sum, t0",
        "slti t2, \\sum, 0",
        "slt t0, t1, t0",
        "beq t0, t2, 1f",
        "srai \\sum, \\sum, 31",
        "li t1, 0x7fffffff",
        "xor t1, t1, \\sum",
        "1:",
        "mv \\sum, t1",
        ".set n, n + 1",
        ".endr",
        "8:",
        "sw t3, 0(s1)",
        "sw t4, 4(s1)",
        "sw t5, 8(s1)",
        "sw t6, 12(s1)",
        "addi s1, s1, 16",
        "bne s1, s2, 3b",
        "9:",
        ".irp i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9",
        "lw s\\i, 4*\\i(sp)",
        ".endr",
        "addi sp, sp, 48",
        "ret",
        // A lower base: both words of the product, rounded at bit base + 16 of 17 to 32.
        "6:",
        "addi a7, s4, 32",
        "li a5, 1",
        "sll a5, a5, a7",
        "neg a4, s4",
        "addi a4, a4, -1",
        ".set n, 0",
        ".irp sum, t3, t4, t5, t6",
        "lbu t0, n(s0)",
        "slli t0, t0, 2",
        "add t0, t0, s3",
        "lw t0, 0(t0)",
        "mulh t1, \\sum, t0",
        "mul t0, \\sum, t0",
        "add t0, t0, a5",
        "sltu t2, t0, a5",
        "add t1, t1, t2",
        "srl t0, t0, a7",
        "srli t0, t0, 1",
        "sll t2, t1, a4",
        "or \\sum, t0, t2",
        "sra t1, t1, a7",
        "srai t1, t1, 1",
        "srai t0, \\sum, 31",
        "beq t0, t1, 1f",
        "srai t1, t1, 31",
        "li \\sum, 0x7fffffff",
        "xor \\sum, \\sum, t1",
        "1:",
        ".set n, n + 1",
        ".endr",
        "j 5b",
        ".option pop",
    )
}

/// Runs the loop over a multiple of four rows above zero.
fn run<T>(finish: Finish, w: &[i8], code: &[u8], base: u8, x: &[i16], y: &mut [T], range: Range<usize>) {
    let n = x.len();
    let start = y.as_mut_ptr();
    let block = Rows {
        x: x.as_ptr(),
        n,
        w: w.as_ptr().wrapping_add(range.start * n),
        code: code.as_ptr().wrapping_add(range.start),
        y: start.wrapping_add(range.start).cast(),
        end: start.wrapping_add(range.end).cast(),
        multiplier: MULTIPLIER.as_ptr(),
        // A shift of 48 and more leaves nothing but the rounding, as one of 48 does.
        base: base.min(48) as i32,
        finish,
    };
    // SAFETY: `matvec`, the only caller, has `range` end at what `y` and `code` have and `w` has rows of, and `finish`
    // stores elements of the size of `T`; the columns are a multiple of eight above zero. The loop ends when `y` has
    // reached `end`.
    unsafe { rows(&block) };
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
    if n % 8 == 0 && n > 0 && rows >= 4 {
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
