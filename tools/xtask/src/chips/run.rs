//! `cargo xtask firmware run`: a program on a board, emulated or on the table.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;

use super::boards::Adapt;
use super::program::Program;
use super::select::What;
use super::{arguments, qemu, snapshots};

/// Options.
#[derive(Args)]
pub(crate) struct Run {
    #[command(flatten)]
    what: What,
    /// The program
    #[arg(long, default_value = "selftest")]
    bin: String,
    /// Adapter of `stream` or `adapt`: a preset, or off. Default: the board's
    #[arg(long)]
    adapt: Option<Adapt>,
    /// What that adapter begins with: a file of `mambabyte prime`
    #[arg(long, value_name = "FILE")]
    prime: Option<PathBuf>,
    /// A detector for `stream`, which flags about this share of quiet lines: 1%, 0.1%. Default: none
    #[arg(long, value_name = "SHARE%")]
    false_alarms: Option<String>,
    /// Features of the firmware beside those that the program needs, with commas: text, log-rtt, log-semihosting
    #[arg(long, value_delimiter = ',')]
    features: Vec<String>,
    /// Where its serial line goes, as QEMU's option of that name takes it; for one board
    #[arg(long, conflicts_with = "arguments")]
    serial: Option<String>,
    /// A file for the flash of `stream`, which then saves itself there and resumes from it; with --serial
    #[arg(long, requires = "serial")]
    flash: Option<PathBuf>,
    /// Its command line; for generate, the options of `mambabyte generate`
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// Builds the program and runs it, or flashes it.
///
/// # Errors
/// If it cannot be built, or ends with another status than 0.
pub(crate) fn run(root: &Path, options: Run) -> Result<()> {
    let Run { what, bin, adapt, prime, false_alarms, features, serial, flash, arguments } = options;
    let prime = prime.map(std::path::absolute).transpose()?;
    let words = match (bin.as_str(), arguments.is_empty()) {
        ("generate", _) => arguments::words(&arguments)?,
        (_, true) => Vec::new(),
        (_, false) => std::iter::once(&bin).chain(&arguments).map(OsString::from).collect(),
    };
    for (board, model) in what.of_job("run", &["sensor-pico"])? {
        let program = Program::new(board, &model, &bin).with_adapter(adapt).with_false_alarms(false_alarms.as_deref());
        let program = Program { prime: prime.as_deref(), ..program };
        let mut all = program.features.to_vec();
        all.extend(features.iter().map(String::as_str));
        if let Some(file) = &flash {
            snapshots::make_file(board, file)?;
            all.push("snapshots");
        }
        let built_in: &[OsString] = if board.real() { &words } else { &[] };
        let elf = Program { words: built_in, ..program.with_features(&all) }.build(root)?;
        match &serial {
            Some(_) if board.real() => bail!("{}: its serial line is where you wired it", board.name),
            Some(serial) => qemu::become_it(board, &elf, serial, flash.as_deref())?,
            None => qemu::show(board, &elf, &words)?,
        }
    }
    Ok(())
}
