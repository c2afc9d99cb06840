//! `mambabyte stream`: bytes pass through, every line gets its surprise, odd lines a flag.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use mambabyte_core::lines::MAX_LINE;
use mambabyte_core::{LineScore, Threshold};
use mambabyte_host::engine::{AnyEngine, Engine, EngineError, Precision};
use mambabyte_host::stream::Reader;
use serde_json::json;

use crate::computing::{Computing, Running};
use crate::error::CliError;
use crate::model::{AnyModel, Loading};
use crate::output::write_whole;
use crate::paint::{bits, painted};

/// The arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Blob or checkpoint.
    pub model: PathBuf,
    /// The stream; `-` or nothing is standard input.
    pub file: Option<PathBuf>,
    /// Paint every byte by its surprise.
    #[arg(long)]
    pub color: bool,
    /// Flag lines above this many bits per byte. `auto` learns it from the last 64 lines, for
    /// the mean and for the worst 8 bytes: 15th 16-quantile and half of its distance from the median; after 16
    /// lines.
    #[arg(long, default_value = "auto", value_name = "BITS|auto")]
    pub threshold: String,
    /// Write the model's state here at the end (also at Ctrl-C).
    #[arg(long, value_name = "FILE")]
    pub save_state: Option<PathBuf>,
    /// Continue from a saved state, bit for bit as if never stopped.
    #[arg(long, value_name = "FILE")]
    pub load_state: Option<PathBuf>,
    /// Print one JSON object per line of the stream instead of the stream itself.
    #[arg(long, conflicts_with = "color")]
    pub json: bool,
    /// How the model is loaded.
    #[command(flatten)]
    pub loading: Loading,
    /// Where to compute, and in what. Only a blob in its integers has states to save.
    #[command(flatten)]
    pub computing: Computing,
    /// What to run on.
    #[command(flatten)]
    pub running: Running,
}

/// `--threshold`.
fn threshold(text: &str) -> Result<Threshold, CliError> {
    if text == "auto" {
        return Ok(Threshold::Learned);
    }
    match text.parse::<f64>() {
        Ok(bits) if (0.0..=64.0).contains(&bits) => Ok(Threshold::Fixed((bits * 65_536.0) as u32)),
        _ => Err(CliError::Usage(format!("--threshold {text}: a number of bits from 0 to 64, or auto"))),
    }
}

/// Reads on a thread of its own, so that Ctrl-C is seen while no byte comes.
fn chunks(mut source: impl Read + Send + 'static) -> Receiver<io::Result<Vec<u8>>> {
    let (send, receive) = sync_channel(16);
    std::thread::spawn(move || {
        let mut buffer = vec![0; 4096];
        loop {
            let message = match source.read(&mut buffer) {
                Ok(0) => return,
                Ok(n) => Ok(buffer[..n].to_vec()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => Err(e),
            };
            let failed = message.is_err();
            if send.send(message).is_err() || failed {
                return;
            }
        }
    });
    receive
}

/// Bytes that each thread reads before Ctrl-C is looked for.
const PIECE: usize = 64;

/// Where lines and scores go.
enum Show {
    /// Bytes unchanged on standard output, scores on standard error.
    Plain,
    /// Painted lines with the score in front, on standard output.
    Color(Box<heapless::Vec<(u8, u32), { MAX_LINE as usize }>>),
    /// A JSON object per line on standard output.
    Json,
}

impl Show {
    fn line(&mut self, score: &LineScore, number: u64, out: &mut impl Write) -> io::Result<()> {
        match self {
            Self::Plain => {
                out.flush()?;
                let flag = if score.flagged { "  ! surprising" } else { "" };
                // The scores are a side show: if standard error is closed, the stream still passes.
                let _ = writeln!(
                    io::stderr(),
                    "{:7.3} bits/byte  peak {:6.2}  line {number}{flag}",
                    bits(score.mean()),
                    bits(score.peak)
                );
                Ok(())
            }
            Self::Color(line) => {
                out.write_all(painted(score, line).as_bytes())?;
                line.clear();
                out.flush()
            }
            Self::Json => {
                let threshold = (score.mean_threshold != u32::MAX).then(|| bits(score.mean_threshold));
                let value = json!({
                    "line": number, "start": score.start, "bytes": score.bytes, "bits_per_byte": bits(score.mean()),
                    "peak": bits(score.peak), "threshold": threshold, "flagged": score.flagged,
                });
                writeln!(out, "{value}")?;
                out.flush()
            }
        }
    }
}

/// Runs the command.
///
/// # Errors
/// [`CliError`].
pub fn run(args: &Args) -> Result<(), CliError> {
    let threshold = threshold(&args.threshold)?;
    let cpu = args.running.cpu()?;
    let model = AnyModel::open(&args.model, &args.loading)?;
    let engine = args.computing.engine(&model, cpu)?;
    let precision = engine.precision();
    if precision != Precision::Exact && (args.save_state.is_some() || args.load_state.is_some()) {
        // Better now than at the end of the stream.
        return Err(EngineError::NotIntegers { precision }.into());
    }
    let mut reader = Reader::new(&engine, threshold)?;
    if let Some(path) = &args.load_state {
        let saved = std::fs::read(path).map_err(|e| CliError::io(path, e))?;
        reader.load(&saved, threshold).map_err(|error| of_state(path, error))?;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    // A second handler in one process would be refused; the first one then still ends the program.
    let _ = ctrlc::set_handler(move || flag.store(true, Ordering::SeqCst));
    let input = match args.file.as_deref().filter(|p| *p != Path::new("-")) {
        Some(path) => chunks(File::open(path).map_err(|e| CliError::io(path, e))?),
        None => {
            if io::stdin().is_terminal() {
                eprintln!("reading standard input; Ctrl-D ends it");
            }
            chunks(io::stdin())
        }
    };
    let mut show = match (args.color, args.json) {
        (true, _) => Show::Color(Box::default()),
        (_, true) => Show::Json,
        _ => Show::Plain,
    };
    let outcome = pass(&mut reader, &input, &stop, &mut show, args, PIECE * cpu.threads);
    if let Some(path) = &args.save_state {
        let saved = reader.save().map_err(|error| of_state(path, error))?;
        write_whole(path, &saved)?;
    }
    outcome
}

/// Names the file of a saved state.
fn of_state(path: &Path, error: EngineError) -> CliError {
    match error {
        EngineError::State(source) => CliError::State { path: path.to_owned(), source },
        other => other.into(),
    }
}

/// The loop: until the input ends, the output closes or Ctrl-C comes.
fn pass(
    reader: &mut Reader<'_, AnyEngine<'_>>,
    input: &Receiver<io::Result<Vec<u8>>>,
    stop: &AtomicBool,
    show: &mut Show,
    args: &Args,
    piece: usize,
) -> Result<(), CliError> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut number = 0;
    while !stop.load(Ordering::SeqCst) {
        let chunk = match input.recv_timeout(Duration::from_millis(50)) {
            Ok(chunk) => {
                chunk.map_err(|e| CliError::io(args.file.as_deref().unwrap_or(Path::new("standard input")), e))?
            }
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        for piece in chunk.chunks(piece) {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            // A byte counts as read when it is passed on: a closed output loses none from the state.
            reader.read_all(piece, |byte, bits, score| {
                match show {
                    Show::Plain => out.write_all(&[byte]).map_err(CliError::stdout)?,
                    Show::Color(line) => _ = line.push((byte, bits)),
                    Show::Json => {}
                }
                match score {
                    Some(score) => {
                        number += 1;
                        show.line(&score, number, &mut out).map_err(CliError::stdout)
                    }
                    None => Ok(()),
                }
            })?;
        }
        out.flush().map_err(CliError::stdout)?;
    }
    // With a state to save the line stays open: a later run continues it.
    if args.save_state.is_none() {
        if let Some(score) = reader.finish() {
            show.line(&score, number + 1, &mut out).map_err(CliError::stdout)?;
        }
    } else if let Show::Color(line) = show {
        let rest: Vec<u8> = line.iter().map(|l| l.0).collect();
        out.write_all(&rest).map_err(CliError::stdout)?;
    }
    out.flush().map_err(CliError::stdout)
}
