//! Cortex-M55 and M85: Helium, vectors of eight i16.
//!
//! `VQRDMULH` is `mul_q15`, `VQADD` the saturating sum, `VMLADAVA` a dot product into one register. Loops over columns
//! are predicated by the number of elements left, so that no length needs another loop.
#![allow(unsafe_code, reason = "the loops are assembly; each block has its reason")]

use core::arch::asm;

use super::channels::{self, rare};
use super::decays::{DECAYS, index_base};
use super::narrow::{self, Requantizer, with_scale};
use super::{Gate, Kernels, Scalar};
use crate::linear::BLOCK;

/// The kernels.
pub(crate) struct Helium;

/// The sums of four rows of `x.len()` weights.
#[inline(always)]
fn dot4(w: &[i8], x: &[i16]) -> [i32; 4] {
    let n = x.len();
    let (mut a, mut b, mut c, mut d) = (0i32, 0i32, 0i32, 0i32);
    if n == 0 || w.len() < 4 * n {
        return [0; 4];
    }
    // SAFETY: reads `n` activations and `n` weights of each of four rows; the last turn is predicated by what is left.
    unsafe {
        asm!(
            "dlstp.16 lr, r9",
            "2:",
            "vldrh.u16 q0, [r5], #16",
            "vldrb.s16 q1, [r0], #8",
            "vmladava.s16 r4, q1, q0",
            "vldrb.s16 q1, [r1], #8",
            "vmladava.s16 r8, q1, q0",
            "vldrb.s16 q1, [r2], #8",
            "vmladava.s16 r10, q1, q0",
            "vldrb.s16 q1, [r3], #8",
            "vmladava.s16 r12, q1, q0",
            "letp lr, 2b",
            inout("r5") x.as_ptr() => _,
            inout("r0") w.as_ptr() => _,
            inout("r1") w.as_ptr().wrapping_add(n) => _,
            inout("r2") w.as_ptr().wrapping_add(2 * n) => _,
            inout("r3") w.as_ptr().wrapping_add(3 * n) => _,
            inout("r4") a,
            inout("r8") b,
            inout("r10") c,
            inout("r12") d,
            in("r9") n,
            out("lr") _,
            out("d0") _, out("d1") _, out("d2") _, out("d3") _,
            options(readonly, nostack),
        );
    }
    [a, b, c, d]
}

/// `emit(y, saturate(requantize(sum)))` for all rows.
#[inline(always)]
fn rows<T, const LOW: bool>(
    scale: Requantizer<LOW>,
    w: &[i8],
    code: &[u8],
    x: &[i16],
    y: &mut [T],
    emit: impl Fn(&mut T, i32),
) {
    let n = x.len().max(1);
    let (blocks, codes) = (w.chunks_exact(4 * n), code.as_chunks::<4>());
    let (left, done) = (blocks.remainder(), blocks.len().min(codes.0.len()) * 4);
    let mut out = y.iter_mut();
    for (block, codes) in blocks.zip(codes.0) {
        for (sum, &code) in dot4(block, x).into_iter().zip(codes) {
            if let Some(y) = out.next() {
                emit(y, scale.apply(sum, code));
            }
        }
    }
    for ((w, &code), y) in left.chunks_exact(n).zip(code.iter().skip(done)).zip(out) {
        emit(y, scale.apply(crate::linear::dot_i8_i16(w, x) as i32, code));
    }
}

/// B and C of one state.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Selected {
    b: i32,
    c: i32,
}

/// Most states that a model can have (`Dims`).
const MOST: usize = 64;

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
    fn embed(row: &[i8], code: u8, base: u8, res: &mut [i32]) {
        channels::embed(row, code, base, res);
    }

    #[inline(never)]
    fn matvec_i16(w: &[i8], code: &[u8], base: u8, x: &[i16], y: &mut [i16]) {
        if x.len() > BLOCK {
            return Scalar::matvec_i16(w, code, base, x, y);
        }
        with_scale!(base, |scale| rows(scale, w, code, x, y, |y, q| *y = narrow::saturate(q)));
    }

    fn matvec_i32(w: &[i8], code: &[u8], base: u8, x: &[i16], y: &mut [i32]) {
        if x.len() > BLOCK {
            return Scalar::matvec_i32(w, code, base, x, y);
        }
        with_scale!(base, |scale| rows(scale, w, code, x, y, |y, q| *y = q));
    }

    fn matvec_add(w: &[i8], code: &[u8], base: u8, x: &[i16], y: &mut [i32]) {
        if x.len() > BLOCK {
            return Scalar::matvec_add(w, code, base, x, y);
        }
        with_scale!(base, |scale| rows(scale, w, code, x, y, |y, q| *y = y.saturating_add(q)));
    }

    fn norm(x: &[i32], weight: &[i16], bias: &[i16], shift: u8, eps: u64, u: &mut [i16]) {
        match channels::scale_of(x, bias, shift, eps) {
            Some(scaled) => channels::normalize(scaled, x, weight, u),
            None => rare::norm(x, weight, bias, shift, eps, u),
        }
    }

    fn conv1d_silu(x: &mut [i16], history: &mut [i16], w: &[i8], code: &[u8], bias: &[i16], base: u8, frac: u8) {
        channels::conv1d_silu(x, history, w, code, bias, base, frac);
    }

    fn log_delta(w: &[i8], code: &[u8], base: u8, dt: &[i16], bias: &[i16], l: &mut [i16]) {
        channels::log_delta(w, code, base, dt, bias, l);
    }

    fn delta_x(x: &[i16], l: &[i16], base: i32, code: &[u8], dx: &mut [i16]) {
        channels::delta_x(x, l, base, code, dx);
    }

    fn gate(p: &Gate<'_>, y: &mut [i32], x: &mut [i16], z: &mut [i16]) -> u8 {
        channels::gate(p, y, x, z)
    }

    #[allow(clippy::too_many_arguments, reason = "the operands of one equation")]
    fn scan_free(
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
            return Scalar::scan_free(h, a_log, a_base, b, c, log_delta, dx, y);
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

    fn scan_tied(h: &mut [i16], b: &[i16], c: &[i16], r: &[i16], a: &mut [i16], dx: &[i16], y: &mut [i32]) {
        let n = r.len();
        let (all, states) = selected(b, c);
        let whole = dx.len() == n && y.len() == n && h.len() == n * b.len() && b.len() == c.len();
        if !whole || states != b.len() || states == 0 || n % 8 != 0 {
            return Scalar::scan_tied(h, b, c, r, a, dx, y);
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
