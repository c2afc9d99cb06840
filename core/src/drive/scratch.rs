//! How a driver's scratch memory is divided: contents that last from phase to phase, never from byte to byte.

use crate::block::Buffers;
use crate::cannot::never;
use crate::dims::{Dims, VOCAB, even};

/// i32 words of a cache line. Every part of the scratch memory of [`Many`](crate::span::Many) positions begins at one.
pub(super) const LINE: usize = 16;

/// What the last norm and the head need.
pub(super) struct Head<'s> {
    /// `[positions, d_model]`.
    pub(super) residual: &'s mut [i32],
    /// `[positions, d_model]`.
    pub(super) u: &'s mut [i16],
    /// `[positions, 256]`; where the sums of the scan were.
    pub(super) logits: &'s mut [i32],
}

/// Takes the first `n` elements off `rest`.
#[inline(always)]
pub(crate) fn take<'s, T>(rest: &mut &'s mut [T], n: usize) -> &'s mut [T] {
    match core::mem::take(rest).split_at_mut_checked(n) {
        Some((head, tail)) => {
            *rest = tail;
            head
        }
        None => never("a part of the scratch memory, which has been measured", &mut []),
    }
}

/// i32 words of a part of `n` elements of `size` bytes, up to the next cache line.
pub(super) const fn words(n: usize, size: usize) -> usize {
    (n * size).div_ceil(4 * LINE) * LINE
}

/// The first `n` elements of the next part of `rest`.
pub(super) fn part<'s, T: bytemuck::Pod>(rest: &mut &'s mut [i32], n: usize) -> &'s mut [T] {
    let words = take(rest, words(n, size_of::<T>()));
    bytemuck::cast_slice_mut::<i32, T>(words).get_mut(..n).unwrap_or_else(|| never("a whole part", &mut []))
}

/// `memory` from the next cache line on.
pub(super) fn aligned(memory: &mut [i32]) -> &mut [i32] {
    let skip = memory.as_ptr().align_offset(4 * LINE).min(LINE);
    memory.get_mut(skip..).unwrap_or_else(|| never("a line that may be skipped", &mut []))
}

const fn most(a: usize, b: usize) -> usize {
    if a > b { a } else { b }
}

impl Dims {
    /// i32 words of scratch memory of a [`Decoder`](crate::Decoder), contents irrelevant between steps.
    pub const fn scratch_len(&self) -> usize {
        let halves = even(self.d_model) + even(2 * self.d_inner) + even(self.d_inner) + even(self.x_proj_rows());
        self.d_model + halves / 2 + most(2 * self.d_inner, VOCAB)
    }

    /// Bytes of scratch memory.
    pub const fn scratch_bytes(&self) -> usize {
        4 * self.scratch_len()
    }
}

/// What is left after `residual` and `u` of one position.
#[inline(always)]
fn front<'s>(dims: &Dims, memory: &'s mut [i32]) -> (&'s mut [i32], &'s mut [i16], &'s mut [i32]) {
    let mut rest = memory;
    let residual = take(&mut rest, dims.d_model);
    let u = halves(&mut rest, dims.d_model);
    (residual, u, rest)
}

/// `n` elements of 16 bits, which end on a word.
#[inline(always)]
fn halves<'s>(rest: &mut &'s mut [i32], n: usize) -> &'s mut [i16] {
    let mut all = as_halves(take(rest, even(n) / 2));
    take(&mut all, n)
}

/// Words as twice as many halves.
#[inline(always)]
fn as_halves(words: &mut [i32]) -> &mut [i16] {
    bytemuck::try_cast_slice_mut(words).unwrap_or_else(|_| never("two halves in a word", &mut []))
}

/// The buffers of one position, one next to the other: [`Dims::scratch_len`].
#[inline(always)]
pub(super) fn one_position<'s>(dims: &Dims, memory: &'s mut [i32]) -> Buffers<'s> {
    let (residual, u, mut rest) = front(dims, memory);
    let xz = halves(&mut rest, 2 * dims.d_inner);
    let log_delta = halves(&mut rest, dims.d_inner);
    let x_proj = halves(&mut rest, dims.x_proj_rows());
    let y = take(&mut rest, dims.d_inner);
    let mut tail = as_halves(rest);
    let (dx, powers) = (take(&mut tail, dims.d_inner), take(&mut tail, dims.d_inner));
    Buffers { residual, u, xz, x_proj, log_delta, dx, powers, down: &mut [], y }
}

/// The head's part of the same memory.
#[inline(always)]
pub(super) fn one_head<'s>(dims: &Dims, memory: &'s mut [i32]) -> Head<'s> {
    let (residual, u, mut rest) = front(dims, memory);
    take(&mut rest, (even(2 * dims.d_inner) + even(dims.d_inner) + even(dims.x_proj_rows())) / 2);
    Head { residual, u, logits: take(&mut rest, VOCAB) }
}

impl Dims {
    /// i32 words of scratch memory of a [`Prefill`](crate::Prefill) over blocks of `positions`: about 30 KB a position
    /// at a `d_model` of 1024, and 128 KiB more in builds that contain the kernels of AVX-512.
    pub const fn prefill_len(&self, positions: usize) -> usize {
        LINE + words(positions * self.d_model, 4)
            + words(positions * self.d_model, 2)
            + 4 * words(positions * self.d_inner, 2)
            + words(positions * self.x_proj_rows(), 2)
            + words(self.d_inner, 2)
            + words(positions, 1)
            + words(positions * most(self.d_inner, VOCAB), 4)
            + crate::span::PANEL_LEN
    }
}

/// The buffers of `n` positions, and the panel for products over them.
pub(super) fn positions<'s>(dims: &Dims, memory: &'s mut [i32], n: usize) -> (Buffers<'s>, &'s mut [i32]) {
    let mut rest = aligned(memory);
    let rest = &mut rest;
    let panel = take(rest, crate::span::PANEL_LEN);
    let residual = part(rest, n * dims.d_model);
    let u = part(rest, n * dims.d_model);
    let xz = part(rest, 2 * n * dims.d_inner);
    let log_delta = part(rest, n * dims.d_inner);
    let dx = part(rest, n * dims.d_inner);
    let x_proj = part(rest, n * dims.x_proj_rows());
    let powers = part(rest, dims.d_inner);
    let down = part(rest, n);
    let y = part(rest, n * most(dims.d_inner, VOCAB));
    (Buffers { residual, u, xz, x_proj, log_delta, dx, powers, down, y }, panel)
}
