//! One file per command.

pub mod bench;
pub mod checksum;
pub mod convert;
pub mod demo;
pub mod eval;
pub mod fit;
pub mod generate;
pub mod inspect;
pub mod logits;
pub mod monitor;
pub mod stream;
