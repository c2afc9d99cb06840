//! Projections in vectors: the sums of [`ROWS`] rows at a time, at one position or at many.
//!
//! A processor with a better way, such as weights in tiles, has its own [`Products`].

use crate::cannot::never;
use crate::linear;
use crate::simd::isa::{Isa, ROWS, Sums};
use crate::simd::output::Output;
use crate::simd::{Kernels, LogDelta, Scalar, Target};
use crate::span::{Activations, One, Span};
use crate::weights::WeightsView;

/// Bytes from which on a matrix is fetched from memory ahead of its use: smaller ones are in the nearest caches.
const FETCHED: usize = 96 << 10;

/// Most columns of `dt_proj`, whose activations are packed on the stack; more take the scalar function.
const MOST_RANK: usize = 512;

/// Products of a matrix with packed activations.
pub(crate) trait Products: Isa {
    /// Whether it reads weights in tiles; they are rows everywhere else.
    const TILES: bool = false;
    /// Whether activations are read as they are, packed or not.
    const PLAIN: bool = false;

    /// At one position; `x` has the matrix's columns.
    #[inline(always)]
    fn matvec<O: Output>(self, w: WeightsView<'_>, x: &[i16], out: O, y: &mut [O::T]) {
        matvec(self, w, x, out, y);
    }

    /// At many positions; `panel`: memory, see [`Span::panel`].
    #[inline(always)]
    fn matmul<O: Output>(self, w: WeightsView<'_>, x: Activations<'_>, out: O, _panel: &mut [i32], y: &mut [O::T]) {
        matmul(self, w, x.all, out, y);
    }
}

/// [`Kernels::project`].
#[inline(always)]
pub(crate) fn project<I: Products, O: Output, P: Span>(
    isa: I,
    w: WeightsView<'_>,
    x: Activations<'_>,
    out: O,
    span: &mut P,
    y: &mut [O::T],
) {
    if I::PLAIN && w.is_tiled() && !P::ONE {
        isa.matmul(w, x, out, span.panel(), y);
    } else if let Target::LogDelta(bias, l) = out.target(y) {
        // Its activations are not packed, and at every position so few that each is a product of its own. A loop and no
        // closure: that would be compiled without the processor's instructions, at a tenth of the speed.
        let out = LogDelta(bias);
        for (dt, l) in P::rows(x.all, x.stride).zip(P::rows_mut(l, w.rows())) {
            let Some(dt) = dt.get(..w.columns) else { return never("as many activations as columns", ()) };
            log_delta(isa, w, dt, out, l);
        }
    } else if P::ONE {
        isa.matvec(WeightsView { shift: w.shift.wrapping_sub(out.down(0)), ..w }, x.all, out, y);
    } else {
        isa.matmul(w, x, out, span.panel(), y);
    }
}

/// Rounds the sums of up to [`ROWS`] rows from `row` on and writes them. `shift`: of the matrix, and 7 more.
#[inline(always)]
pub(crate) fn finish<I: Isa, O: Output>(
    isa: I,
    out: O,
    row: usize,
    sums: Sums<I::W>,
    columns: usize,
    code: &[u8; ROWS],
    shift: u32,
    y: &mut [O::T],
) {
    let q = rescale(isa, sums, columns, isa.multipliers(code), shift);
    match y.first_chunk_mut() {
        Some(y) => out.emit(isa, row, q, y),
        None => {
            let mut all = [O::NONE; ROWS];
            all.iter_mut().zip(y.iter()).for_each(|(to, &from)| *to = from);
            out.emit(isa, row, q, &mut all);
            y.iter_mut().zip(&all).for_each(|(to, &from)| *to = from);
        }
    }
}

/// The sums of rows of `columns`, rounded.
#[inline(always)]
pub(crate) fn rescale<I: Isa>(isa: I, sums: Sums<I::W>, columns: usize, multipliers: I::W, shift: u32) -> I::W {
    if columns <= linear::BLOCK {
        isa.mul_round::<22>(sums.low, multipliers, shift)
    } else {
        isa.sums_round(sums, multipliers, shift)
    }
}

/// The codes of up to [`ROWS`] rows.
#[inline(always)]
pub(crate) fn codes_of(code: &[u8]) -> [u8; ROWS] {
    let mut all = [0; ROWS];
    all.iter_mut().zip(code).for_each(|(to, &from)| *to = from);
    all
}

/// Matrix times packed vector, [`ROWS`] rows at a time.
#[inline(always)]
pub(crate) fn matvec<I: Isa, O: Output>(isa: I, w: WeightsView<'_>, x: &[i16], out: O, y: &mut [O::T]) {
    let n = x.len();
    if n == 0 {
        return;
    }
    let rows = (w.bytes.len() / n).min(w.rows()).min(y.len());
    let shift = w.shift as u32 + 7;
    let (Some(w), Some(code), Some(y)) = (w.bytes.get(..rows * n), w.codes.get(..rows), y.get_mut(..rows)) else {
        return never("as many rows as were counted", ());
    };
    let start = isa.start(x);
    let panel = (4 * ROWS * n).max(1);
    let last = rows - rows % (4 * ROWS);
    let mut ahead = if w.len() < FETCHED { &[] } else { w };
    let panels = w.chunks_exact(panel).zip(code.as_chunks::<ROWS>().0.as_chunks::<4>().0);
    for ((first, y), (w, code)) in (0..rows).step_by(4 * ROWS).zip(y.chunks_exact_mut(4 * ROWS)).zip(panels) {
        ahead = ahead.get(panel..).unwrap_or(&[]);
        let sums = isa.dot_panel(w, x, start, ahead);
        let blocks = sums.into_iter().zip(code).zip(y.chunks_exact_mut(ROWS));
        for (row, ((sums, code), y)) in (first..).step_by(ROWS).zip(blocks) {
            finish(isa, out, row, sums, n, code, shift, y);
        }
    }
    let (Some(w), Some(code), Some(y)) = (w.get(last * n..), code.get(last..), y.get_mut(last..)) else {
        return never("as many rows as were counted", ());
    };
    let blocks = w.chunks((ROWS * n).max(1)).zip(code.chunks(ROWS)).zip(y.chunks_mut(ROWS));
    for (row, ((w, code), y)) in (last..).step_by(ROWS).zip(blocks) {
        finish(isa, out, row, isa.dot_rows(w, x, start), n, &codes_of(code), shift, y);
    }
}

/// Matrix times packed vectors. Rows are outside, so that [`ROWS`] of them stay in the cache for all positions.
#[inline(always)]
pub(crate) fn matmul<I: Isa, O: Output>(isa: I, w: WeightsView<'_>, x: &[i16], out: O, y: &mut [O::T]) {
    let (rows, columns, shift) = (w.rows(), w.columns, w.shift as u32 + 7);
    if columns == 0 || rows == 0 {
        return;
    }
    let blocks = w.bytes.chunks((ROWS * columns).max(1)).zip(w.codes.chunks(ROWS));
    for (first, (w, code)) in (0..).step_by(ROWS).zip(blocks) {
        let all = codes_of(code);
        for (position, (x, y)) in x.chunks_exact(columns).zip(y.chunks_exact_mut(rows)).enumerate() {
            let shift = shift.wrapping_sub(out.down(position) as u32);
            let Some(y) = y.get_mut(first..).and_then(|y| y.get_mut(..code.len())) else {
                return never("as many rows as were counted", ());
            };
            finish(isa, out, first, isa.dot_rows(w, x, isa.start(x)), columns, &all, shift, y);
        }
    }
}

/// [`LogDelta`] at a position: ranks up to 16 as short rows; other ranks, and weights in tiles, as any other product.
#[inline(always)]
fn log_delta<I: Products>(isa: I, w: WeightsView<'_>, dt: &[i16], out: LogDelta<'_>, l: &mut [i16]) {
    let rank = dt.len();
    if rank <= 16 && !w.is_tiled() {
        return short_rows(isa, w, dt, out, l);
    }
    let mut memory = [0; MOST_RANK];
    let Some(packed) = memory.get_mut(..rank) else {
        return Scalar.project(w, Activations::new(dt, rank), out, &mut One, l);
    };
    packed.copy_from_slice(dt);
    isa.pack(packed);
    isa.matvec(w, packed, out, l);
}

/// Rows of at most 16 columns.
#[inline(always)]
fn short_rows<I: Isa>(isa: I, w: WeightsView<'_>, dt: &[i16], out: LogDelta<'_>, l: &mut [i16]) {
    let rank = dt.len();
    let n = l.len().min(w.rows()).min(w.bytes.len() / rank.max(1));
    let (Some(bytes), Some(codes), Some(l)) = (w.bytes.get(..n * rank), w.codes.get(..n), l.get_mut(..n)) else {
        return never("as many rows as were counted", ());
    };
    if rank == 0 {
        return;
    }
    let mut padded = [0; 16];
    padded.iter_mut().zip(dt).for_each(|(to, &from)| *to = from);
    let mut done = 0;
    for (code, l) in codes.as_chunks().0.iter().zip(l.as_chunks_mut::<ROWS>().0) {
        // The last rows have nothing after them that could be read over.
        let Some(rows) = bytes.get(done * rank..).filter(|w| w.len() >= 15 * rank + 16) else { break };
        let sums = isa.dot_short_rows(rows, rank, &padded);
        out.emit(isa, done, isa.mul_round::<22>(sums, isa.multipliers(code), w.shift as u32 + 7), l);
        done += ROWS;
    }
    let (Some(bytes), Some(codes), Some(l)) = (bytes.get(done * rank..), codes.get(done..), l.get_mut(done..)) else {
        return never("as many rows as were counted", ());
    };
    let (rest, bias) = (WeightsView { bytes, codes, ..w }, out.0.get(done..).unwrap_or(&[]));
    Scalar.project(rest, Activations::new(dt, rank), LogDelta(bias), &mut One, l);
}
