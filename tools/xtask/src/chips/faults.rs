//! A program that meets a bug says so, by defmt or in plain text, and ends with status 1: seen on the emulated board,
//! with a program whose self-test cannot succeed.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};

use super::program::Program;
use super::qemu;
use super::select::What;
use crate::models;

/// The end of what it says. Defmt's encoding puts marks between zero bytes only, and near the beginning of a frame.
const TEXT: &[u8] = b"another checksum";

/// Builds and runs it on every board, with both kinds of words.
///
/// # Errors
/// If it does not end with status 1, or does not say what is wrong.
pub(crate) fn run(root: &Path, what: What) -> Result<()> {
    for (board, model) in what.of_job("faults", &["sensor-pico"])? {
        // The model with a checksum that is not its own.
        let folder = root.join("firmware/target/faults");
        std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let blob = folder.join("model.mbb");
        std::fs::copy(models::file(root, &model, "model.mbb"), &blob)?;
        std::fs::write(folder.join("golden.crc32"), "00000001\n")?;
        let kinds: [(&[&str], &str); 2] =
            [(&["uart", "selftest", "log-semihosting"], "defmt"), (&["uart", "selftest"], "plain text")];
        for (features, by) in kinds {
            let program = Program::new(board, &model, "stream").with_features(features);
            let elf = program.build_blob(root, &blob)?;
            let output = qemu::command(board, &elf, &[]).stdin(Stdio::null()).output();
            let output = output.map_err(|error| qemu::missing(board, &error))?;
            let name = &board.name;
            ensure!(output.status.code() == Some(1), "{name}, {by}: the program ended with {}", output.status);
            let said = if by == "defmt" { &output.stdout } else { &output.stderr };
            ensure!(said.windows(TEXT.len()).any(|w| w == TEXT), "{name}, {by}: it did not say what is wrong");
            println!("{name:14} {model}: a panic says what is wrong by {by} and ends with status 1");
        }
    }
    Ok(())
}
