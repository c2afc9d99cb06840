//! Workstation side of MambaByte: the f32 model, calibration, quantisation, bits per byte.
//!
//! * [`checkpoint`]: a trained model as plain f32 tensors; [`model`] runs it.
//! * [`quantize`]: from a checkpoint to a blob.
//! * [`train`]: gradients of the f32 model.
//! * [`bpb`]: bits per byte of a text, for both.
//! * `cuda`: the same on NVIDIA GPUs, feature `cuda`.

pub mod align;
pub mod bpb;
pub mod checkpoint;
#[cfg(feature = "cuda")]
#[allow(unsafe_code, reason = "calls of the driver; each block says why it is sound")]
pub mod cuda;
pub mod model;
pub mod quantize;
pub mod train;

pub use checkpoint::{Checkpoint, Layer};
pub use model::Model;
