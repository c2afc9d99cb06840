//! `cargo xtask firmware alarms`: what the detector of `stream` says on emulated boards, compared with this machine, and
//! its instructions.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use clap::Args;

use super::boards::Board;
use super::counting::{Detector, detector};
use super::line;
use super::program::Program;
use super::select::What;
use crate::models::NONE;

/// Options.
#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    what: What,
    /// The share of quiet lines that may alarm
    #[arg(long, value_name = "SHARE%", default_value = "1%")]
    false_alarms: String,
    /// Count the instructions of the detector instead, on a Cortex-M4, a Cortex-M0 and an RV32 core
    #[arg(long)]
    count: bool,
}

/// One core of each kind that the detector's code differs on, and what reads beside it: a net and an adapter, an adapter
/// alone.
const BOARDS: [(&str, &str); 3] = [("mps2-an386", "sensor-pico"), ("microbit", NONE), ("virt-rv32imc", NONE)];

/// Lines that are read.
const LINES: usize = 300;

/// Compares, or counts.
///
/// # Errors
/// If a verdict is another one, or nothing alarms.
pub(crate) fn run(root: &Path, Options { what, false_alarms, count }: Options) -> Result<()> {
    if count {
        return counted(root)?.iter().try_for_each(|(board, counts)| {
            println!(
                "{} ({}): {:.0} instructions per byte, and {:.0} per line of {:.0} bytes",
                board.name, board.core, counts.byte, counts.line, counts.bytes_of_line
            );
            Ok(())
        });
    }
    let named = |name: &str| Board::named(name).map_err(anyhow::Error::msg);
    let pairs: Vec<(&Board, String)> = match what.board.is_empty() {
        true => BOARDS.iter().map(|(name, model)| Ok((named(name)?, (*model).to_owned()))).collect::<Result<_>>()?,
        false => what.pairs(&[], &[NONE]),
    };
    let text = text(root)?;
    for (board, model) in pairs {
        let program = Program::new(board, &model, "stream").with_features(&["echo"]);
        let program = program.with_false_alarms(Some(&false_alarms));
        let built = program.build(root)?;
        // Another build must not replace it meanwhile.
        let elf = built.with_file_name(format!("alarms-{}", board.name));
        std::fs::copy(&built, &elf).with_context(|| elf.display().to_string())?;
        let heard = line::both_ways(root, &program, &elf, &text)?;
        ensure!(heard.alarms > 0 && heard.events > 1, "{}: the text is too quiet to test anything", board.name);
    }
    Ok(())
}

/// Measurements of a service, some bytes of them damaged, the last line repeated.
fn text(root: &Path) -> Result<Vec<u8>> {
    let path = root.join("models/text/request-latency.csv");
    let whole = std::fs::read(&path).with_context(|| path.display().to_string())?;
    let mut all: Vec<u8> = whole.split_inclusive(|&byte| byte == b'\n').take(LINES).flatten().copied().collect();
    for at in (3000..all.len()).step_by(977) {
        if let Some(byte) = all.get_mut(at).filter(|byte| **byte != b'\n') {
            *byte ^= 4;
        }
    }
    let last = all.split_inclusive(|&byte| byte == b'\n').next_back().unwrap_or_default().to_vec();
    (0..40).for_each(|_| all.extend(&last));
    Ok(all)
}

/// Instructions on the three kinds of cores that have bars.
///
/// # Errors
/// If something cannot be counted.
pub(crate) fn counted(root: &Path) -> Result<Vec<(Board, Detector)>> {
    let count = |name: &str| {
        let board = Board::named(name).map_err(anyhow::Error::msg)?.clone();
        // Without a net: the detector is given the adapter's surprises, here as there.
        let program = Program::new(&board, NONE, "detect");
        let counts = detector(root, &program)?;
        Ok((board, counts))
    };
    ["mps2-an386", "microbit", "virt-rv32imc"].into_iter().map(count).collect()
}
