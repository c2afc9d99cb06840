//! Weights in tiles: the order of a matrix that streams through wide vectors.
//!
//! A tile is [`ROWS`] rows by [`COLUMNS`] columns, row by row: 64 bytes. Its products with four activations are sums of
//! 16 rows, which stay in the lanes of vectors to the end of the row: one lane a row where an instruction adds up four
//! products of bytes, two where it adds up two of 16 bits. All backends that read tiles have this order.
//!
//! ```text
//! matrix   panels of 64 rows, then a panel of the whole tiles that are left, then the rows that are left, row by row
//! panel    columns from left to right, four at a time: the tiles of its rows one after the other
//! ```
//!
//! A panel is one stream of bytes, the whole matrix nearly so. A file has row-major matrices, as chips read them; a
//! host that runs a model for long makes a copy in tiles. Only matrices whose number of columns [`fits`] have this
//! order, others stay row-major.

use crate::cannot::never;
use crate::linear::dot_i8_i16;

/// Rows of a tile.
pub const ROWS: usize = 16;
/// Columns of a tile.
pub const COLUMNS: usize = 4;
/// Rows of a whole panel. At every multiple of it the rest is a matrix of its own.
pub const PANEL: usize = 4 * ROWS;
/// Columns that [`tile`] moves for all rows before it takes the next ones.
const LINE: usize = 64;
/// Most columns: kernels keep as many activations on the stack.
pub const MOST_COLUMNS: usize = 8192;

/// Whether matrices with this number of columns are put in tiles.
pub const fn fits(columns: usize) -> bool {
    columns != 0 && columns.is_multiple_of(COLUMNS) && columns <= MOST_COLUMNS
}

/// Rows of the panel that begins where `left` rows are left; 0 if these do not fill a tile.
pub(crate) const fn panel_rows(left: usize) -> usize {
    if left >= PANEL { PANEL } else { left / ROWS * ROWS }
}

/// Puts a matrix in tiles; both slices have its bytes.
pub fn tile(from: &[u8], columns: usize, to: &mut [u8]) {
    if !fits(columns) {
        let n = from.len().min(to.len());
        if let (Some(from), Some(to)) = (from.get(..n), to.get_mut(..n)) {
            to.copy_from_slice(from);
        }
        return;
    }
    let (mut from, mut to) = (from, to);
    loop {
        let rows = panel_rows(from.len() / columns);
        let n = rows * columns;
        let (Some((panel, more)), Some((out, rest))) = (from.split_at_checked(n), to.split_at_mut_checked(n)) else {
            return never("panels that tile a matrix", ());
        };
        if rows == 0 {
            let n = more.len().min(rest.len());
            if let (Some(from), Some(to)) = (more.get(..n), rest.get_mut(..n)) {
                to.copy_from_slice(from);
            }
            return;
        }
        // A line of every row at a time, so that what is read and what is written are in the nearest cache.
        for (out, first) in out.chunks_mut(rows * LINE).zip((0..columns).step_by(LINE)) {
            for (row, from) in panel.chunks_exact(columns).enumerate() {
                let line = from.get(first..).unwrap_or(&[]);
                let places = out.as_chunks_mut::<COLUMNS>().0.iter_mut().skip(row).step_by(rows);
                places.zip(line.as_chunks().0).for_each(|(to, from)| *to = *from);
            }
        }
        (from, to) = (more, rest);
    }
}

/// [`linear::matvec_i8`](crate::linear::matvec_i8) of a matrix in tiles: it shows what the order means and is not fast.
pub(crate) fn matvec_i8(w: &[i8], code: &[u8], x: &[i16], mut emit: impl FnMut(usize, i64, u8)) {
    let mut first = 0;
    let (mut w, mut code) = (w, code);
    while !code.is_empty() {
        let rows = panel_rows(code.len());
        if rows == 0 {
            return crate::linear::matvec_i8(w, code, x, |row, acc, code| emit(first + row, acc, code));
        }
        let (Some((panel, more)), Some((codes, rest))) =
            (w.split_at_checked(rows * x.len()), code.split_at_checked(rows))
        else {
            return never("panels that tile a matrix", ());
        };
        for (row, &code) in codes.iter().enumerate() {
            let fours = panel.as_chunks::<COLUMNS>().0.iter().skip(row).step_by(rows);
            let acc = fours.zip(x.as_chunks::<COLUMNS>().0).fold(0, |acc, (w, x)| acc + dot_i8_i16(w, x));
            emit(first + row, acc, code);
        }
        first += rows;
        (w, code) = (more, rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_as_described() {
        const COLUMNS: usize = 8;
        let rows = 64 + 32 + 3;
        let from: std::vec::Vec<u8> = (0..rows * COLUMNS).map(|i| (i * 31 % 251) as u8).collect();
        let mut to = std::vec![0; from.len()];
        tile(&from, COLUMNS, &mut to);
        let at = |row: usize, column: usize| {
            let (first, panel) = if row < 64 { (0, 64) } else { (64, 32) };
            match row {
                96.. => row * COLUMNS + column,
                _ => first * COLUMNS + column / 4 * 4 * panel + 4 * (row - first) + column % 4,
            }
        };
        for row in 0..rows {
            for column in 0..COLUMNS {
                assert_eq!(to[at(row, column)], from[row * COLUMNS + column], "{row} {column}");
            }
        }
    }

    #[test]
    fn other_widths_stay_as_they_are() {
        let from: std::vec::Vec<u8> = (0..6 * 40).map(|i| i as u8).collect();
        let mut to = std::vec![0; from.len()];
        tile(&from, 6, &mut to);
        assert_eq!(to, from);
    }
}
