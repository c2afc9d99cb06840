//! RV32IM: four rows share the loads of activations; sums, addresses and the activation stay in registers.
#![allow(unsafe_code, reason = "the loop is assembly; its call has the reason")]

use core::arch::naked_asm;

/// What the loop reads and leaves, in the order of its loads.
#[repr(C)]
struct Dots {
    x: *const i16,
    w: *const i8,
    /// Bytes from one row to the next.
    row: usize,
    /// Columns that it takes, a multiple of eight.
    columns: usize,
    sums: [i32; 4],
}

/// a1 activations, a2-a5 rows, a6 the end of the activations, a7 an activation, t0 a weight and its product, t3-t6 sums.
#[unsafe(naked)]
unsafe extern "C" fn dot_loop(_dots: &mut Dots) {
    naked_asm!(
        // Every RV32IM target has it; the assembler of such a function does not know.
        ".option push",
        ".option arch, +m",
        "lw a1, 0(a0)",
        "lw a2, 4(a0)",
        "lw t0, 8(a0)",
        "lw a6, 12(a0)",
        "add a3, a2, t0",
        "add a4, a3, t0",
        "add a5, a4, t0",
        "slli a6, a6, 1",
        "add a6, a6, a1",
        "li t3, 0",
        "li t4, 0",
        "li t5, 0",
        "li t6, 0",
        "2:",
        ".irp i, 0, 1, 2, 3, 4, 5, 6, 7",
        "lh a7, 2*\\i(a1)",
        "lb t0, \\i(a2)",
        "mul t0, t0, a7",
        "add t3, t3, t0",
        "lb t0, \\i(a3)",
        "mul t0, t0, a7",
        "add t4, t4, t0",
        "lb t0, \\i(a4)",
        "mul t0, t0, a7",
        "add t5, t5, t0",
        "lb t0, \\i(a5)",
        "mul t0, t0, a7",
        "add t6, t6, t0",
        ".endr",
        "addi a1, a1, 16",
        "addi a2, a2, 8",
        "addi a3, a3, 8",
        "addi a4, a4, 8",
        "addi a5, a5, 8",
        "bne a1, a6, 2b",
        "sw t3, 16(a0)",
        "sw t4, 20(a0)",
        "sw t5, 24(a0)",
        "sw t6, 28(a0)",
        "ret",
        ".option pop",
    )
}

/// The sums of the first columns, a multiple of eight, of four rows, and how many columns that are.
pub(crate) fn dot4(w: &[i8], x: &[i16]) -> ([i32; 4], usize) {
    let columns = x.len() & !7;
    let mut dots = Dots { x: x.as_ptr(), w: w.as_ptr(), row: x.len(), columns, sums: [0; 4] };
    if columns == 0 || w.len() != 4 * x.len() {
        return ([0; 4], 0);
    }
    // SAFETY: reads `columns` activations and as many weights of four rows of `x.len()`.
    unsafe { dot_loop(&mut dots) };
    (dots.sums, columns)
}
