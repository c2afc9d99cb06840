//! Products with weights in [tiles](crate::tiles), the same loops for all who read them: panels at one position, and
//! tiles at some positions at a time.

use super::project::{codes_of, finish, rescale};
use crate::cannot::never;
use crate::linear::BLOCK;
use crate::simd::isa::{Isa, Sums};
use crate::simd::output::Output;
use crate::span::Activations;
use crate::tiles::{COLUMNS, PANEL, ROWS, fits, panel_rows};
use crate::weights::WeightsView;

/// Tiles of a panel.
const TILES: usize = PANEL / ROWS;

/// The activations of a position, as a processor wants them for products with tiles.
pub(crate) trait Panels<I: Isa>: Copy {
    /// The sums of the rows of a panel of one to four tiles, `w`; those that are missing are zero.
    fn sums(self, isa: I, w: &[i8]) -> [Sums<I::W>; TILES];
}

/// Tiles at several positions.
pub(crate) trait Tiles: Isa {
    /// The sums of a tile's rows at `P` positions over the columns of `x`, as many at each and at most [`BLOCK`]. `w`
    /// begins with the tile's first weights, `step` bytes before those of the next four columns.
    fn tile<const P: usize>(self, w: &[i8], step: usize, x: [&[i16]; P]) -> [Self::W; P];
}

/// No columns.
#[inline(always)]
pub(crate) fn no_sums<I: Isa>(isa: I) -> Sums<I::W> {
    Sums { high: isa.splat(0), low: isa.splat(0) }
}

/// Adds the sums of some columns, at most [`BLOCK`], of rows of `columns`.
#[inline(always)]
pub(crate) fn add_block<I: Isa>(isa: I, sums: Sums<I::W>, block: I::W, columns: usize) -> Sums<I::W> {
    if columns <= BLOCK {
        return Sums { low: block, ..sums };
    }
    Sums { high: isa.add(sums.high, isa.shr(block, 8)), low: isa.add(sums.low, isa.and(block, isa.splat(255))) }
}

/// The rows from `row` on of a whole matrix in tiles, times packed activations `x`; `panels` are the same ones.
#[inline(always)]
pub(crate) fn matvec<I: Isa, O: Output>(
    isa: I,
    w: WeightsView<'_>,
    x: &[i16],
    panels: impl Panels<I>,
    out: O,
    row: usize,
    y: &mut [O::T],
) {
    let columns = x.len();
    let rows = w.rows().min(y.len());
    if !fits(columns) || w.bytes.len() < rows * columns {
        return never("a matrix in tiles of as many columns as there are activations", ());
    }
    let (bytes, codes, shift) = (w.bytes, w.codes, w.shift as u32 + 7);
    let mut first = 0;
    while panel_rows(rows - first) != 0 {
        let n = panel_rows(rows - first);
        let (Some(w), Some(code), Some(y)) = (
            bytes.get(first * columns..(first + n) * columns),
            codes.get(first..first + n),
            y.get_mut(first..first + n),
        ) else {
            return never("as many rows as were counted", ());
        };
        let tiles = code.as_chunks::<ROWS>().0.iter().zip(y.as_chunks_mut::<ROWS>().0);
        for (i, (sums, (code, y))) in (row + first..).step_by(ROWS).zip(panels.sums(isa, w).into_iter().zip(tiles)) {
            finish(isa, out, i, sums, columns, code, shift, y);
        }
        first += n;
    }
    if let (Some(w), Some(code @ [_, ..]), Some(y)) =
        (bytes.get(first * columns..rows * columns), codes.get(first..rows), y.get_mut(first..rows))
    {
        let sums = isa.dot_rows(w, x, isa.start(x));
        finish(isa, out, row + first, sums, columns, &codes_of(code), shift, y);
    }
}

/// A matrix in tiles times the activations of many positions, which need no packing.
#[inline(always)]
pub(crate) fn matmul<I: Tiles, O: Output>(isa: I, w: WeightsView<'_>, x: Activations<'_>, out: O, y: &mut [O::T]) {
    let (rows, columns) = (w.rows(), w.columns);
    if rows == 0 || !fits(columns) || w.bytes.len() < rows * columns || x.stride < columns {
        return never("a matrix in tiles of as many columns as there are activations", ());
    }
    let positions = y.len() / rows;
    if positions == 0 || x.all.len() < (positions - 1) * x.stride + columns {
        return never("the activations of all positions", ());
    }
    // A panel of tiles stays in the second cache for all positions.
    let mut first = 0;
    while first < rows {
        let tiled = panel_rows(rows - first);
        let n = if tiled == 0 { rows - first } else { tiled };
        let (Some(bytes), Some(codes)) =
            (w.bytes.get(first * columns..(first + n) * columns), w.codes.get(first..first + n))
        else {
            return never("as many rows as were counted", ());
        };
        let panel = WeightsView { bytes, codes, ..w };
        let mut from = 0;
        while from < positions {
            let at = Place { rows, first, from };
            from += match positions - from {
                _ if tiled == 0 => rest(isa, panel, x, out, at, y),
                4 | 5 | 8 => group::<I, O, 4>(isa, panel, x, out, at, y),
                0..=3 => group::<I, O, 1>(isa, panel, x, out, at, y),
                _ => group::<I, O, 6>(isa, panel, x, out, at, y),
            };
        }
        first += n;
    }
}

/// Where results belong.
#[derive(Clone, Copy)]
struct Place {
    /// Of the whole matrix.
    rows: usize,
    /// The first row of the panel.
    first: usize,
    /// The first position.
    from: usize,
}

/// The columns `from..to` of `P` positions.
#[inline(always)]
fn columns_of<'x, const P: usize>(x: Activations<'x>, at: Place, from: usize, to: usize) -> [&'x [i16]; P] {
    let mut part: [&[i16]; P] = [&[]; P];
    for (p, part) in part.iter_mut().enumerate() {
        let begin = (at.from + p) * x.stride;
        *part = x.all.get(begin + from..begin + to).unwrap_or_else(|| never("the positions that were counted", &[]));
    }
    part
}

/// A panel of whole tiles at `P` positions; returns `P`.
#[inline(always)]
fn group<I: Tiles, O: Output, const P: usize>(
    isa: I,
    panel: WeightsView<'_>,
    x: Activations<'_>,
    out: O,
    at: Place,
    y: &mut [O::T],
) -> usize {
    let (columns, step) = (panel.columns, panel.rows() * COLUMNS);
    let tiles = panel.codes.as_chunks::<ROWS>().0.iter().enumerate();
    if columns <= BLOCK {
        let x = columns_of::<P>(x, at, 0, columns);
        for (t, code) in tiles {
            let w = panel.bytes.get(t * ROWS * COLUMNS..).unwrap_or(&[]);
            emit(
                isa,
                out,
                panel,
                Place { first: at.first + ROWS * t, ..at },
                code,
                [isa.splat(0); P],
                isa.tile(w, step, x),
                y,
            );
        }
        return P;
    }
    // As many columns at a time as stay in the nearest cache while all tiles read them.
    let (mut high, mut low) = ([[isa.splat(0); P]; TILES], [[isa.splat(0); P]; TILES]);
    for from in (0..columns).step_by(BLOCK) {
        let x = columns_of::<P>(x, at, from, columns.min(from + BLOCK));
        for (t, (high, low)) in high.iter_mut().zip(&mut low).enumerate().take(panel.rows() / ROWS) {
            let w = panel.bytes.get(from * panel.rows() + t * ROWS * COLUMNS..).unwrap_or(&[]);
            let blocks = isa.tile(w, step, x);
            for p in 0..P {
                let sums = add_block(isa, Sums { high: high[p], low: low[p] }, blocks[p], columns);
                (high[p], low[p]) = (sums.high, sums.low);
            }
        }
    }
    for ((t, code), (high, low)) in tiles.zip(high.iter().zip(&low)) {
        emit(isa, out, panel, Place { first: at.first + ROWS * t, ..at }, code, *high, *low, y);
    }
    P
}

/// Rounds and writes the sums of a tile of a matrix at `P` positions.
#[inline(always)]
fn emit<I: Isa, O: Output, const P: usize>(
    isa: I,
    out: O,
    w: WeightsView<'_>,
    at: Place,
    code: &[u8; ROWS],
    high: [I::W; P],
    low: [I::W; P],
    y: &mut [O::T],
) {
    let multipliers = isa.multipliers(code);
    for p in 0..P {
        let position = at.from + p;
        let shift = (w.shift as u32 + 7).wrapping_sub(out.down(position) as u32);
        let Some(y) = y.get_mut(position * at.rows + at.first..).and_then(|y| y.first_chunk_mut()) else {
            return never("the positions and rows that were counted", ());
        };
        let sums = Sums { high: high[p], low: low[p] };
        out.emit(isa, at.first, rescale(isa, sums, w.columns, multipliers, shift), y);
    }
}

/// The rows after the last tile, one after the other; returns 1, the position.
#[inline(always)]
fn rest<I: Isa, O: Output>(isa: I, w: WeightsView<'_>, x: Activations<'_>, out: O, at: Place, y: &mut [O::T]) -> usize {
    let begin = at.from * at.rows + at.first;
    let x = x.all.get(at.from * x.stride..).and_then(|x| x.get(..w.columns));
    let (Some(x), Some(y)) = (x, y.get_mut(begin..begin + w.rows())) else {
        return never("the positions and rows that were counted", 1);
    };
    let shift = (w.shift as u32 + 7).wrapping_sub(out.down(at.from) as u32);
    let sums = isa.dot_rows(w.bytes, x, isa.start(x));
    finish(isa, out, at.first, sums, w.columns, &codes_of(w.codes), shift, y);
    1
}
