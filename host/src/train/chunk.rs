//! Chunks: the positions of a window that are computed together, so that what they need stays in a core's cache.

use std::ops::Range;

/// Positions of a chunk. Matrix products are slower with fewer, the scan with more.
pub(super) const CHUNK: usize = 128;

/// The chunks of a window of `len` positions.
pub(super) fn chunks(len: usize) -> impl DoubleEndedIterator<Item = Range<usize>> + ExactSizeIterator {
    (0..len.div_ceil(CHUNK)).map(move |c| c * CHUNK..((c + 1) * CHUNK).min(len))
}

/// Where documents start in a chunk.
#[derive(Clone, Copy)]
pub(super) struct Starts<'a> {
    /// Positions in the window.
    positions: &'a [u32],
    /// The position of the chunk in the window.
    base: usize,
}

impl<'a> Starts<'a> {
    /// Those of `all`, which ascend, in the chunk `range`.
    pub(super) fn of(all: &'a [u32], range: &Range<usize>) -> Self {
        let before = |position: usize| all.partition_point(|&s| (s as usize) < position);
        Self { positions: &all[before(range.start)..before(range.end)], base: range.start }
    }

    /// Whether a document starts at `t`, counted in the chunk.
    #[inline(always)]
    pub(super) fn at(self, t: usize) -> bool {
        self.between(t, 1)
    }

    /// Whether a document starts at `t` or at one of the `distance - 1` positions before it: whether there is a border
    /// between `t - distance` and `t`.
    #[inline(always)]
    pub(super) fn between(self, t: usize, distance: usize) -> bool {
        self.positions.iter().any(|&s| {
            let start = s as usize - self.base;
            start <= t && t < start + distance
        })
    }

    /// The last position, counted in the chunk.
    pub(super) fn last(self) -> Option<usize> {
        self.positions.last().map(|&s| s as usize - self.base)
    }
}
