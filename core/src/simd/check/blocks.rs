//! What chips do not have: long rows, many rows, many positions.

use super::{BASES, Mismatch, Values};
use crate::simd::{BlockBc, Kernels, Scalar};

/// Rows of a matrix under, at and over the 16 and 64 that are finished together.
const ROWS: [usize; 8] = [1, 4, 15, 16, 17, 35, 64, 70];
/// Columns around 512, from where on sums need more than 32 bits, and around what registers and panels hold.
const COLUMNS: [usize; 12] = [63, 64, 65, 127, 511, 512, 513, 1030, 2047, 2048, 2049, 4100];
const MOST_ROWS: usize = 70;
const MOST_COLUMNS: usize = 4100;

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
                Scalar.matvec_i16(w, code, base, x, &mut want16);
                Scalar.matvec_i32(w, code, base, x, &mut want32);
                Scalar.matvec_add(w, code, base, x, &mut want_add);
                let plain = *x.first_chunk::<63>().unwrap_or(&[0; 63]);
                k.pack(x);
                k.matvec_i16(w, code, base, x, &mut have16);
                k.matvec_i32(w, code, base, x, &mut have32);
                k.matvec_add(w, code, base, x, &mut have_add);
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
                Scalar.matmul_i16(w, code, base, x, columns, want16);
                Scalar.matmul_i32(w, code, base, x, columns, want32);
                Scalar.matmul_add(w, code, base, down, x, columns, want_add);
                x.chunks_exact_mut(columns).for_each(|x| k.pack(x));
                k.matmul_i16(w, code, base, x, columns, have16);
                k.matmul_i32(w, code, base, x, columns, have32);
                k.matmul_add(w, code, base, down, x, columns, have_add);
                if want16 != have16 || want32 != have32 || want_add != have_add {
                    return Err(Mismatch { backend: K::NAME, kernel: "matmul", rows: positions, columns, case });
                }
                case += 1;
            }
        }
    }
    Ok(case)
}

/// Matrices in tiles, at one position and at many, against the same matrices as they are.
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
                Scalar.matmul_i16(&w, &code, base, &x, columns, &mut want);
                Scalar.matmul_add(&w, &code, base, &down, &x, columns, &mut want_add);
                Scalar.matmul_log_delta(&w, &code, base, &x, columns, columns, &bias, &mut want_l);
                k.tiled_matmul_log_delta(&tiled, &code, base, &x, columns, columns, &bias, &mut have_l);
                x.chunks_exact_mut(columns).for_each(|x| k.pack(x));
                k.tiled_matmul_i16(&tiled, &code, base, &x, columns, &mut have);
                k.tiled_matmul_add(&tiled, &code, base, &down, &x, columns, &mut have_add);
                let mut same = want == have && want_add == have_add && want_l == have_l;
                if let (1, Some(&down)) = (positions, down.first()) {
                    have_add.fill(5);
                    want_add.fill(5);
                    k.tiled_i16(&tiled, &code, base, &x, &mut have);
                    k.tiled_add(&tiled, &code, base.wrapping_sub(down), &x, &mut have_add);
                    k.unpack(&mut x);
                    Scalar.matvec_add(&w, &code, base.wrapping_sub(down), &x, &mut want_add);
                    same &= want == have && want_add == have_add;
                }
                if !same {
                    return Err(Mismatch { backend: K::NAME, kernel: "tiles", rows, columns, case });
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
                let bc = BlockBc { x_proj, stride, d_state: states };
                let (Some(a_log), Some(dx), Some(l)) = (a_log.get(..n * states), dx.get(..all), l.get_mut(..all))
                else {
                    continue;
                };
                let (Some(y), Some(y2), Some(powers)) = (y.get_mut(..all), y2.get_mut(..all), powers.get_mut(..n))
                else {
                    continue;
                };
                if let (Some(h), Some(h2)) = (h.get_mut(..n * states), h2.get_mut(..n * states)) {
                    Scalar.scan_free_block(h, a_log, a_base, bc, l, dx, y);
                    k.scan_free_block(h2, a_log, a_base, bc, l, dx, y2);
                }
                if h != h2 || y != y2 {
                    return Err(Mismatch {
                        backend: K::NAME,
                        kernel: "scan_free_block",
                        rows: n,
                        columns: states,
                        case,
                    });
                }
                l.iter_mut().for_each(|r| *r &= 32767);
                if let (Some(h), Some(h2)) = (h.get_mut(..n * states), h2.get_mut(..n * states)) {
                    Scalar.scan_tied_block(h, bc, l, powers, dx, y);
                    k.scan_tied_block(h2, bc, l, powers, dx, y2);
                }
                if h != h2 || y != y2 {
                    return Err(Mismatch {
                        backend: K::NAME,
                        kernel: "scan_tied_block",
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
                    Scalar.log_delta(w, code, base, dt, bias, l);
                    k.log_delta(w, code, base, dt, bias, l2);
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
