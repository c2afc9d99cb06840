//! What chips do not have: long rows, many rows, many positions.

use super::cases::{BASES, Mismatch, Values, one};
use crate::simd::{AddToI32, Kernels, LogDelta, Output, Scalar, Selected, ToI16, ToI32};
use crate::span::{Activations, Many, PANEL_LEN};
use crate::weights::WeightsView;

/// Rows of a matrix under, at and over the 16 and 64 that are finished together.
const ROWS: [usize; 8] = [1, 4, 15, 16, 17, 35, 64, 70];
/// Columns around 512, above which sums need more than 32 bits, and around what registers and panels hold.
const COLUMNS: [usize; 12] = [63, 64, 65, 127, 511, 512, 513, 1030, 2047, 2048, 2049, 4100];
const MOST_ROWS: usize = 70;
const MOST_COLUMNS: usize = 4100;

/// A matrix times the activations of many positions, in memory for a panel that is not aligned.
fn many<K: Kernels, O: Output>(k: K, w: WeightsView<'_>, x: &[i16], columns: usize, out: O, y: &mut [O::T]) {
    let mut panel = [0; PANEL_LEN + 31];
    let panel = panel.get_mut(15..).unwrap_or(&mut []);
    k.project(w, Activations::new(x, columns), out, &mut Many { panel }, y);
}

/// Matrices larger than those of chips.
#[inline(never)]
pub(super) fn matvec<K: Kernels>(k: K) -> Result<usize, Mismatch> {
    let mut random = Values(7);
    let mut case = 0;
    let mut weights = [0i8; MOST_ROWS * MOST_COLUMNS + 1];
    for columns in COLUMNS {
        for rows in ROWS {
            for style in 0..4 {
                let odd = (style % 2) as usize;
                let (mut x, mut code) = ([0i16; MOST_COLUMNS], [0u8; MOST_ROWS]);
                let (Some(w), Some(code), Some(x)) =
                    (weights.get_mut(odd..odd + rows * columns), code.get_mut(..rows), x.get_mut(..columns))
                else {
                    continue;
                };
                w.iter_mut().for_each(|w| *w = random.i8(style));
                code.iter_mut().for_each(|c| *c = random.next() as u8);
                random.fill(x, [0, 0, 1, 3][style as usize]);
                let base = BASES[random.below(BASES.len() as u32) as usize];
                let mut start = [0i32; MOST_ROWS];
                start.iter_mut().for_each(|y| *y = random.next() as i32);
                let (mut want16, mut have16) = ([1i16; MOST_ROWS], [1i16; MOST_ROWS]);
                let (mut want32, mut have32) = ([1i32; MOST_ROWS], [1i32; MOST_ROWS]);
                let (mut want_add, mut have_add) = (start, start);
                let w = WeightsView::of_rows(w, code, base, columns);
                one(Scalar, w, x, ToI16, &mut want16);
                one(Scalar, w, x, ToI32, &mut want32);
                one(Scalar, w, x, AddToI32(&[]), &mut want_add);
                let plain = *x.first_chunk::<63>().unwrap_or(&[0; 63]);
                k.pack(x);
                one(k, w, x, ToI16, &mut have16);
                one(k, w, x, ToI32, &mut have32);
                one(k, w, x, AddToI32(&[]), &mut have_add);
                k.unpack(x);
                let unpacked = x.first_chunk() == Some(&plain);
                if want16 != have16 || want32 != have32 || want_add != have_add || !unpacked {
                    return Err(Mismatch { backend: K::NAME, kernel: "matvec, long rows", rows, columns, case });
                }
                case += 1;
            }
        }
    }
    Ok(case)
}

const MOST_POSITIONS: usize = 35;

/// Products at many positions.
#[inline(never)]
pub(super) fn matmul<K: Kernels>(k: K) -> Result<usize, Mismatch> {
    let mut random = Values(8);
    let mut case = 0;
    let mut weights = [0i8; MOST_ROWS * 2049];
    let mut inputs = [0i16; MOST_POSITIONS * 2049];
    for positions in [1, 2, 7, 8, 15, 16, 17, 32, 33, MOST_POSITIONS] {
        for (columns, rows) in
            [(3, 17), (4, 17), (16, 5), (64, 16), (65, 35), (130, 33), (512, 3), (514, 18), (2049, 17)]
        {
            for style in 0..4 {
                let mut code = [0u8; MOST_ROWS];
                let mut down = [0u8; MOST_POSITIONS];
                let (Some(w), Some(x)) = (weights.get_mut(..rows * columns), inputs.get_mut(..positions * columns))
                else {
                    continue;
                };
                let (Some(code), Some(down)) = (code.get_mut(..rows), down.get_mut(..positions)) else { continue };
                w.iter_mut().for_each(|w| *w = random.i8(style));
                code.iter_mut().for_each(|c| *c = random.next() as u8);
                down.iter_mut().for_each(|d| *d = random.below(18) as u8);
                random.fill(x, [0, 0, 1, 3][style as usize]);
                let base = 18 + random.below(36) as u8;
                let mut start = [0i32; MOST_POSITIONS * MOST_ROWS];
                start.iter_mut().for_each(|y| *y = random.next() as i32);
                let (mut want_add, mut have_add) = (start, start);
                let (mut want32, mut have32) = (start, start);
                let mut want16 = [1i16; MOST_POSITIONS * MOST_ROWS];
                let mut have16 = want16;
                let n = positions * rows;
                let (Some(want_add), Some(have_add)) = (want_add.get_mut(..n), have_add.get_mut(..n)) else { continue };
                let (Some(want32), Some(have32)) = (want32.get_mut(..n), have32.get_mut(..n)) else { continue };
                let (Some(want16), Some(have16)) = (want16.get_mut(..n), have16.get_mut(..n)) else { continue };
                let w = WeightsView::of_rows(w, code, base, columns);
                many(Scalar, w, x, columns, ToI16, want16);
                many(Scalar, w, x, columns, ToI32, want32);
                many(Scalar, w, x, columns, AddToI32(down), want_add);
                x.chunks_exact_mut(columns).for_each(|x| k.pack(x));
                many(k, w, x, columns, ToI16, have16);
                many(k, w, x, columns, ToI32, have32);
                many(k, w, x, columns, AddToI32(down), have_add);
                if want16 != have16 || want32 != have32 || want_add != have_add {
                    return Err(Mismatch { backend: K::NAME, kernel: "matmul", rows: positions, columns, case });
                }
                case += 1;
            }
        }
    }
    Ok(case)
}

/// Matrices in tiles, at one position and at many, against the same matrices row by row.
#[cfg(all(mambabyte_tiles, feature = "std"))]
#[inline(never)]
pub(super) fn tiles<K: Kernels>(k: K) -> Result<usize, Mismatch> {
    const POSITIONS: [usize; 6] = [1, 7, 8, 17, 32, 33];
    let mut random = Values(12);
    let mut case = 0;
    let shapes = [(4, 16), (8, 15), (12, 64), (16, 70), (16, 48), (64, 65), (68, 96), (512, 64), (516, 33), (2048, 70)];
    let shapes = shapes.into_iter().chain([(4, 19), (20, 128), (64, 130), (2052, 34), (6, 20), (8192, 17), (8196, 17)]);
    for (columns, rows) in shapes {
        for style in 0..4 {
            let mut w = std::vec![0i8; rows * columns];
            let mut tiled = w.clone();
            let mut code = std::vec![0u8; rows];
            let mut bias = std::vec![0i16; rows];
            w.iter_mut().for_each(|w| *w = random.i8(style));
            code.iter_mut().for_each(|c| *c = random.next() as u8);
            random.fill(&mut bias, style);
            crate::tiles::tile(bytemuck::cast_slice(&w), columns, bytemuck::cast_slice_mut(&mut tiled));
            if !crate::tiles::fits(columns) {
                if tiled != w {
                    return Err(Mismatch { backend: K::NAME, kernel: "tiles", rows, columns, case });
                }
                continue;
            }
            for positions in POSITIONS {
                let mut x = std::vec![0i16; positions * columns];
                random.fill(&mut x, [0, 0, 1, 3][style as usize]);
                let down: std::vec::Vec<u8> = (0..positions).map(|_| random.below(18) as u8).collect();
                let base = 18 + random.below(36) as u8;
                let start: std::vec::Vec<i32> = (0..positions * rows).map(|_| random.next() as i32).collect();
                let (mut want_add, mut have_add) = (start.clone(), start);
                let (mut want, mut have) = (std::vec![1i16; positions * rows], std::vec![1i16; positions * rows]);
                let (mut want_l, mut have_l) = (want.clone(), want.clone());
                let rows = WeightsView::of_rows(&w, &code, base, columns);
                let tiles = WeightsView::of_rows(&tiled, &code, base, columns).in_tiles_if(true);
                many(Scalar, rows, &x, columns, ToI16, &mut want);
                many(Scalar, rows, &x, columns, AddToI32(&down), &mut want_add);
                many(Scalar, rows, &x, columns, LogDelta(&bias), &mut want_l);
                many(k, tiles, &x, columns, LogDelta(&bias), &mut have_l);
                x.chunks_exact_mut(columns).for_each(|x| k.pack(x));
                many(k, tiles, &x, columns, ToI16, &mut have);
                many(k, tiles, &x, columns, AddToI32(&down), &mut have_add);
                let mut same = want == have && want_add == have_add && want_l == have_l;
                if positions == 1 {
                    have_add.fill(5);
                    want_add.fill(5);
                    one(k, tiles, &x, ToI16, &mut have);
                    one(k, tiles, &x, AddToI32(&down), &mut have_add);
                    k.unpack(&mut x);
                    one(Scalar, rows, &x, AddToI32(&down), &mut want_add);
                    same &= want == have && want_add == have_add;
                }
                if !same {
                    return Err(Mismatch { backend: K::NAME, kernel: "tiles", rows: code.len(), columns, case });
                }
                case += 1;
            }
        }
    }
    Ok(case)
}

/// Scans of a block of positions, and the step size at ranks that are long rows.
#[inline(never)]
pub(super) fn scans<K: Kernels>(k: K) -> Result<usize, Mismatch> {
    const POSITIONS: usize = 33;
    const CELLS: usize = 1600;
    let mut random = Values(9);
    let mut case = 0;
    for n in [1, 16, 31, 32, 33, 64, 96, 100] {
        for states in [1, 2, 5, 8, 16] {
            // Under, at and over the 16 positions that states go through at a time, and twice as many.
            for (positions, style) in [5, 16, 17, POSITIONS, 1].into_iter().zip(0u32..) {
                let (mut h, mut a_log) = ([0i16; CELLS], [0u8; CELLS]);
                let stride = 3 + 2 * states;
                let mut x_proj = [0i16; POSITIONS * 35];
                let (mut l, mut dx) = ([0i16; POSITIONS * 100], [0i16; POSITIONS * 100]);
                a_log.iter_mut().for_each(|c| *c = random.next() as u8);
                random.fill(&mut h, style);
                random.fill(&mut x_proj, style + 2);
                random.fill(&mut l, style + 3);
                random.fill(&mut dx, style + 1);
                let limit = (65535 / states as i32).min(32767) as i16;
                x_proj.iter_mut().for_each(|c| *c = (*c).clamp(-limit, limit));
                let a_base = if style % 2 == 0 { random.next() as i16 } else { -6000 };
                let (mut h2, mut y, mut y2, mut powers) =
                    (h, [7i32; POSITIONS * 100], [7i32; POSITIONS * 100], [0; 100]);
                let all = positions * n;
                let Some(x_proj) = x_proj.get(..positions * stride) else { continue };
                let bc = Selected { rows: x_proj, dt_rank: stride - 2 * states, d_state: states };
                let (Some(a_log), Some(dx), Some(l)) = (a_log.get(..n * states), dx.get(..all), l.get_mut(..all))
                else {
                    continue;
                };
                let (Some(y), Some(y2), Some(powers)) = (y.get_mut(..all), y2.get_mut(..all), powers.get_mut(..n))
                else {
                    continue;
                };
                if let (Some(h), Some(h2)) = (h.get_mut(..n * states), h2.get_mut(..n * states)) {
                    Scalar.scan_free::<Many<'_>>(h, a_log, a_base, bc, l, dx, y);
                    k.scan_free::<Many<'_>>(h2, a_log, a_base, bc, l, dx, y2);
                }
                if h != h2 || y != y2 {
                    return Err(Mismatch {
                        backend: K::NAME,
                        kernel: "scan_free, many positions",
                        rows: n,
                        columns: states,
                        case,
                    });
                }
                l.iter_mut().for_each(|r| *r &= 32767);
                if let (Some(h), Some(h2)) = (h.get_mut(..n * states), h2.get_mut(..n * states)) {
                    Scalar.scan_tied::<Many<'_>>(h, bc, l, powers, dx, y);
                    k.scan_tied::<Many<'_>>(h2, bc, l, powers, dx, y2);
                }
                if h != h2 || y != y2 {
                    return Err(Mismatch {
                        backend: K::NAME,
                        kernel: "scan_tied, many positions",
                        rows: n,
                        columns: states,
                        case,
                    });
                }
                case += 1;
            }
        }
    }
    Ok(case)
}

/// Ranks beyond 16.
#[inline(never)]
pub(super) fn log_delta<K: Kernels>(k: K) -> Result<usize, Mismatch> {
    const MOST: usize = 300;
    let mut random = Values(10);
    let mut case = 0;
    for rank in [17, 32, 64, 65, 256, MOST] {
        for n in [1, 15, 16, 33] {
            for style in 0..6 {
                let (mut w, mut code) = ([0i8; 33 * MOST], [0u8; 33]);
                let (mut dt, mut bias, mut l, mut l2) = ([0i16; MOST], [0i16; 33], [0i16; 33], [0i16; 33]);
                w.iter_mut().for_each(|w| *w = random.i8(style));
                code.iter_mut().for_each(|c| *c = random.next() as u8);
                random.fill(&mut dt, style + 2);
                random.fill(&mut bias, 3);
                let base = BASES[random.below(BASES.len() as u32) as usize];
                let (Some(w), Some(dt)) = (w.get(..rank * n), dt.get(..rank)) else { continue };
                let (Some(code), Some(bias)) = (code.get(..n), bias.get(..n)) else { continue };
                if let (Some(l), Some(l2)) = (l.get_mut(..n), l2.get_mut(..n)) {
                    let w = WeightsView::of_rows(w, code, base, rank);
                    one(Scalar, w, dt, LogDelta(bias), l);
                    one(k, w, dt, LogDelta(bias), l2);
                }
                if l != l2 {
                    return Err(Mismatch { backend: K::NAME, kernel: "log_delta", rows: n, columns: rank, case });
                }
                case += 1;
            }
        }
    }
    Ok(case)
}
