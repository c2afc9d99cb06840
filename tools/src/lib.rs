//! The parts of the command `mambabyte`.
#![deny(clippy::print_stdout, clippy::print_stderr, reason = "they panic where a stream is full: see `output`")]

pub mod builtin;
pub mod calibration_text;
pub mod chips;
pub mod cli;
pub mod commands;
pub mod computing;
pub mod device;
pub mod error;
pub mod formats;
pub mod measured;
pub mod model;
pub mod numbers;
pub mod output;
pub mod paint;
pub mod progress;
pub mod report;
pub mod sampling;
pub mod shipped;
pub mod speed;
