//! How many positions a pass over the layers goes through: one, or a block of them.
//!
//! The same code serves both: it asks a [`Span`] for the rows of a buffer. With [`One`] a buffer is a single row, and
//! neither its width nor a number of rows is computed; a chip has only that one. [`Many`] divides buffers
//! `[positions, width]` and owns the memory that products over many positions need.

/// One position or many: a type, so that code is compiled for each.
pub(crate) trait Span {
    /// Whether there is one position.
    const ONE: bool;

    /// The rows of `all`, `[positions, width]`.
    fn rows<T>(all: &[T], width: usize) -> impl Iterator<Item = &[T]>;

    /// The rows of `all`, `[positions, width]`, to write.
    fn rows_mut<T>(all: &mut [T], width: usize) -> impl Iterator<Item = &mut [T]>;

    /// Memory for a panel of activations, [`PANEL_LEN`] words; empty if there is one position.
    #[cfg(mambabyte_vector)]
    fn panel(&mut self) -> &mut [i32];
}

/// Most columns of a panel. Wider matrices are multiplied by one position after the other.
pub(crate) const PANEL_COLUMNS: usize = 2048;

/// i32 words of the memory in which a kernel rearranges the activations of many positions: of 32, where there is such a
/// kernel.
pub(crate) const PANEL_LEN: usize = if cfg!(mambabyte_avx512) { PANEL_COLUMNS * 32 / 2 } else { 0 };

/// One position.
pub(crate) struct One;

/// Many positions.
pub(crate) struct Many<'p> {
    /// [`PANEL_LEN`] words.
    #[cfg_attr(not(mambabyte_vector), allow(dead_code, reason = "other kernels take position by position"))]
    pub(crate) panel: &'p mut [i32],
}

impl Span for One {
    const ONE: bool = true;

    #[inline(always)]
    fn rows<T>(all: &[T], _: usize) -> impl Iterator<Item = &[T]> {
        core::iter::once(all)
    }

    #[inline(always)]
    fn rows_mut<T>(all: &mut [T], _: usize) -> impl Iterator<Item = &mut [T]> {
        core::iter::once(all)
    }

    #[cfg(mambabyte_vector)]
    #[inline(always)]
    fn panel(&mut self) -> &mut [i32] {
        &mut []
    }
}

impl Span for Many<'_> {
    const ONE: bool = false;

    #[inline(always)]
    fn rows<T>(all: &[T], width: usize) -> impl Iterator<Item = &[T]> {
        all.chunks_exact(width.max(1))
    }

    #[inline(always)]
    fn rows_mut<T>(all: &mut [T], width: usize) -> impl Iterator<Item = &mut [T]> {
        all.chunks_exact_mut(width.max(1))
    }

    #[cfg(mambabyte_vector)]
    #[inline(always)]
    fn panel(&mut self) -> &mut [i32] {
        self.panel
    }
}

/// The activations of one or many positions: the first columns of every `stride` elements.
#[derive(Clone, Copy)]
pub(crate) struct Activations<'a> {
    /// `[positions, stride]`.
    pub(crate) all: &'a [i16],
    /// From a position to the next one.
    pub(crate) stride: usize,
}

impl<'a> Activations<'a> {
    /// `[positions, columns]`, all of which are read.
    #[inline(always)]
    pub(crate) const fn new(all: &'a [i16], stride: usize) -> Self {
        Self { all, stride }
    }
}
