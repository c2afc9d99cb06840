//! What a layer keeps of a block, so that its state can go to any position of it once more: [`Kept`].
//!
//! The state of a layer depends on the columns before the convolution, and on what the scan reads. Going to a position
//! from them takes neither norm nor projection, and none of it needs the layers before.

use crate::cannot::never;
use crate::dims::Dims;

/// The inputs of the states of one layer at consecutive positions, in memory of [`Dims::kept_len`].
pub(crate) struct Kept<M> {
    /// x before the convolution, `[positions, d_inner]`.
    pub(crate) x: M,
    /// Logarithms of step sizes, or first decays if these are tied, `[positions, d_inner]`.
    pub(crate) decay: M,
    /// `delta * x`, `[positions, d_inner]`.
    pub(crate) dx: M,
    /// dt, B and C, `[positions, x_proj_rows]`.
    pub(crate) selected: M,
}

impl Dims {
    /// i16 elements that one layer keeps of `positions`: see [`Prefill::replay`](crate::Prefill::replay).
    pub const fn kept_len(&self, positions: usize) -> usize {
        positions * (3 * self.d_inner + self.x_proj_rows())
    }
}

impl<'k> Kept<&'k [i16]> {
    /// What `memory` keeps, and of how many positions.
    pub(crate) fn of(dims: &Dims, memory: &'k [i16]) -> (Self, usize) {
        let positions = memory.len() / dims.kept_len(1).max(1);
        let column = positions * dims.d_inner;
        let split = |memory: &'k [i16]| {
            memory.split_at_checked(column).unwrap_or_else(|| never("columns of every position", (&[], &[])))
        };
        let (x, rest) = split(memory);
        let (decay, rest) = split(rest);
        let (dx, selected) = split(rest);
        (Self { x, decay, dx, selected }, positions)
    }
}

impl<'k> Kept<&'k mut [i16]> {
    /// The parts of `memory` for all positions that it has room for.
    pub(crate) fn of_mut(dims: &Dims, memory: &'k mut [i16]) -> Self {
        let column = memory.len() / dims.kept_len(1).max(1) * dims.d_inner;
        let split = |memory: &'k mut [i16]| {
            memory
                .split_at_mut_checked(column)
                .unwrap_or_else(|| never("columns of every position", (&mut [], &mut [])))
        };
        let (x, rest) = split(memory);
        let (decay, rest) = split(rest);
        let (dx, selected) = split(rest);
        Self { x, decay, dx, selected }
    }
}

/// Copies as many elements as `to` has, none if nothing is to be kept.
#[inline(always)]
pub(crate) fn keep(to: &mut [i16], from: &[i16]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
}
