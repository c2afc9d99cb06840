//! The float model on a GPU: weights of a checkpoint in f32 or bf16, sums and the state in f32.
//!
//! A block is norm, `in_proj`, convolution with SiLU, `x_proj`, `dt_proj`, scan with softplus, skip and gate, `out_proj`
//! with the residual added in f32. Products are cuBLASLt's; the rest are this crate's kernels. Measurements: `PERFORMANCE.md` in the folder above.

pub mod bench;
mod buffer;
mod gemm;
mod prefill;
mod scan;
mod small;
mod state;
#[cfg(test)]
mod tests;
mod weights;

use std::sync::{Arc, Mutex};

pub use prefill::{Predictions, Want};
pub use state::FloatState;

use self::buffer::Element;
use self::gemm::Blas;
use self::prefill::Arena;
use self::scan::Scan;
use self::small::Small;
use self::weights::Weights;
use super::Precision;
use super::device::Device;
use super::error::CudaError;
use crate::Model;

/// A float model whose weights are on a GPU.
pub struct FloatModel {
    device: Arc<Device>,
    weights: Weights,
    blas: Blas,
    scan: Scan,
    small: Small,
    /// Memory of the last prefill, for the next one.
    arena: Mutex<Option<Arena>>,
}

impl std::fmt::Debug for FloatModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FloatModel({:?}, {:?}, {:?})", self.weights.dims, self.weights.element, self.device)
    }
}

impl FloatModel {
    /// Copies a model's weights to the GPU.
    ///
    /// # Errors
    /// [`CudaError::Precision`] unless `precision` is f32 or bf16, [`CudaError::OutOfMemory`] with the bytes of all
    /// weights, [`CudaError::NoLibrary`] without cuBLASLt, [`CudaError::Shape`] if the model is too wide.
    pub fn load(device: &Arc<Device>, model: &Model, precision: Precision) -> Result<Self, CudaError> {
        let element = match precision {
            Precision::F32 => Element::F32,
            Precision::Bf16 => Element::Bf16,
            _ => return Err(CudaError::Precision { precision, needs: "a blob" }),
        };
        let dims = model.dims();
        let blas = Blas::new(device)?;
        let small = Small::load(device, element, dims.d_conv, dims.d_model.next_multiple_of(8))?;
        let scan = Scan::load(device, element, dims.tied_decays)?;
        let weights = Weights::upload(device, model.checkpoint(), element)?;
        Ok(Self { device: device.clone(), weights, blas, scan, small, arena: Mutex::default() })
    }

    /// A batch of `rows` streams at the zero state.
    ///
    /// # Errors
    /// [`CudaError::OutOfMemory`].
    pub fn state(&self, rows: usize) -> Result<FloatState, CudaError> {
        FloatState::new(&self.device, &self.weights.dims, rows)
    }
}
