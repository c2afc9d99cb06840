//! Cortex-M4, M7 and M33: the implementation of [`Kernels`].
//!
//! The projections are in [`smlad`], the scan in [`scan`], the rest in files of their names. Shapes that models for
//! chips do not have go to the scalar code in [`rare`](super::rare).

/// The same instructions four times, spelled out: the compiler estimates the length of assembly by its lines.
macro_rules! four_times {
    ($($line:literal),* $(,)?) => {
        concat!($($line,)* $($line,)* $($line,)* $($line),*)
    };
}

/// Tells the assembler of a naked function that this Armv8-M processor has the DSP extension. Armv7E-M always has it.
#[cfg(mambabyte_armv8m)]
macro_rules! cpu {
    () => {
        ".cpu cortex-m33"
    };
}
#[cfg(not(mambabyte_armv8m))]
macro_rules! cpu {
    () => {
        ""
    };
}

mod conv;
mod delta;
mod finish;
mod gate;
mod norm;
#[cfg(mambabyte_dsp)]
mod scan;
mod smlad;

use super::output::{Output, Target, each_position};
use super::{Gate, Kernels, Selected, channels};
use crate::span::{Activations, Span};
use crate::weights::WeightsView;

/// The kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dsp;

impl Kernels for Dsp {
    const NAME: &'static str = "dsp";

    fn embed(self, row: &[i8], code: u8, base: u8, res: &mut [i32]) {
        channels::embed(row, code, base, res);
    }

    fn pack(self, x: &mut [i16]) {
        smlad::pack(x);
    }

    fn unpack(self, x: &mut [i16]) {
        smlad::pack(x);
    }

    #[inline(always)]
    fn project<O: Output, P: Span>(self, w: WeightsView<'_>, x: Activations<'_>, out: O, _: &mut P, y: &mut [O::T]) {
        each_position::<O, P>(w, x, out, y, |w, x, y| match out.target(y) {
            Target::I16(y) => smlad::matvec_i16(w.bytes, w.codes, w.shift, x, y),
            Target::I32(y) => smlad::matvec_i32(w.bytes, w.codes, w.shift, x, y),
            Target::Add(y) => smlad::matvec_add(w.bytes, w.codes, w.shift, x, y),
            Target::LogDelta(bias, l) => delta::log_delta(w.bytes, w.codes, w.shift, x, bias, l),
        });
    }

    fn norm(self, x: &[i32], weight: &[i16], bias: &[i16], shift: u8, eps: u64, u: &mut [i16]) {
        norm::norm(x, weight, bias, shift, eps, u);
    }

    #[inline(always)]
    fn conv1d_silu(self, x: &mut [i16], history: &mut [i16], w: &[i8], code: &[u8], bias: &[i16], base: u8, frac: u8) {
        conv::conv1d_silu(x, history, w, code, bias, base, frac);
    }

    #[inline(always)]
    fn delta_x(self, x: &[i16], l: &[i16], base: i32, code: &[u8], dx: &mut [i16]) {
        delta::delta_x(x, l, base, code, dx);
    }

    #[inline(always)]
    fn gate(self, p: &Gate<'_>, y: &mut [i32], x: &mut [i16], z: &mut [i16]) -> u8 {
        gate::gate(p, y, x, z)
    }

    fn first_decay(self, l: &mut [i16], a_log: &[u8], a_base: i16) {
        delta::first_decay(l, a_log, a_base);
    }

    #[inline(always)]
    #[allow(clippy::too_many_arguments, reason = "the operands of one equation")]
    fn scan_free<P: Span>(
        self,
        h: &mut [i16],
        a_log: &[u8],
        a_base: i16,
        bc: Selected<'_>,
        log_delta: &[i16],
        dx: &[i16],
        y: &mut [i32],
    ) {
        bc.each_position::<P>(h.len(), log_delta, dx, y, |b, c, log_delta, dx, y| {
            scan::scan_free(h, a_log, a_base, b, c, log_delta, dx, y);
        });
    }

    #[inline(always)]
    fn scan_tied<P: Span>(self, h: &mut [i16], bc: Selected<'_>, r: &[i16], a: &mut [i16], dx: &[i16], y: &mut [i32]) {
        bc.each_position::<P>(h.len(), r, dx, y, |b, c, r, dx, y| scan::scan_tied(h, b, c, r, a, dx, y));
    }
}
