//! NVIDIA GPUs: prefill of many bytes, verification of drafts, decoding. Feature `cuda`.
//!
//! Nothing of CUDA is needed to build: the driver is loaded at the first use, and [`probe`] says in one line what is
//! missing. [`Device::open`] finds a GPU, [`GpuModel::load`] puts a model there, [`GpuModel::state`] makes the states of a
//! batch of streams, [`GpuModel::prefill`], [`GpuModel::step`], [`GpuModel::decode`] and [`GpuModel::verify`] move them.
//!
//! ```no_run
//! use mambabyte_core::{Blob, include_blob};
//! use mambabyte_host::cuda::{Device, GpuModel, Precision, Want};
//!
//! let blob = Blob::parse(include_blob!("../../../models/sensor-pico/model.mbb"))?;
//! let model = GpuModel::load(&Device::open(0)?, blob, Precision::Exact)?;
//! let mut state = model.state(2)?;
//! model.prefill(&[b"$GPGGA,", b"METAR"], &mut state, Want::Nothing)?;
//! let verified = model.verify(&[b"1234", b" E"], &mut state)?;
//! verified.accept(&[2, 1])?;
//! assert_eq!(state.positions(), [9, 6]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod bench;
mod decode;
mod device;
mod error;
mod evaluate;
mod exact;
mod float;
mod kernels;
mod layout;
mod model;
mod state;
mod verify;

pub use device::{Device, probe, probe_cublaslt, probe_nvrtc};
pub use error::CudaError;
pub use evaluate::evaluate;
pub use model::{Answer, GpuModel, Source, Want};
use state::Batch;
pub use state::GpuState;
pub use verify::Verified;

/// Most bytes of a draft.
pub const MAX_DRAFT: usize = 32;

/// What weights and activations are computed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// The integers of a blob: the same bits as on every CPU and chip.
    Exact,
    /// All of it in f32.
    F32,
    /// Weights and activations in bf16; sums and the state in f32.
    Bf16,
    /// Weights in i8 with a scale for each row (prefill rounds their products to bf16), activations in bf16; sums and the
    /// state in f32.
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
