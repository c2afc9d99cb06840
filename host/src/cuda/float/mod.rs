//! The float model on a GPU: weights in f32, bf16 or i8, sums and the state in f32.
//!
//! A layer is norm, `in_proj`, convolution with SiLU, `x_proj`, `dt_proj`, scan with softplus, skip and gate,
//! `out_proj` with the residual added in f32. Many bytes at once go through cuBLASLt's products and this crate's
//! kernels (`prefill`). Single bytes and drafts go through one persistent kernel (`persistent`), which has bf16 and
//! i8 weights; in f32, and where it does not run (before compute capability 9.0, very wide models), through the kernels
//! of prefill (`steps`). All of them move the same state. Measurements: `PERFORMANCE.md` in the folder above.

pub(crate) mod buffer;
mod decode;
mod finite;
pub(crate) mod gemm;
mod pass;
pub(super) mod persistent;
mod prefill;
pub(crate) mod sampler;
pub(crate) mod scan;
pub(crate) mod small;
mod state;
mod steps;
#[cfg(test)]
mod tests;
mod weights;

use std::sync::{Arc, Mutex};

pub(crate) use state::{FloatState, Memory};
pub(crate) use weights::Widths;

use self::buffer::Element;
use self::gemm::Blas;
use self::prefill::Arena;
use self::sampler::Sampler;
use self::scan::Scan;
use self::small::Small;
use self::weights::Weights;
use super::Precision;
use super::device::Device;
use super::error::CudaError;
use crate::Checkpoint;
use crate::dequantize::{Dequantized, round_rows};
use persistent::Decoder;

/// A float model whose weights are on a GPU.
pub(crate) struct FloatModel {
    device: Arc<Device>,
    weights: Weights,
    blas: Blas,
    scan: Scan,
    small: Small,
    sampler: Sampler,
    /// Memory of the last prefill, for the next one.
    arena: Mutex<Option<Arena>>,
    /// The persistent kernel. It has its own copy of the weights, in the order in which it reads them.
    decoder: Option<Mutex<Decoder>>,
}

/// Weights to load: a checkpoint's (for i8 they are rounded by rows first), or a blob's with the steps of their rows.
pub(crate) enum Values<'a> {
    Plain(&'a Checkpoint),
    Rows(&'a Dequantized),
}

impl FloatModel {
    /// Copies a model's weights to the GPU.
    ///
    /// # Errors
    /// [`CudaError::Model`] for a checkpoint that is no model, [`CudaError::OutOfMemory`] with the bytes of all
    /// weights, [`CudaError::NoLibrary`] without cuBLASLt, [`CudaError::Shape`] if the model is too wide.
    pub(crate) fn load(device: &Arc<Device>, values: &Values<'_>, precision: Precision) -> Result<Self, CudaError> {
        let rounded;
        let (checkpoint, steps) = match values {
            Values::Rows(rows) => (&rows.checkpoint, Some(&rows.steps)),
            Values::Plain(checkpoint) => {
                checkpoint.check()?;
                if precision == Precision::I8 {
                    rounded = round_rows(checkpoint);
                    (&rounded.checkpoint, Some(&rounded.steps))
                } else {
                    (*checkpoint, None)
                }
            }
        };
        let mut model = Self::without_decoder(device, checkpoint, precision)?;
        if precision != Precision::F32 {
            model.decoder = match Decoder::load(device, checkpoint, steps.filter(|_| precision == Precision::I8)) {
                Ok(decoder) => Some(Mutex::new(decoder)),
                Err(CudaError::OldDevice { .. } | CudaError::Shape { .. }) => None,
                Err(error) => return Err(error),
            };
        }
        Ok(model)
    }

    /// A model whose single bytes go through the kernels of prefill.
    fn without_decoder(device: &Arc<Device>, checkpoint: &Checkpoint, precision: Precision) -> Result<Self, CudaError> {
        let element = if precision == Precision::F32 { Element::F32 } else { Element::Bf16 };
        let dims = &checkpoint.dims;
        let blas = Blas::new(device)?;
        let small = Small::load(device, element, dims.d_conv, dims.d_model.next_multiple_of(8))?;
        let scan = Scan::load(device, element, dims.tied_decays)?;
        let weights = Weights::upload(device, checkpoint, element)?;
        let sampler = Sampler::load(device)?;
        Ok(Self { device: device.clone(), weights, blas, scan, small, sampler, arena: Mutex::default(), decoder: None })
    }

    /// Zero states of `rows` streams.
    ///
    /// # Errors
    /// [`CudaError::OutOfMemory`].
    pub(crate) fn state(&self, rows: usize) -> Result<FloatState, CudaError> {
        FloatState::new(&self.device, &self.weights.dims, rows)
    }

    /// Whether single bytes go through the persistent kernel.
    pub(crate) const fn is_persistent(&self) -> bool {
        self.decoder.is_some()
    }

    /// Bytes of weights that one pass of the persistent kernel reads; 0 without it.
    pub(crate) fn pass_bytes(&self) -> usize {
        let decoder = self.decoder.as_ref();
        decoder.map_or(0, |d| d.lock().unwrap_or_else(std::sync::PoisonError::into_inner).weight_bytes())
    }
}
