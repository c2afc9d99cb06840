//! The last pass of a norm, two activations at a time.
#![allow(unsafe_code, reason = "the loop is assembly; see the block")]

use core::arch::asm;

use crate::simd::channels::{self, Scaled};
use crate::simd::rare;

/// [`norm`](crate::norm::norm).
pub(super) fn norm(x: &[i32], weight: &[i16], bias: &[i16], shift: u8, eps: u64, u: &mut [i16]) {
    let (largest, sum) = measure(x);
    let Some(scaled) =
        channels::scale_by(largest, |down| if down == 0 { sum } else { channels::squares(x, down) }, bias, shift, eps)
    else {
        return rare::norm(x, weight, bias, shift, eps, u);
    };
    let n = u.len();
    let Scaled { down, up, r, weight_up } = scaled;
    let words = (u.as_ptr() as usize | weight.as_ptr() as usize) % 4 == 0;
    if down != 0 || x.len() != n || weight.len() != n || n % 2 != 0 || n == 0 || !words {
        return rare::norm(x, weight, bias, shift, eps, u);
    }
    let ends = u.as_mut_ptr_range();
    // SAFETY: two elements per iteration until `u` is at its end, after `n`, an even number; `x` and `weight` have as
    // many.
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

/// The bits of all magnitudes, and the sum of squares modulo 2^64.
fn measure(x: &[i32]) -> (u32, u64) {
    let (mut largest, mut low, mut high) = (0u32, 0u32, 0u32);
    let (twos, rest) = x.as_chunks::<2>();
    let ends = twos.as_ptr_range();
    if !twos.is_empty() {
        // SAFETY: reads `twos`, two elements per iteration, to its end.
        unsafe {
            asm!(
                "2:",
                "ldrd {a}, {b}, [{x}], #8",
                "eor {t}, {a}, {a}, asr #31",
                "sub {t}, {t}, {a}, asr #31",
                "orr {m}, {m}, {t}",
                "smlal {low}, {high}, {a}, {a}",
                "eor {t}, {b}, {b}, asr #31",
                "sub {t}, {t}, {b}, asr #31",
                "orr {m}, {m}, {t}",
                "smlal {low}, {high}, {b}, {b}",
                "cmp {x}, {end}",
                "bne 2b",
                x = inout(reg) ends.start => _,
                end = in(reg) ends.end,
                m = inout(reg) largest,
                low = inout(reg) low,
                high = inout(reg) high,
                a = out(reg) _,
                b = out(reg) _,
                t = out(reg) _,
                options(nostack, readonly),
            );
        }
    }
    let mut sum = (high as u64) << 32 | low as u64;
    for &x in rest {
        largest |= x.unsigned_abs();
        sum = sum.wrapping_add((x as i64 * x as i64) as u64);
    }
    (largest, sum)
}
