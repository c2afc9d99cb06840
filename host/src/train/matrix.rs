//! The three products of backpropagation through a linear map, on row-major slices whose rows may be parts of longer
//! ones.

use ndarray::linalg::general_mat_mul;
use ndarray::{ArrayView2, ArrayViewMut2, ShapeBuilder};

/// The first `columns` of each row of a slice whose rows are `stride` long.
#[derive(Clone, Copy)]
pub(super) struct Rows<T> {
    data: T,
    columns: usize,
    stride: usize,
}

impl<T> Rows<T> {
    /// Whole rows.
    pub(super) const fn whole(data: T, columns: usize) -> Self {
        Self { data, columns, stride: columns }
    }

    /// The beginnings of rows.
    pub(super) const fn first(data: T, columns: usize, stride: usize) -> Self {
        Self { data, columns, stride }
    }
}

impl<'a> Rows<&'a [f32]> {
    /// The callers' sizes come from [`mambabyte_core::Dims`], which `Model` has checked.
    fn view(self) -> ArrayView2<'a, f32> {
        let rows = self.data.len() / self.stride;
        let shape = (rows, self.columns).strides((self.stride, 1));
        ArrayView2::from_shape(shape, self.data).expect("as many elements as rows and columns need")
    }
}

impl<'a> Rows<&'a mut [f32]> {
    fn view(self) -> ArrayViewMut2<'a, f32> {
        let rows = self.data.len() / self.stride;
        let shape = (rows, self.columns).strides((self.stride, 1));
        ArrayViewMut2::from_shape(shape, self.data).expect("as many elements as rows and columns need")
    }
}

/// `y[t, r] = sum_c w[r, c] * x[t, c] + keep * y[t, r]`; `w` is `[rows, columns]`, `x` is `[_, columns]`.
pub(super) fn forward(w: &[f32], x: Rows<&[f32]>, keep: f32, y: Rows<&mut [f32]>) {
    let w = Rows::whole(w, x.columns).view();
    general_mat_mul(1.0, &x.view(), &w.t(), keep, &mut y.view());
}

/// `dx[t, c] = sum_r dy[t, r] * w[r, c] + keep * dx[t, c]`.
pub(super) fn to_input(w: &[f32], dy: Rows<&[f32]>, keep: f32, dx: Rows<&mut [f32]>) {
    let w = Rows::whole(w, dx.columns).view();
    general_mat_mul(1.0, &dy.view(), &w, keep, &mut dx.view());
}

/// `dw[r, c] += sum_t dy[t, r] * x[t, c]`.
pub(super) fn to_weight(dw: &mut [f32], dy: Rows<&[f32]>, x: Rows<&[f32]>) {
    let mut dw = Rows::whole(dw, x.columns).view();
    general_mat_mul(1.0, &dy.view().t(), &x.view(), 1.0, &mut dw);
}
