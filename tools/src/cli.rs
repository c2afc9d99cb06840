//! The command line of the program, as clap reads it. The arguments of a command are in the command's file.

use clap::Parser;

pub use crate::commands::Command;

/// Byte-level Mamba models, from a training checkpoint to a microcontroller.
///
/// A blob (.mbb) is a quantised model that computes the same integers on every machine. Without a command, a
/// demonstration runs on the built-in model.
#[derive(Debug, Parser)]
#[command(name = "mambabyte", version, max_term_width = 100, after_help = examples! {
    "stream sensor-nano --color my.log   a log, painted by its surprise"
    "convert checkpoint.pt -o my.mbb     a blob, and what the integers cost"
    "fit my.mbb                          chips that have room for it"
    "models                              what comes with the program"
})]
pub struct Cli {
    /// What to do; nothing: a demonstration.
    #[command(subcommand)]
    pub command: Option<Command>,
}
