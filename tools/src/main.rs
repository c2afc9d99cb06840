//! `mambabyte`: see `mambabyte --help`.

use std::process::ExitCode;

use clap::Parser;
use mambabyte::cli::Cli;
use mambabyte::commands;
use mambabyte::error::CliError;

fn main() -> ExitCode {
    match commands::run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(CliError::BrokenPipe) => ExitCode::SUCCESS,
        Err(error) => {
            let code = error.exit_code();
            eprintln!("{:?}", miette::Report::new(error));
            ExitCode::from(code)
        }
    }
}
