//! What a projection kernel gets of a matrix: [`WeightsView`].

use crate::cannot::never;
use crate::linear;

/// A matrix, or some of its rows: weights in an order that kernels know, and the scales of rows.
///
/// If the order is not row by row, the rows begin at a multiple of [`tiles::PANEL`](crate::tiles::PANEL) and end at one
/// or at the last row.
#[derive(Clone, Copy)]
pub(crate) struct WeightsView<'a> {
    /// i8 `[rows, columns]` in `order`.
    pub(crate) bytes: &'a [i8],
    /// `[rows]`: the scale of each row, see [`requantize`](crate::fixed::requantize).
    pub(crate) codes: &'a [u8],
    /// The shift of the whole matrix, the base of its rows' scales.
    pub(crate) shift: u8,
    /// Number of columns.
    pub(crate) columns: usize,
    /// Where the weight of a row and a column is.
    #[cfg(mambabyte_tiles)]
    pub(crate) order: Order,
}

/// Where in a matrix the weight of a row and a column is.
#[cfg(mambabyte_tiles)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Row by row, as in a file.
    Rows,
    /// In [tiles](crate::tiles).
    Tiles,
}

impl<'a> WeightsView<'a> {
    /// A matrix whose rows lie one after the other.
    #[inline(always)]
    pub(crate) const fn of_rows(bytes: &'a [i8], codes: &'a [u8], shift: u8, columns: usize) -> Self {
        Self {
            bytes,
            codes,
            shift,
            columns,
            #[cfg(mambabyte_tiles)]
            order: Order::Rows,
        }
    }

    /// The same in tiles, if `tiled` and if matrices of this width are put in tiles.
    #[inline(always)]
    pub(crate) const fn in_tiles_if(self, tiled: bool) -> Self {
        #[cfg(mambabyte_tiles)]
        {
            let order = if tiled && crate::tiles::fits(self.columns) { Order::Tiles } else { Order::Rows };
            Self { order, ..self }
        }
        #[cfg(not(mambabyte_tiles))]
        {
            let _ = tiled;
            self
        }
    }

    /// Whether it is in tiles.
    #[inline(always)]
    pub(crate) const fn is_tiled(&self) -> bool {
        #[cfg(mambabyte_tiles)]
        return matches!(self.order, Order::Tiles);
        #[cfg(not(mambabyte_tiles))]
        return false;
    }

    /// Number of rows.
    #[inline(always)]
    pub(crate) const fn rows(&self) -> usize {
        self.codes.len()
    }

    /// Rows `range`.
    pub(crate) fn part(self, range: &core::ops::Range<usize>) -> Self {
        let bytes = self.bytes.get(range.start * self.columns..range.end * self.columns);
        Self {
            bytes: bytes.unwrap_or_else(|| never("rows of a matrix", &[])),
            codes: self.codes.get(range.clone()).unwrap_or_else(|| never("codes of rows", &[])),
            ..self
        }
    }

    /// `emit(row, accumulator, code)` of every row times `x` `[columns]`, in plain integer code.
    #[inline(always)]
    pub(crate) fn each_row(&self, x: &[i16], emit: impl FnMut(usize, i64, u8)) {
        #[cfg(mambabyte_tiles)]
        if self.is_tiled() {
            return crate::tiles::matvec_i8(self.bytes, self.codes, x, emit);
        }
        linear::matvec_i8(self.bytes, self.codes, x, emit);
    }
}
