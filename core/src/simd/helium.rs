//! Cortex-M55 and M85: Helium, vectors of eight i16 or four i32.
//!
//! The projections are in [`matvec`], the scan in [`scan`], the rest in files of their names. Shapes that models for
//! chips do not have go to plain code.

mod conv;
mod delta;
mod gate;
mod matvec;
mod norm;
mod scan;

use super::output::{AddToI32, Output, Target, ToI16, ToI32, each_position};
use super::plain32::Plain32;
use super::{Gate, Kernels, Selected, narrow, rare};
use crate::linear::BLOCK;
use crate::span::{Activations, Span};
use crate::weights::WeightsView;

/// The kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Helium;

impl Kernels for Helium {
    const NAME: &'static str = "helium";

    fn embed(self, row: &[i8], code: u8, base: u8, res: &mut [i32]) {
        Plain32.embed(row, code, base, res);
    }

    #[inline(always)]
    fn project<O: Output, P: Span>(self, w: WeightsView<'_>, x: Activations<'_>, out: O, _: &mut P, y: &mut [O::T]) {
        each_position::<O, P>(w, x, out, y, |w, x, y| match out.target(y) {
            Target::I16(y) => to_i16(w, x, y),
            Target::I32(y) => to_i32(w, x, y),
            Target::Add(y) => add_to_i32(w, x, y),
            Target::LogDelta(bias, l) => delta::log_delta(w.bytes, w.codes, w.shift, x, bias, l),
        });
    }

    fn norm(self, x: &[i32], weight: &[i16], bias: &[i16], shift: u8, eps: u64, u: &mut [i16]) {
        norm::norm(x, weight, bias, shift, eps, u);
    }

    fn conv1d_silu(self, x: &mut [i16], history: &mut [i16], w: &[i8], code: &[u8], bias: &[i16], base: u8, frac: u8) {
        conv::conv1d_silu(x, history, w, code, bias, base, frac);
    }

    fn delta_x(self, x: &[i16], l: &[i16], base: i32, code: &[u8], dx: &mut [i16]) {
        delta::delta_x(x, l, base, code, dx);
    }

    fn first_decay(self, l: &mut [i16], a_log: &[u8], a_base: i16) {
        scan::first_decay(l, a_log, a_base);
    }

    fn gate(self, p: &Gate<'_>, y: &mut [i32], x: &mut [i16], z: &mut [i16]) -> u8 {
        gate::gate(p, y, x, z)
    }

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

    fn scan_tied<P: Span>(self, h: &mut [i16], bc: Selected<'_>, r: &[i16], a: &mut [i16], dx: &[i16], y: &mut [i32]) {
        bc.each_position::<P>(h.len(), r, dx, y, |b, c, r, dx, y| scan::scan_tied(h, b, c, r, a, dx, y));
    }
}

#[inline(never)]
fn to_i16(w: WeightsView<'_>, x: &[i16], y: &mut [i16]) {
    if x.len() > BLOCK {
        return rare::project(w, x, ToI16, y);
    }
    matvec::matvec(matvec::to_i16, true, w.bytes, w.codes, w.shift, x, y, |y, q| *y = narrow::saturate(q));
}

fn to_i32(w: WeightsView<'_>, x: &[i16], y: &mut [i32]) {
    if x.len() > BLOCK {
        return rare::project(w, x, ToI32, y);
    }
    matvec::matvec(matvec::to_i32, true, w.bytes, w.codes, w.shift, x, y, |y, q| *y = q);
}

fn add_to_i32(w: WeightsView<'_>, x: &[i16], y: &mut [i32]) {
    if x.len() > BLOCK {
        return rare::project(w, x, AddToI32(&[]), y);
    }
    matvec::matvec(matvec::add_to_i32, false, w.bytes, w.codes, w.shift, x, y, |y, q| *y = y.saturating_add(q));
}
