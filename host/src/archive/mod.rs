//! Archives: a text, coded with what a model and an adapter predict of it; see [`mambabyte_core::archive`] for the file.
//!
//! ```
//! use mambabyte_core::archive::{Header, ModelName};
//! use mambabyte_host::adapt::{AnyAdapter, Preset};
//! use mambabyte_host::archive::{Predictor, compress, decompress};
//! use mambabyte_host::cpu::IntEngine;
//!
//! let text = b"$GPGGA,092750.000,5321.6802,N*76\r\n$GPGGA,092751.000,5321.6802,N*77\r\n".repeat(20);
//! let header = Header { model: ModelName::NONE, preset: Preset::K8.design().id, primed: None, block: 1 << 20 };
//! // No model: the adapter alone.
//! let predictor = || Predictor::<IntEngine<'_>>::new(None, Some(AnyAdapter::new(Preset::K8, false)));
//! let (mut archive, mut back) = (Vec::new(), Vec::new());
//! compress(&mut predictor()?, &header, &mut &text[..], &mut archive, &mut |_| ())?;
//! assert!(archive.len() * 8 < text.len());
//! decompress(&mut &archive[..], &mut back, &mut |_| predictor(), &mut |_| ())?;
//! assert_eq!(back, text);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Cost
//!
//! Memory: two blocks, whatever the length of the text, and the logits of some thousand bytes. Time: compression reads
//! blocks, the model on its threads and the adapter on one of its own; decompression takes a step for each byte, as
//! nobody knows the next one before the last is decoded.

mod fault;
mod predictor;
mod reader;
mod writer;

pub use fault::ArchiveFault;
pub use predictor::Predictor;
pub use reader::{decompress, survey};
pub use writer::{BLOCK, Totals, compress};
