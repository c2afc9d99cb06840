//! Convolution of four taps and SiLU, eight channels at a time.
#![allow(unsafe_code, reason = "the loops are assembly; each call has its reason")]

use core::arch::naked_asm;

use crate::simd::Kernels;
use crate::simd::narrow::{self, MULTIPLIER};
use crate::simd::plain32::Plain32;
use crate::tables::SIGMOID;

/// What the loop over channels reads, in the order of its loads.
#[repr(C)]
struct Operands {
    /// The rows of `[4, n]`: r0 to r3.
    w: [*const i8; 4],
    /// `[n]`: r4.
    code: *const u8,
    /// `[n]`, in place: r5.
    x: *mut i16,
    /// r6.
    multiplier: *const i32,
    /// The rows of `[3, n]`: r7 to r9.
    history: [*mut i16; 3],
    /// `[n]`: r10.
    bias: *const i16,
    /// `16 - base`: r11.
    down: i32,
    /// r12.
    eights: usize,
}

/// One tap: q0 and q1 sums of even and odd channels, q2 samples.
macro_rules! tap {
    ($w:literal) => {
        concat!(
            "vldrb.s16 q3, [",
            $w,
            "], #8\n",
            "vmullb.s16 q4, q3, q2\n",
            "vmullt.s16 q5, q3, q2\n",
            "vadd.i32 q0, q0, q4\n",
            "vadd.i32 q1, q1, q5\n",
        )
    };
}

#[unsafe(naked)]
unsafe extern "C" fn conv(_pass: &Operands) {
    naked_asm!(
        ".cpu cortex-m55",
        "push {{r4-r12, lr}}",
        "vpush {{d8-d13}}",
        "ldm r0, {{r0-r12}}",
        "dls lr, r12",
        "movw r12, #0x8001",
        "vdup.16 q6, r12",
        "2:",
        "vldrh.u16 q2, [r7]",
        "vldrb.s16 q3, [r0], #8",
        "vmullb.s16 q0, q3, q2",
        "vmullt.s16 q1, q3, q2",
        "vldrh.u16 q2, [r8]",
        "vstrh.16 q2, [r7], #16",
        tap!("r1"),
        "vldrh.u16 q2, [r9]",
        "vstrh.16 q2, [r8], #16",
        tap!("r2"),
        "vldrh.u16 q2, [r5]",
        "vstrh.16 q2, [r9], #16",
        tap!("r3"),
        // Requantize, even channels and odd ones.
        "vldrb.u16 q2, [r4], #8",
        "vmovlb.u16 q3, q2",
        "vldrw.u32 q4, [r6, q3, uxtw #2]",
        "vmovlt.u16 q3, q2",
        "vldrw.u32 q5, [r6, q3, uxtw #2]",
        "vmulh.s32 q0, q0, q4",
        "vmulh.s32 q1, q1, q5",
        "vrshl.s32 q0, r11",
        "vrshl.s32 q1, r11",
        "vldrh.u16 q2, [r10], #16",
        "vmovlb.s16 q3, q2",
        "vmovlt.s16 q4, q2",
        "vadd.i32 q0, q0, q3",
        "vadd.i32 q1, q1, q4",
        // Saturated to -32768..=32767, then -32768 becomes -32767.
        "vqmovnb.s32 q0, q0",
        "vqmovnt.s32 q0, q1",
        "vmax.s16 q0, q0, q6",
        "vstrh.16 q0, [r5], #16",
        "le lr, 2b",
        "vpop {{d8-d13}}",
        "pop {{r4-r12, pc}}",
    )
}

/// [`conv1d_silu`](crate::conv1d::conv1d_silu).
pub(super) fn conv1d_silu(x: &mut [i16], history: &mut [i16], w: &[i8], code: &[u8], bias: &[i16], base: u8, frac: u8) {
    let n = x.len();
    let whole = w.len() == 4 * n && history.len() == 3 * n && code.len() == n && bias.len() == n;
    if !whole || base < 17 || n == 0 || n % 8 != 0 {
        return Plain32.conv1d_silu(x, history, w, code, bias, base, frac);
    }
    let (columns, taps) = (history.as_mut_ptr(), w.as_ptr());
    let pass = Operands {
        x: x.as_mut_ptr(),
        history: [0, n, 2 * n].map(|at| columns.wrapping_add(at)),
        w: [0, n, 2 * n, 3 * n].map(|at| taps.wrapping_add(at)),
        code: code.as_ptr(),
        bias: bias.as_ptr(),
        multiplier: MULTIPLIER.as_ptr(),
        down: 16 - base as i32,
        eights: n / 8,
    };
    // SAFETY: eight channels per iteration, `n` in all, a multiple of eight above zero; the lengths of all rows have
    // been compared.
    unsafe { conv(&pass) };
    silu(x, frac);
}

/// r0 x, r1 iterations, r2 from a magnitude to an index of the table, r3 to what follows it in Q15.
///
/// ```text
/// position = |x| << 16 - frac,  index = position >> 11,  low = (position & 2047) << 4
/// sigmoid  = base + VQRDMULH(next - base, low)                     (step * low + 1024) >> 11
/// silu     = VRMULH(2 |x|, sigmoid) + min(x, 0)                    (|x| * sigmoid + 2^14) >> 15
/// ```
#[unsafe(naked)]
unsafe extern "C" fn silu_loop(_x: *mut i16, _eights: usize, _to_index: i32, _to_low: i32, _table: *const u16) {
    naked_asm!(
        ".cpu cortex-m55",
        "push {{r4, lr}}",
        "vpush {{d8-d15}}",
        "ldr r12, [sp, #72]",
        "dls lr, r1",
        "add r1, r12, #2",
        "movw r4, #511",
        "vdup.16 q7, r4",
        "vmov.i32 q6, #0",
        "2:",
        "vldrh.u16 q0, [r0]",
        "vabs.s16 q1, q0",
        "vmov q2, q1",
        "vshl.u16 q2, r2",
        "vmin.u16 q2, q2, q7",
        "vldrh.u16 q3, [r12, q2, uxtw #1]",
        "vldrh.u16 q4, [r1, q2, uxtw #1]",
        "vmov q5, q1",
        "vshl.u16 q5, r3",
        "vbic.i16 q5, #0x8000",
        "vsub.i16 q4, q4, q3",
        "vqrdmulh.s16 q4, q4, q5",
        "vadd.i16 q1, q1, q1",
        "vadd.i16 q3, q3, q4",
        "vrmulh.u16 q1, q1, q3",
        "vmin.s16 q0, q0, q6",
        "vadd.i16 q0, q0, q1",
        "vstrh.16 q0, [r0], #16",
        "le lr, 2b",
        "vpop {{d8-d15}}",
        "pop {{r4, pc}}",
    )
}

/// SiLU in place.
pub(super) fn silu(x: &mut [i16], frac: u8) {
    let frac = frac % 16;
    let (eights, rest) = x.as_chunks_mut::<8>();
    if !eights.is_empty() {
        // SAFETY: reads and writes `eights`. An index is clamped to 0..=511, and the table has 513 entries.
        unsafe {
            silu_loop(eights.as_mut_ptr().cast(), eights.len(), 5 - frac as i32, 20 - frac as i32, SIGMOID.as_ptr())
        };
    }
    for x in rest {
        *x = narrow::silu(*x, frac) as i16;
    }
}
