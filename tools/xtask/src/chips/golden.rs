//! `cargo xtask firmware test`: the golden checksum of every model that fits, on every emulated board; and `kernels`,
//! the inner loops of every core against the scalar code, on the core.

use std::path::Path;

use anyhow::{Result, ensure};
use clap::Args;

use super::boards;
use super::program::Program;
use super::select::{What, one_of_each_family};
use super::{qemu, sizes};
use crate::models;

/// The model that takes minutes on some cores.
const LARGE: &str = "sensor-micro";

/// Options of the test.
#[derive(Args)]
pub(crate) struct Golden {
    #[command(flatten)]
    what: What,
    /// Run sensor-micro on all boards that have room for it. Default: on one for each family of kernels, or on those
    /// that are named
    #[arg(long)]
    all: bool,
}

/// The equality matrix.
///
/// # Errors
/// If a checksum is another one.
pub(crate) fn run(root: &Path, Golden { what, all }: Golden) -> Result<()> {
    let (mut wrong, mut ran) = (Vec::new(), 0);
    let boards = boards::emulated()?;
    let large = if all || !what.board.is_empty() { None } else { Some(one_of_each_family(root, &boards, LARGE)?) };
    for (board, model) in what.pairs(&boards, &["sensor-pico", "sensor-nano", LARGE]) {
        if !sizes::fits(root, board, &model)? {
            println!("{:16} {:11} {model:13} does not fit", board.name, board.core);
            continue;
        }
        if model == LARGE && large.as_ref().is_some_and(|large| large.iter().all(|b| b.name != board.name)) {
            println!("{:16} {:11} {model:13} not run: with --all", board.name, board.core);
            continue;
        }
        let golden = models::golden(root, &model)?;
        let printed = qemu::run(board, &Program::new(board, &model, "selftest").build(root)?)?;
        let checksum = printed.lines().find_map(|l| l.strip_prefix("checksum ")).unwrap_or("none").trim();
        let same = checksum == golden;
        ran += 1;
        println!("{:16} {:11} {model:13} {checksum} {}", board.name, board.core, if same { "equal" } else { "WRONG" });
        if !same {
            wrong.push(format!("{} computes {checksum} for {model}, not {golden}", board.name));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("; "));
    ensure!(ran > 0, "no model fits");
    Ok(())
}

/// Options of the comparison.
#[derive(Args)]
pub(crate) struct Kernels {
    #[command(flatten)]
    what: What,
    /// On every board. Default: on the first of those with the same target and processor, or on those that are named
    #[arg(long)]
    all: bool,
}

/// The comparison of the kernels.
///
/// # Errors
/// If one differs.
pub(crate) fn kernels(root: &Path, Kernels { what, all }: Kernels) -> Result<()> {
    let (mut seen, every) = (Vec::new(), all || !what.board.is_empty());
    for (board, model) in what.pairs(&boards::emulated()?, &["sensor-pico"]) {
        let code = (&board.target, &board.cpu);
        if !every && seen.contains(&code) {
            println!("{:16} {:11} not run, its code is that of another board: with --all", board.name, board.core);
            continue;
        }
        seen.push(code);
        let program = Program::new(board, &model, "kernels");
        print!("{}", qemu::run(board, &program.build(root)?)?);
    }
    Ok(())
}
