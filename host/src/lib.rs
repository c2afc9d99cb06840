//! Workstation side of MambaByte.
pub mod checkpoint;
pub use checkpoint::{Checkpoint, Layer};
