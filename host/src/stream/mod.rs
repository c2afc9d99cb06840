//! Jobs on a stream of bytes that passes by, over any engine.
//!
//! * [`Passage`]: the stream itself: what the engine predicted before each byte, with a way back within the last block.
//!   Every job takes its logits or surprises from here.
//! * [`Reader`]: the job that scores lines.

mod passage;
mod reader;

pub use passage::Passage;
pub use reader::Reader;
