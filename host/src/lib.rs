//! Workstation side of MambaByte: the f32 model, calibration, quantisation, bits per byte.
//!
//! * [`checkpoint`]: a trained model as plain f32 tensors; [`model`] runs it.
//! * [`quantize`]: from a checkpoint to a blob; [`mod@dequantize`]: back, to the f32 model that a blob stands for.
//! * [`random_blob`](mod@random_blob): blobs without a checkpoint.
//! * [`train`]: gradients of the f32 model.
//! * [`engine`]: a model that reads bytes, whatever computes it.
//! * [`cpu`]: engines on workstations, on all threads.
//! * [`adapt`]: an adapter that learns the stream beside it, its preset chosen at run time.
//! * [`bpb`], [`mod@checksum`], [`stream`], [`archive`]: what is done with an engine, an adapter or both: bits per byte of
//!   a text, one number over all results, jobs on a stream, archives.
//! * [`speculate`]: text that a model writes with drafts, several bytes at a time.
//! * [`subwords`]: vocabularies whose symbols stand for several bytes; a model over one can draft.
//! * `cuda`: the same on NVIDIA GPUs, feature `cuda`.

pub mod adapt;
pub mod align;
pub mod archive;
pub mod bpb;
pub mod checkpoint;
pub mod checksum;
pub mod cpu;
#[cfg(feature = "cuda")]
#[allow(unsafe_code, reason = "calls of the driver; each block says why it is sound")]
pub mod cuda;
pub mod dequantize;
pub mod engine;
pub mod model;
pub mod quantize;
pub mod random_blob;
pub mod speculate;
pub mod stream;
pub mod subwords;
pub mod train;

pub use checkpoint::{Checkpoint, Layer};
pub use model::Model;
