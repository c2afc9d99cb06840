//! Products over many positions: activations of 16 or 32 positions are packed into a panel whose lanes are positions.
//! Each weight is read once for all of them.
//!
//! A vector of the panel holds four columns of 16 positions, as bytes: the upper halves plus 128, or the lower ones.
//! `VPDPBUSD` multiplies them by four weights of a row, broadcast; rows lie one after the other or in tiles. No sum
//! needs lanes to be added up, and `sum w * (high + 128)` starts at `-128 * sum w`.

#![allow(clippy::needless_range_loop, reason = "indices that are constants keep the vectors in registers")]

use core::arch::x86_64::*;
use core::mem::MaybeUninit;

use super::tiles as one_position;
use super::token::{Avx512, first_bytes};
use crate::cannot::never;
use crate::linear::BLOCK;
use crate::simd::Output;
use crate::simd::isa::{Isa, ROWS, Sums};
use crate::simd::vector::project::{self, codes_of, finish};
use crate::span::PANEL_COLUMNS;
use crate::tiles;
use crate::weights::WeightsView;

/// Positions of a vector.
const LANES: usize = 16;
/// Most vectors of positions at a time.
const GROUPS: usize = 2;
/// Positions from which on a vector of them is faster than one after the other: lanes without a position cost as much.
const WORTH: usize = 12;

/// The vectors that a panel has room for in `memory`.
#[inline(always)]
fn vectors(memory: &mut [i32]) -> &mut [MaybeUninit<__m512i>] {
    // SAFETY: any bits are a vector of integers, written or not.
    let (_, vectors, _) = unsafe { memory.align_to_mut() };
    vectors
}

/// [`Products::matmul`](crate::simd::vector::project::Products::matmul). `memory`: for the panel.
#[inline(always)]
pub(super) fn matmul<O: Output>(
    isa: Avx512,
    w: WeightsView<'_>,
    x: &[i16],
    out: O,
    memory: &mut [i32],
    y: &mut [O::T],
) {
    let (rows, columns) = (w.rows(), w.columns);
    if rows == 0 || columns == 0 {
        return;
    }
    if w.bytes.len() < rows * columns {
        return never("as many weights as rows and columns", ());
    }
    let positions = x.len() / columns;
    let panel = vectors(memory);
    let room = panel.len() >= columns.div_ceil(4) * 2 * GROUPS;
    match (columns <= PANEL_COLUMNS && room && positions >= WORTH, w.is_tiled()) {
        (true, true) => blocks::<O, true>(isa, panel, w, x, out, y),
        (true, false) => blocks::<O, false>(isa, panel, w, x, out, y),
        (false, false) => project::matmul(isa, w, x, out, y),
        (false, true) => singly::<O, true>(isa, w, x, (out, 0), y),
    }
}

/// One position after the other, of which the first is `from`; `TILED`: the order of the weights.
#[inline(always)]
fn singly<O: Output, const TILED: bool>(
    isa: Avx512,
    w: WeightsView<'_>,
    x: &[i16],
    (out, from): (O, usize),
    y: &mut [O::T],
) {
    let (rows, columns) = (w.rows(), w.columns);
    // A panel of tiles is a matrix of its own, and stays in the second cache for all positions.
    let height = if TILED { tiles::PANEL } else { rows };
    for first in (0..rows).step_by(height) {
        let range = first..rows.min(first + height);
        let part = if TILED { w.part(&range) } else { w };
        for (position, (x, y)) in (from..).zip(x.chunks_exact(columns).zip(y.chunks_exact_mut(rows))) {
            let part = WeightsView { shift: w.shift.wrapping_sub(out.down(position)), ..part };
            let Some(y) = y.get_mut(range.clone()) else {
                return never("the positions and rows that were counted", ());
            };
            if TILED {
                one_position::matvec_from(isa, part, x, out, first, y);
            } else {
                project::matvec(isa, part, x, out, y);
            }
        }
    }
}

/// All positions, 32 or 16 at a time, the last few one by one; `TILED`: the order of the weights.
#[inline(always)]
fn blocks<O: Output, const TILED: bool>(
    isa: Avx512,
    panel: &mut [MaybeUninit<__m512i>],
    w: WeightsView<'_>,
    x: &[i16],
    out: O,
    y: &mut [O::T],
) {
    let (rows, columns) = (w.rows(), w.columns);
    let positions = x.len() / columns;
    let mut from = 0;
    while from < positions {
        let left = positions - from;
        let (few, wide) = (left < WORTH, left >= LANES + WORTH);
        let to = (from + if wide { GROUPS * LANES } else { LANES }).min(positions);
        let (Some(x), Some(y)) = (x.get(from * columns..to * columns), y.get_mut(from * rows..to * rows)) else {
            return never("the positions and rows that were counted", ());
        };
        if few {
            singly::<O, TILED>(isa, w, x, (out, from), y);
        } else if wide {
            block::<O, GROUPS, TILED>(isa, panel, w, x, (out, from), y);
        } else {
            block::<O, 1, TILED>(isa, panel, w, x, (out, from), y);
        }
        from = to;
    }
}

/// Up to `16 * G` positions, of which the first is `from`.
#[inline(always)]
fn block<O: Output, const G: usize, const TILED: bool>(
    isa: Avx512,
    panel: &mut [MaybeUninit<__m512i>],
    w: WeightsView<'_>,
    x: &[i16],
    (out, from): (O, usize),
    y: &mut [O::T],
) {
    let (rows, columns, base) = (w.rows(), w.columns, w.shift as u32 + 7);
    let (w, code) = (w.bytes, w.codes);
    for group in 0..G {
        fill::<G>(
            isa,
            panel,
            group,
            x.get(group * LANES * columns..).unwrap_or_else(|| never("positions of the group", &[])),
            columns,
        );
    }
    for (first, code) in code.chunks(ROWS).enumerate() {
        let codes = codes_of(code);
        let last = code.len() - 1;
        let order = Order::new::<TILED>(first, rows, columns);
        let Some(w) = w.get(order.at..).filter(|w| w.len() >= order.len(code.len(), columns)) else {
            return never("the positions and rows that were counted", ());
        };
        let start = start_of(isa, w, &order, code.len(), columns);
        let zero = isa.splat(0);
        let (mut high, mut low) = ([[zero; ROWS]; G], [[zero; ROWS]; G]);
        for quad in 0..ROWS / 4 {
            if 4 * quad > last {
                break;
            }
            // SAFETY: each row has `columns` weights, in the order whose length was compared; `fill` has written the
            // panel's vectors of that many columns.
            let sums = unsafe {
                let (w, panel) = (w.as_ptr(), panel.as_ptr().cast());
                if order.tiled {
                    let start = [start[4 * quad], start[4 * quad + 1], start[4 * quad + 2], start[4 * quad + 3]];
                    let part = 4 * (first % (tiles::PANEL / ROWS)) + quad;
                    four_tiled_rows::<G>(
                        isa,
                        w.add(16 * quad),
                        order.four,
                        order.ahead(w, part, columns),
                        panel,
                        columns,
                        start,
                    )
                } else {
                    // Rows after the last one are the last one again.
                    let row = |i: usize| (4 * quad + i).min(last);
                    let at = [row(0), row(1), row(2), row(3)];
                    let start = [start[at[0]], start[at[1]], start[at[2]], start[at[3]]];
                    let rows = at.map(|row| w.wrapping_add(row * columns));
                    four_rows::<G>(isa, rows, panel, columns, start)
                }
            };
            for i in 0..4 {
                for group in 0..G {
                    let (row, [h, l]) = (4 * quad + i, sums[i][group]);
                    if columns <= BLOCK {
                        low[group][row] = isa.add(isa.shl(h, 8), l);
                    } else {
                        (high[group][row], low[group][row]) = (h, l);
                    }
                }
            }
        }
        for group in 0..G {
            // Long rows could sum up to more than 32 bits, and hardly ever do.
            let long = columns > BLOCK && !join_halves(isa, &high[group], &mut low[group]);
            let low = transpose(low[group]);
            let high = if long { transpose(high[group]) } else { [zero; LANES] };
            let width = if long { columns } else { 0 };
            let positions = y.chunks_exact_mut(rows).skip(group * LANES).zip(0..LANES);
            for (y, position) in positions {
                let (high, low) = (high[position], low[position]);
                let shift = base.wrapping_sub(out.down(from + group * LANES + position) as u32);
                let Some(y) = y.get_mut(first * ROWS..).and_then(|y| y.get_mut(..code.len())) else {
                    return never("the positions and rows that were counted", ());
                };
                finish(isa, out, first * ROWS, Sums { high, low }, width, &codes, shift, y);
            }
        }
    }
}

/// `low = 256 * high + low` where that is certainly below `2^31`; returns whether it is. Lower halves sum up to `2^26`
/// at most.
#[inline(always)]
fn join_halves(isa: Avx512, high: &[__m512i; ROWS], low: &mut [__m512i; ROWS]) -> bool {
    const _: () = assert!(PANEL_COLUMNS * 255 * 128 <= 1 << 26);
    let mut bits = isa.splat(0);
    for &high in high {
        bits = isa.or(bits, isa.abs(high));
    }
    if isa.any_negative(isa.sub(isa.splat((1 << 22) - 1), bits)) {
        return false;
    }
    for (low, &high) in low.iter_mut().zip(high) {
        *low = isa.add(isa.shl(high, 8), *low);
    }
    true
}

/// Where the weights of up to 16 rows are.
#[derive(Clone, Copy)]
struct Order {
    /// The first one.
    at: usize,
    /// From four columns of a row to the next four.
    four: usize,
    tiled: bool,
}

impl Order {
    /// Of rows from `16 * index` on, of `rows`.
    #[inline(always)]
    fn new<const TILED: bool>(index: usize, rows: usize, columns: usize) -> Self {
        let first = index * ROWS;
        let panel = first / tiles::PANEL * tiles::PANEL;
        // The rows after the last tile lie one after the other.
        if TILED && first + ROWS <= rows {
            let at = panel * columns + (first - panel) * tiles::COLUMNS;
            Self { at, four: tiles::COLUMNS * tiles::panel_rows(rows - panel), tiled: true }
        } else {
            Self { at: first * columns, four: 4, tiled: false }
        }
    }

    /// What quad `part` of the 16 of this panel fetches meanwhile: its part of the next panel. `w` begins at this tile.
    #[inline(always)]
    fn ahead(self, w: *const i8, part: usize, columns: usize) -> *const i8 {
        let tile = part / 4;
        w.wrapping_add(tiles::PANEL * columns).wrapping_sub(64 * tile).wrapping_add(4 * columns * part)
    }

    /// Bytes from the first weight of `rows` rows to the end of the last one.
    #[inline(always)]
    fn len(self, rows: usize, columns: usize) -> usize {
        let fours = columns.div_ceil(4) - 1;
        if self.tiled { fours * self.four + rows * 4 } else { rows * columns }
    }
}

/// Writes the vectors of a group of positions; those that are missing are zero.
#[inline(always)]
fn fill<const G: usize>(isa: Avx512, panel: &mut [MaybeUninit<__m512i>], group: usize, x: &[i16], columns: usize) {
    let mut at = 0;
    while at < columns {
        let n = (columns - at).min(64);
        let mask = if n == 64 { !0 } else { first_bytes(n) };
        let bias = avx512!(_mm512_set1_epi8(-128));
        let (mut highs, mut lows) = ([bias; LANES], [isa.splat(0); LANES]);
        for ((high, low), x) in highs.iter_mut().zip(&mut lows).zip(x.chunks_exact(columns)) {
            let Some(x) = x.get(at..at + n) else { return never("the positions and rows that were counted", ()) };
            let x = x.as_ptr().cast::<i8>();
            // SAFETY: `n` bytes of each plane are in the slice; the token stands for the instructions.
            unsafe {
                let (h, l) = (_mm512_maskz_loadu_epi8(mask, x), _mm512_maskz_loadu_epi8(mask, x.add(n)));
                let negative = _mm512_movepi8_mask(h);
                let h = _mm512_and_si512(h, _mm512_set1_epi8(0x7f));
                // -(256 h + l) = 256 (-h - 1) + (256 - l), or 256 (-h) if l is 0.
                let borrow = negative & _mm512_test_epi8_mask(l, l);
                let h = _mm512_mask_sub_epi8(h, negative, _mm512_setzero_si512(), h);
                let h = _mm512_mask_sub_epi8(h, borrow, h, _mm512_set1_epi8(1));
                *high = _mm512_xor_si512(h, bias);
                *low = _mm512_mask_sub_epi8(l, negative, _mm512_setzero_si512(), l);
            }
        }
        let (highs, lows) = (transpose(highs), transpose(lows));
        let fours = panel.chunks_exact_mut(2 * G).skip(at / 4);
        for (four, i) in fours.zip(0..LANES) {
            let (high, low) = (highs[i], lows[i]);
            if let Some([to_high, to_low]) = four.get_mut(2 * group..).and_then(|four| four.first_chunk_mut()) {
                (*to_high, *to_low) = (MaybeUninit::new(high), MaybeUninit::new(low));
            }
        }
        at += 64;
    }
}

/// `-128 * sum w` of each of up to 16 rows.
#[inline(always)]
fn start_of(isa: Avx512, w: &[i8], order: &Order, rows: usize, columns: usize) -> [i32; ROWS] {
    let zero = isa.splat(0);
    let one = avx512!(_mm512_set1_epi8(1));
    let total = if order.tiled {
        let mut sums = zero;
        for w in w.chunks(order.four).take(columns / 4) {
            if let Some(w) = w.first_chunk::<64>() {
                sums = avx512!(_mm512_dpbusd_epi32(sums, one, _mm512_loadu_si512(w.as_ptr().cast())));
            }
        }
        sums
    } else {
        let mut sums = [zero; ROWS];
        for (sum, w) in sums.iter_mut().zip(w.chunks_exact(columns).take(rows)) {
            let (whole, rest) = w.as_chunks::<64>();
            for w in whole {
                *sum = avx512!(_mm512_dpbusd_epi32(*sum, one, _mm512_loadu_si512(w.as_ptr().cast())));
            }
            if !rest.is_empty() {
                let mask = first_bytes(rest.len());
                *sum = avx512!(_mm512_dpbusd_epi32(*sum, one, _mm512_maskz_loadu_epi8(mask, rest.as_ptr())));
            }
        }
        let a = isa.sum_4([sums[0], sums[1], sums[2], sums[3]]);
        let b = isa.sum_4([sums[4], sums[5], sums[6], sums[7]]);
        let c = isa.sum_4([sums[8], sums[9], sums[10], sums[11]]);
        let d = isa.sum_4([sums[12], sums[13], sums[14], sums[15]]);
        isa.sum_16([a, b, c, d])
    };
    let mut start = [0; ROWS];
    isa.store_i32(isa.sub(zero, isa.shl(total, 7)), &mut start);
    start
}

/// What the sums of four rows begin with, over the upper and the lower halves.
#[inline(always)]
fn begin<const G: usize>(isa: Avx512, start: [i32; 4]) -> [[[__m512i; 2]; G]; 4] {
    let zero = isa.splat(0);
    [
        [[isa.splat(start[0]), zero]; G],
        [[isa.splat(start[1]), zero]; G],
        [[isa.splat(start[2]), zero]; G],
        [[isa.splat(start[3]), zero]; G],
    ]
}

/// The sums of four rows of a tile at `16 * G` positions, over the upper and the lower halves. `w`: the first weights
/// of the rows, `step` from four columns to the next four. Meanwhile `4 * columns` bytes from `ahead` on are fetched.
///
/// # Safety
/// There are `columns`, a multiple of four, in each row; the panel is filled as far.
#[inline(always)]
unsafe fn four_tiled_rows<const G: usize>(
    isa: Avx512,
    w: *const i8,
    step: usize,
    ahead: *const i8,
    panel: *const __m512i,
    columns: usize,
    start: [i32; 4],
) -> [[[__m512i; 2]; G]; 4] {
    let mut sums = begin::<G>(isa, start);
    let fours = columns / 4;
    // Four times four columns per iteration: a loop of 16 products alone runs at four fifths of their rate.
    let whole = fours & !3;
    let mut four = 0;
    // SAFETY: `16` bytes from `step * four` on are the weights of the four rows, their vectors are in the panel.
    unsafe {
        while four < whole {
            super::super::fetch_line_far(ahead.wrapping_add(16 * four));
            for i in 0..4 {
                let four = four + i;
                let weights = w.add(step * four).cast::<[i32; 4]>().read_unaligned();
                add_four::<G>(&mut sums, weights, panel.add(four * 2 * G));
            }
            four += 4;
        }
        while four < fours {
            let weights = w.add(step * four).cast::<[i32; 4]>().read_unaligned();
            add_four::<G>(&mut sums, weights, panel.add(four * 2 * G));
            four += 1;
        }
    }
    sums
}

/// The same of four rows that are not in tiles.
///
/// # Safety
/// `w` are `columns` bytes each; the panel is filled as far.
#[inline(always)]
unsafe fn four_rows<const G: usize>(
    isa: Avx512,
    w: [*const i8; 4],
    panel: *const __m512i,
    columns: usize,
    start: [i32; 4],
) -> [[[__m512i; 2]; G]; 4] {
    let mut sums = begin::<G>(isa, start);
    let fours = columns / 4;
    let whole = fours & !3;
    let mut four = 0;
    // SAFETY: four columns from `4 * four` on are in each row, their vectors in the panel.
    unsafe {
        while four < whole {
            for i in 0..4 {
                let four = four + i;
                add_four::<G>(&mut sums, w.map(|w| weights_at(w, four)), panel.add(four * 2 * G));
            }
            four += 4;
        }
        while four < fours {
            add_four::<G>(&mut sums, w.map(|w| weights_at(w, four)), panel.add(four * 2 * G));
            four += 1;
        }
    }
    let left = columns % 4;
    if left != 0 {
        let mut weights = [0i32; 4];
        // SAFETY: `left` columns are in each row; the panel has a whole vector of them.
        unsafe {
            for (weights, w) in weights.iter_mut().zip(w) {
                core::ptr::copy_nonoverlapping(w.add(columns - left), (&raw mut *weights).cast(), left);
            }
            add_four::<G>(&mut sums, weights, panel.add(columns / 4 * 2 * G));
        }
    }
    sums
}

/// Four weights of a row.
///
/// # Safety
/// They are there.
#[inline(always)]
unsafe fn weights_at(w: *const i8, four: usize) -> i32 {
    // SAFETY: as promised by the caller.
    unsafe { w.add(4 * four).cast::<i32>().read_unaligned() }
}

/// # Safety
/// The panel has `2 * G` vectors.
#[inline(always)]
unsafe fn add_four<const G: usize>(sums: &mut [[[__m512i; 2]; G]; 4], w: [i32; 4], panel: *const __m512i) {
    // SAFETY: as above; a filled panel exists only where a token does.
    unsafe {
        for group in 0..G {
            let (high, low) = (_mm512_loadu_si512(panel.add(2 * group)), _mm512_loadu_si512(panel.add(2 * group + 1)));
            for row in 0..4 {
                let w = _mm512_set1_epi32(w[row]);
                let sum = &mut sums[row][group];
                sum[0] = _mm512_dpbusd_epi32(sum[0], high, w);
                sum[1] = _mm512_dpbusd_epi32(sum[1], low, w);
            }
        }
    }
}

/// Rows become columns, in elements of 32 bits.
#[inline(always)]
fn transpose(v: [__m512i; 16]) -> [__m512i; 16] {
    let mut out = v;
    avx512!({
        // Lane `L` of `quads[q][j]`: column `4 * L + j` of rows `4 * q` to `4 * q + 3`.
        let mut quads = [[v[0]; 4]; 4];
        for q in 0..4 {
            let (ab, cd) = ((v[4 * q], v[4 * q + 1]), (v[4 * q + 2], v[4 * q + 3]));
            let (ab_low, ab_high) = (_mm512_unpacklo_epi32(ab.0, ab.1), _mm512_unpackhi_epi32(ab.0, ab.1));
            let (cd_low, cd_high) = (_mm512_unpacklo_epi32(cd.0, cd.1), _mm512_unpackhi_epi32(cd.0, cd.1));
            quads[q] = [
                _mm512_unpacklo_epi64(ab_low, cd_low),
                _mm512_unpackhi_epi64(ab_low, cd_low),
                _mm512_unpacklo_epi64(ab_high, cd_high),
                _mm512_unpackhi_epi64(ab_high, cd_high),
            ];
        }
        for j in 0..4 {
            let even = _mm512_shuffle_i32x4::<0x88>(quads[0][j], quads[1][j]);
            let odd = _mm512_shuffle_i32x4::<0xdd>(quads[0][j], quads[1][j]);
            let even_2 = _mm512_shuffle_i32x4::<0x88>(quads[2][j], quads[3][j]);
            let odd_2 = _mm512_shuffle_i32x4::<0xdd>(quads[2][j], quads[3][j]);
            out[j] = _mm512_shuffle_i32x4::<0x88>(even, even_2);
            out[4 + j] = _mm512_shuffle_i32x4::<0x88>(odd, odd_2);
            out[8 + j] = _mm512_shuffle_i32x4::<0xdd>(even, even_2);
            out[12 + j] = _mm512_shuffle_i32x4::<0xdd>(odd, odd_2);
        }
    });
    out
}
