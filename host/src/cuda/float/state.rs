//! The recurrent state of a batch on the GPU, in f32.

use cudarc::driver::CudaSlice;
use mambabyte_core::Dims;

use super::persistent::Draft;
use super::steps::{StepDraft, StepGraph};
use super::weights::Widths;
use crate::cuda::device::Device;
use crate::cuda::error::CudaError;

/// What is carried from byte to byte, for each row of a batch, with the memory of the calls made so far.
pub(crate) struct FloatState {
    dims: Dims,
    pub(crate) rows: usize,
    pub(crate) memory: Memory,
    /// Decoding without the persistent kernel: a graph of one byte's launches.
    pub(super) step: Option<StepGraph>,
    /// What was verified last, with and without the persistent kernel.
    pub(super) draft: Option<Draft>,
    pub(super) step_draft: Option<StepDraft>,
}

/// Scan state and convolution history of every layer and row, f32. Prefill and decoding read and write the same arrays.
pub(crate) struct Memory {
    layers: usize,
    rows: usize,
    inner: usize,
    taps: usize,
    d_state: usize,
    /// `[n_layer, rows, inner, d_state]`.
    h: CudaSlice<f32>,
    /// `[n_layer, rows, d_conv - 1, inner]`, oldest first.
    conv: CudaSlice<f32>,
}

impl Memory {
    pub(super) fn zeros(device: &Device, dims: &Dims, rows: usize) -> Result<Self, CudaError> {
        let (inner, taps) = (Widths::of(dims).inner, dims.d_conv - 1);
        let lines = dims.n_layer * rows * inner;
        let what = "the state";
        Ok(Self {
            layers: dims.n_layer,
            rows,
            inner,
            taps,
            d_state: dims.d_state,
            h: device.zeros(what, lines * dims.d_state)?,
            conv: device.zeros(what, lines * taps)?,
        })
    }

    /// Elements of one row's h and convolution history in one layer.
    pub(crate) const fn row_len(&self) -> (usize, usize) {
        (self.inner * self.d_state, self.inner * self.taps)
    }

    /// Addresses of a layer's h and convolution history.
    pub(crate) fn layer(&self, device: &Device, layer: usize) -> (u64, u64) {
        let (h, conv) = self.row_len();
        let at = |len: usize| (layer * self.rows * len * size_of::<f32>()) as u64;
        (device.address(&self.h) + at(h), device.address(&self.conv) + at(conv))
    }

    /// Becomes a copy of another memory of the same shape.
    pub(super) fn copy_from(&mut self, device: &Device, from: &Self) -> Result<(), CudaError> {
        device.stream().memcpy_dtod(&from.h, &mut self.h)?;
        device.stream().memcpy_dtod(&from.conv, &mut self.conv)?;
        Ok(())
    }

    /// Row `to` becomes a copy of row `from`.
    pub(crate) fn copy_row(&mut self, device: &Device, from: usize, to: usize) -> Result<(), CudaError> {
        let (h_len, conv_len) = self.row_len();
        for layer in 0..self.layers {
            let ((h_from, conv_from), (h_to, conv_to)) = (self.at(layer, from), self.at(layer, to));
            device.copy_within(&mut self.h, h_from, h_to, h_len)?;
            device.copy_within(&mut self.conv, conv_from, conv_to, conv_len)?;
        }
        Ok(())
    }

    /// The rows `which` become copies of those of `source`, a memory of the same model.
    pub(crate) fn copy_rows(&mut self, device: &Device, source: &Self, which: &[usize]) -> Result<(), CudaError> {
        if self.rows == source.rows && which.iter().copied().eq(0..self.rows) {
            return self.copy_from(device, source);
        }
        let (h_len, conv_len) = self.row_len();
        for (layer, &row) in (0..self.layers).flat_map(|layer| which.iter().map(move |row| (layer, row))) {
            let ((h_from, conv_from), (h_to, conv_to)) = (source.at(layer, row), self.at(layer, row));
            let h = source.h.slice(h_from..h_from + h_len);
            device.stream().memcpy_dtod(&h, &mut self.h.slice_mut(h_to..h_to + h_len))?;
            let conv = source.conv.slice(conv_from..conv_from + conv_len);
            device.stream().memcpy_dtod(&conv, &mut self.conv.slice_mut(conv_to..conv_to + conv_len))?;
        }
        Ok(())
    }

    /// Row `row` becomes zero.
    pub(crate) fn zero_row(&mut self, device: &Device, row: usize) -> Result<(), CudaError> {
        let (h_len, conv_len) = self.row_len();
        for layer in 0..self.layers {
            let (h, conv) = self.at(layer, row);
            device.stream().memset_zeros(&mut self.h.slice_mut(h..h + h_len))?;
            device.stream().memset_zeros(&mut self.conv.slice_mut(conv..conv + conv_len))?;
        }
        Ok(())
    }

    /// Where a row's h and history of a layer begin.
    const fn at(&self, layer: usize, row: usize) -> (usize, usize) {
        let (h, conv) = self.row_len();
        let line = layer * self.rows + row;
        (line * h, line * conv)
    }
}

impl FloatState {
    pub(crate) fn new(device: &Device, dims: &Dims, rows: usize) -> Result<Self, CudaError> {
        let memory = Memory::zeros(device, dims, rows)?;
        Ok(Self { dims: *dims, rows, memory, step: None, draft: None, step_draft: None })
    }

    /// Row `row` as [`crate::model::Session::state`] has it: per layer `[d_conv - 1, d_inner]` convolution input,
    /// oldest first, then `[d_inner, d_state]` h. Waits for all work so far.
    pub(crate) fn read_row(&self, device: &Device, row: usize) -> Result<Vec<f32>, CudaError> {
        let (d_inner, memory) = (self.dims.d_inner, &self.memory);
        let (h_len, conv_len) = memory.row_len();
        let mut out = Vec::with_capacity(self.dims.state_len());
        for layer in 0..self.dims.n_layer {
            let (h, conv) = memory.at(layer, row);
            let conv = device.stream().clone_dtoh(&memory.conv.slice(conv..conv + conv_len))?;
            let h = device.stream().clone_dtoh(&memory.h.slice(h..h + h_len))?;
            device.synchronize()?;
            conv.chunks_exact(memory.inner).for_each(|column| out.extend_from_slice(&column[..d_inner]));
            out.extend_from_slice(&h[..self.dims.scan_state_len()]);
        }
        Ok(out)
    }

    /// Sets row `row` from what [`FloatState::read_row`] or [`crate::model::Session::state`] gave.
    ///
    /// # Errors
    /// [`CudaError::ForeignState`] if `values` has another length.
    pub(crate) fn write_row(&mut self, device: &Device, row: usize, values: &[f32]) -> Result<(), CudaError> {
        if values.len() != self.dims.state_len() {
            return Err(CudaError::ForeignState);
        }
        let (h_len, conv_len) = self.memory.row_len();
        for (layer, values) in values.chunks_exact(self.dims.layer_state_len()).enumerate() {
            let (history, scan) = values.split_at(self.dims.conv_state_len());
            let mut conv = Vec::with_capacity(conv_len);
            for column in history.chunks_exact(self.dims.d_inner) {
                conv.extend_from_slice(column);
                conv.resize(conv.len().next_multiple_of(self.memory.inner), 0.0);
            }
            let mut h = scan.to_vec();
            h.resize(h_len, 0.0);
            let (h_at, conv_at) = self.memory.at(layer, row);
            device.stream().memcpy_htod(&conv, &mut self.memory.conv.slice_mut(conv_at..conv_at + conv_len))?;
            device.stream().memcpy_htod(&h, &mut self.memory.h.slice_mut(h_at..h_at + h_len))?;
        }
        device.synchronize()
    }
}
