//! `mambabyte`: see `mambabyte --help`.

use std::io::{ErrorKind, IsTerminal};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use mambabyte::cli::Cli;
use mambabyte::commands;
use mambabyte::error::CliError;
use mambabyte::output::say;

fn main() -> ExitCode {
    let _ = miette::set_hook(Box::new(|_| Box::new(report())));
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(told) => {
            // `--help` and `--version` are results: that they cannot be printed is a failure. A refusal is one anyway.
            let lost = told.print().is_err_and(|e| e.kind() != ErrorKind::BrokenPipe);
            return if lost && !told.use_stderr() { ExitCode::FAILURE } else { code(told.exit_code()) };
        }
    };
    match commands::run(cli.command, Cli::command) {
        Ok(()) | Err(CliError::BrokenPipe) => ExitCode::SUCCESS,
        Err(CliError::Alarmed) => code(CliError::Alarmed.exit_code().into()),
        Err(error) => {
            let code = error.exit_code();
            say(format_args!("{:?}", miette::Report::new(error)));
            ExitCode::from(code)
        }
    }
}

/// What draws an error. Lines are broken for a terminal only: a log of errors is searched, and a path of any length must
/// not split the words that are searched for.
fn report() -> miette::MietteHandler {
    miette::MietteHandlerOpts::new().wrap_lines(std::io::stderr().is_terminal()).build()
}

/// The exit code that clap gives.
fn code(code: i32) -> ExitCode {
    u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from)
}
