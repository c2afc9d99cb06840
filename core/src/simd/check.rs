//! Compares this target's kernels with the scalar code, bit for bit: sizes under, at and over every width, extreme and
//! random values. For tests, on a host and on chips.

use super::plain32::Plain32;
use super::{AddToI32, Backend, Gate, Kernels, LogDelta, Scalar, Selected, ToI16, ToI32, gate_shift, with_kernels};
use crate::span::One;
use crate::weights::WeightsView;

#[cfg(not(mambabyte_mcu))]
mod blocks;
mod cases;

pub use cases::Mismatch;
use cases::{BASES, Values, one};

/// Channels and columns tried.
const LENGTHS: [usize; 20] = [1, 2, 3, 4, 7, 8, 9, 12, 15, 16, 17, 24, 31, 32, 33, 63, 64, 65, 128, 256];
/// Most rows of a matrix, and states.
const ROWS: usize = 9;
const STATES: usize = 16;
const MOST: usize = 256;

/// Compares all backends of this machine, and the portable code for chips; `done(backend, kernel, cases)` hears of each
/// kernel.
///
/// # Errors
/// The first [`Mismatch`].
pub fn all(mut done: impl FnMut(&'static str, &'static str, usize)) -> Result<(), Mismatch> {
    for backend in Backend::all() {
        with_kernels!(backend, |k| kernels(k, &mut done))?;
    }
    kernels(Plain32, &mut done)
}

fn kernels<K: Kernels>(k: K, done: &mut impl FnMut(&'static str, &'static str, usize)) -> Result<(), Mismatch> {
    done(K::NAME, "matvec", matvec(k)?);
    done(K::NAME, "norm, embed", norm(k)?);
    done(K::NAME, "conv1d_silu", conv(k)?);
    done(K::NAME, "log_delta, delta_x, first_decay", delta(k)?);
    done(K::NAME, "scan", scan(k)?);
    done(K::NAME, "gate", gate(k)?);
    #[cfg(not(mambabyte_mcu))]
    {
        done(K::NAME, "matvec, long rows", blocks::matvec(k)?);
        done(K::NAME, "matmul", blocks::matmul(k)?);
        done(K::NAME, "scans of blocks", blocks::scans(k)?);
        done(K::NAME, "log_delta, long rows", blocks::log_delta(k)?);
        #[cfg(all(mambabyte_tiles, feature = "std"))]
        if K::TILES || K::NAME == Scalar::NAME {
            done(K::NAME, "tiles", blocks::tiles(k)?);
        }
    }
    Ok(())
}

#[inline(never)]
fn matvec<K: Kernels>(k: K) -> Result<usize, Mismatch> {
    let mut random = Values(1);
    let mut case = 0;
    for columns in LENGTHS {
        for (&base, style) in BASES.iter().zip(0..) {
            let rows = 1 + random.below(ROWS as u32) as usize;
            let mut w = [0i8; ROWS * MOST + 1];
            let mut code = [0u8; ROWS];
            let mut x = [0i16; MOST];
            // Every third matrix begins at an odd address.
            let odd = (style % 3 == 2) as usize;
            let (Some(w), Some(code), Some(x)) =
                (w.get_mut(odd..odd + rows * columns), code.get_mut(..rows), x.get_mut(..columns))
            else {
                continue;
            };
            w.iter_mut().for_each(|w| *w = random.i8(style));
            random.fill(x, style / 2);
            code.iter_mut().for_each(|c| *c = random.next() as u8);
            let mut start = [0i32; ROWS];
            start.iter_mut().for_each(|y| *y = random.next() as i32);
            let (mut want16, mut have16) = ([1i16; ROWS], [1i16; ROWS]);
            let (mut want32, mut have32) = ([1i32; ROWS], [1i32; ROWS]);
            let (mut want_add, mut have_add) = (start, start);
            let w = WeightsView::of_rows(w, code, base, columns);
            one(Scalar, w, x, ToI16, &mut want16);
            one(Scalar, w, x, ToI32, &mut want32);
            one(Scalar, w, x, AddToI32(&[]), &mut want_add);
            k.pack(x);
            one(k, w, x, ToI16, &mut have16);
            one(k, w, x, ToI32, &mut have32);
            one(k, w, x, AddToI32(&[]), &mut have_add);
            if want16 != have16 || want32 != have32 || want_add != have_add {
                return Err(Mismatch { backend: K::NAME, kernel: "matvec", rows, columns, case });
            }
            case += 1;
        }
    }
    Ok(case)
}

#[inline(never)]
fn norm<K: Kernels>(k: K) -> Result<usize, Mismatch> {
    let mut random = Values(2);
    let mut case = 0;
    for n in LENGTHS {
        for kind in 0..24u32 {
            let mut x = [0i32; MOST];
            let (mut weight, mut bias) = ([0i16; MOST], [0i16; MOST]);
            x.iter_mut().for_each(|x| *x = (random.next() as i32) >> (kind + random.below(8)).min(31));
            if kind == 23 {
                x = [i32::MIN; MOST];
            }
            random.fill(&mut weight, kind);
            random.fill(&mut bias, kind + 1);
            let bias = if kind % 8 == 7 { bias.get(..n).unwrap_or(&[]) } else { &[] };
            let (Some(x), Some(weight)) = (x.get(..n), weight.get(..n)) else { continue };
            let shift = [1, 17, 23, 24, 32, 54][kind as usize % 6];
            let eps = [0, 1, 1 << 30, 1 << 56][random.below(4) as usize];
            let (mut want, mut have) = ([0i16; MOST], [0i16; MOST]);
            let (Some(w), Some(h)) = (want.get_mut(..n), have.get_mut(..n)) else { continue };
            Scalar.norm(x, weight, bias, shift, eps, w);
            k.norm(x, weight, bias, shift, eps, h);
            let mut row = [0i8; MOST];
            row.iter_mut().for_each(|w| *w = random.i8(kind));
            let (mut want_res, mut have_res) = ([0i32; MOST], [0i32; MOST]);
            let (code, base) = (random.next() as u8, BASES[kind as usize % BASES.len()]);
            Scalar.embed(&row, code, base, &mut want_res);
            k.embed(&row, code, base, &mut have_res);
            if want != have || want_res != have_res {
                return Err(Mismatch {
                    backend: K::NAME,
                    kernel: "norm, embed",
                    rows: n,
                    columns: kind as usize,
                    case,
                });
            }
            case += 1;
        }
    }
    Ok(case)
}

#[inline(never)]
fn conv<K: Kernels>(k: K) -> Result<usize, Mismatch> {
    let mut random = Values(3);
    let mut case = 0;
    for n in LENGTHS {
        for (&base, style) in BASES.iter().zip(0u32..) {
            let taps = if style % 6 == 5 { 2 + style as usize / 6 } else { 4 };
            let frac = 4 + (style % 12) as u8;
            let (mut w, mut code) = ([0i8; 4 * MOST], [0u8; MOST]);
            let (mut x, mut bias, mut history) = ([0i16; MOST], [0i16; MOST], [0i16; 3 * MOST]);
            w.iter_mut().for_each(|w| *w = random.i8(style));
            code.iter_mut().for_each(|c| *c = random.next() as u8);
            random.fill(&mut x, style / 2);
            random.fill(&mut bias, style + 2);
            random.fill(&mut history, style / 2);
            let (mut x2, mut history2) = (x, history);
            let past = (taps - 1) * n;
            let (Some(w), Some(code), Some(bias)) = (w.get(..taps * n), code.get(..n), bias.get(..n)) else { continue };
            if let (Some(x), Some(history)) = (x.get_mut(..n), history.get_mut(..past)) {
                Scalar.conv1d_silu(x, history, w, code, bias, base, frac);
            }
            if let (Some(x), Some(history)) = (x2.get_mut(..n), history2.get_mut(..past)) {
                k.conv1d_silu(x, history, w, code, bias, base, frac);
            }
            if x != x2 || history != history2 {
                return Err(Mismatch { backend: K::NAME, kernel: "conv1d_silu", rows: n, columns: taps, case });
            }
            case += 1;
        }
    }
    Ok(case)
}

#[inline(never)]
fn delta<K: Kernels>(k: K) -> Result<usize, Mismatch> {
    let mut random = Values(4);
    let mut case = 0;
    for n in LENGTHS {
        for (&base, style) in BASES.iter().zip(0u32..) {
            let rank = [2, 4, 8, 1, 3, 16][style as usize % 6];
            let (mut w, mut code, mut a_log) = ([0i8; 16 * MOST], [0u8; MOST], [0u8; MOST]);
            let (mut dt, mut bias, mut x) = ([0i16; 16], [0i16; MOST], [0i16; MOST]);
            w.iter_mut().for_each(|w| *w = random.i8(style));
            code.iter_mut().for_each(|c| *c = random.next() as u8);
            a_log.iter_mut().for_each(|c| *c = random.next() as u8);
            random.fill(&mut dt, style + 2);
            random.fill(&mut bias, style);
            random.fill(&mut x, style + 1);
            let (Some(w), Some(dt)) = (w.get(..rank * n), dt.get(..rank)) else { continue };
            let (Some(code), Some(a_log), Some(bias), Some(x)) =
                (code.get(..n), a_log.get(..n), bias.get(..n), x.get(..n))
            else {
                continue;
            };
            let w = WeightsView::of_rows(w, code, base, rank);
            let dx_base = (random.next() as i32) >> (14 + style);
            let a_base = random.next() as i16;
            let run = |l: &mut [i16], dx: &mut [i16], scalar: bool| {
                if scalar {
                    one(Scalar, w, dt, LogDelta(bias), l);
                    Scalar.delta_x(x, l, dx_base, code, dx);
                } else {
                    one(k, w, dt, LogDelta(bias), l);
                    k.delta_x(x, l, dx_base, code, dx);
                }
            };
            let (mut l, mut dx, mut l2, mut dx2) = ([0i16; MOST], [0i16; MOST], [0i16; MOST], [0i16; MOST]);
            if let (Some(l), Some(dx)) = (l.get_mut(..n), dx.get_mut(..n)) {
                run(l, dx, true);
            }
            if let (Some(l), Some(dx)) = (l2.get_mut(..n), dx2.get_mut(..n)) {
                run(l, dx, false);
            }
            let same = l == l2 && dx == dx2;
            if let (Some(l), Some(l2)) = (l.get_mut(..n), l2.get_mut(..n)) {
                Scalar.first_decay(l, a_log, a_base);
                k.first_decay(l2, a_log, a_base);
            }
            if !same || l != l2 {
                return Err(Mismatch {
                    backend: K::NAME,
                    kernel: "log_delta, delta_x, first_decay",
                    rows: n,
                    columns: rank,
                    case,
                });
            }
            case += 1;
        }
    }
    Ok(case)
}

#[inline(never)]
fn scan<K: Kernels>(k: K) -> Result<usize, Mismatch> {
    // The smallest chips have no room for 4 KiB twice.
    const CELLS: usize = if cfg!(mambabyte_thumb1) { 512 } else { 2048 };
    const CHANNELS: usize = if cfg!(mambabyte_thumb1) { 128 } else { MOST };
    let mut random = Values(5);
    let mut case = 0;
    for n in LENGTHS {
        for states in [1, 2, 3, 7, 8, 9, 12, STATES] {
            if n * states > CELLS || n > CHANNELS {
                continue;
            }
            for style in 0..4u32 {
                let (mut h, mut a_log) = ([0i16; CELLS], [0u8; CELLS]);
                // dt, which the scan skips, B and C.
                const RANK: usize = 3;
                let mut selected = [0i16; RANK + 2 * STATES];
                let (mut l, mut dx) = ([0i16; CHANNELS], [0i16; CHANNELS]);
                a_log.iter_mut().for_each(|c| *c = random.next() as u8);
                random.fill(&mut h, style);
                let Some(selected) = selected.get_mut(..RANK + 2 * states) else { continue };
                let Some((b, c)) = selected.split_at_mut_checked(RANK + states) else { continue };
                random.fill(b, style + 2);
                random.fill(c, style + 1);
                random.fill(&mut l, style + 2);
                random.fill(&mut dx, style);
                let limit = (65535 / states as i32).min(32767) as i16;
                c.iter_mut().for_each(|c| *c = (*c).clamp(-limit, limit));
                let bc = Selected { rows: selected, dt_rank: RANK, d_state: states };
                let a_base = if style % 2 == 0 { random.next() as i16 } else { 0 };
                let mut want = h;
                let (mut y, mut y2, mut powers) = ([7i32; CHANNELS], [7i32; CHANNELS], [0i16; CHANNELS]);
                let (Some(a_log), Some(l), Some(dx)) = (a_log.get(..n * states), l.get_mut(..n), dx.get(..n)) else {
                    continue;
                };
                if let (Some(h), Some(y)) = (want.get_mut(..n * states), y.get_mut(..n)) {
                    Scalar.scan_free::<One>(h, a_log, a_base, bc, l, dx, y);
                }
                if let (Some(h), Some(y)) = (h.get_mut(..n * states), y2.get_mut(..n)) {
                    k.scan_free::<One>(h, a_log, a_base, bc, l, dx, y);
                }
                if h != want || y != y2 {
                    return Err(Mismatch { backend: K::NAME, kernel: "scan_free", rows: n, columns: states, case });
                }
                // The first decay of a channel is not negative.
                l.iter_mut().for_each(|r| *r &= 32767);
                if let (Some(h), Some(y), Some(a)) = (want.get_mut(..n * states), y.get_mut(..n), powers.get_mut(..n)) {
                    Scalar.scan_tied::<One>(h, bc, l, a, dx, y);
                }
                if let (Some(h), Some(y), Some(a)) = (h.get_mut(..n * states), y2.get_mut(..n), powers.get_mut(..n)) {
                    k.scan_tied::<One>(h, bc, l, a, dx, y);
                }
                if h != want || y != y2 {
                    return Err(Mismatch { backend: K::NAME, kernel: "scan_tied", rows: n, columns: states, case });
                }
                case += 1;
            }
        }
    }
    Ok(case)
}

#[inline(never)]
fn gate<K: Kernels>(k: K) -> Result<usize, Mismatch> {
    let mut random = Values(6);
    let mut case = 0;
    for n in LENGTHS {
        for (&base, style) in BASES.iter().zip(0u32..) {
            let (mut y, mut x, mut z) = ([0i32; MOST], [0i16; MOST], [0i16; MOST]);
            let (mut d, mut code) = ([0i16; MOST], [0u8; MOST]);
            y.iter_mut().for_each(|y| *y = (random.next() as i32) >> random.below(2 * style + 1).min(31));
            random.fill(&mut x, style + 1);
            random.fill(&mut z, style + 2);
            random.fill(&mut d, style);
            code.iter_mut().for_each(|c| *c = random.next() as u8);
            let (Some(d_skip), Some(state_code)) = (d.get(..n), code.get(..n)) else { continue };
            let p = Gate {
                d_skip,
                state_code,
                y_shift: base,
                d_shift: [1, 4, 9, 31, 54][style as usize % 5],
                gate_shift: [1, 9, 10, 16, 17, 54][style as usize % 6],
                z_frac: 4 + (style % 12) as u8,
            };
            let start = (y, x, z);
            let (mut y2, mut x2, mut z2) = start;
            let mut down = [0; 3];
            if let (Some(x), Some(z)) = (x.get_mut(..n), z.get_mut(..n)) {
                down[0] = Scalar.gate(&p, &mut y, x, z);
            }
            if let (Some(x), Some(z)) = (x2.get_mut(..n), z2.get_mut(..n)) {
                down[1] = k.gate(&p, &mut y2, x, z);
            }
            // The same in two halves, as the shards of a team do.
            let (mut y3, mut x3, mut z3) = start;
            if let (Some(y), Some(x), Some(z)) = (y3.get_mut(..n), x3.get_mut(..n), z3.get_mut(..n)) {
                let shift = gate_shift(k.gate_wide(&p, y, x, z));
                k.gate_narrow(y, shift, x);
                down[2] = shift;
            }
            if x != x2 || x != x3 || down[0] != down[1] || down[0] != down[2] {
                return Err(Mismatch { backend: K::NAME, kernel: "gate", rows: n, columns: style as usize, case });
            }
            case += 1;
        }
    }
    Ok(case)
}
