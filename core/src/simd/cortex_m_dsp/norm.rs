//! The last pass of a norm, two activations at a time.
#![allow(unsafe_code, reason = "the loop is assembly; see the block")]

use core::arch::asm;

use crate::simd::channels::{self, Scaled};

/// [`norm`](crate::norm::norm).
pub(super) fn norm(x: &[i32], weight: &[i16], bias: &[i16], shift: u8, eps: u64, u: &mut [i16]) {
    let Some(scaled) = channels::scale_of(x, bias, shift, eps) else {
        return channels::rare::norm(x, weight, bias, shift, eps, u);
    };
    let n = u.len();
    let Scaled { down, up, r, weight_up } = scaled;
    let words = (u.as_ptr() as usize | weight.as_ptr() as usize) % 4 == 0;
    if down != 0 || x.len() != n || weight.len() != n || n % 2 != 0 || n == 0 || !words {
        return channels::normalize(scaled, x, weight, u);
    }
    let ends = u.as_mut_ptr_range();
    // SAFETY: two elements a turn until `u` is at its end, after `n`, an even number; `x` and `weight` have as many.
    unsafe {
        asm!(
            "2:",
            "ldrd {a}, {b}, [{x}], #8",
            "ldr {w}, [{weight}], #4",
            "lsl {a}, {a}, {up}",
            "lsl {b}, {b}, {up}",
            "smmulr {a}, {a}, {r}",
            "smmulr {b}, {b}, {r}",
            "sxth {t}, {w}",
            "asr {w}, {w}, #16",
            "lsl {t}, {t}, {weight_up}",
            "lsl {w}, {w}, {weight_up}",
            "smmulr {a}, {a}, {t}",
            "smmulr {b}, {b}, {w}",
            "ssat {a}, #16, {a}",
            "ssat {b}, #16, {b}",
            "pkhbt {a}, {a}, {b}, lsl #16",
            "mov {t}, #0x00010001",
            "qsub16 {a}, {a}, {t}",
            "qadd16 {a}, {a}, {t}",
            "str {a}, [{u}], #4",
            "cmp {u}, {end}",
            "bne 2b",
            u = inout(reg) ends.start => _,
            end = in(reg) ends.end,
            x = inout(reg) x.as_ptr() => _,
            weight = inout(reg) weight.as_ptr() => _,
            up = in(reg) up,
            r = in(reg) r,
            weight_up = in(reg) weight_up,
            a = out(reg) _,
            b = out(reg) _,
            w = out(reg) _,
            t = out(reg) _,
            options(nostack),
        );
    }
}
