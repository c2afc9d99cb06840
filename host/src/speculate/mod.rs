//! Text that a model writes, several bytes at a time: something quick drafts them, the model verifies them as one block.
//!
//! A model that writes reads all its weights for every byte. A block of bytes that is given costs one read of them. So a
//! [`Drafter`] proposes what comes next, the engine scores the proposal ([`Engine::verify`](crate::engine::Engine)), and a
//! [`Rule`] says byte for byte what is written: up to the first byte that is not the drafted one. One byte is always
//! pending, written and not read, so even a draft that is wrong at once gives a byte.
//!
//! * [`Speculation`]: the loop, over any engine, for one stream or many that accept different lengths.
//! * [`Exact`]: the text is the one that the model writes alone, byte for byte, for every seed and every
//!   [`SampleOptions`](mambabyte_core::SampleOptions). [`Rejection`]: another text with the same distribution.
//!   [`TopBeta`]: what the paper does, a text that the drafter has a say in.
//! * [`Suffix`], [`AdapterDrafter`], [`ModelDrafter`], [`SubwordDrafter`]: what drafts.
//!
//! # Why the exact text is not rare luck
//!
//! The byte at a position is a function of the logits there and of one random number, draw `i` of the stream's generator
//! for byte `i`. Logits of a block are those of steps to the last bit. A drafter knows the number, too, and asks its own
//! distribution what it would write. Both choose by [`Candidates::at`](mambabyte_core::Candidates::at), which lets near
//! distributions choose the same byte as often as two can that do not know of each other.
//!
//! # States
//!
//! The engine goes back by replay, never by a copy of the state for each byte. An adapter beside the model reads a byte
//! when that byte is decided, so it is never ahead.

mod adapter;
mod drafter;
mod length;
mod model;
mod rule;
mod speculation;
mod stats;
mod subword;
mod suffix;
mod top_beta;

pub use adapter::AdapterDrafter;
pub use drafter::{Ask, Choice, Draft, Drafter, Nobody};
pub use length::{Length, MOST};
pub use model::ModelDrafter;
pub use rule::{Drafted, Exact, Rejection, Rule};
pub use speculation::{Speculation, Start};
pub use stats::Stats;
pub use subword::SubwordDrafter;
pub use suffix::Suffix;
pub use top_beta::TopBeta;
