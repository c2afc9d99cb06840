//! `cargo xtask firmware generate`: what a board writes against what `mambabyte generate` writes, byte for byte.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::arguments::words;
use super::boards::Board;
use super::program::{Profile, Program};
use super::qemu;
use super::select::What;
use crate::models;

/// What is compared: the arguments after the model, for both.
const CASES: [&[&str]; 6] = [
    &[],
    &["--prompt", "$GPGGA,", "--bytes", "200", "--seed", "7"],
    &["--prompt", "$GPGGA,", "--bytes", "200", "--seed", "8"],
    &["--prompt", "a \"quoted\" word, commas,\n=\u{fffd}", "--bytes", "100", "--temperature", "0.7", "--seed", "1"],
    &[
        "--prompt",
        "!AIVDM",
        "-n",
        "150",
        "--top-k",
        "12",
        "--top-p",
        "0.9",
        "--temperature",
        "1.3",
        "--seed",
        "4294967299",
    ],
    &["--prompt", "greedy", "--bytes", "120", "--temperature", "0"],
];

/// Builds the program for every board and compares.
///
/// # Errors
/// If a board writes another text than the command.
pub(crate) fn run(root: &Path, what: What) -> Result<()> {
    for (board, model) in what.of_job("generate", &["sensor-pico"])? {
        compare(root, board, &model, &Program::new(board, &model, "generate", Profile::Emulate).build(root)?)?;
    }
    Ok(())
}

/// Compares what a board writes with what the command writes, byte for byte.
fn compare(root: &Path, board: &Board, model: &str, elf: &Path) -> Result<()> {
    let mut texts: Vec<Vec<u8>> = Vec::new();
    let mut bytes = 0;
    for case in CASES {
        let arguments: Vec<String> = case.iter().map(|&word| word.to_owned()).collect();
        let expected = command(root, model, &arguments)?;
        let found = qemu::output(board, elf, &words(&arguments)?)?.stdout;
        if found != expected {
            let at = found.iter().zip(&expected).take_while(|(a, b)| a == b).count();
            bail!(
                "{} with {model}, {case:?}: differs from byte {at} on\nboard:   {:?}\ncommand: {:?}",
                board.name,
                String::from_utf8_lossy(&found),
                String::from_utf8_lossy(&expected)
            );
        }
        bytes += found.len();
        texts.push(found);
    }
    // Options that reach neither of the two would make all texts equal.
    for (i, text) in texts.iter().enumerate() {
        if texts.iter().skip(i + 1).any(|other| other == text) {
            bail!("{} with {model}, {:?}: another case has the same text", board.name, CASES[i]);
        }
    }
    let failed = qemu::output(board, elf, &["generate", "colour=red"].map(OsString::from));
    if !failed.is_err_and(|e| e.to_string().contains("colour=red: no such option")) {
        bail!("{}: an unknown option was not refused", board.name);
    }
    println!("{:16} {:11} {model:13} {} texts, {bytes} bytes, equal", board.name, board.core, texts.len());
    Ok(())
}

/// What `mambabyte generate` writes.
fn command(root: &Path, model: &str, arguments: &[String]) -> Result<Vec<u8>> {
    let blob = models::file(root, model, "model.mbb");
    let mut cargo = Command::new("cargo");
    cargo.args(["run", "--quiet", "--package", "mambabyte", "--", "generate"]).arg(blob).args(arguments);
    let output = cargo.current_dir(root).output().context("cargo could not be started")?;
    if !output.status.success() {
        bail!("mambabyte generate: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(output.stdout)
}
