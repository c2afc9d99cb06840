//! Jobs on a stream of bytes that passes by, over any engine.
//!
//! * [`Passage`]: what the engine predicted before each byte, with a way back within the last block.
//! * [`Mixture`]: the stream itself: a passage, an adapter, or both together. Every job takes its surprises from here.
//! * [`read_ahead()`]: a text that is known whole: the engine reads the next block while a second thread works on this one.
//! * [`Bookmark`]: where a text was left, as bytes, to go on there.
//! * [`Reader`]: the job that scores lines, and finds odd ones.

mod ahead;
mod bookmark;
mod mixture;
mod passage;
mod reader;

pub use ahead::read_ahead;
pub(crate) use ahead::{block, part};
pub use bookmark::Bookmark;
pub use mixture::{Cost, Expected, Mixture};
pub use passage::Passage;
pub use reader::{LineScores, Parked, Reader};
