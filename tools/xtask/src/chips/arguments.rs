//! The options of `mambabyte generate` as the words that the program `generate` takes.

use std::ffi::OsString;

use anyhow::{Result, bail};
use clap::Parser;
use mambabyte::cli;

/// Bytes of prompt that the program's command line has room for; `COMMAND_LINE` in `firmware/src/lib.rs` is larger than
/// twice this and the other words.
const PROMPT: usize = 480;

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
    if !args.stop.is_empty() {
        bail!("--stop: the program on a chip writes all of --bytes");
    }
    if args.speculating.is_on() {
        bail!("--speculate: a chip writes byte by byte");
    }
    let sampling = args.sampling.options();
    let prompt = args.prompt()?;
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
            (vec!["--stop", "."], "--stop"),
            (vec!["--speculate", "suffix"], "--speculate"),
            (vec!["--colour"], "colour"),
        ] {
            let error = of(&arguments).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
