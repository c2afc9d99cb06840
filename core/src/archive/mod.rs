//! Archives: a text, coded with what a model and an adapter predict of it, and the coder.
//!
//! Every prediction is an integer with the same bits on every machine, so whoever has the same model and preset decodes
//! what any other machine has coded. [`Encoder`] and [`Decoder`] spend on each bit what its probability is worth; the
//! probabilities are the nodes of an adapter's [`Path`](crate::adapt::Path), or without an adapter those of a model
//! alone ([`Shares`]).
//!
//! ```
//! use mambabyte_core::adapt::{Adapter, Adapter8K, Memory};
//! use mambabyte_core::archive::{Decoder, Encoder};
//!
//! let text = b"21.5 C\n21.6 C\n21.6 C\n21.7 C\n21.7 C\n";
//! let (mut memory, mut out) = (Adapter8K::ZERO, [0; 35]);
//! let mut adapter = Adapter::new(&mut memory, false);
//! let mut encoder = Encoder::new(&mut out);
//! for &byte in text {
//!     encoder.path(&adapter.read(None, byte));
//! }
//! let length = encoder.finish().ok_or("no shorter")?;
//! assert!(length < 24);
//!
//! let mut adapter = Adapter::new(&mut memory, false);
//! let mut decoder = Decoder::new(&out[..length]);
//! for &byte in text {
//!     let mut reading = adapter.begin(None);
//!     for _ in 0..8 {
//!         let p = reading.node();
//!         reading.take(decoder.bit(p));
//!     }
//!     assert_eq!(reading.finish().byte, byte);
//! }
//! # Ok::<(), &str>(())
//! ```
//!
//! # The file
//!
//! A [`Header`] says which model and which preset it takes; then come blocks ([`Record::Block`]) with their lengths and
//! checksums, then the end with the total. Model and adapter run on from block to block. A block that would not become
//! shorter is stored as it is; it is read by model and adapter like any other. Archives may follow each other in a file.
//! `core/FORMAT.md` has every byte.
//!
//! # What is found
//!
//! Two checksums guard a block. One is of the bytes that it decodes to. The other is over its head, what is coded, and
//! the same checksum of the block before (of the header, for the first one): so a block that was damaged, moved, left
//! out or taken from another archive is found before it is decoded.
//!
//! A [`Primed`] file is an adapter that has read a text, to begin with. An archive names the one that it was begun with
//! by its checksum and does not hold it: it would be longer than what it saves a short text.

mod coder;
mod error;
mod header;
mod model_name;
mod primed;
mod record;
mod shares;

pub use coder::{Decoder, Encoder};
pub use error::ArchiveError;
pub use header::{HEADER, Header, MAX_BLOCK};
pub use model_name::ModelName;
pub use primed::{PRIMED_HEAD, Primed, PrimedId};
pub use record::{Block, RECORD, Record};
pub use shares::Shares;

/// The magic of an archive.
pub const MAGIC: [u8; 4] = *b"MBA\x1a";
/// The magic of a primed adapter.
pub const PRIMED_MAGIC: [u8; 4] = *b"MBP\x1a";
