//! One file per command: its arguments and what it does. A new command is a file, a variant of [`Command`] and a line
//! in [`run`].

pub mod bench;
pub mod checksum;
pub mod completions;
pub mod compress;
pub mod convert;
pub mod decompress;
pub mod demo;
pub mod eval;
pub mod export;
pub mod fit;
pub mod generate;
pub mod inspect;
pub mod logits;
pub mod man;
pub mod models;
pub mod monitor;
pub mod prime;
pub mod stream;
pub mod train;

use crate::error::CliError;

/// The commands.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Train a model on texts, from checkpoint to blob.
    Train(Box<train::Args>),
    /// Quantise a trained checkpoint into a blob and measure what that costs.
    Convert(convert::Args),
    /// Write a model as others have it: its step as an ONNX model.
    Export(export::Args),
    /// Show what a blob holds and what memory it needs, or what an archive needs.
    Inspect(inspect::Args),
    /// Say which chips a model fits, and what remains.
    Fit(fit::Args),
    /// Bits per byte of texts under a blob or a checkpoint, an adapter, or both.
    Eval(eval::Args),
    /// Write the logits after every byte of a text as a NumPy file.
    Logits(logits::Args),
    /// One CRC-32 over all integer logits of a text, or with --adapt over the eight node probabilities of each byte: equal
    /// on every machine.
    Checksum(checksum::Args),
    /// Pass a byte stream through, with the surprise of every line, and flag odd lines.
    Stream(Box<stream::Args>),
    /// Compress a text with a model and an adapter, or with the adapter alone.
    Compress(compress::Args),
    /// Get the text of an archive back.
    Decompress(decompress::Args),
    /// Let an adapter read texts, to begin streams and archives with.
    Prime(prime::Args),
    /// Watch a device that scores a stream, on a board or emulated.
    Monitor(monitor::Args),
    /// Write bytes that the model finds likely.
    Generate(generate::Args),
    /// Measure speed and memory on this machine.
    Bench(bench::Args),
    /// List the models that come with the program, which every command takes by name.
    Models(models::Args),
    /// Write a completion script for a shell.
    Completions(completions::Args),
    /// Write the manual page, or those of all commands.
    Man(man::Args),
    /// One model of `bench`, in a process of its own.
    #[command(hide = true)]
    BenchOne(bench::OneArgs),
}

/// Runs a command; without one, the demonstration. Completions and the manual are of `program`.
///
/// # Errors
/// [`CliError`].
pub fn run(command: Option<Command>, program: impl FnOnce() -> clap::Command) -> Result<(), CliError> {
    match command {
        None => demo::run(),
        Some(Command::Train(args)) => train::run(&args),
        Some(Command::Convert(args)) => convert::run(&args),
        Some(Command::Export(args)) => export::run(&args),
        Some(Command::Inspect(args)) => inspect::run(&args),
        Some(Command::Fit(args)) => fit::run(&args),
        Some(Command::Eval(args)) => eval::run(&args),
        Some(Command::Logits(args)) => logits::run(&args),
        Some(Command::Checksum(args)) => checksum::run(&args),
        Some(Command::Stream(args)) => stream::run(&args),
        Some(Command::Compress(args)) => compress::run(&args),
        Some(Command::Decompress(args)) => decompress::run(&args),
        Some(Command::Prime(args)) => prime::run(&args),
        Some(Command::Monitor(args)) => monitor::run(&args),
        Some(Command::Generate(args)) => generate::run(&args),
        Some(Command::Bench(args)) => bench::run(&args),
        Some(Command::Models(args)) => models::run(&args),
        Some(Command::Completions(args)) => completions::run(&args, program()),
        Some(Command::Man(args)) => man::run(&args, program()),
        Some(Command::BenchOne(args)) => bench::run_one(&args),
    }
}
