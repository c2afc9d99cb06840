//! RV32IM: plain instructions, and registers enough for all that a loop needs.
//!
//! The projections are in [`matvec`], the scan in [`scan`]. The rest is plain.

mod matvec;
mod scan;

use matvec::Finish;

use super::plain32::Plain32;
use super::{Gate, Kernels, Scalar, narrow};
use crate::linear::BLOCK;

/// The kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Riscv32;

impl Kernels for Riscv32 {
    const NAME: &'static str = "riscv32";

    fn embed(self, row: &[i8], code: u8, base: u8, res: &mut [i32]) {
        Plain32.embed(row, code, base, res);
    }

    #[inline(never)]
    fn matvec_i16(self, w: &[i8], code: &[u8], base: u8, x: &[i16], y: &mut [i16]) {
        if x.len() > BLOCK {
            return Scalar.matvec_i16(w, code, base, x, y);
        }
        matvec::matvec(Finish::I16, w, code, base, x, y, |y, q| *y = narrow::saturate(q));
    }

    fn matvec_i32(self, w: &[i8], code: &[u8], base: u8, x: &[i16], y: &mut [i32]) {
        if x.len() > BLOCK {
            return Scalar.matvec_i32(w, code, base, x, y);
        }
        matvec::matvec(Finish::I32, w, code, base, x, y, |y, q| *y = q);
    }

    fn matvec_add(self, w: &[i8], code: &[u8], base: u8, x: &[i16], y: &mut [i32]) {
        if x.len() > BLOCK {
            return Scalar.matvec_add(w, code, base, x, y);
        }
        matvec::matvec(Finish::Add, w, code, base, x, y, |y, q| *y = y.saturating_add(q));
    }

    fn norm(self, x: &[i32], weight: &[i16], bias: &[i16], shift: u8, eps: u64, u: &mut [i16]) {
        Plain32.norm(x, weight, bias, shift, eps, u);
    }

    fn conv1d_silu(self, x: &mut [i16], history: &mut [i16], w: &[i8], code: &[u8], bias: &[i16], base: u8, frac: u8) {
        Plain32.conv1d_silu(x, history, w, code, bias, base, frac);
    }

    fn log_delta(self, w: &[i8], code: &[u8], base: u8, dt: &[i16], bias: &[i16], l: &mut [i16]) {
        Plain32.log_delta(w, code, base, dt, bias, l);
    }

    fn delta_x(self, x: &[i16], l: &[i16], base: i32, code: &[u8], dx: &mut [i16]) {
        Plain32.delta_x(x, l, base, code, dx);
    }

    fn gate(self, p: &Gate<'_>, y: &mut [i32], x: &mut [i16], z: &mut [i16]) -> u8 {
        Plain32.gate(p, y, x, z)
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
        scan::scan_free(h, a_log, a_base, b, c, log_delta, dx, y);
    }

    fn scan_tied(self, h: &mut [i16], b: &[i16], c: &[i16], r: &[i16], a: &mut [i16], dx: &[i16], y: &mut [i32]) {
        scan::scan_tied(h, b, c, r, a, dx, y);
    }
}
