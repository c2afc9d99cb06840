//! Convolution of four taps, four channels at a time, and SiLU.
//!
//! A word of weights holds one tap of four channels; `SXTB16` makes pairs (0, 2) and (1, 3) of them, and `SMLAxy` takes
//! the halves that it needs.
#![allow(unsafe_code, reason = "the loops are assembly; each call has its reason")]

use core::arch::{asm, naked_asm};

use crate::nonlinear;
use crate::simd::narrow::MULTIPLIER;
use crate::simd::rare;
use crate::tables::SIGMOID;

/// What the loop reads and keeps, in the order of its loads.
#[repr(C)]
struct Operands {
    /// `[n]`.
    code: *const u8,
    /// `[n]`.
    bias: *const i16,
    multiplier: *const i32,
    /// `base - 16`.
    shift: u32,
    /// `[n]`, in place.
    x: *mut i16,
    /// The second row of `[3, n]`.
    history: *mut i16,
    /// `[4, n]`.
    w: *const i8,
    end: *const i16,
}

/// r0 x, r1 the middle row of the history, r2 weights, r3-r6 sums.
macro_rules! conv {
    ($name:ident, $n:literal) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name(_pass: &mut Operands) {
            naked_asm!(
                cpu!(),
                "push {{r4-r11, lr}}",
                "push {{r0}}",
                "ldr r2, [r0, #24]",
                "ldrd r0, r1, [r0, #16]",
                "2:",
                "ldr r12, [r2]",
                "ldrd r7, r8, [r1, #-2 * {n}]",
                "sxtb16 lr, r12",
                "sxtb16 r12, r12, ror #8",
                "smulbb r3, lr, r7",
                "smulbt r4, r12, r7",
                "smultb r5, lr, r8",
                "smultt r6, r12, r8",
                "ldr r12, [r2, #{n}]",
                "ldrd r7, r8, [r1]",
                "strd r7, r8, [r1, #-2 * {n}]",
                "sxtb16 lr, r12",
                "sxtb16 r12, r12, ror #8",
                "smlabb r3, lr, r7, r3",
                "smlabt r4, r12, r7, r4",
                "smlatb r5, lr, r8, r5",
                "smlatt r6, r12, r8, r6",
                "ldr r12, [r2, #2 * {n}]",
                "ldrd r7, r8, [r1, #2 * {n}]",
                "strd r7, r8, [r1], #8",
                "sxtb16 lr, r12",
                "sxtb16 r12, r12, ror #8",
                "smlabb r3, lr, r7, r3",
                "smlabt r4, r12, r7, r4",
                "smlatb r5, lr, r8, r5",
                "smlatt r6, r12, r8, r6",
                "ldr r12, [r2, #3 * {n}]",
                "ldrd r7, r8, [r0]",
                "strd r7, r8, [r1, #2 * {n} - 8]",
                "adds r2, #4",
                "sxtb16 lr, r12",
                "sxtb16 r12, r12, ror #8",
                "smlabb r3, lr, r7, r3",
                "smlabt r4, r12, r7, r4",
                "smlatb r5, lr, r8, r5",
                "smlatt r6, r12, r8, r6",
                // Requantize and add the bias.
                "ldr lr, [sp]",
                "ldrd r7, r8, [lr]",
                "ldr r9, [r7], #4",
                "ldrd r10, r11, [r8], #8",
                "strd r7, r8, [lr]",
                "ldrd r7, r8, [lr, #8]",
                "uxtb r12, r9",
                "ldr r12, [r7, r12, lsl #2]",
                "smmul r3, r3, r12",
                "asrs r3, r3, r8",
                "sxth r12, r10",
                "adc r3, r3, r12",
                "ssat r3, #16, r3",
                "uxtb r12, r9, ror #8",
                "ldr r12, [r7, r12, lsl #2]",
                "smmul r4, r4, r12",
                "asrs r4, r4, r8",
                "asr r12, r10, #16",
                "adc r4, r4, r12",
                "ssat r4, #16, r4",
                "uxtb r12, r9, ror #16",
                "ldr r12, [r7, r12, lsl #2]",
                "smmul r5, r5, r12",
                "asrs r5, r5, r8",
                "sxth r12, r11",
                "adc r5, r5, r12",
                "ssat r5, #16, r5",
                "lsr r12, r9, #24",
                "ldr r12, [r7, r12, lsl #2]",
                "smmul r6, r6, r12",
                "asrs r6, r6, r8",
                "asr r12, r11, #16",
                "adc r6, r6, r12",
                "ssat r6, #16, r6",
                "pkhbt r3, r3, r4, lsl #16",
                "pkhbt r4, r5, r6, lsl #16",
                // -32768 becomes -32767.
                "mov r12, #0x00010001",
                "qsub16 r3, r3, r12",
                "qsub16 r4, r4, r12",
                "qadd16 r3, r3, r12",
                "qadd16 r4, r4, r12",
                "strd r3, r4, [r0], #8",
                "ldr r12, [lr, #28]",
                "cmp r0, r12",
                "bne 2b",
                "pop {{r0}}",
                "pop {{r4-r11, pc}}",
                n = const $n,
            )
        }
    };
}

conv!(conv_64, 64);
conv!(conv_128, 128);
conv!(conv_256, 256);

/// [`conv1d_silu`](crate::conv1d::conv1d_silu).
pub(super) fn conv1d_silu(x: &mut [i16], history: &mut [i16], w: &[i8], code: &[u8], bias: &[i16], base: u8, frac: u8) {
    let n = x.len();
    let chosen: Option<unsafe extern "C" fn(&mut Operands)> = match n {
        64 => Some(conv_64),
        128 => Some(conv_128),
        256 => Some(conv_256),
        _ => None,
    };
    let whole = w.len() == 4 * n && history.len() == 3 * n && code.len() == n && bias.len() == n && base >= 17;
    let addresses = x.as_ptr() as usize | history.as_ptr() as usize | w.as_ptr() as usize | bias.as_ptr() as usize;
    let (Some(function), true) = (chosen, whole && addresses % 4 == 0) else {
        return rare::conv1d_silu(x, history, w, code, bias, base, frac);
    };
    let ends = x.as_mut_ptr_range();
    let mut pass = Operands {
        code: code.as_ptr(),
        bias: bias.as_ptr(),
        multiplier: MULTIPLIER.as_ptr(),
        shift: base as u32 - 16,
        x: ends.start,
        history: history.as_mut_ptr().wrapping_add(n),
        w: w.as_ptr(),
        end: ends.end,
    };
    // SAFETY: the loop takes four channels per iteration and ends when `x` has reached `end`, after `n`, a multiple of
    // four; the lengths of the other rows have been compared with `n`. Words lie at multiples of four but those of
    // `code`, which are read by a load that may be unaligned.
    unsafe { function(&mut pass) };
    silu(x, frac);
}

/// SiLU in place.
pub(super) fn silu(x: &mut [i16], frac: u8) {
    let (fours, rest) = x.as_chunks_mut::<4>();
    let ends = fours.as_mut_ptr_range();
    if !fours.is_empty() {
        // SAFETY: reads and writes the i16 of `fours`, four per iteration, until its end. The index into the table has
        // 9 bits: the argument is saturated to 20 bits and 11 of them are the fraction. One load, that may be
        // unaligned, reads an entry and the next one; the last of both is entry 512, which the table has.
        unsafe {
            asm!(
                "2:",
                four_times!(
                    "ldrsh {x}, [{at}]\n",
                    "eor {m}, {x}, {x}, asr #31\n",
                    "sub {m}, {m}, {x}, asr #31\n",
                    "lsl {q}, {m}, {up}\n",
                    "usat {q}, #20, {q}\n",
                    "lsr {e}, {q}, #11\n",
                    "ldr {e}, [{table}, {e}, lsl #1]\n",
                    "ubfx {q}, {q}, #0, #11\n",
                    "uxth {b}, {e}\n",
                    "rsb {e}, {b}, {e}, lsr #16\n",
                    "mla {q}, {q}, {e}, {half_low}\n",
                    "add {e}, {b}, {q}, asr #11\n",
                    "mla {e}, {m}, {e}, {half}\n",
                    "and {x}, {x}, {x}, asr #31\n",
                    "add {x}, {x}, {e}, asr #15\n",
                    "strh {x}, [{at}], #2\n",
                ),
                "cmp {at}, {end}",
                "bne 2b",
                at = inout(reg) ends.start => _,
                end = in(reg) ends.end,
                table = in(reg) SIGMOID.as_ptr(),
                up = in(reg) 16 - frac as u32 % 16,
                half = in(reg) 1 << 14,
                half_low = in(reg) 1 << 10,
                x = out(reg) _,
                m = out(reg) _,
                q = out(reg) _,
                e = out(reg) _,
                b = out(reg) _,
                options(nostack),
            );
        }
    }
    for x in rest {
        *x = nonlinear::silu(*x, frac);
    }
}
