//! A program that meets a bug says so, by defmt or in plain text, and ends with status 1: seen on the emulated board, with
//! a program whose self-test cannot succeed.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};

use crate::chips::boards::Board;
use crate::chips::qemu;
use crate::route::Route;
use crate::{What, model_file};

/// The end of what it says. Defmt's encoding puts marks between zero bytes only, and near the beginning of a frame.
const TEXT: &[u8] = b"another checksum";

/// Builds and runs it on every board, with both kinds of words.
///
/// # Errors
/// If it does not end with status 1, or does not say what is wrong.
pub(crate) fn run(root: &Path, what: What) -> Result<()> {
    let boards = ["mps2-an386", "virt-rv32imc"].map(Board::named);
    let boards = boards.into_iter().collect::<Result<Vec<_>, _>>().map_err(anyhow::Error::msg)?;
    for (board, model) in what.pairs(&boards, &["sensor-pico"]) {
        let route = Route::find(board.target)?;
        // The model with a checksum that is not its own.
        let folder = route.output(root).join("faults");
        std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        std::fs::copy(model_file(root, &model, "model.mbb"), folder.join("model.mbb"))?;
        std::fs::write(folder.join("golden.crc32"), "00000001\n")?;
        for (features, by) in [("uart,selftest,log-semihosting", "defmt"), ("uart,selftest", "plain text")] {
            let mut cargo = route.cargo(root, "build", board.target, board.cpu);
            cargo.args(["--locked", "--bin", "stream", "--features", features]).current_dir(root.join("firmware"));
            cargo.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", board.opt_level()).env("DEFMT_LOG", "info");
            cargo.env("FW_BOARD", board.name).env("FW_MODEL", folder.join("model.mbb"));
            ensure!(cargo.status().context("cargo could not be started")?.success(), "stream could not be built");
            let elf = route.output(root).join(board.target).join("release/stream");
            let output = qemu::command(&board, &elf, &[]).stdin(Stdio::null()).output();
            let output = output.map_err(|error| qemu::missing(&board, &error))?;
            let name = board.name;
            ensure!(output.status.code() == Some(1), "{name}, {by}: the program ended with {}", output.status);
            let said = if by == "defmt" { &output.stdout } else { &output.stderr };
            ensure!(said.windows(TEXT.len()).any(|w| w == TEXT), "{name}, {by}: it did not say what is wrong");
            println!("{name:14} {model}: a panic says what is wrong by {by} and ends with status 1");
        }
    }
    Ok(())
}
