//! Projections with `SMLAD`: two multiplications of i16 per instruction.
//!
//! `SXTB16` widens bytes 0 and 2 of a word of weights, with a rotation bytes 1 and 3. So activations are packed: of
//! four, the middle two change places, and their words hold the pairs (0, 2) and (1, 3). One instruction per product is
//! the floor of this method. Four rows share the loads of activations: 37 instructions for 32 products.
//!
//! A loop for each width of rows makes the sums; what becomes of four sums is one of a few functions that it calls.
#![allow(unsafe_code, reason = "the loops are assembly; each block has its reason")]

use core::arch::{asm, naked_asm};

use crate::linear::BLOCK;
use crate::simd::narrow::{self, MULTIPLIER};
use crate::simd::rare;

/// Whether rows of `columns` are packed: their sums fit an i32, and the loops take eight columns at a time.
const fn packs(columns: usize) -> bool {
    columns % 8 == 0 && columns <= BLOCK && columns > 0
}

/// Exchanges the middle two of every four activations; done twice it changes nothing.
pub(super) fn pack(x: &mut [i16]) {
    if !packs(x.len()) {
        return;
    }
    let (eights, _) = x.as_chunks_mut::<8>();
    let ends = eights.as_mut_ptr_range();
    if ends.start as usize % 4 != 0 {
        return x.as_chunks_mut::<4>().0.iter_mut().for_each(|four| four.swap(1, 2));
    }
    // SAFETY: reads and writes `eights`, which is not empty and begins at a multiple of four, to its end.
    unsafe {
        asm!(
            "2:",
            "ldrd {a}, {b}, [{x}]",
            "ldrd {c}, {d}, [{x}, #8]",
            "pkhbt {t}, {a}, {b}, lsl #16",
            "pkhtb {b}, {b}, {a}, asr #16",
            "pkhbt {a}, {c}, {d}, lsl #16",
            "pkhtb {d}, {d}, {c}, asr #16",
            "strd {t}, {b}, [{x}], #8",
            "strd {a}, {d}, [{x}], #8",
            "cmp {x}, {end}",
            "bne 2b",
            x = inout(reg) ends.start => _,
            end = in(reg) ends.end,
            a = out(reg) _,
            b = out(reg) _,
            c = out(reg) _,
            d = out(reg) _,
            t = out(reg) _,
            options(nostack),
        );
    }
}

/// What becomes of the sums of four rows, r2 to r5; r0 is the address of [`Rows`]. It leaves equality when it has done
/// the last rows. All registers but r1 and sp are free.
type Finish = unsafe extern "C" fn();
/// The loop over the rows of a matrix, four at a time.
type Loop = unsafe extern "C" fn(&mut Rows);

/// What a loop reads and keeps, in the order of its loads.
#[repr(C)]
struct Rows {
    /// `[n]`, packed.
    x: *const i16,
    finish: Finish,
    /// `[rows]`.
    code: *const u8,
    multiplier: *const i32,
    /// `base - 16`, or its negative if that is below 0.
    shift: u32,
    /// `[rows]` of i16 or i32.
    y: *mut u8,
    /// Behind the last row of `y`.
    end: *const u8,
    /// `[rows, n]`.
    w: *const i8,
}

/// The next eight columns of one row, at `$at`, into its sum.
macro_rules! row {
    ($sum:literal, $at:literal) => {
        concat!(
            "ldrd r10, r11, ",
            $at,
            "\n",
            "sxtb16 r12, r10\n",
            "smlad ",
            $sum,
            ", r12, r6, ",
            $sum,
            "\n",
            "sxtb16 r10, r10, ror #8\n",
            "smlad ",
            $sum,
            ", r10, r7, ",
            $sum,
            "\n",
            "sxtb16 r12, r11\n",
            "smlad ",
            $sum,
            ", r12, r8, ",
            $sum,
            "\n",
            "sxtb16 r11, r11, ror #8\n",
            "smlad ",
            $sum,
            ", r11, r9, ",
            $sum,
            "\n",
        )
    };
}

/// r0 activations, r1 weights, r2-r5 sums, r6-r9 eight activations, r10-r11 eight weights, r12 four wide weights.
macro_rules! sums {
    ($name:ident, $n:literal) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name(_rows: &mut Rows) {
            naked_asm!(
                cpu!(),
                "push {{r4-r11, lr}}",
                "push {{r0}}",
                "ldr r1, [r0, #28]",
                // The next four rows.
                "3:",
                "ldr r0, [sp]",
                "ldr r0, [r0]",
                "mov r2, #0",
                "mov r3, #0",
                "mov r4, #0",
                "mov r5, #0",
                ".if {n} > 32",
                "mov lr, #({n} / 32)",
                "2:",
                ".endif",
                ".rept 4",
                "ldm r0!, {{r6, r7, r8, r9}}",
                row!("r5", "[r1, #3 * {n}]"),
                row!("r4", "[r1, #2 * {n}]"),
                row!("r3", "[r1, #{n}]"),
                row!("r2", "[r1], #8"),
                ".endr",
                ".if {n} > 32",
                "subs lr, lr, #1",
                "bne 2b",
                ".endif",
                "add r1, r1, #3 * {n}",
                "ldr r0, [sp]",
                "ldr r10, [r0, #4]",
                "blx r10",
                "bne 3b",
                "pop {{r0}}",
                "pop {{r4-r11, pc}}",
                n = const $n,
            )
        }
    };
}

sums!(sums_32, 32);
sums!(sums_64, 64);
sums!(sums_128, 128);
sums!(sums_256, 256);

/// The loop for rows of `n`.
#[inline(always)]
const fn sums(n: usize) -> Option<Loop> {
    match n {
        32 => Some(sums_32),
        64 => Some(sums_64),
        128 => Some(sums_128),
        256 => Some(sums_256),
        _ => None,
    }
}

/// A [`Finish`]: `$scale` turns r2-r5 by the multipliers in r6-r9 and the shift in r10 into rows, `$store` stores them at
/// r11 and moves it on.
macro_rules! finish {
    ($name:ident, [$($scale:literal),*], [$($store:literal),*]) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name() {
            naked_asm!(
                cpu!(),
                "ldrd r10, r11, [r0, #8]",
                "ldr r12, [r10], #4",
                "str r10, [r0, #8]",
                "uxtb r6, r12",
                "uxtb r7, r12, ror #8",
                "uxtb r8, r12, ror #16",
                "lsr r9, r12, #24",
                "ldr r6, [r11, r6, lsl #2]",
                "ldr r7, [r11, r7, lsl #2]",
                "ldr r8, [r11, r8, lsl #2]",
                "ldr r9, [r11, r9, lsl #2]",
                "ldrd r10, r11, [r0, #16]",
                $($scale,)*
                $($store,)*
                "str r11, [r0, #20]",
                "ldr r10, [r0, #24]",
                "cmp r11, r10",
                "bx lr",
            )
        }
    };
}

/// `finish!` for a way to scale and one to store.
macro_rules! with_scale_and_store {
    // Multipliers have eight zero bits at least below their product's rounding; nine with the mantissa's shift by one.
    ($name:ident, near, $($rest:tt)*) => {
        with_scale_and_store!(@ $name, [
            "asr r6, r6, r10", "asr r7, r7, r10", "asr r8, r8, r10", "asr r9, r9, r10",
            "smmulr r2, r2, r6", "smmulr r3, r3, r7", "smmulr r4, r4, r8", "smmulr r5, r5, r9"
        ], $($rest)*);
    };
    // SMMUL gives the high word; the bit that the shift drops last rounds.
    ($name:ident, far, $($rest:tt)*) => {
        with_scale_and_store!(@ $name, [
            "smmul r2, r2, r6", "smmul r3, r3, r7", "smmul r4, r4, r8", "smmul r5, r5, r9",
            "asrs r2, r2, r10", "adc r2, r2, #0",
            "asrs r3, r3, r10", "adc r3, r3, #0",
            "asrs r4, r4, r10", "adc r4, r4, #0",
            "asrs r5, r5, r10", "adc r5, r5, #0"
        ], $($rest)*);
    };
    // The sums have room for the shift up: their rows are short.
    ($name:ident, up, $($rest:tt)*) => {
        with_scale_and_store!(@ $name, [
            "lsl r2, r2, r10", "lsl r3, r3, r10", "lsl r4, r4, r10", "lsl r5, r5, r10",
            "smmulr r2, r2, r6", "smmulr r3, r3, r7", "smmulr r4, r4, r8", "smmulr r5, r5, r9"
        ], $($rest)*);
    };
    // Saturated to -32768..=32767, then -32768 becomes -32767: down by one and up by one, both saturating.
    (@ $name:ident, $scale:tt, i16) => {
        finish!($name, $scale, [
            "ssat r2, #16, r2",
            "ssat r3, #16, r3",
            "ssat r4, #16, r4",
            "ssat r5, #16, r5",
            "pkhbt r2, r2, r3, lsl #16",
            "pkhbt r3, r4, r5, lsl #16",
            "mov r6, #0x00010001",
            "qsub16 r2, r2, r6",
            "qsub16 r3, r3, r6",
            "qadd16 r2, r2, r6",
            "qadd16 r3, r3, r6",
            "strd r2, r3, [r11], #8"
        ]);
    };
    (@ $name:ident, $scale:tt, i32) => {
        finish!($name, $scale, ["stm r11!, {{r2-r5}}"]);
    };
    (@ $name:ident, $scale:tt, add) => {
        finish!($name, $scale, [
            "ldm r11, {{r6-r9}}",
            "qadd r2, r2, r6",
            "qadd r3, r3, r7",
            "qadd r4, r4, r8",
            "qadd r5, r5, r9",
            "stm r11!, {{r2-r5}}"
        ]);
    };
}

with_scale_and_store!(near_i16, near, i16);
with_scale_and_store!(far_i16, far, i16);
with_scale_and_store!(up_i32, up, i32);
with_scale_and_store!(near_i32, near, i32);
with_scale_and_store!(far_i32, far, i32);
with_scale_and_store!(up_add, up, add);
with_scale_and_store!(near_add, near, add);
with_scale_and_store!(far_add, far, add);

/// What a loop does with its sums, and by how much it shifts.
struct Chosen {
    finish: Finish,
    shift: u32,
}

/// The function for `base` and rows of `n`, out of those that shift up, by little and by more.
fn choose(base: u8, n: usize, up: Option<Finish>, near: Finish, far: Finish) -> Option<Chosen> {
    let base = base as u32;
    // |sum| <= n * 2^22.
    let room = 9u32.saturating_sub(n.next_power_of_two().trailing_zeros());
    match base {
        17..=25 => Some(Chosen { finish: near, shift: base - 16 }),
        26.. => Some(Chosen { finish: far, shift: (base - 16).min(32) }),
        _ if 16 - base <= room => up.map(|finish| Chosen { finish, shift: 16 - base }),
        _ => None,
    }
}

/// As many blocks of four rows as there are; returns the number of rows done.
#[inline(never)]
fn blocks<T>(sums: Option<Loop>, chosen: Option<Chosen>, w: &[i8], code: &[u8], x: &[i16], y: &mut [T]) -> usize {
    let n = x.len();
    let (Some(function), Some(chosen), true) = (sums, chosen, n > 0) else { return 0 };
    let rows = (w.len() / n).min(code.len()).min(y.len()) & !3;
    if rows == 0 || (w.as_ptr() as usize | x.as_ptr() as usize | y.as_ptr() as usize) % 4 != 0 {
        return 0;
    }
    let start = y.as_mut_ptr();
    let mut pass = Rows {
        x: x.as_ptr(),
        finish: chosen.finish,
        code: code.as_ptr(),
        multiplier: MULTIPLIER.as_ptr(),
        shift: chosen.shift,
        y: start.cast(),
        end: start.wrapping_add(rows).cast(),
        w: w.as_ptr(),
    };
    // SAFETY: the loop reads `n` activations, `rows * n` weights and `rows` codes and writes `rows` results; `rows` is
    // at most what each slice holds, and a multiple of four above zero, at which the loop stops. Words lie at multiples
    // of four; `code` is read by a load that may be unaligned. The finish stores elements of the size of `T`.
    unsafe { function(&mut pass) };
    rows
}

/// One row by packed activations, requantised.
#[inline(never)]
fn row(w: &[i8], x: &[i16], code: u8, base: u8) -> i32 {
    let n = w.len().min(x.len()) & !7;
    if n == 0 || (w.as_ptr() as usize | x.as_ptr() as usize) % 4 != 0 {
        return rare::requantized(dot_unaligned(w, x), code, base);
    }
    let mut sum = 0i32;
    // SAFETY: reads `n` bytes at `w` and twice that at `x`, both aligned to 4; `n` is a multiple of eight above zero.
    unsafe {
        asm!(
            "2:",
            "ldrd {a}, {b}, [{w}], #8",
            "ldrd {p}, {q}, [{x}], #8",
            "sxtb16 {t}, {a}",
            "smlad {sum}, {t}, {p}, {sum}",
            "sxtb16 {a}, {a}, ror #8",
            "smlad {sum}, {a}, {q}, {sum}",
            "ldrd {p}, {q}, [{x}], #8",
            "sxtb16 {t}, {b}",
            "smlad {sum}, {t}, {p}, {sum}",
            "sxtb16 {b}, {b}, ror #8",
            "smlad {sum}, {b}, {q}, {sum}",
            "subs {n}, {n}, #8",
            "bne 2b",
            w = inout(reg) w.as_ptr() => _,
            x = inout(reg) x.as_ptr() => _,
            n = inout(reg) n => _,
            sum = inout(reg) sum,
            a = out(reg) _,
            b = out(reg) _,
            p = out(reg) _,
            q = out(reg) _,
            t = out(reg) _,
            options(readonly, nostack),
        );
    }
    rare::requantized(sum, code, base)
}

/// One row by packed activations, wherever they lie.
#[cold]
#[inline(never)]
fn dot_unaligned(w: &[i8], x: &[i16]) -> i32 {
    let mut sum = 0i32;
    for (w, x) in w.chunks_exact(4).zip(x.chunks_exact(4)) {
        if let (&[w0, w1, w2, w3], &[x0, x2, x1, x3]) = (w, x) {
            for (w, x) in [(w0, x0), (w1, x1), (w2, x2), (w3, x3)] {
                sum = sum.wrapping_add(w as i32 * x as i32);
            }
        }
    }
    sum
}

/// The rows from `done` on, one by one.
#[inline(always)]
fn others<T>(done: usize, w: &[i8], code: &[u8], base: u8, x: &[i16], y: &mut [T], emit: impl Fn(&mut T, i32)) {
    let n = x.len().max(1);
    let (Some(w), Some(code), Some(y)) = (w.get(done * n..), code.get(done..), y.get_mut(done..)) else { return };
    for ((w, &code), y) in w.chunks_exact(n).zip(code).zip(y) {
        emit(y, row(w, x, code, base));
    }
}

/// [`Kernels::matvec_i16`](crate::simd::Kernels::matvec_i16).
#[inline(always)]
pub(super) fn matvec_i16(w: &[i8], code: &[u8], base: u8, x: &[i16], y: &mut [i16]) {
    rows_i16(sums(x.len()), w, code, base, x, y);
}

#[inline(never)]
fn rows_i16(sums: Option<Loop>, w: &[i8], code: &[u8], base: u8, x: &[i16], y: &mut [i16]) {
    if !packs(x.len()) {
        return rare::matvec_i16(w, code, base, x, y);
    }
    let done = blocks(sums, choose(base, x.len(), None, near_i16, far_i16), w, code, x, y);
    others(done, w, code, base, x, y, |y, q| *y = narrow::saturate(q));
}

/// [`Kernels::matvec_i32`](crate::simd::Kernels::matvec_i32).
#[inline(always)]
pub(super) fn matvec_i32(w: &[i8], code: &[u8], base: u8, x: &[i16], y: &mut [i32]) {
    rows_i32(sums(x.len()), w, code, base, x, y);
}

#[inline(never)]
fn rows_i32(sums: Option<Loop>, w: &[i8], code: &[u8], base: u8, x: &[i16], y: &mut [i32]) {
    if !packs(x.len()) {
        return rare::matvec_i32(w, code, base, x, y);
    }
    let done = blocks(sums, choose(base, x.len(), Some(up_i32), near_i32, far_i32), w, code, x, y);
    others(done, w, code, base, x, y, |y, q| *y = q);
}

/// [`Kernels::matvec_add`](crate::simd::Kernels::matvec_add).
#[inline(always)]
pub(super) fn matvec_add(w: &[i8], code: &[u8], base: u8, x: &[i16], y: &mut [i32]) {
    rows_add(sums(x.len()), w, code, base, x, y);
}

#[inline(never)]
fn rows_add(sums: Option<Loop>, w: &[i8], code: &[u8], base: u8, x: &[i16], y: &mut [i32]) {
    if !packs(x.len()) {
        return rare::matvec_add(w, code, base, x, y);
    }
    let done = blocks(sums, choose(base, x.len(), Some(up_add), near_add, far_add), w, code, x, y);
    others(done, w, code, base, x, y, |y, q| *y = y.saturating_add(q));
}
