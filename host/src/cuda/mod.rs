//! NVIDIA GPUs: prefill of many bytes, verification of drafts, decoding. Feature `cuda`.
//!
//! Nothing of CUDA is needed to build: the driver is loaded at the first use, and [`probe`] says in one line what is
//! missing. [`Device::open`] finds a GPU.

mod device;
mod error;
mod kernels;

pub use device::{Device, probe, probe_cublaslt, probe_nvrtc};
pub use error::CudaError;

/// What weights and activations are computed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// The integers of a blob: the same bits as on every CPU and chip.
    Exact,
    /// A checkpoint in f32.
    F32,
    /// A checkpoint with weights and activations in bf16; sums and the state in f32.
    Bf16,
    /// The i8 weights of a blob, activations in bf16; sums and the state in f32.
    I8,
}

impl std::fmt::Display for Precision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Exact => "exact",
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::I8 => "i8",
        })
    }
}
