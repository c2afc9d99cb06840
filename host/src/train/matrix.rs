//! The three products of backpropagation through a linear map, on row-major slices.

use ndarray::linalg::general_mat_mul;
use ndarray::{ArrayView2, ArrayViewMut2};

/// A slice seen as `[rows, columns]`. The callers' sizes come from [`mambabyte_core::Dims`], which `Model` has checked.
fn view(data: &[f32], columns: usize) -> ArrayView2<'_, f32> {
    let rows = data.len() / columns;
    ArrayView2::from_shape((rows, columns), &data[..rows * columns]).expect("rows * columns elements")
}

fn view_mut(data: &mut [f32], columns: usize) -> ArrayViewMut2<'_, f32> {
    let rows = data.len() / columns;
    ArrayViewMut2::from_shape((rows, columns), &mut data[..rows * columns]).expect("rows * columns elements")
}

/// `y[t, r] = sum_c w[r, c] * x[t, c]`; `w` is `[rows, columns]`, `x` is `[_, columns]`.
pub(super) fn forward(w: &[f32], x: &[f32], columns: usize) -> Vec<f32> {
    let rows = w.len() / columns;
    let mut y = vec![0.0; x.len() / columns * rows];
    general_mat_mul(1.0, &view(x, columns), &view(w, columns).t(), 0.0, &mut view_mut(&mut y, rows));
    y
}

/// `dx[t, c] = sum_r dy[t, r] * w[r, c]`.
pub(super) fn to_input(w: &[f32], dy: &[f32], columns: usize) -> Vec<f32> {
    let rows = w.len() / columns;
    let mut dx = vec![0.0; dy.len() / rows * columns];
    general_mat_mul(1.0, &view(dy, rows), &view(w, columns), 0.0, &mut view_mut(&mut dx, columns));
    dx
}

/// `dw[r, c] += sum_t dy[t, r] * x[t, c]`.
pub(super) fn to_weight(dw: &mut [f32], dy: &[f32], x: &[f32], columns: usize) {
    let rows = dw.len() / columns;
    general_mat_mul(1.0, &view(dy, rows).t(), &view(x, columns), 1.0, &mut view_mut(dw, columns));
}
