//! MambaByte core.
#![no_std]
#[cfg(feature = "std")]
extern crate std;
pub mod dims;
pub use dims::{Dims, Norm, VOCAB};
