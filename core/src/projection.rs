//! Projections of a layer: which kernel reads a matrix is told by the order of its weights.

#![allow(clippy::too_many_arguments, reason = "the operands of one equation")]

use core::ops::Range;

use crate::blob::LayerView;
use crate::dims::Dims;
use crate::simd::Kernels;

/// A matrix, or whole panels of its rows.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    w: &'a [i8],
    code: &'a [u8],
    #[cfg(mambabyte_tiles)]
    tiled: bool,
}

impl<'a> Matrix<'a> {
    #[inline(always)]
    fn of(layer: &LayerView<'a>, w: &'a [i8], code: &'a [u8], columns: usize) -> Self {
        #[cfg(not(mambabyte_tiles))]
        let _ = (layer, columns);
        Self {
            w,
            code,
            #[cfg(mambabyte_tiles)]
            tiled: layer.tiled && crate::tiles::fits(columns),
        }
    }

    /// The rows of `x` or those of `z`.
    #[inline(always)]
    fn half(layer: &LayerView<'a>, dims: &Dims, half: usize) -> Self {
        let w = layer.in_proj.chunks_exact((layer.in_proj.len() / 2).max(1)).nth(half).unwrap_or(&[]);
        let code = layer.in_proj_code.chunks_exact((layer.in_proj_code.len() / 2).max(1)).nth(half).unwrap_or(&[]);
        Self::of(layer, w, code, dims.d_model)
    }

    /// `x` of `in_proj`: `[d_inner, d_model]`.
    #[inline(always)]
    pub(crate) fn in_proj_x(layer: &LayerView<'a>, dims: &Dims) -> Self {
        Self::half(layer, dims, 0)
    }

    /// `z` of `in_proj`: `[d_inner, d_model]`.
    #[inline(always)]
    pub(crate) fn in_proj_z(layer: &LayerView<'a>, dims: &Dims) -> Self {
        Self::half(layer, dims, 1)
    }

    /// `[x_proj_rows, d_inner]`.
    #[inline(always)]
    pub(crate) fn x_proj(layer: &LayerView<'a>, dims: &Dims) -> Self {
        Self::of(layer, layer.x_proj, layer.x_proj_code, dims.d_inner)
    }

    /// `[d_inner, dt_rank]`.
    #[inline(always)]
    pub(crate) fn dt_proj(layer: &LayerView<'a>, dims: &Dims) -> Self {
        Self::of(layer, layer.dt_proj, layer.dt_proj_code, dims.dt_rank)
    }

    /// `[d_model, d_inner]`.
    #[inline(always)]
    pub(crate) fn out_proj(layer: &LayerView<'a>, dims: &Dims) -> Self {
        Self::of(layer, layer.out_proj, layer.out_proj_code, dims.d_inner)
    }

    /// Some of the rows, from a multiple of [`tiles::PANEL`](crate::tiles::PANEL) to another one or the last row.
    pub(crate) fn rows(self, range: &Range<usize>, columns: usize) -> Self {
        let w = self.w.get(range.start * columns..range.end * columns).unwrap_or(&[]);
        Self { w, code: self.code.get(range.clone()).unwrap_or(&[]), ..self }
    }

    #[inline(always)]
    const fn tiled(&self) -> bool {
        #[cfg(mambabyte_tiles)]
        return self.tiled;
        #[cfg(not(mambabyte_tiles))]
        return false;
    }

    /// [`Kernels::matvec_i16`].
    #[inline(always)]
    pub(crate) fn to_i16<K: Kernels>(self, k: K, base: u8, x: &[i16], y: &mut [i16]) {
        if self.tiled() {
            k.tiled_i16(self.w, self.code, base, x, y);
        } else {
            k.matvec_i16(self.w, self.code, base, x, y);
        }
    }

    /// [`Kernels::matvec_add`].
    #[inline(always)]
    pub(crate) fn add<K: Kernels>(self, k: K, base: u8, x: &[i16], y: &mut [i32]) {
        if self.tiled() {
            k.tiled_add(self.w, self.code, base, x, y);
        } else {
            k.matvec_add(self.w, self.code, base, x, y);
        }
    }

    /// [`Kernels::log_delta`].
    #[inline(always)]
    pub(crate) fn log_delta<K: Kernels>(self, k: K, base: u8, dt: &[i16], bias: &[i16], l: &mut [i16]) {
        if self.tiled() {
            k.tiled_log_delta(self.w, self.code, base, dt, bias, l);
        } else {
            k.log_delta(self.w, self.code, base, dt, bias, l);
        }
    }

    /// [`Kernels::matmul_i16`].
    #[inline(always)]
    pub(crate) fn many_to_i16<K: Kernels>(self, k: K, base: u8, x: &[i16], columns: usize, y: &mut [i16]) {
        if self.tiled() {
            k.tiled_matmul_i16(self.w, self.code, base, x, columns, y);
        } else {
            k.matmul_i16(self.w, self.code, base, x, columns, y);
        }
    }

    /// [`Kernels::matmul_add`].
    #[inline(always)]
    pub(crate) fn many_add<K: Kernels>(self, k: K, base: u8, down: &[u8], x: &[i16], columns: usize, y: &mut [i32]) {
        if self.tiled() {
            k.tiled_matmul_add(self.w, self.code, base, down, x, columns, y);
        } else {
            k.matmul_add(self.w, self.code, base, down, x, columns, y);
        }
    }

    /// [`Kernels::matmul_log_delta`].
    #[inline(always)]
    pub(crate) fn many_log_delta<K: Kernels>(
        self,
        k: K,
        base: u8,
        dt: &[i16],
        rank: usize,
        stride: usize,
        bias: &[i16],
        l: &mut [i16],
    ) {
        if self.tiled() {
            k.tiled_matmul_log_delta(self.w, self.code, base, dt, rank, stride, bias, l);
        } else {
            k.matmul_log_delta(self.w, self.code, base, dt, rank, stride, bias, l);
        }
    }
}

/// `x, z = in_proj u`; `xz`: both, one after the other.
#[inline(always)]
pub(crate) fn in_proj<K: Kernels>(k: K, layer: &LayerView<'_>, dims: &Dims, u: &[i16], xz: &mut [i16]) {
    #[cfg(mambabyte_tiles)]
    if layer.tiled {
        let Some((x, z)) = xz.split_at_mut_checked(dims.d_inner) else { return };
        Matrix::in_proj_x(layer, dims).to_i16(k, layer.params.in_proj_shift, u, x);
        return Matrix::in_proj_z(layer, dims).to_i16(k, layer.params.in_proj_shift, u, z);
    }
    let _ = dims;
    k.matvec_i16(layer.in_proj, layer.in_proj_code, layer.params.in_proj_shift, u, xz);
}
