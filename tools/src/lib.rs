//! The parts of the command `mambabyte`.
#![deny(clippy::print_stdout, clippy::print_stderr, reason = "they panic where a stream is full: see `output`")]

/// Examples below the help of a command, under a headline like clap's own.
macro_rules! examples {
    ($($line:literal)*) => { concat!("\u{1b}[1m\u{1b}[4mExamples:\u{1b}[0m" $(, "\n  mambabyte ", $line)*) };
}

pub mod adapting;
pub mod builtin;
pub mod calibration_text;
pub mod chips;
pub mod cli;
pub mod commands;
pub mod computing;
pub mod curve;
pub mod device;
pub mod error;
pub mod formats;
pub mod measured;
pub mod model;
pub mod net;
pub mod numbers;
pub mod output;
pub mod packed;
pub mod paint;
pub mod progress;
pub mod records;
pub mod report;
pub mod sampling;
pub mod shipped;
pub mod speed;
pub mod subwords;
pub mod totals;
pub mod training;
pub mod watching;
pub mod writing;
