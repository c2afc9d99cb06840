//! The step size of each channel: `l = log2(softplus(dt_proj dt + bias))`, then `delta * x` and the first decay.
#![allow(unsafe_code, reason = "the loops are assembly; each call has its reason")]

use core::arch::{asm, naked_asm};

use crate::decays::DECAYS;
use crate::linear;
use crate::simd::narrow::MULTIPLIER;
use crate::simd::rare;
use crate::tables::{EXP2, LOG2_SOFTPLUS};

/// What the loop reads and keeps, in the order of its loads.
#[repr(C)]
struct Operands {
    /// dt, packed: r2 to r5.
    dt: [u32; 4],
    /// `[n, rank]`: r0.
    w: *const i8,
    /// `[n]`: r1.
    l: *mut i16,
    /// `[n]`: r6.
    code: *const u8,
    /// `[n]`: r7.
    bias: *const i16,
    /// r8.
    multiplier: *const i32,
    /// `base - 16`: r9.
    shift: u32,
    /// r10.
    table: *const i16,
    end: *const i16,
}

/// The loop for one rank; `$dot` computes r11 from r2-r5 and the weights at r0.
macro_rules! log_delta {
    ($name:ident, [$($dot:literal),*]) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name(_pass: &mut Operands) {
            naked_asm!(
                cpu!(),
                "push {{r0, r4-r11, lr}}",
                "ldrd r6, r7, [r0, #24]",
                "ldrd r8, r9, [r0, #32]",
                "ldr r10, [r0, #40]",
                "ldrd r2, r3, [r0]",
                "ldrd r4, r5, [r0, #8]",
                "ldrd r0, r1, [r0, #16]",
                "2:",
                ".rept 2",
                $($dot,)*
                "ldrb r12, [r6], #1",
                "ldr r12, [r8, r12, lsl #2]",
                "ldrsh lr, [r7], #2",
                "smmul r11, r11, r12",
                "asrs r11, r11, r9",
                "adc r11, r11, lr",
                // Between -16 and 16 the table; else the loop ends here.
                "add r11, r11, #0x4000",
                "lsrs r12, r11, #15",
                "bne 3f",
                "lsr r12, r11, #6",
                // An entry and the next one in one load, that may be unaligned.
                "ldr r12, [r10, r12, lsl #1]",
                "and r11, r11, #63",
                "sxth lr, r12",
                "rsb r12, lr, r12, asr #16",
                "mul r11, r11, r12",
                "add r11, r11, #32",
                "add r11, lr, r11, asr #6",
                "strh r11, [r1], #2",
                ".endr",
                "ldr r12, [sp]",
                "ldr r12, [r12, #44]",
                "cmp r1, r12",
                "bne 2b",
                "3:",
                "ldr r12, [sp]",
                "str r1, [r12, #20]",
                "pop {{r0, r4-r11, pc}}",
            )
        }
    };
}

log_delta!(rank_2, ["ldrsb r11, [r0], #1", "ldrsb r12, [r0], #1", "smulbb r11, r11, r2", "smlabt r11, r12, r2, r11"]);
log_delta!(
    rank_4,
    [
        "ldr r12, [r0], #4",
        "sxtb16 r11, r12",
        "sxtb16 r12, r12, ror #8",
        "smuad r11, r11, r2",
        "smlad r11, r12, r3, r11"
    ]
);
log_delta!(
    rank_8,
    [
        "ldr r12, [r0], #4",
        "sxtb16 r11, r12",
        "sxtb16 r12, r12, ror #8",
        "smuad r11, r11, r2",
        "smlad r11, r12, r3, r11",
        "ldr r12, [r0], #4",
        "sxtb16 lr, r12",
        "sxtb16 r12, r12, ror #8",
        "smlad r11, lr, r4, r11",
        "smlad r11, r12, r5, r11"
    ]
);

/// Two activations as one word.
fn pair(low: i16, high: i16) -> u32 {
    low as u16 as u32 | (high as u16 as u32) << 16
}

/// [`project`](crate::simd::Kernels::project) of [`LogDelta`](crate::simd::LogDelta).
pub(super) fn log_delta(w: &[i8], code: &[u8], base: u8, dt: &[i16], bias: &[i16], l: &mut [i16]) {
    let (function, dt_words): (unsafe extern "C" fn(&mut Operands), _) = match *dt {
        [a, b] => (rank_2, [pair(a, b), 0, 0, 0]),
        [a, b, c, d] => (rank_4, [pair(a, c), pair(b, d), 0, 0]),
        [a, b, c, d, e, f, g, h] => (rank_8, [pair(a, c), pair(b, d), pair(e, g), pair(f, h)]),
        _ => (rank_8, [0; 4]),
    };
    let n = l.len();
    let whole = code.len() == n && bias.len() == n && w.len() == n * dt.len() && n.is_multiple_of(2);
    let fits = whole && base >= 17 && matches!(dt.len(), 2 | 4 | 8);
    let mut from = 0;
    while from < n {
        let ends = l.as_mut_ptr_range();
        let mut pass = Operands {
            dt: dt_words,
            w: w.as_ptr().wrapping_add(from * dt.len()),
            l: ends.start.wrapping_add(from),
            code: code.as_ptr().wrapping_add(from),
            bias: bias.as_ptr().wrapping_add(from),
            multiplier: MULTIPLIER.as_ptr(),
            shift: (base as u32).wrapping_sub(16),
            table: LOG2_SOFTPLUS.as_ptr(),
            end: ends.end,
        };
        if fits {
            // SAFETY: the loop goes through the channels from `from` to `n`, both even; all rows have `n` of them. It
            // reads words of weights by a load that may be unaligned. The index into the table has 9 bits, and the
            // table one entry more than 512.
            unsafe { function(&mut pass) };
        }
        // It has finished, or stopped at a channel beyond the table. It resumes at an even channel.
        from = (pass.l as usize - ends.start as usize) / 2;
        let stop = if fits { (from + 2) & !1 } else { n };
        while from < stop.min(n) {
            let weights = w.get(from * dt.len()..(from + 1) * dt.len());
            if let (Some(w), Some(&code), Some(&bias), Some(l)) =
                (weights, code.get(from), bias.get(from), l.get_mut(from))
            {
                *l = rare::log_delta_of(linear::dot_i8_i16(w, dt), code, base, bias);
            }
            from += 1;
        }
    }
}

/// [`delta_x`](crate::selective_scan::delta_x) of all channels.
pub(super) fn delta_x(x: &[i16], l: &[i16], base: i32, code: &[u8], dx: &mut [i16]) {
    let n = dx.len();
    if x.len() != n || l.len() != n || code.len() != n || n % 2 != 0 || n == 0 || dx.as_ptr() as usize % 4 != 0 {
        return rare::delta_x(x, l, base, code, dx);
    }
    let ends = dx.as_mut_ptr_range();
    // SAFETY: two channels per iteration until `dx` is at its end, after `n`, an even number; all rows have `n`. The
    // index into the table has 7 bits, and the table one entry more than 128: one load, that may be unaligned, reads
    // two, and the 3 bits below go between them. The carry is the bit that a shift drops last.
    unsafe {
        asm!(
            "2:",
            "ldrb {c}, [{code}], #1",
            "ldrsh {e}, [{l}], #2",
            "add {e}, {e}, {c}, lsl #5",
            "add {e}, {e}, {base}",
            "ubfx {c}, {e}, #3, #7",
            "ldr {c}, [{table}, {c}, lsl #1]",
            "and {r}, {e}, #7",
            "uxth {t}, {c}",
            "rsb {c}, {t}, {c}, lsr #16",
            "mul {c}, {c}, {r}",
            "lsrs {c}, {c}, #3",
            "adc {c}, {c}, {t}",
            "ldrsh {v}, [{x}], #2",
            "asr {e}, {e}, #10",
            "rsb {e}, {e}, #14",
            "usat {e}, #5, {e}",
            "mul {v}, {v}, {c}",
            "asr {v}, {v}, {e}",
            "add {v}, {v}, #1",
            "ssat {v}, #16, {v}, asr #1",
            "ldrb {c}, [{code}], #1",
            "ldrsh {e}, [{l}], #2",
            "add {e}, {e}, {c}, lsl #5",
            "add {e}, {e}, {base}",
            "ubfx {c}, {e}, #3, #7",
            "ldr {c}, [{table}, {c}, lsl #1]",
            "and {r}, {e}, #7",
            "uxth {t}, {c}",
            "rsb {c}, {t}, {c}, lsr #16",
            "mul {c}, {c}, {r}",
            "lsrs {c}, {c}, #3",
            "adc {c}, {c}, {t}",
            "ldrsh {t}, [{x}], #2",
            "asr {e}, {e}, #10",
            "rsb {e}, {e}, #14",
            "usat {e}, #5, {e}",
            "mul {t}, {t}, {c}",
            "asr {t}, {t}, {e}",
            "add {t}, {t}, #1",
            "ssat {t}, #16, {t}, asr #1",
            "pkhbt {v}, {v}, {t}, lsl #16",
            "mov {t}, #0x00010001",
            "qsub16 {v}, {v}, {t}",
            "qadd16 {v}, {v}, {t}",
            "str {v}, [{dx}], #4",
            "cmp {dx}, {end}",
            "bne 2b",
            dx = inout(reg) ends.start => _,
            end = in(reg) ends.end,
            x = inout(reg) x.as_ptr() => _,
            l = inout(reg) l.as_ptr() => _,
            code = inout(reg) code.as_ptr() => _,
            table = in(reg) EXP2.as_ptr(),
            base = in(reg) base,
            c = out(reg) _,
            e = out(reg) _,
            v = out(reg) _,
            t = out(reg) _,
            r = out(reg) _,
            options(nostack),
        );
    }
}

/// Replaces `l` by the decay of each channel's first state.
#[cfg(mambabyte_dsp)]
pub(super) fn first_decay(l: &mut [i16], a_log: &[u8], a_base: i16) {
    // The index is clamped to 0..=2432 by two saturations to 12 bits; from 2432 on all decays are 0.
    const ABOVE: i32 = 4095 - 2432;
    let base = super::scan::index_base(a_base) + 8 * ABOVE;
    let n = l.len();
    if a_log.len() != n || n % 2 != 0 || n == 0 || l.as_ptr() as usize % 4 != 0 {
        return rare::first_decay(l, a_log, a_base);
    }
    let ends = l.as_mut_ptr_range();
    // SAFETY: two channels per iteration to the end of `l`, whose length is even; `a_log` has as many. The table has
    // more than 2433 entries.
    unsafe {
        asm!(
            "2:",
            "ldrb {t}, [{a_log}], #1",
            "ldrb {s}, [{a_log}], #1",
            "ldr {v}, [{l}]",
            "add {t}, {base}, {t}, lsl #5",
            "add {s}, {base}, {s}, lsl #5",
            "sxtah {t}, {t}, {v}",
            "sxtah {s}, {s}, {v}, ror #16",
            "usat {t}, #12, {t}, asr #3",
            "usat {s}, #12, {s}, asr #3",
            "sub {t}, {t}, #{above}",
            "sub {s}, {s}, #{above}",
            "usat {t}, #12, {t}",
            "usat {s}, #12, {s}",
            "ldrh {t}, [{table}, {t}, lsl #1]",
            "ldrh {s}, [{table}, {s}, lsl #1]",
            "orr {t}, {t}, {s}, lsl #16",
            "str {t}, [{l}], #4",
            "cmp {l}, {end}",
            "bne 2b",
            l = inout(reg) ends.start => _,
            end = in(reg) ends.end,
            a_log = inout(reg) a_log.as_ptr() => _,
            table = in(reg) DECAYS.as_ptr(),
            base = in(reg) base,
            above = const ABOVE,
            t = out(reg) _,
            s = out(reg) _,
            v = out(reg) _,
            options(nostack),
        );
    }
}
