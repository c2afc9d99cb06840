//! Rounding a matrix to i8 rows so that its *output* on calibration data changes least.
//!
//! Two choices per row. The scale: the smallest of the 2^(1/32) steps that clips no weight. (`SCALE_STEPS` smaller
//! ones, at present none, may be tried too: then the one with the least squared error, weighted by the inputs' second
//! moments, is taken.) The integers: columns are rounded one after the other and the error of each is pushed onto the
//! columns not yet rounded, through the Cholesky factor of the inverse of the inputs' Gram matrix (GPTQ, arXiv
//! 2210.17323).

use mambabyte_core::fixed::row_multiplier;
use rayon::prelude::*;

/// A rounded matrix: what the blob stores and what it stands for.
#[derive(Clone, Debug, PartialEq)]
pub struct Rounded {
    /// `[rows, columns]`.
    pub weights: Vec<i8>,
    /// `[rows]`, row multiplier codes.
    pub codes: Vec<u8>,
    /// `base` of the row multipliers.
    pub shift: u8,
    /// Signal over squared rounding error of the weights, dB.
    pub sqnr_db: f64,
    /// Largest `sum_j |w[r, j]| * 32767` over rows and blocks of 512 columns, as a share of `2^31`. Below 1 by proof.
    pub accumulator_share: f64,
}

/// Real value of a row multiplier.
pub fn multiplier(code: u8, shift: u8) -> f64 {
    let (mantissa, shift) = row_multiplier(code, shift);
    mantissa as f64 * (-(shift as f64)).exp2()
}

/// Largest `base` shift in `1..=47` whose multiplier for code 0 is at least `largest`; 47 if `largest` is zero.
pub fn base_shift(largest: f64) -> Option<u8> {
    if largest <= multiplier(0, 47) {
        return Some(47);
    }
    (1..=47).rev().find(|&shift| multiplier(0, shift) >= largest)
}

/// Largest code whose multiplier is at least `needed`; 0 if there is none.
pub fn code_at_least(needed: f64, shift: u8) -> u8 {
    (0..=255u8).rev().find(|&code| multiplier(code, shift) >= needed).unwrap_or(0)
}

/// How many scale steps below the one that just avoids clipping are tried: none (16 are half an octave).
const SCALE_STEPS: u8 = 0;
/// Part of the mean second moment added to the Gram matrix's diagonal.
const DAMPING: f64 = 0.01;

/// Rounds `w` `[rows, columns]`.
///
/// * `unit[r]`: real output per multiplier: a weight step of row `r` is `multiplier / unit[r]` (`s_in / s_out`).
/// * `gram`: `[columns, columns]` second moments of the inputs, or `None` for plain rounding.
///
/// Returns `None` if a multiplier would exceed `2^14`: the scales are unusable.
pub fn round_matrix(w: &[f32], columns: usize, unit: &[f64], gram: Option<&[f32]>) -> Option<Rounded> {
    let rows = unit.len();
    let needed = |r: usize| {
        let largest = w[r * columns..(r + 1) * columns].iter().fold(0f32, |m, &x| m.max(x.abs()));
        f64::from(largest) / 127.0 * unit[r]
    };
    let shift = base_shift((0..rows).map(needed).fold(0.0, f64::max))?;
    let factor = gram.map(|gram| InverseFactor::new(gram, columns));
    let one = vec![1.0; columns];
    let moments = factor.as_ref().map_or(&one, |f| &f.moments);
    let rounded: Vec<(u8, Vec<i8>)> = (0..rows)
        .into_par_iter()
        .map(|r| {
            let row = &w[r * columns..(r + 1) * columns];
            let first = code_at_least(needed(r), shift);
            let code = best_code(row, moments, first, |code| multiplier(code, shift) / unit[r]);
            let step = multiplier(code, shift) / unit[r];
            let weights = match &factor {
                Some(factor) => factor.compensate(row, step),
                None => row.iter().map(|&x| nearest(f64::from(x), step)).collect(),
            };
            (code, weights)
        })
        .collect();
    let codes: Vec<u8> = rounded.iter().map(|r| r.0).collect();
    let weights: Vec<i8> = rounded.into_iter().flat_map(|r| r.1).collect();
    Some(Rounded::new(w, columns, unit, (codes, weights, shift)))
}

/// As [`round_matrix`], with the integers given: the scales are the same, since they depend on `w` and `unit` only.
pub fn rounded_as(w: &[f32], columns: usize, unit: &[f64], weights: &[i8]) -> Option<Rounded> {
    let plain = round_matrix(w, columns, unit, None)?;
    Some(Rounded::new(w, columns, unit, (plain.codes, weights.to_vec(), plain.shift)))
}

impl Rounded {
    fn new(w: &[f32], columns: usize, unit: &[f64], (codes, weights, shift): (Vec<u8>, Vec<i8>, u8)) -> Self {
        let mut this = Self { weights, codes, shift, sqnr_db: 0.0, accumulator_share: 0.0 };
        let (mut signal, mut noise) = (0.0, 1e-300);
        for (r, step) in this.steps(unit).into_iter().enumerate() {
            let row = r * columns..(r + 1) * columns;
            for (&w, &integer) in w[row.clone()].iter().zip(&this.weights[row]) {
                signal += f64::from(w).powi(2);
                noise += (f64::from(w) - f64::from(integer) * step).powi(2);
            }
        }
        this.sqnr_db = 10.0 * (signal / noise).log10();
        let blocks = this.weights.chunks(columns).flat_map(|row| row.chunks(mambabyte_core::linear::BLOCK));
        let shares = blocks.map(|b| b.iter().map(|&w| f64::from(w).abs()).sum::<f64>() * 32767.0 / 2f64.powi(31));
        this.accumulator_share = shares.fold(0.0, f64::max);
        this
    }

    /// Real value of one integer step of each row.
    pub fn steps(&self, unit: &[f64]) -> Vec<f64> {
        self.codes.iter().zip(unit).map(|(&code, unit)| multiplier(code, self.shift) / unit).collect()
    }
}

fn nearest(x: f64, step: f64) -> i8 {
    (x / step).round().clamp(-127.0, 127.0) as i8
}

/// The scale with the least weighted error among `first ..= first + SCALE_STEPS`.
fn best_code(row: &[f32], moments: &[f64], first: u8, step: impl Fn(u8) -> f64) -> u8 {
    let error = |code: u8| -> f64 {
        let step = step(code);
        row.iter()
            .zip(moments)
            .map(|(&x, m)| m * (f64::from(x) - f64::from(nearest(x.into(), step)) * step).powi(2))
            .sum()
    };
    let mut best = (first, error(first));
    for code in first..=first.saturating_add(SCALE_STEPS) {
        let e = error(code);
        if e < best.1 {
            best = (code, e);
        }
    }
    best.0
}

/// `U` with `U^T U` = inverse of the damped Gram matrix, and the second moments of the columns.
struct InverseFactor {
    upper: Vec<f64>,
    moments: Vec<f64>,
    n: usize,
}

impl InverseFactor {
    fn new(gram: &[f32], n: usize) -> Self {
        let mean = (0..n).map(|i| f64::from(gram[i * n + i])).sum::<f64>() / n as f64;
        let mean = if mean > 0.0 { mean } else { 1.0 };
        let damped = |i: usize, j: usize| {
            let (low, high) = (i.min(j), i.max(j));
            f64::from(gram[low * n + high]) / mean + if i == j { DAMPING } else { 0.0 }
        };
        let moments = (0..n).map(|i| damped(i, i)).collect();
        // Reversed Cholesky: H = R R^T with R upper triangular; then inverse(H) = inverse(R)^T inverse(R).
        let mut r: Vec<f64> = (0..n * n).map(|k| damped(k / n, k % n)).collect();
        for j in (0..n).rev() {
            let diagonal = r[j * n + j].max(1e-12).sqrt();
            let (above, rest) = r.split_at_mut(j * n);
            let _ = rest;
            let column: Vec<f64> = (0..j).map(|i| above[i * n + j] / diagonal).collect();
            above.par_chunks_mut(n).enumerate().for_each(|(i, row)| {
                row[j] = column[i];
                for k in i..j {
                    row[k] -= column[i] * column[k];
                }
            });
            r[j * n + j] = diagonal;
        }
        // Inverse of an upper triangular matrix, row by row from the columns' definition R X = I.
        let mut upper = vec![0.0; n * n];
        for i in (0..n).rev() {
            let inverse = 1.0 / r[i * n + i];
            let mut row = vec![0.0; n];
            row[i] = inverse;
            for k in i + 1..n {
                let factor = r[i * n + k] * inverse;
                if factor != 0.0 {
                    for (x, y) in row[k..].iter_mut().zip(&upper[k * n + k..(k + 1) * n]) {
                        *x -= factor * y;
                    }
                }
            }
            upper[i * n..(i + 1) * n].copy_from_slice(&row);
        }
        Self { upper, moments, n }
    }

    /// Rounds one row, column by column, compensating on the columns to the right.
    fn compensate(&self, row: &[f32], step: f64) -> Vec<i8> {
        let mut left: Vec<f64> = row.iter().map(|&x| f64::from(x)).collect();
        let mut out = Vec::with_capacity(self.n);
        for j in 0..self.n {
            let q = nearest(left[j], step);
            let u = &self.upper[j * self.n..(j + 1) * self.n];
            let error = (left[j] - f64::from(q) * step) / u[j];
            for (x, u) in left[j + 1..].iter_mut().zip(&u[j + 1..]) {
                *x -= error * u;
            }
            out.push(q);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Deterministic values in -0.5..0.5.
    fn noise(n: usize, mut seed: u64) -> Vec<f32> {
        (0..n)
            .map(|_| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (seed >> 40) as f32 / 16_777_216.0 - 0.5
            })
            .collect()
    }

    #[test]
    fn factor_inverts_the_gram_matrix() {
        let n = 12;
        let samples = noise(n * 40, 3);
        let mut gram = vec![0f32; n * n];
        for x in samples.chunks(n) {
            for i in 0..n {
                for j in i..n {
                    gram[i * n + j] += x[i] * x[j];
                }
            }
        }
        let f = InverseFactor::new(&gram, n);
        let mean = (0..n).map(|i| f64::from(gram[i * n + i])).sum::<f64>() / n as f64;
        for i in 0..n {
            for j in 0..n {
                // (U^T U) H must be the identity.
                let mut sum = 0.0;
                for k in 0..n {
                    let inverse: f64 = (0..n).map(|m| f.upper[m * n + i] * f.upper[m * n + k]).sum();
                    let h = f64::from(gram[k.min(j) * n + k.max(j)]) / mean + if k == j { DAMPING } else { 0.0 };
                    sum += inverse * h;
                }
                assert!((sum - f64::from(u8::from(i == j))).abs() < 1e-6, "{i} {j}: {sum}");
            }
        }
    }

    #[test]
    fn compensation_lowers_the_output_error() {
        let (rows, n) = (24, 32);
        let mix = noise(n * n, 5);
        let samples: Vec<Vec<f32>> = (0..400)
            .map(|s| {
                let z = noise(6, 77 + s);
                (0..n).map(|i| (0..6).map(|k| mix[i * n + k] * z[k]).sum()).collect()
            })
            .collect();
        let mut gram = vec![0f32; n * n];
        for x in &samples {
            for i in 0..n {
                for j in i..n {
                    gram[i * n + j] += x[i] * x[j];
                }
            }
        }
        let w = noise(rows * n, 9);
        let error = |gram| {
            let unit = vec![1.0; rows];
            let q: Rounded = round_matrix(&w, n, &unit, gram).unwrap();
            let mut sum = 0.0;
            for x in &samples {
                for r in 0..rows {
                    let step = multiplier(q.codes[r], q.shift);
                    let e: f64 = (0..n)
                        .map(|j| (f64::from(w[r * n + j]) - f64::from(q.weights[r * n + j]) * step) * f64::from(x[j]))
                        .sum();
                    sum += e * e;
                }
            }
            sum
        };
        let (plain, compensated) = (error(None), error(Some(&gram)));
        assert!(compensated < 0.5 * plain, "{compensated} against {plain}");
    }

    #[test]
    fn codes_cover_what_they_promise() {
        for needed in [1e-9, 3e-5, 0.01, 0.7, 900.0] {
            let shift = base_shift(needed).unwrap();
            let code = code_at_least(needed, shift);
            assert!(multiplier(code, shift) >= needed);
            assert!(code == 255 || multiplier(code + 1, shift) < needed);
        }
        assert_eq!(base_shift(1e9), None);
    }
}
