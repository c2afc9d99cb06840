//! The recurrent state of a batch on the GPU, in f32.

use std::sync::Arc;

use cudarc::driver::CudaSlice;
use mambabyte_core::Dims;

use super::weights::Widths;
use crate::cuda::device::Device;
use crate::cuda::error::CudaError;

/// What is carried from byte to byte, for each row of a batch: scan state and convolution history of every layer, f32.
///
/// Made by [`super::FloatModel::state`] at zero, advanced by [`super::FloatModel::prefill`].
#[derive(Debug)]
pub struct FloatState {
    device: Arc<Device>,
    pub(crate) dims: Dims,
    widths: Widths,
    rows: usize,
    /// `[n_layer, rows, inner, d_state]`.
    pub(crate) h: CudaSlice<f32>,
    /// `[n_layer, rows, d_conv - 1, inner]`, oldest first.
    pub(crate) conv: CudaSlice<f32>,
}

impl FloatState {
    pub(crate) fn new(device: &Arc<Device>, dims: &Dims, rows: usize) -> Result<Self, CudaError> {
        let widths = Widths::of(dims);
        let lines = dims.n_layer * rows * widths.inner;
        Ok(Self {
            device: device.clone(),
            dims: *dims,
            widths,
            rows,
            h: device.zeros("the state", lines * dims.d_state)?,
            conv: device.zeros("the state", lines * (dims.d_conv - 1))?,
        })
    }

    /// Rows of the batch.
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// Addresses of a layer's h and convolution history.
    pub(crate) fn layer(&self, layer: usize) -> (u64, u64) {
        let lines = layer * self.rows * self.widths.inner * size_of::<f32>();
        let (h, conv) = (self.device.address(&self.h), self.device.address(&self.conv));
        (h + (lines * self.dims.d_state) as u64, conv + (lines * (self.dims.d_conv - 1)) as u64)
    }

    /// Every row back to zero.
    ///
    /// # Errors
    /// The driver's.
    pub fn reset(&mut self) -> Result<(), CudaError> {
        self.device.stream().memset_zeros(&mut self.h)?;
        self.device.stream().memset_zeros(&mut self.conv)?;
        Ok(())
    }

    /// Row `row` as [`crate::model::Session::state`] has it: per layer `[d_conv - 1, d_inner]` convolution input, oldest
    /// first, then `[d_inner, d_state]` h. Waits for all work so far.
    ///
    /// # Errors
    /// [`CudaError::Rows`] if there is no such row.
    pub fn read_row(&self, row: usize) -> Result<Vec<f32>, CudaError> {
        self.check(row)?;
        let (h, conv) = (self.device.stream().clone_dtoh(&self.h)?, self.device.stream().clone_dtoh(&self.conv)?);
        let mut out = Vec::with_capacity(self.dims.state_len());
        for layer in 0..self.dims.n_layer {
            for k in 0..self.dims.d_conv - 1 {
                out.extend_from_slice(&conv[self.conv_at(layer, row, k)..][..self.dims.d_inner]);
            }
            out.extend_from_slice(&h[self.h_at(layer, row)..][..self.dims.scan_state_len()]);
        }
        Ok(out)
    }

    /// Sets row `row` from what [`FloatState::read_row`] or [`crate::model::Session::state`] gave.
    ///
    /// # Errors
    /// [`CudaError::Rows`] if there is no such row, [`CudaError::ForeignState`] if `values` has another length.
    pub fn write_row(&mut self, row: usize, values: &[f32]) -> Result<(), CudaError> {
        self.check(row)?;
        if values.len() != self.dims.state_len() {
            return Err(CudaError::ForeignState);
        }
        let stream = self.device.stream().clone();
        let (mut h, mut conv) = (stream.clone_dtoh(&self.h)?, stream.clone_dtoh(&self.conv)?);
        let (di, n) = (self.dims.d_inner, self.dims.scan_state_len());
        for (layer, values) in values.chunks_exact(self.dims.layer_state_len()).enumerate() {
            let (history, scan) = values.split_at(self.dims.conv_state_len());
            for (k, column) in history.chunks_exact(di).enumerate() {
                conv[self.conv_at(layer, row, k)..][..di].copy_from_slice(column);
            }
            h[self.h_at(layer, row)..][..n].copy_from_slice(scan);
        }
        stream.memcpy_htod(&h, &mut self.h)?;
        stream.memcpy_htod(&conv, &mut self.conv)?;
        self.device.synchronize()
    }

    fn check(&self, row: usize) -> Result<(), CudaError> {
        if row < self.rows { Ok(()) } else { Err(CudaError::Rows { expected: self.rows, found: row + 1 }) }
    }

    const fn h_at(&self, layer: usize, row: usize) -> usize {
        (layer * self.rows + row) * self.widths.inner * self.dims.d_state
    }

    const fn conv_at(&self, layer: usize, row: usize, k: usize) -> usize {
        ((layer * self.rows + row) * (self.dims.d_conv - 1) + k) * self.widths.inner
    }
}
