//! `generate` on a board: the options of `mambabyte generate`, and the comparison with what that command writes.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Parser;
use mambabyte::cli;
use mambabyte::commands::generate::options;
use mambabyte::model::read_text;

use crate::chips::boards::Board;
use crate::chips::qemu;

/// Bytes of prompt that the program's command line has room for; `COMMAND_LINE` in `firmware/src/lib.rs` is larger than
/// twice this and the other words.
const PROMPT: usize = 480;

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

/// The words that the program takes for the arguments of `mambabyte generate MODEL ARGUMENTS`.
///
/// # Errors
/// As the command: an option that it does not have, or a value that it refuses.
pub(crate) fn words(arguments: &[String]) -> Result<Vec<OsString>> {
    let line = ["mambabyte", "generate", "MODEL"].into_iter().map(str::to_owned).chain(arguments.iter().cloned());
    let parsed = cli::Cli::try_parse_from(line)
        .map_err(|error| anyhow::anyhow!("{}", error.to_string().trim_start_matches("error: ").trim_end()))?;
    let Some(cli::Command::Generate(args)) = parsed.command else {
        bail!("these are no arguments of `mambabyte generate`");
    };
    let sampling = options(&args)?;
    let prompt = match args.prompt.as_str() {
        "-" => read_text(Path::new("-"))?,
        text => text.as_bytes().to_vec(),
    };
    if prompt.len() > PROMPT {
        bail!("a prompt of {} bytes: a chip's command line has room for {PROMPT}", prompt.len());
    }
    let hex: String = prompt.iter().map(|b| format!("{b:02x}")).collect();
    let words = [
        "generate".to_owned(),
        format!("prompt={hex}"),
        format!("bytes={}", args.bytes),
        format!("seed={}", args.seed),
        format!("temperature={}", sampling.temperature),
        format!("top_k={}", sampling.top_k),
        format!("top_p={}", sampling.top_p),
    ];
    Ok(words.into_iter().map(OsString::from).collect())
}

/// Compares what a board writes with what the command writes, byte for byte.
pub(crate) fn compare(root: &Path, board: &Board, model: &str, elf: &Path) -> Result<()> {
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

/// What `mambabyte generate` writes: the program that `MAMBABYTE_PROGRAM` names, else one that is built now.
fn command(root: &Path, model: &str, arguments: &[String]) -> Result<Vec<u8>> {
    let blob = root.join("models").join(model).join("model.mbb");
    let mut command = match std::env::var_os("MAMBABYTE_PROGRAM") {
        Some(program) => Command::new(program),
        None => {
            let mut cargo = Command::new("cargo");
            cargo.args(["run", "--quiet", "--package", "mambabyte", "--"]);
            cargo
        }
    };
    command.arg("generate").arg(blob).args(arguments).current_dir(root);
    let output = command.output().context("mambabyte could not be started")?;
    if !output.status.success() {
        bail!("mambabyte generate: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(arguments: &[&str]) -> Result<Vec<OsString>> {
        words(&arguments.iter().map(|&a| a.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn words_of_the_defaults_and_of_all_options() {
        let defaults = ["generate", "prompt=", "bytes=256", "seed=0", "temperature=65536", "top_k=0", "top_p=65536"];
        assert_eq!(of(&[]).unwrap(), defaults);
        let all =
            ["--prompt", "a=,\n", "-n", "3", "--seed", "9", "--temperature", "0.7", "--top-k", "5", "--top-p", "0.5"];
        let words = ["generate", "prompt=613d2c0a", "bytes=3", "seed=9", "temperature=45875", "top_k=5", "top_p=32768"];
        assert_eq!(of(&all).unwrap(), words);
    }

    #[test]
    fn refusals() {
        let long = "x".repeat(PROMPT + 1);
        for (arguments, words) in [
            (vec!["--prompt", &long], "room for 480"),
            (vec!["--temperature", "101"], "temperature"),
            (vec!["--top-k", "300"], "top-k"),
            (vec!["--colour"], "colour"),
        ] {
            let error = of(&arguments).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
