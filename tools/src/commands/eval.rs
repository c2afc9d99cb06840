//! `mambabyte eval`: bits per byte.

use std::fmt::Write;
use std::path::PathBuf;

use mambabyte_host::bpb::{Score, evaluate};
use mambabyte_host::engine::Engine;
use serde_json::json;

use crate::computing::{Computing, Running};
use crate::error::CliError;
use crate::model::{AnyModel, Loading, read_text};
use crate::output::{print, print_json, thousands};
use crate::progress::Progress;

/// The arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Blob or checkpoint.
    pub model: PathBuf,
    /// Texts; `-` is standard input.
    #[arg(required = true)]
    pub texts: Vec<PathBuf>,
    /// Start anew from the zero state every N bytes. Default: one unbroken stream per text.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub window: Option<u64>,
    /// Read only the first N bytes of each text.
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// How the model is loaded.
    #[command(flatten)]
    pub loading: Loading,
    /// Where to compute, and in what.
    #[command(flatten)]
    pub computing: Computing,
    /// Print one JSON object instead of text.
    #[arg(long)]
    pub json: bool,
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
    let (mut total, mut files) = (Score::empty(), Vec::new());
    for path in &args.texts {
        let mut text = read_text(path)?;
        text.truncate(args.limit.unwrap_or(usize::MAX));
        if text.is_empty() {
            return Err(CliError::Usage(format!("{}: the text is empty", path.display())));
        }
        let bar = Progress::bytes("evaluating", text.len() as u64);
        let score = evaluate(&engine, &text, window, &|n| bar.add(n))?;
        total.merge(&score);
        files.push((path, score));
    }
    let speed = |s: &Score| s.bytes as f64 / s.seconds.max(1e-9);
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
            .map(|(path, s)| json!({ "text": path, "bits_per_byte": s.bits_per_byte(), "bytes": s.bytes }))
            .collect();
        return print_json(&json!({
            "arithmetic": arithmetic, "bits_per_byte": total.bits_per_byte(), "bytes": total.bytes,
            "bytes_per_second": speed(&total), "window": window, "by_position": by_position(&total), "texts": texts,
        }));
    }
    let mut out = String::new();
    let _ = writeln!(out, "{:>9}  {:>12}  {:>10}  text ({arithmetic})", "bits/byte", "bytes", "bytes/s");
    let mut row = |s: &Score, name: &str| {
        let _ =
            writeln!(out, "{:>9.5}  {:>12}  {:>10.0}  {name}", s.bits_per_byte(), thousands(s.bytes as u64), speed(s));
    };
    for (path, score) in &files {
        row(score, &path.display().to_string());
    }
    if files.len() > 1 {
        row(&total, "all");
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
    print(&out)
}
