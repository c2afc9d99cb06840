//! `mambabyte eval`: bits per byte.

use std::error::Error;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use mambabyte_host::bpb::{Score, evaluate};
use mambabyte_host::engine::Engine;
use serde_json::json;

use crate::computing::{Computing, Running};
use crate::error::CliError;
use crate::model::{AnyModel, Loading, read_start};
use crate::output::{print, print_json, say, shown, thousands};
use crate::progress::Progress;

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = examples! {
    "eval sensor-nano some.log --window 8192"
    "eval checkpoint.pt *.txt --limit 1000000 --json"
})]
pub struct Args {
    /// Blob or checkpoint, by path or by name.
    pub model: PathBuf,
    /// Texts; `-` is standard input. One of several that cannot be read, or that the model fails on, is said, and the exit
    /// code is 1.
    #[arg(required = true)]
    pub texts: Vec<PathBuf>,
    /// Start anew from the zero state every N bytes. Default: one unbroken stream per text.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub window: Option<u64>,
    /// Read only the first N bytes of each text, which may be endless.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    /// Print one JSON object instead of text.
    #[arg(long)]
    pub json: bool,
    /// How the model is loaded.
    #[command(flatten)]
    pub loading: Loading,
    /// Where to compute, and in what.
    #[command(flatten)]
    pub computing: Computing,
    /// What to run on.
    #[command(flatten)]
    pub running: Running,
}

/// Runs the command.
///
/// # Errors
/// [`CliError`].
pub fn run(args: &Args) -> Result<(), CliError> {
    let cpu = args.running.cpu()?;
    let model = AnyModel::open(&args.model, &args.loading)?;
    let engine = args.computing.engine(&model, cpu)?;
    let arithmetic = engine.precision().arithmetic();
    let window = args.window.map(|w| w as usize);
    let (mut total, mut files, mut failed) = (Score::empty(), Vec::new(), Vec::new());
    for path in &args.texts {
        let score = text(path, args.limit).and_then(|text| {
            let bar = Progress::bytes("evaluating", text.len() as u64);
            let score = evaluate(&engine, &text, window, &|n| bar.add(n));
            score.map_err(|source| CliError::Text { path: path.clone(), source })
        });
        match score {
            Ok(score) => {
                total.merge(&score);
                files.push((path, score));
            }
            Err(error) if args.texts.len() == 1 => return Err(error),
            Err(error) => {
                let reason = error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"));
                say(format_args!("error: {reason}"));
                failed.push((path, reason));
            }
        }
    }
    if args.json {
        let by_position = |s: &Score| -> Vec<_> {
            let bins = s.by_position.iter();
            bins.map(
                |b| json!({ "start": b.start, "end": b.end, "bytes": b.bytes, "bits_per_byte": b.bits_per_byte() }),
            )
            .collect()
        };
        let texts: Vec<_> = files
            .iter()
            .map(|(path, s)| json!({ "text": path.to_string_lossy(), "bits_per_byte": s.bits_per_byte(), "bytes": s.bytes }))
            .collect();
        let failed: Vec<_> =
            failed.iter().map(|(path, error)| json!({ "text": path.to_string_lossy(), "error": error })).collect();
        print_json(&json!({
            "arithmetic": arithmetic, "bits_per_byte": total.bits_per_byte(), "bytes": total.bytes,
            "bytes_per_second": speed(&total), "window": window, "by_position": by_position(&total), "texts": texts,
            "failed": failed,
        }))?;
    } else if !files.is_empty() {
        print(&table(&files, &total, arithmetic, window))?;
    }
    match failed.len() {
        0 => Ok(()),
        failed => Err(CliError::Texts { failed, all: args.texts.len() }),
    }
}

/// The beginning of a text.
fn text(path: &Path, limit: Option<u64>) -> Result<Vec<u8>, CliError> {
    let text = read_start(path, limit.unwrap_or(u64::MAX))?;
    if text.is_empty() { Err(CliError::Usage(format!("{}: the text is empty", shown(path)))) } else { Ok(text) }
}

/// Bytes per second.
fn speed(score: &Score) -> f64 {
    score.bytes as f64 / score.seconds.max(1e-9)
}

/// What people read.
fn table(files: &[(&PathBuf, Score)], total: &Score, arithmetic: &str, window: Option<usize>) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "{:>9}  {:>12}  {:>10}  text ({arithmetic})", "bits/byte", "bytes", "bytes/s");
    let mut row = |s: &Score, name: &str| {
        let _ =
            writeln!(out, "{:>9.5}  {:>12}  {:>10.0}  {name}", s.bits_per_byte(), thousands(s.bytes as u64), speed(s));
    };
    for (path, score) in files {
        row(score, &shown(path));
    }
    if files.len() > 1 {
        row(total, "all");
    }
    let _ = writeln!(out, "\nbits per byte by position{}", if window.is_some() { " in the window" } else { "" });
    for bin in &total.by_position {
        let _ = writeln!(
            out,
            "{:>10} ..{:<10} {:.4}  {}",
            thousands(bin.start as u64),
            thousands(bin.end as u64),
            bin.bits_per_byte(),
            "#".repeat((bin.bits_per_byte() * 8.0).min(60.0) as usize)
        );
    }
    out
}
