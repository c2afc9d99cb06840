//! Four rows of a projection at a time, on cores with the DSP extension: what follows the sums.
//!
//! `SMMUL` gives the high word of a sum times its row's multiplier; the bit that the shift drops last rounds.
#![allow(unsafe_code, reason = "the call of a loop in assembly has its reason")]

use super::narrow::{MULTIPLIER, with_scale};

/// What a loop over blocks of four rows reads and keeps, in the order of its loads.
#[repr(C)]
pub(super) struct Fours {
    /// `[n]`, in the loop's order.
    x: *const i16,
    /// Turns of the loop over columns.
    turns: usize,
    /// `[rows]`.
    code: *const u8,
    multiplier: *const i32,
    /// `base - 16`.
    shift: i32,
    /// `[rows]` of i16 or i32.
    y: *mut u8,
    /// Behind the last row of `y`.
    end: *const u8,
    /// `[rows, n]`.
    w: *const i8,
}

/// Requantises the sums in r2 to r5 of four rows, stores them by `$finish` and goes back to label 3 for the next four.
///
/// The stack holds the address of [`Fours`]. All registers but r1 and sp are free; `$finish` stores at r11 and moves it on.
macro_rules! requantize_and_store {
    ([$($finish:literal),*]) => {
        concat!(
            // Requantize: smmul gives the high word, the bit that the shift drops last rounds.
            "ldr lr, [sp]\n",
            "ldrd r10, r11, [lr, #8]\n",
            "ldr r12, [r10], #4\n",
            "str r10, [lr, #8]\n",
            "uxtb r6, r12\n",
            "uxtb r7, r12, ror #8\n",
            "uxtb r8, r12, ror #16\n",
            "lsr r9, r12, #24\n",
            "ldr r6, [r11, r6, lsl #2]\n",
            "ldr r7, [r11, r7, lsl #2]\n",
            "ldr r8, [r11, r8, lsl #2]\n",
            "ldr r9, [r11, r9, lsl #2]\n",
            "ldrd r10, r11, [lr, #16]\n",
            "cmp r10, #0\n",
            "ble 4f\n",
            "smmul r2, r2, r6\n",
            "smmul r3, r3, r7\n",
            "smmul r4, r4, r8\n",
            "smmul r5, r5, r9\n",
            "asrs r2, r2, r10\n",
            "adc r2, r2, #0\n",
            "asrs r3, r3, r10\n",
            "adc r3, r3, #0\n",
            "asrs r4, r4, r10\n",
            "adc r4, r4, #0\n",
            "asrs r5, r5, r10\n",
            "adc r5, r5, #0\n",
            "5:\n",
            $($finish, "\n",)*
            "str r11, [lr, #20]\n",
            "ldr r10, [lr, #24]\n",
            "cmp r11, r10\n",
            "bne 3b\n",
            "6:\n",
            "pop {{r0}}\n",
            "pop {{r4-r11, pc}}\n",
            // A base below 17: the sums are shifted up, so that the high word has all bits. Without room for that
            // the loop ends here.
            "4:\n",
            "rsb r10, r10, #0\n",
            "eor r12, r2, r2, asr #31\n",
            "eor r0, r3, r3, asr #31\n",
            "orr r12, r12, r0\n",
            "eor r0, r4, r4, asr #31\n",
            "orr r12, r12, r0\n",
            "eor r0, r5, r5, asr #31\n",
            "orr r12, r12, r0\n",
            "rsb r0, r10, #31\n",
            "lsrs r12, r12, r0\n",
            "bne 6b\n",
            "lsl r2, r2, r10\n",
            "lsl r3, r3, r10\n",
            "lsl r4, r4, r10\n",
            "lsl r5, r5, r10\n",
            "smmulr r2, r2, r6\n",
            "smmulr r3, r3, r7\n",
            "smmulr r4, r4, r8\n",
            "smmulr r5, r5, r9\n",
            "b 5b\n",
        )
    };
}

/// Calls `$loops!(NAME, FINISH)` for the three ways to store results.
macro_rules! with_finish {
    // Saturated to -32768..=32767, then -32768 becomes -32767: down by one and up by one, both saturating.
    (i16, $loops:ident, $($rest:tt)*) => {
        $loops!($($rest)*, [
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
    (i32, $loops:ident, $($rest:tt)*) => {
        $loops!($($rest)*, ["stm r11!, {{r2-r5}}"]);
    };
    (add, $loops:ident, $($rest:tt)*) => {
        $loops!($($rest)*, [
            "ldm r11, {{r6-r9}}",
            "qadd r2, r2, r6",
            "qadd r3, r3, r7",
            "qadd r4, r4, r8",
            "qadd r5, r5, r9",
            "stm r11!, {{r2-r5}}"
        ]);
    };
}

/// A loop and its turns.
pub(super) type Chosen = Option<(unsafe extern "C" fn(&mut Fours), usize)>;

/// Runs the loop over as many blocks of four rows as there are from row `from` on; returns the row it ended at: the
/// first of a block whose sums have no room, or of a remainder.
fn run_fours<T>(chosen: Chosen, from: usize, w: &[i8], code: &[u8], base: u8, x: &[i16], y: &mut [T]) -> usize {
    let n = x.len();
    let (Some((function, turns)), true) = (chosen, n > 0) else { return from };
    let (Some(w), Some(code), Some(y)) = (w.get(from * n..), code.get(from..), y.get_mut(from..)) else { return from };
    let rows = (w.len() / n).min(code.len()).min(y.len()) & !3;
    if rows == 0 || (w.as_ptr() as usize | x.as_ptr() as usize | y.as_ptr() as usize) % 4 != 0 {
        return from;
    }
    let start = y.as_mut_ptr();
    let mut fours = Fours {
        x: x.as_ptr(),
        turns,
        code: code.as_ptr(),
        multiplier: MULTIPLIER.as_ptr(),
        shift: base as i32 - 16,
        y: start.cast(),
        end: start.wrapping_add(rows).cast(),
        w: w.as_ptr(),
    };
    // SAFETY: the loop reads `n` activations, `rows * n` weights and `rows` codes and writes `rows` results; `rows` is
    // at most what each slice holds, and a multiple of four above zero, at which the loop stops. Words lie at multiples
    // of four; `code` is read by a load that may be unaligned.
    unsafe { function(&mut fours) };
    from + (fours.y as usize - start as usize) / size_of::<T>()
}

/// All rows; `dot` and `emit(y, requantized)` where the loop for blocks does not do it.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "the operands of one product, and what is done with them")]
pub(super) fn matvec<T>(
    chosen: Chosen,
    dot: fn(&[i8], &[i16]) -> i32,
    w: &[i8],
    code: &[u8],
    base: u8,
    x: &[i16],
    y: &mut [T],
    emit: impl Fn(&mut T, i32),
) {
    let n = x.len().max(1);
    let mut row = 0;
    loop {
        row = run_fours(chosen, row, w, code, base, x, y);
        // The block without room, or the remainder.
        let rows = w.chunks_exact(n).zip(code).zip(y.iter_mut()).skip(row).take(4);
        let mut left = 0;
        for ((w, &code), y) in rows {
            emit(y, one(dot(w, x), code, base));
            left += 1;
        }
        row += left;
        if left == 0 {
            return;
        }
    }
}

#[inline(never)]
fn one(sum: i32, code: u8, base: u8) -> i32 {
    with_scale!(base, |scale| scale.apply(sum, code))
}
