//! `cargo xtask firmware real`: programs for the boards that nobody emulates are built, as they are shipped.

use std::path::Path;

use anyhow::{Context, Result};
use clap::Args;

use super::boards::{self, Board};
use super::program::Program;
use super::select::What;
use super::sizes::{fits_with, sizes};

/// Options of the build.
#[derive(Args)]
pub(crate) struct Real {
    #[command(flatten)]
    what: What,
    /// Every program. Default: for each board only the largest, `stream` with all that goes together in it
    #[arg(long)]
    all: bool,
}

/// The models, the largest first.
const MODELS: [&str; 3] = ["sensor-micro", "sensor-nano", "sensor-pico"];

/// The programs, with their features. The first one is the largest.
fn programs(board: &Board, all: bool) -> Vec<(&'static str, &'static [&'static str])> {
    let largest: &[&str] = match board.flash {
        Some(_) => &["uart", "selftest", "snapshots", "log-rtt"],
        None => &["uart", "selftest", "log-rtt"],
    };
    let mut programs = vec![("stream", largest)];
    if all {
        programs.extend([
            ("selftest", &[][..]),
            ("generate", &[]),
            ("stream", &["uart", "log-rtt"]),
            ("stream", &["text", "log-rtt"]),
            ("stream", &["uart"]),
        ]);
    }
    programs
}

/// Builds them, each with the largest model that fits.
///
/// # Errors
/// If a program cannot be built, or no model fits a board.
pub(crate) fn run(root: &Path, Real { what, all }: Real) -> Result<()> {
    for board in if what.board.is_empty() { boards::real()? } else { what.board } {
        let model = MODELS.into_iter().find(|model| {
            (what.model.is_empty() || what.model.iter().any(|m| m == model))
                && fits_with(root, board, model, board.adapt).is_ok_and(|fits| fits)
        });
        let model = model.with_context(|| format!("{}: no model fits", board.name))?;
        for (bin, features) in programs(board, all) {
            let elf = Program::new(board, model, bin).with_features(features).build(root)?;
            let (flash, ram) = sizes(&elf)?;
            println!(
                "{:10} {:11} {model:13} {bin:9} {:13} built, not run: {flash} bytes of flash, {ram} of RAM",
                board.name,
                board.core,
                features.join("+")
            );
        }
    }
    Ok(())
}
