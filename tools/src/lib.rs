//! The parts of the command `mambabyte`.

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
pub mod output;
pub mod paint;
pub mod progress;
pub mod report;
pub mod sampling;
pub mod speed;
