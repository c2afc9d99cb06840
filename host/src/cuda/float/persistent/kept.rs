//! What a launch leaves of drafted bytes, from which states can follow it.

use std::ops::Range;

use cudarc::driver::CudaSlice;
use mambabyte_core::Dims;

use super::params::Params;
use super::plan::{Plan, TILE};
use crate::cuda::device::Device;
use crate::cuda::error::CudaError;

/// Drafted bytes that have been read without moving a state, in as few launches as hold whole drafts.
pub(crate) struct Draft {
    pub(super) groups: Vec<Group>,
}

/// A draft that the model has written itself: each stream's bytes, and the logits after the last one that was read.
pub(crate) struct Proposal {
    pub(crate) draft: Draft,
    pub(crate) text: Vec<Vec<u8>>,
    /// `[streams, 256]`.
    pub(crate) logits: Vec<f32>,
}

/// The drafts of one launch.
pub(super) struct Group {
    /// Its streams.
    pub(super) streams: Range<usize>,
    /// Bytes of each, which follow each other among the kept ones.
    pub(super) len: Vec<usize>,
    pub(super) kept: Kept,
}

/// Inputs of drafted bytes.
pub(super) struct Kept {
    pub(super) columns: usize,
    /// Before the convolution, after it, step size: `[n_layer, columns, ki * 16]`; B: `[n_layer, columns, d_state]`.
    buffers: [CudaSlice<f32>; 4],
}

impl Kept {
    pub(super) fn new(device: &Device, dims: &Dims, plan: &Plan, columns: usize) -> Result<Self, CudaError> {
        let columns = columns.next_power_of_two();
        let make = |len: usize| device.zeros("inputs of drafted bytes", columns * len);
        let channels = dims.n_layer * plan.ki * TILE;
        let buffers = [make(channels)?, make(channels)?, make(channels)?, make(dims.n_layer * dims.d_state)?];
        Ok(Self { columns, buffers })
    }

    /// The same launch, which keeps here what it reads, or reads what was kept.
    pub(super) fn of(&self, device: &Device, params: Params) -> Params {
        let [kept_x, kept_u, kept_delta, kept_b] = std::array::from_fn(|i| device.address(&self.buffers[i]));
        Params { kept: self.columns as i32, kept_x, kept_u, kept_delta, kept_b, ..params }
    }
}
