//! Shared helpers of the tests.

pub mod synth;
pub mod tables;
