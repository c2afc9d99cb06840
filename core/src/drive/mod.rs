//! The drivers: what takes a model through its layers.
//!
//! [`step`] reads a byte, [`prefill`] a block of positions, [`shard`] its share of a byte. All three run the same
//! [`block`](crate::block) over memory that [`scratch`] divides.

pub mod prefill;
mod scratch;
pub mod shard;
pub mod step;
