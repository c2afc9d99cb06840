//! Projections with `SMLAD`: two multiplications of i16 per instruction.
//!
//! `SXTB16` widens bytes 0 and 2 of a word of weights, with a rotation bytes 1 and 3. So activations are packed: of
//! four, the middle two change places, and their words hold the pairs (0, 2) and (1, 3). One instruction per product is
//! the floor of this method. Four rows share the loads of activations: 37 instructions for 32 products.
#![allow(unsafe_code, reason = "the loops are assembly; each block has its reason")]

use core::arch::{asm, naked_asm};

use crate::linear::BLOCK;
use crate::simd::fours::{Chosen, Fours, matvec};
use crate::simd::narrow;
use crate::simd::{Kernels, Scalar};

/// Whether rows of `columns` are packed: their sums fit an i32, and the loops take eight columns at a time.
const fn packs(columns: usize) -> bool {
    columns % 8 == 0 && columns <= BLOCK && columns > 0
}

/// Exchanges the middle two of every four activations; done twice it changes nothing.
pub(super) fn pack(x: &mut [i16]) {
    if !packs(x.len()) {
        return;
    }
    let Ok(words) = bytemuck::try_cast_slice_mut::<i16, u32>(x) else {
        return x.as_chunks_mut::<4>().0.iter_mut().for_each(|four| four.swap(1, 2));
    };
    for two in words.as_chunks_mut::<2>().0 {
        let [a, b] = *two;
        *two = [a & 0xffff | b << 16, a >> 16 | b & 0xffff_0000];
    }
}

/// The next eight columns of four rows: `$first` is `smlad`, or `smuad` without the sums so far.
macro_rules! columns {
    ($first:literal, $r2:literal, $r3:literal, $r4:literal, $r5:literal) => {
        concat!(
            "ldm r0!, {{r6, r7, r8, r9}}\n",
            "ldrd r10, r11, [r1, #3 * {n}]\n",
            "sxtb16 r12, r10\n",
            $first,
            " r5, r12, r6",
            $r5,
            "\n",
            "sxtb16 r10, r10, ror #8\n",
            "smlad r5, r10, r7, r5\n",
            "sxtb16 r12, r11\n",
            "smlad r5, r12, r8, r5\n",
            "sxtb16 r11, r11, ror #8\n",
            "smlad r5, r11, r9, r5\n",
            "ldrd r10, r11, [r1, #2 * {n}]\n",
            "sxtb16 r12, r10\n",
            $first,
            " r4, r12, r6",
            $r4,
            "\n",
            "sxtb16 r10, r10, ror #8\n",
            "smlad r4, r10, r7, r4\n",
            "sxtb16 r12, r11\n",
            "smlad r4, r12, r8, r4\n",
            "sxtb16 r11, r11, ror #8\n",
            "smlad r4, r11, r9, r4\n",
            "ldrd r10, r11, [r1, #{n}]\n",
            "sxtb16 r12, r10\n",
            $first,
            " r3, r12, r6",
            $r3,
            "\n",
            "sxtb16 r10, r10, ror #8\n",
            "smlad r3, r10, r7, r3\n",
            "sxtb16 r12, r11\n",
            "smlad r3, r12, r8, r3\n",
            "sxtb16 r11, r11, ror #8\n",
            "smlad r3, r11, r9, r3\n",
            "ldrd r10, r11, [r1], #8\n",
            "sxtb16 r12, r10\n",
            $first,
            " r2, r12, r6",
            $r2,
            "\n",
            "sxtb16 r10, r10, ror #8\n",
            "smlad r2, r10, r7, r2\n",
            "sxtb16 r12, r11\n",
            "smlad r2, r12, r8, r2\n",
            "sxtb16 r11, r11, ror #8\n",
            "smlad r2, r11, r9, r2\n",
        )
    };
}

/// The loop over the rows of a matrix, four at a time; `$finish` stores r2 to r5 at r11 and moves it on.
///
/// r0 activations, r1 weights, r2-r5 sums, r6-r9 eight activations, r10-r11 eight weights, r12 four wide weights.
macro_rules! fours {
    ($name:ident, $n:literal, $eights:literal, [$($finish:literal),*]) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name(_fours: &mut Fours) {
            naked_asm!(
                cpu!(),
                "push {{r4-r11, lr}}",
                "push {{r0}}",
                "ldr r1, [r0, #28]",
                // The next four rows.
                "3:",
                "ldr r12, [sp]",
                "ldrd r0, lr, [r12]",
                ".if 8 * {eights} < {n}",
                "mov r2, #0",
                "mov r3, #0",
                "mov r4, #0",
                "mov r5, #0",
                "2:",
                ".rept {eights}",
                columns!("smlad", ", r2", ", r3", ", r4", ", r5"),
                ".endr",
                "subs lr, lr, #1",
                "bne 2b",
                ".else",
                columns!("smuad", "", "", "", ""),
                ".rept {eights} - 1",
                columns!("smlad", ", r2", ", r3", ", r4", ", r5"),
                ".endr",
                ".endif",
                "add r1, r1, #3 * {n}",
                requantize_and_store!([$($finish),*]),
                n = const $n,
                eights = const $eights,
            )
        }
    };
}

/// `fours!` for the widths that are common on chips, and a function that knows them.
macro_rules! widths {
    ($choose:ident, [$(($name:ident, $n:literal, $eights:literal)),*], $finish:tt) => {
        $(fours!($name, $n, $eights, $finish);)*

        /// The loop for rows of `n`, and its turns.
        fn $choose(n: usize) -> Chosen {
            match n {
                $($n => Some(($name, $n / (8 * $eights))),)*
                _ => None,
            }
        }
    };
}

with_finish!(i16, widths, to_i16, [(i16_32, 32, 4), (i16_64, 64, 8), (i16_128, 128, 4), (i16_256, 256, 4)]);
with_finish!(i32, widths, to_i32, [(i32_32, 32, 4), (i32_64, 64, 8), (i32_128, 128, 4), (i32_256, 256, 4)]);
with_finish!(add, widths, add_to_i32, [(add_32, 32, 4), (add_64, 64, 4), (add_128, 128, 4), (add_256, 256, 4)]);

/// One row by packed activations.
#[inline(always)]
fn dot(w: &[i8], x: &[i16]) -> i32 {
    let n = w.len().min(x.len()) & !7;
    if n == 0 || (w.as_ptr() as usize | x.as_ptr() as usize) % 4 != 0 {
        return dot_unaligned(w, x);
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
    sum
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

/// [`Kernels::matvec_i16`].
pub(super) fn matvec_i16(w: &[i8], code: &[u8], base: u8, x: &[i16], y: &mut [i16]) {
    if packs(x.len()) {
        matvec(to_i16(x.len()), dot, w, code, base, x, y, |y, q| *y = narrow::saturate(q));
    } else {
        Scalar.matvec_i16(w, code, base, x, y);
    }
}

/// [`Kernels::matvec_i32`].
pub(super) fn matvec_i32(w: &[i8], code: &[u8], base: u8, x: &[i16], y: &mut [i32]) {
    if packs(x.len()) {
        matvec(to_i32(x.len()), dot, w, code, base, x, y, |y, q| *y = q);
    } else {
        Scalar.matvec_i32(w, code, base, x, y);
    }
}

/// [`Kernels::matvec_add`].
pub(super) fn matvec_add(w: &[i8], code: &[u8], base: u8, x: &[i16], y: &mut [i32]) {
    if packs(x.len()) {
        matvec(add_to_i32(x.len()), dot, w, code, base, x, y, |y, q| *y = y.saturating_add(q));
    } else {
        Scalar.matvec_add(w, code, base, x, y);
    }
}
