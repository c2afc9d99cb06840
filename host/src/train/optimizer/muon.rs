//! Muon (Jordan 2024): the momentum of a matrix with all its singular values made about equal.
//!
//! Five iterations of a polynomial do that without a decomposition: the coefficients are chosen so that every singular
//! value between 0.01 and 1 ends near 1. An entry of the result has a root mean square of `1 / sqrt(max(rows,
//! columns))`; times `0.2 sqrt(max(rows, columns))` it is that of AdamW's steps (arXiv 2502.16982), so both share a
//! rate.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2};

/// Momentum, Nesterov's.
pub(super) const MOMENTUM: f64 = 0.95;
/// `a X + b (X X') X + c (X X')^2 X`.
pub(crate) const COEFFICIENTS: [f64; 3] = [3.4445, -4.7750, 2.0315];
/// Iterations.
pub(crate) const ITERATIONS: usize = 5;
/// Least norm that is divided by.
pub(super) const EPS: f64 = 1e-7;

/// One step over a matrix of `columns`, given its gradient and its momentum:
///
/// ```text
/// m = 0.95 m + g      u = orthogonal(g + 0.95 m)
/// w = w - rate decay w - rate 0.2 sqrt(max(rows, columns)) u
/// ```
///
/// # Cost
/// With `s` and `l` the short and the long side, `5 (4 s^2 l + 2 s^3)` operations in f32.
pub(super) fn step(w: &mut [f32], grad: &[f32], m: &mut [f32], columns: usize, rate: f64, decay: f64) {
    let momentum = MOMENTUM as f32;
    let rows = w.len() / columns.max(1);
    let nesterov = grad.iter().zip(&mut *m).map(|(&g, m)| {
        *m = momentum * *m + g;
        g + momentum * *m
    });
    let nesterov: Vec<f32> = nesterov.collect();
    let Ok(matrix) = ArrayView2::from_shape((rows, columns), &nesterov) else { return };
    let short = if rows > columns { orthogonal(matrix.t()) } else { orthogonal(matrix) };
    let update = if rows > columns { short.t() } else { short.view() };
    let keep = (1.0 - rate * decay) as f32;
    let scale = (rate * 0.2 * (rows.max(columns) as f64).sqrt()) as f32;
    w.iter_mut().zip(update.iter()).for_each(|(w, u)| *w = keep * *w - scale * u);
}

/// The iterations over a matrix that is not higher than wide.
fn orthogonal(matrix: ArrayView2<'_, f32>) -> Array2<f32> {
    let [a, b, c] = COEFFICIENTS.map(|c| c as f32);
    let norm = matrix.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
    let mut x = matrix.mapv(|v| (f64::from(v) / (norm + EPS)) as f32);
    let (rows, columns) = x.dim();
    let mut gram = Array2::zeros((rows, rows));
    let mut next = Array2::zeros((rows, columns));
    for _ in 0..ITERATIONS {
        general_mat_mul(1.0, &x, &x.t(), 0.0, &mut gram);
        let mut polynomial = gram.clone();
        general_mat_mul(c, &gram, &gram, b, &mut polynomial);
        next.assign(&x);
        general_mat_mul(1.0, &polynomial, &x, a, &mut next);
        std::mem::swap(&mut x, &mut next);
    }
    x
}
