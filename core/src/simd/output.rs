//! What the sums of a projection become: [`Output`].

#[cfg(mambabyte_vector)]
use super::isa::{Isa, ROWS};
#[cfg(mambabyte_vector)]
use super::vector::softplus::log_delta_of;
use crate::cannot::never;
use crate::fixed::{requantize, saturate_i16, saturate_i32};
use crate::nonlinear::{SOFTPLUS_LIMIT, log2_softplus};
use crate::span::{Activations, Span};
use crate::weights::WeightsView;

/// What becomes of the sum of a row, `q = saturate_i32(requantize(sum_j w[row, j] * x[j]))`.
pub(crate) trait Output: Copy {
    /// What a row results in.
    type T: Copy;
    /// A value for rows that are not there.
    #[cfg(mambabyte_vector)]
    const NONE: Self::T;

    /// Writes `y`, the result of `row`.
    fn store(self, row: usize, q: i32, y: &mut Self::T);

    /// How much less the sums of a position are shifted than the matrix says.
    #[inline(always)]
    fn down(self, _position: usize) -> u8 {
        0
    }

    /// The results with their kind, for loops that are written for each.
    fn target<'y>(self, y: &'y mut [Self::T]) -> Target<'y>
    where
        Self: 'y;

    /// [`Output::store`] of 16 rows from `row` on.
    #[cfg(mambabyte_vector)]
    fn emit<I: Isa>(self, isa: I, row: usize, q: I::W, y: &mut [Self::T; ROWS]);
}

/// The results of a projection, by kind.
#[cfg_attr(not(mambabyte_mcu), allow(dead_code, reason = "vectors have one loop for all but the last"))]
pub(crate) enum Target<'y> {
    /// Of [`ToI16`].
    I16(&'y mut [i16]),
    /// Of [`ToI32`].
    I32(&'y mut [i32]),
    /// Of [`AddToI32`].
    Add(&'y mut [i32]),
    /// Of [`LogDelta`]: biases and results.
    LogDelta(&'y [i16], &'y mut [i16]),
}

/// Activations: `y = saturate_i16(q)`.
#[derive(Clone, Copy)]
pub(crate) struct ToI16;

/// Logits: `y = q`.
#[derive(Clone, Copy)]
pub(crate) struct ToI32;

/// Added to the residual stream: `y = saturate_i32(y + q)`; the shift is reduced by the position's element.
#[derive(Clone, Copy)]
pub(crate) struct AddToI32<'a>(pub(crate) &'a [u8]);

/// Logarithms of step sizes: `y = saturate_i16(log2(softplus(q + bias[row])))`, the activations are not packed.
#[derive(Clone, Copy)]
pub(crate) struct LogDelta<'a>(pub(crate) &'a [i16]);

impl Output for ToI16 {
    type T = i16;
    #[cfg(mambabyte_vector)]
    const NONE: i16 = 0;

    #[inline(always)]
    fn store(self, _: usize, q: i32, y: &mut i16) {
        *y = saturate_i16(q as i64);
    }

    #[inline(always)]
    fn target<'y>(self, y: &'y mut [i16]) -> Target<'y>
    where
        Self: 'y,
    {
        Target::I16(y)
    }

    #[cfg(mambabyte_vector)]
    #[inline(always)]
    fn emit<I: Isa>(self, isa: I, _: usize, q: I::W, y: &mut [i16; ROWS]) {
        isa.store_i16(q, y);
    }
}

impl Output for ToI32 {
    type T = i32;
    #[cfg(mambabyte_vector)]
    const NONE: i32 = 0;

    #[inline(always)]
    fn store(self, _: usize, q: i32, y: &mut i32) {
        *y = q;
    }

    #[inline(always)]
    fn target<'y>(self, y: &'y mut [i32]) -> Target<'y>
    where
        Self: 'y,
    {
        Target::I32(y)
    }

    #[cfg(mambabyte_vector)]
    #[inline(always)]
    fn emit<I: Isa>(self, isa: I, _: usize, q: I::W, y: &mut [i32; ROWS]) {
        isa.store_i32(q, y);
    }
}

impl Output for AddToI32<'_> {
    type T = i32;
    #[cfg(mambabyte_vector)]
    const NONE: i32 = 0;

    #[inline(always)]
    fn store(self, _: usize, q: i32, y: &mut i32) {
        *y = y.saturating_add(q);
    }

    #[inline(always)]
    fn down(self, position: usize) -> u8 {
        self.0.get(position).copied().unwrap_or(0)
    }

    #[inline(always)]
    fn target<'y>(self, y: &'y mut [i32]) -> Target<'y>
    where
        Self: 'y,
    {
        Target::Add(y)
    }

    #[cfg(mambabyte_vector)]
    #[inline(always)]
    fn emit<I: Isa>(self, isa: I, _: usize, q: I::W, y: &mut [i32; ROWS]) {
        isa.store_i32(isa.add_saturating(isa.load_i32(y), q), y);
    }
}

impl Output for LogDelta<'_> {
    type T = i16;
    #[cfg(mambabyte_vector)]
    const NONE: i16 = 0;

    #[inline(always)]
    fn store(self, row: usize, q: i32, y: &mut i16) {
        let Some(&bias) = self.0.get(row) else { return never("a bias for each row", ()) };
        let v = (q as i64 + bias as i64).clamp(-SOFTPLUS_LIMIT, SOFTPLUS_LIMIT);
        *y = saturate_i16(log2_softplus(v as i32) as i64);
    }

    #[inline(always)]
    fn target<'y>(self, y: &'y mut [i16]) -> Target<'y>
    where
        Self: 'y,
    {
        Target::LogDelta(self.0, y)
    }

    #[cfg(mambabyte_vector)]
    #[inline(always)]
    fn emit<I: Isa>(self, isa: I, row: usize, q: I::W, y: &mut [i16; ROWS]) {
        let bias = self.0.get(row..).unwrap_or_else(|| never("a bias for each row", &[]));
        match bias.first_chunk() {
            Some(bias) => log_delta_of(isa, q, bias, y),
            None => {
                let mut all = [0; ROWS];
                all.iter_mut().zip(bias).for_each(|(to, &from)| *to = from);
                log_delta_of(isa, q, &all, y);
            }
        }
    }
}

/// `saturate_i32(requantize(acc, code, shift))`: what [`Output::store`] takes.
#[inline(always)]
pub(crate) fn rounded(acc: i64, code: u8, shift: u8) -> i32 {
    saturate_i32(requantize(acc, code, shift))
}

/// Calls `one(matrix, x, y)` at every position: the matrix with the shift that `out` wants there, `x` of its columns.
#[inline(always)]
pub(crate) fn each_position<O: Output, P: Span>(
    w: WeightsView<'_>,
    x: Activations<'_>,
    out: O,
    y: &mut [O::T],
    mut one: impl FnMut(WeightsView<'_>, &[i16], &mut [O::T]),
) {
    let rows = P::rows(x.all, x.stride).zip(P::rows_mut(y, w.rows()));
    for (position, (x, y)) in rows.enumerate() {
        let w = WeightsView { shift: w.shift.wrapping_sub(out.down(position)), ..w };
        let Some(x) = x.get(..w.columns) else { return never("as many activations as columns", ()) };
        one(w, x, y);
    }
}
