//! `mambabyte`: see `mambabyte --help`.

use std::process::ExitCode;

use clap::Parser;
use mambabyte::cli::{Cli, Command};
use mambabyte::commands;
use mambabyte::error::CliError;

fn run(cli: Cli) -> Result<(), CliError> {
    match cli.command {
        None => commands::demo::run(),
        Some(Command::Convert(args)) => commands::convert::run(&args),
        Some(Command::Inspect(args)) => commands::inspect::run(&args),
        Some(Command::Fit(args)) => commands::fit::run(&args),
        Some(Command::Eval(args)) => commands::eval::run(&args),
        Some(Command::Logits(args)) => commands::logits::run(&args),
        Some(Command::Checksum(args)) => commands::checksum::run(&args),
        Some(Command::Stream(args)) => commands::stream::run(&args),
        Some(Command::Monitor(args)) => commands::monitor::run(&args),
        Some(Command::Generate(args)) => commands::generate::run(&args),
        Some(Command::Bench(args)) => commands::bench::run(&args),
        Some(Command::BenchOne(args)) => commands::bench::run_one(&args),
    }
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(CliError::BrokenPipe) => ExitCode::SUCCESS,
        Err(error) => {
            let code = error.exit_code();
            eprintln!("{:?}", miette::Report::new(error));
            ExitCode::from(code)
        }
    }
}
