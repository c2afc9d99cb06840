//! Cortex-M55 and M85: Helium, vectors of eight i16.
//!
//! `VQRDMULH` is `mul_q15`, `VQADD` the saturating sum, `VMLADAVA` a dot product into one register. Loops over columns
//! are predicated by the number of elements left, so that no length needs another loop. What works channel by channel is
//! that of the DSP extension, which these cores have too.
#![allow(unsafe_code, reason = "the loops are assembly; each block has its reason")]

use core::arch::{asm, naked_asm};

use super::cortex_m_dsp::Dsp;
use super::decays::{DECAYS, index_base};
use super::fours::{Fours, matvec};
use super::narrow;
use super::{Gate, Kernels, Scalar};
use crate::linear::BLOCK;

/// The kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Helium;

/// The loop over the rows of a matrix, four at a time; `$finish` stores r2 to r5 at r11 and moves it on.
///
/// r0, r1, r3 and r5 the rows, r2, r4, r6 and r8 their sums, r9 activations. The last turn over columns is predicated by
/// what is left of them.
macro_rules! helium_fours {
    ($name:ident, $finish:tt) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name(_fours: &mut Fours) {
            naked_asm!(
                ".cpu cortex-m55",
                "push {{r4-r11, lr}}",
                "push {{r0}}",
                "3:",
                "ldr r12, [sp]",
                "ldrd r9, r10, [r12]",
                "ldr r0, [r12, #28]",
                "add r1, r0, r10",
                "add r3, r1, r10",
                "add r5, r3, r10",
                "mov r2, #0",
                "mov r4, #0",
                "mov r6, #0",
                "mov r8, #0",
                "dlstp.16 lr, r10",
                "2:",
                "vldrh.u16 q0, [r9], #16",
                "vldrb.s16 q1, [r0], #8",
                "vmladava.s16 r2, q1, q0",
                "vldrb.s16 q1, [r1], #8",
                "vmladava.s16 r4, q1, q0",
                "vldrb.s16 q1, [r3], #8",
                "vmladava.s16 r6, q1, q0",
                "vldrb.s16 q1, [r5], #8",
                "vmladava.s16 r8, q1, q0",
                "letp lr, 2b",
                // Rows need not be a multiple of eight long: the next row begins where this one ends.
                "ldr r0, [r12, #28]",
                "add r0, r0, r10, lsl #2",
                "str r0, [r12, #28]",
                "mov r3, r4",
                "mov r4, r6",
                "mov r5, r8",
                requantize_and_store!($finish),
            )
        }
    };
}

with_finish!(i16, helium_fours, to_i16);
with_finish!(i32, helium_fours, to_i32);
with_finish!(add, helium_fours, add_to_i32);

/// One row.
fn dot(w: &[i8], x: &[i16]) -> i32 {
    w.iter().zip(x).fold(0i32, |sum, (&w, &x)| sum.wrapping_add(w as i32 * x as i32))
}

/// B and C of one state.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Selected {
    b: i32,
    c: i32,
}

/// Most states that the loops take: as many as official models have.
const MOST: usize = 16;

fn selected(b: &[i16], c: &[i16]) -> ([Selected; MOST], usize) {
    let mut all = [Selected::default(); MOST];
    let mut states = 0;
    for (s, (&b, &c)) in all.iter_mut().zip(b.iter().zip(c)) {
        *s = Selected { b: b as i32, c: c as i32 };
        states += 1;
    }
    (all, states)
}

/// Eight channels through all states. `$start` and `$decay` are the two kinds of decays: they leave the decay in q1.
///
/// q0 dx, q1 decay, q2 the factor of its powers or the channels' indices, q3 and q4 y of even and odd channels, q5 h.
/// r0 a_log, r1 h, r2 dx, r3 y, r4 states, r5 bytes of a row of h, r8 B and C, r10 the first decays or logarithms of
/// delta, r11 base or table, r12 bytes of a row of a_log.
macro_rules! eight_channels {
    ([$($start:literal),*], [$($decay:literal),*], [$($next:literal),*], $($operands:tt)*) => {
        asm!(
            "vldrh.u16 q0, [r2]",
            $($start,)*
            "vmov.i32 q3, #0",
            "vmov.i32 q4, #0",
            "dls lr, r4",
            "2:",
            $($decay,)*
            "ldrd r2, r4, [r8], #8",
            "vldrh.u16 q5, [r1]",
            "vqrdmulh.s16 q5, q5, q1",
            "vqrdmulh.s16 q6, q0, r2",
            "vqadd.s16 q5, q5, q6",
            "vdup.16 q6, r4",
            "vstrh.16 q5, [r1]",
            "vmullb.s16 q7, q5, q6",
            "add r1, r1, r5",
            "vadd.i32 q3, q3, q7",
            "vmullt.s16 q7, q5, q6",
            "vadd.i32 q4, q4, q7",
            $($next,)*
            "le lr, 2b",
            "vst20.32 {{q3, q4}}, [r3]",
            "vst21.32 {{q3, q4}}, [r3]",
            $($operands)*
            out("lr") _,
            out("d0") _, out("d1") _, out("d2") _, out("d3") _, out("d4") _, out("d5") _, out("d6") _, out("d7") _,
            out("d8") _, out("d9") _, out("d10") _, out("d11") _, out("d12") _, out("d13") _, out("d14") _, out("d15") _,
            options(nostack),
        )
    };
}

impl Kernels for Helium {
    const NAME: &'static str = "helium";

    fn embed(self, row: &[i8], code: u8, base: u8, res: &mut [i32]) {
        Dsp.embed(row, code, base, res);
    }

    #[inline(never)]
    fn matvec_i16(self, w: &[i8], code: &[u8], base: u8, x: &[i16], y: &mut [i16]) {
        if x.len() > BLOCK {
            return Scalar.matvec_i16(w, code, base, x, y);
        }
        matvec(Some((to_i16, x.len())), dot, w, code, base, x, y, |y, q| *y = narrow::saturate(q));
    }

    fn matvec_i32(self, w: &[i8], code: &[u8], base: u8, x: &[i16], y: &mut [i32]) {
        if x.len() > BLOCK {
            return Scalar.matvec_i32(w, code, base, x, y);
        }
        matvec(Some((to_i32, x.len())), dot, w, code, base, x, y, |y, q| *y = q);
    }

    fn matvec_add(self, w: &[i8], code: &[u8], base: u8, x: &[i16], y: &mut [i32]) {
        if x.len() > BLOCK {
            return Scalar.matvec_add(w, code, base, x, y);
        }
        matvec(Some((add_to_i32, x.len())), dot, w, code, base, x, y, |y, q| *y = y.saturating_add(q));
    }

    fn norm(self, x: &[i32], weight: &[i16], bias: &[i16], shift: u8, eps: u64, u: &mut [i16]) {
        Dsp.norm(x, weight, bias, shift, eps, u);
    }

    fn conv1d_silu(self, x: &mut [i16], history: &mut [i16], w: &[i8], code: &[u8], bias: &[i16], base: u8, frac: u8) {
        Dsp.conv1d_silu(x, history, w, code, bias, base, frac);
    }

    fn log_delta(self, w: &[i8], code: &[u8], base: u8, dt: &[i16], bias: &[i16], l: &mut [i16]) {
        Dsp.log_delta(w, code, base, dt, bias, l);
    }

    fn delta_x(self, x: &[i16], l: &[i16], base: i32, code: &[u8], dx: &mut [i16]) {
        Dsp.delta_x(x, l, base, code, dx);
    }

    fn gate(self, p: &Gate<'_>, y: &mut [i32], x: &mut [i16], z: &mut [i16]) -> u8 {
        Dsp.gate(p, y, x, z)
    }

    #[allow(clippy::too_many_arguments, reason = "the operands of one equation")]
    fn scan_free(
        self,
        h: &mut [i16],
        a_log: &[u8],
        a_base: i16,
        b: &[i16],
        c: &[i16],
        log_delta: &[i16],
        dx: &[i16],
        y: &mut [i32],
    ) {
        let n = log_delta.len();
        let (all, states) = selected(b, c);
        let whole =
            dx.len() == n && y.len() == n && h.len() == n * b.len() && a_log.len() == h.len() && b.len() == c.len();
        if !whole || states != b.len() || states == 0 || n % 8 != 0 {
            return Scalar.scan_free(h, a_log, a_base, b, c, log_delta, dx, y);
        }
        for d in (0..n).step_by(8) {
            // SAFETY: eight columns from `d`, below `n`, a multiple of eight, of `states` rows of `n` in `h` and
            // `a_log`, and of `dx`, `log_delta` and `y`. An index is held to 0..=4092, a byte adds 0..=1020.
            unsafe {
                eight_channels!(
                    [
                        "vldrh.u16 q5, [r10]",
                        "vmovlb.s16 q6, q5",
                        "vmovlt.s16 q7, q5",
                        "vadd.i32 q6, q6, r11",
                        "vadd.i32 q7, q7, r11",
                        "vqshrunb.s32 q2, q6, #3",
                        "vqshrunt.s32 q2, q7, #3",
                        "movw r10, #4092",
                        "vdup.16 q6, r10",
                        "vmin.u16 q2, q2, q6",
                        "mov r11, r9"
                    ],
                    [
                        "vldrb.u16 q1, [r0]",
                        "vshl.i16 q1, q1, #2",
                        "add r0, r0, r12",
                        "vadd.i16 q1, q1, q2",
                        "vldrh.u16 q6, [r11, q1, uxtw #1]",
                        "vorr q1, q6, q6"
                    ],
                    [],
                    inout("r8") all.as_ptr() => _,
                    inout("r1") h.as_mut_ptr().wrapping_add(d) => _,
                    inout("r2") dx.as_ptr().wrapping_add(d) => _,
                    in("r3") y.as_mut_ptr().wrapping_add(d),
                    inout("r4") states => _,
                    in("r5") 2 * n,
                    inout("r10") log_delta.as_ptr().wrapping_add(d) => _,
                    in("r9") DECAYS.as_ptr(),
                    inout("r0") a_log.as_ptr().wrapping_add(d) => _,
                    inout("r11") index_base(a_base) => _,
                    in("r12") n,
                );
            }
        }
    }

    fn scan_tied(self, h: &mut [i16], b: &[i16], c: &[i16], r: &[i16], a: &mut [i16], dx: &[i16], y: &mut [i32]) {
        let n = r.len();
        let (all, states) = selected(b, c);
        let whole = dx.len() == n && y.len() == n && h.len() == n * b.len() && b.len() == c.len();
        if !whole || states != b.len() || states == 0 || n % 8 != 0 {
            return Scalar.scan_tied(h, b, c, r, a, dx, y);
        }
        for d in (0..n).step_by(8) {
            // SAFETY: as above.
            unsafe {
                eight_channels!(
                    ["vldrh.u16 q1, [r10]", "vmov q2, q1"],
                    [],
                    ["vqrdmulh.s16 q1, q1, q2"],
                    inout("r8") all.as_ptr() => _,
                    inout("r1") h.as_mut_ptr().wrapping_add(d) => _,
                    inout("r2") dx.as_ptr().wrapping_add(d) => _,
                    in("r3") y.as_mut_ptr().wrapping_add(d),
                    inout("r4") states => _,
                    in("r5") 2 * n,
                    in("r10") r.as_ptr().wrapping_add(d),
                );
            }
        }
    }
}
