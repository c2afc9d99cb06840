//! Projections with `SMLAD`: two multiplications of i16 per instruction.
//!
//! `SXTB16` widens bytes 0 and 2 of a word of weights, with a rotation bytes 1 and 3. So activations are packed: of
//! four, the middle two change places, and their words hold the pairs (0, 2) and (1, 3). One instruction per product is
//! the floor of this method. Four rows share the loads of activations: 37 instructions for 32 products.
//!
//! A loop for each width of rows makes the sums; what becomes of four sums is one of a few functions that it calls.
#![allow(unsafe_code, reason = "the loops are assembly; each block has its reason")]

use core::arch::{asm, naked_asm};

use super::finish::{Kind, Rows, far_add, far_i16, far_i32, near_add, near_i16, near_i32, up_add, up_i32};
use crate::cannot::never;
use crate::linear::{self, BLOCK};
use crate::simd::narrow::{self, MULTIPLIER, Requantizer};

/// Whether rows of `columns` are packed: their sums fit an i32, and the loops take eight columns at a time.
const fn packs(columns: usize) -> bool {
    columns % 8 == 0 && columns <= BLOCK && columns > 0
}

/// Exchanges the middle two of every four activations. Doing it twice changes nothing.
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

/// The loop over the rows of a matrix, four at a time.
type Loop = unsafe extern "C" fn(&mut Rows);

/// The next eight columns of four rows: `$first` is `smlad`, or `smuad` without the sums so far.
macro_rules! eight {
    ($first:literal, $r2:literal, $r3:literal, $r4:literal, $r5:literal) => {
        concat!(
            "ldm r0!, {{r6, r7, r8, r9}}\n",
            eight!(@ "r5", "[r1, #3 * {n}]", $first, $r5),
            eight!(@ "r4", "[r1, #2 * {n}]", $first, $r4),
            eight!(@ "r3", "[r1, #{n}]", $first, $r3),
            eight!(@ "r2", "[r1], #8", $first, $r2),
        )
    };
    (@ $sum:literal, $at:literal, $first:literal, $so_far:literal) => {
        concat!(
            "ldrd r10, r11, ", $at, "\n",
            "sxtb16 r12, r10\n",
            $first, " ", $sum, ", r12, r6", $so_far, "\n",
            "sxtb16 r10, r10, ror #8\n",
            "smlad ", $sum, ", r10, r7, ", $sum, "\n",
            "sxtb16 r12, r11\n",
            "smlad ", $sum, ", r12, r8, ", $sum, "\n",
            "sxtb16 r11, r11, ror #8\n",
            "smlad ", $sum, ", r11, r9, ", $sum, "\n",
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
                // The next four rows; r0 is the address of `Rows`, which the finish leaves there.
                "3:",
                "ldr r0, [r0, #20]",
                ".if {n} > 32",
                "mov r2, #0",
                "mov r3, #0",
                "mov r4, #0",
                "mov r5, #0",
                "mov lr, #({n} / 32)",
                "2:",
                eight!("smlad", ", r2", ", r3", ", r4", ", r5"),
                ".else",
                eight!("smuad", "", "", "", ""),
                ".endif",
                ".rept 3",
                eight!("smlad", ", r2", ", r3", ", r4", ", r5"),
                ".endr",
                ".if {n} > 32",
                "subs lr, lr, #1",
                "bne 2b",
                ".endif",
                "add r1, r1, #3 * {n}",
                "ldr r0, [sp]",
                "ldr r10, [r0, #24]",
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

/// All blocks of four rows, or those before the first sums that have no room; returns the number of rows done. `y` has
/// `rows` elements of `size` bytes.
#[inline(never)]
#[allow(clippy::too_many_arguments, reason = "the operands of one product, and what is done with them")]
fn blocks(
    sums: Option<Loop>,
    kind: Kind,
    w: &[i8],
    code: &[u8],
    base: u8,
    x: &[i16],
    y: *mut u8,
    (rows, size): (usize, usize),
) -> usize {
    let (n, start) = (x.len(), y as usize);
    let base = base as u32;
    // |sum| <= n * 2^22: rows that are short leave room for a shift up.
    let chosen = match base {
        17..=25 => Some((kind.near, base - 16)),
        26.. => Some((kind.far, (base - 16).min(32))),
        _ if kind.checks || n.next_power_of_two() as u32 <= 512 >> (16 - base) => kind.up.map(|up| (up, 16 - base)),
        _ => None,
    };
    let rows = rows.min(code.len()) & !3;
    let whole = packs(n) && rows > 0 && w.len() >= rows * n;
    let (Some(function), Some((finish, shift)), true) = (sums, chosen, whole) else { return 0 };
    if (w.as_ptr() as usize | x.as_ptr() as usize | y as usize) % 4 != 0 {
        return 0;
    }
    let mut pass = Rows {
        code: code.as_ptr(),
        multiplier: MULTIPLIER.as_ptr(),
        shift,
        y,
        end: y.wrapping_add(rows * size),
        x: x.as_ptr(),
        finish,
        w: w.as_ptr(),
    };
    // SAFETY: the loop reads `n` activations, `rows * n` weights and `rows` codes and writes `rows` results; `w` and
    // `code` have as many, `y` has by its callers. `rows` is a multiple of four above zero, at which the loop stops.
    // Words lie at multiples of four; `code` is read by a load that may be unaligned. The finish stores elements of
    // `size`.
    unsafe { function(&mut pass) };
    // All, or those before four sums of which one has no room.
    (pass.y as usize - start) / size
}

/// One row, requantised; activations are packed if rows of that width are.
#[inline(never)]
fn row(w: &[i8], x: &[i16], code: u8, base: u8) -> i32 {
    let n = x.len();
    if !packs(n) {
        return narrow::requantized(linear::dot_i8_i16(w, x), code, base);
    }
    if w.len() != n || (w.as_ptr() as usize | x.as_ptr() as usize) % 4 != 0 {
        return narrow::requantized(dot_unaligned(w, x) as i64, code, base);
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
    if base < 17 {
        return narrow::requantized(sum as i64, code, base);
    }
    Requantizer::<false>::new(base).apply(sum, code)
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

/// Rows one by one; returns their number.
#[inline(always)]
fn singly<'y, T: 'y>(
    w: &[i8],
    code: &[u8],
    base: u8,
    x: &[i16],
    y: impl Iterator<Item = &'y mut T>,
    emit: impl Fn(&mut T, i32),
) -> usize {
    let mut rows = 0;
    for ((w, &code), y) in w.chunks_exact(x.len().max(1)).zip(code).zip(y) {
        emit(y, row(w, x, code, base));
        rows += 1;
    }
    rows
}

/// The rest of the operands of one product, `done` rows on.
#[inline(always)]
fn after<'a, T>(
    done: usize,
    w: &'a [i8],
    code: &'a [u8],
    x: &[i16],
    y: &'a mut [T],
) -> Option<(&'a [i8], &'a [u8], &'a mut [T])> {
    Some((w.get(done * x.len()..)?, code.get(done..)?, y.get_mut(done..)?))
}

/// [`project`](crate::simd::Kernels::project) of [`ToI16`](crate::simd::ToI16).
#[inline(always)]
pub(super) fn matvec_i16(w: &[i8], code: &[u8], base: u8, x: &[i16], y: &mut [i16]) {
    rows_i16(sums(x.len()), w, code, base, x, y);
}

#[inline(never)]
fn rows_i16(sums: Option<Loop>, w: &[i8], code: &[u8], base: u8, x: &[i16], y: &mut [i16]) {
    let kind = Kind { up: None, checks: false, near: near_i16, far: far_i16 };
    let done = blocks(sums, kind, w, code, base, x, y.as_mut_ptr().cast(), (y.len(), 2));
    let Some((w, code, y)) = after(done, w, code, x, y) else { return never("the rows that are left", ()) };
    singly(w, code, base, x, y.iter_mut(), |y, q| *y = narrow::saturate(q));
}

/// [`project`](crate::simd::Kernels::project) of [`ToI32`](crate::simd::ToI32).
#[inline(always)]
pub(super) fn matvec_i32(w: &[i8], code: &[u8], base: u8, x: &[i16], y: &mut [i32]) {
    rows_i32(sums(x.len()), w, code, base, x, y);
}

#[inline(never)]
fn rows_i32(sums: Option<Loop>, w: &[i8], code: &[u8], base: u8, x: &[i16], y: &mut [i32]) {
    let kind = Kind { up: Some(up_i32), checks: false, near: near_i32, far: far_i32 };
    let done = blocks(sums, kind, w, code, base, x, y.as_mut_ptr().cast(), (y.len(), 4));
    let Some((w, code, y)) = after(done, w, code, x, y) else { return never("the rows that are left", ()) };
    singly(w, code, base, x, y.iter_mut(), |y, q| *y = q);
}

/// [`project`](crate::simd::Kernels::project) of [`AddToI32`](crate::simd::AddToI32).
#[inline(always)]
pub(super) fn matvec_add(w: &[i8], code: &[u8], base: u8, x: &[i16], y: &mut [i32]) {
    rows_add(sums(x.len()), w, code, base, x, y);
}

#[inline(never)]
fn rows_add(sums: Option<Loop>, w: &[i8], code: &[u8], base: u8, x: &[i16], y: &mut [i32]) {
    let kind = Kind { up: Some(up_add), checks: true, near: near_add, far: far_add };
    let (mut w, mut code, mut y) = (w, code, y);
    while !y.is_empty() {
        let done = blocks(sums, kind, w, code, base, x, y.as_mut_ptr().cast(), (y.len(), 4));
        // Four rows of which one has no room for the shift up, or the rest.
        let Some((w_left, code_left, y_left)) = after(done, w, code, x, y) else {
            return never("the rows that are left", ());
        };
        let done = singly(w_left, code_left, base, x, y_left.iter_mut().take(4), |y, q| *y = y.saturating_add(q));
        let Some(left) = after(done.max(1), w_left, code_left, x, y_left) else { return };
        (w, code, y) = left;
    }
}
