//! The parts of the command `mambabyte`.
pub mod formats;
