//! NVIDIA GPUs: prefill of many bytes, verification of drafts, decoding, training ([`train`]). Feature `cuda`.
//!
//! Nothing of CUDA is needed to build: the driver is loaded at the first use, and [`probe`] says in one line what is
//! missing. [`Device::open`] finds a GPU, [`GpuModel::load`] puts a model there, which is an
//! [`Engine`](crate::engine::Engine).
//!
//! ```no_run
//! use mambabyte_core::{Blob, include_blob};
//! use mambabyte_host::cuda::{Device, GpuModel};
//! use mambabyte_host::engine::{Engine, Precision, Want};
//!
//! let blob = Blob::parse(include_blob!("../../../models/sensor-pico/model.mbb"))?;
//! let model = GpuModel::load(&Device::open(0)?, blob, Precision::Exact)?;
//! let mut rows = model.rows(2)?;
//! model.read(&mut rows, &[b"$GPGGA,", b"METAR"], Want::Nothing)?;
//! let verified = model.verify(&mut rows, &[b"1234", b" E"])?;
//! verified.accept(&[2, 1])?;
//! assert_eq!(rows.positions(), [9, 6]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod batch;
pub mod bench;
mod device;
mod engine;
mod error;
mod exact;
mod float;
mod kernels;
mod layout;
mod model;
mod probe;
mod state;
pub mod train;

use batch::Batch;
pub use device::Device;
pub use error::CudaError;
pub use model::{GpuModel, Source};
pub use probe::{probe, probe_cublaslt, probe_nvrtc};
pub use state::GpuState;

use crate::engine::{Answer, Precision, Want};
