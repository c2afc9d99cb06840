//! The parts of the command `mambabyte`.

pub mod backend;
pub mod calibration_text;
pub mod chips;
pub mod cli;
pub mod commands;
pub mod device;
pub mod error;
pub mod formats;
pub mod model;
pub mod output;
pub mod progress;
pub mod report;
pub mod speed;
