//! `mambabyte generate`: bytes that the model finds likely.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mambabyte_core::Rng;
use mambabyte_host::engine::{Engine, Want};

use crate::computing::{Computing, Running};
use crate::error::CliError;
use crate::model::{AnyModel, Loading, read_text};
use crate::sampling::Sampling;

/// Most bytes that are written at once.
const AT_ONCE: u64 = 64;
/// A time that nobody notices.
const SOON: Duration = Duration::from_millis(20);

/// The arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Blob or checkpoint.
    pub model: PathBuf,
    /// Text to begin with; `-` reads it from standard input. It is not repeated in the output.
    #[arg(long, default_value = "")]
    pub prompt: String,
    /// Bytes to write.
    #[arg(short = 'n', long, default_value_t = 256)]
    pub bytes: u64,
    /// How the next byte is chosen.
    #[command(flatten)]
    pub sampling: Sampling,
    /// How the model is loaded.
    #[command(flatten)]
    pub loading: Loading,
    /// Where to compute, and in what.
    #[command(flatten)]
    pub computing: Computing,
    /// Equal seeds give equal text; in integers, on every machine.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// What to run on.
    #[command(flatten)]
    pub running: Running,
}

/// Runs the command. One 0x00 byte is read before the prompt, as in training windows.
///
/// # Errors
/// [`CliError`].
pub fn run(args: &Args) -> Result<(), CliError> {
    let options = args.sampling.options()?;
    let cpu = args.running.cpu()?;
    let model = AnyModel::open(&args.model, &args.loading)?;
    let engine = args.computing.engine(&model, cpu)?;
    let prompt = match args.prompt.as_str() {
        "-" => read_text(Path::new("-"))?,
        text => text.as_bytes().to_vec(),
    };
    let (mut rows, mut rngs, mut last) = (engine.rows(1)?, [Rng::new(args.seed)], [0]);
    // The last byte that is known is read when the next one is sampled.
    if let Some((&newest, head)) = prompt.split_last() {
        engine.read(&mut rows, &[&[&[0], head].concat()], Want::Nothing)?;
        last = [newest];
    }
    let mut out = std::io::stdout().lock();
    let (mut left, mut now) = (args.bytes, 1);
    while left > 0 {
        let start = Instant::now();
        let count = left.min(now);
        let text = engine.generate(&mut rows, &mut last, &mut rngs, &options, count as usize)?.concat();
        out.write_all(&text).map_err(CliError::stdout)?;
        if count > 1 || text.contains(&b'\n') {
            out.flush().map_err(CliError::stdout)?;
        }
        left -= count;
        // Twice as many bytes at once, as long as nobody notices the wait.
        now = if start.elapsed() < SOON { (2 * now).min(AT_ONCE) } else { now };
    }
    out.flush().map_err(CliError::stdout)
}
