//! `mambabyte generate`: bytes that the model finds likely.

mod keeping;

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::builder::{OsStringValueParser, TypedValueParser};

use crate::adapting::{Adapting, net_engine, open_net};
use crate::computing::{Computing, Running};
use crate::error::CliError;
use crate::model::{Loading, read_text};
use crate::output::Harmless;
use crate::sampling::Sampling;
use crate::writing::{Speculating, Stops, Way, Writer};

use self::keeping::Keeping;

/// Most bytes that are written at once.
const AT_ONCE: u64 = 64;
/// A time that nobody notices.
const SOON: Duration = Duration::from_millis(20);

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = examples! {
    "generate prose-small --prompt \"It was \" --temperature 0.7 --stop ."
    "generate sensor-nano --prompt-file start.log -n 2000 --seed 7"
    "generate none --prompt-file some.log --adapt 1M"
    "generate sensor-nano --load-state stream.mbs --adapt 16K"
    "generate prose-small --prompt \"It was \" --speculate suffix --stats"
})]
pub struct Args {
    /// Blob or checkpoint, by path or by name; `none` is no net, an adapter alone.
    pub model: PathBuf,
    /// An adapter, which learns the prompt and what is written. The next byte is chosen from the mixed distribution: its
    /// `log2 p` take the place of the model's logits, and temperature, top-k and top-p apply to them.
    #[command(flatten)]
    pub adapting: Adapting,
    /// Text to begin with, any bytes; `-` reads it from standard input. It is not repeated in the output.
    #[arg(long, default_value = "", value_name = "TEXT", hide_default_value = true)]
    pub prompt: OsString,
    /// A file whose bytes are the text to begin with.
    #[arg(long, value_name = "FILE", conflicts_with = "prompt")]
    pub prompt_file: Option<PathBuf>,
    /// Bytes to write at most.
    #[arg(short = 'n', long, default_value_t = 256, value_name = "N")]
    pub bytes: u64,
    /// End after this text, any bytes, which is printed too; may be repeated. The prompt is not searched.
    #[arg(long, value_name = "TEXT", value_parser = not_empty())]
    pub stop: Vec<OsString>,
    /// How the next byte is chosen.
    #[command(flatten)]
    pub sampling: Sampling,
    /// Equal seeds give equal text; in integers, on every machine.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Where the text begins and is left.
    #[command(flatten)]
    pub keeping: Keeping,
    /// Drafts.
    #[command(flatten)]
    pub speculating: Speculating,
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

/// A text to stop at.
fn not_empty() -> impl TypedValueParser<Value = OsString> {
    OsStringValueParser::new().try_map(|text| if text.is_empty() { Err("it is empty") } else { Ok(text) })
}

impl Args {
    /// The bytes to begin with.
    ///
    /// # Errors
    /// [`CliError::Io`] names the file.
    pub fn prompt(&self) -> Result<Vec<u8>, CliError> {
        match &self.prompt_file {
            Some(file) => read_text(file),
            None if self.prompt == "-" => read_text(Path::new("-")),
            None => Ok(self.prompt.as_encoded_bytes().to_vec()),
        }
    }
}

/// Runs the command. One 0x00 byte is read before the prompt, as in training windows, if no state is loaded.
///
/// # Errors
/// [`CliError`].
pub fn run(args: &Args) -> Result<(), CliError> {
    let speculating = &args.speculating;
    speculating.check()?;
    let cpu = args.running.cpu()?;
    let reads: Vec<&Path> = args.prompt_file.iter().chain(&speculating.speculate).map(PathBuf::as_path).collect();
    let outputs = args.keeping.outputs(&args.model, &reads)?;
    let model = open_net(&args.model, &args.loading)?;
    if model.is_none() && speculating.is_on() {
        return Err(CliError::Usage(
            "--speculate: the model is `none`; an adapter reads byte by byte, so drafts save nothing".into(),
        ));
    }
    let helper = speculating.open(&args.loading)?;
    let preset = args.adapting.preset(model.is_some())?;
    let engine = net_engine(model.as_ref(), args.computing, cpu)?;
    let helper = speculating.helper(helper.as_ref(), args.computing, cpu)?;
    let (way, prompt) = (Way { preset, seed: args.seed, options: args.sampling.options() }, args.prompt()?);
    let load = || args.keeping.load(engine.as_ref(), preset);
    // Loaded before the text is written: its end may replace the file.
    let (begin, again) = (load()?, if speculating.measures() { load()? } else { None });
    let mut writer = match &engine {
        Some(engine) if speculating.is_on() => {
            let drafter = speculating.drafter(helper.as_ref(), 1)?;
            Writer::drafted(engine, way, begin, &prompt, drafter, speculating.rule(), speculating.draft_len)?
                .measuring(speculating.measures())
        }
        engine => Writer::plain(engine.as_ref(), way, begin, &prompt)?,
    };
    let mut out = std::io::stdout().lock();
    // What a model writes may be anything; a terminal obeys some of it.
    let mut harmless = out.is_terminal().then(Harmless::default);
    // A piece ends a draft. Where the text depends on drafts, pieces do not depend on the time.
    let first = if speculating.is_exact() { 1 } else { AT_ONCE };
    let stops = args.stop.iter().map(|text| text.as_encoded_bytes()).collect();
    let (mut left, mut now, mut stops, mut left_at) = (args.bytes, first, Stops::new(stops), None);
    while left > 0 {
        let start = Instant::now();
        let count = left.min(now);
        let before = (args.keeping.saves() && !args.stop.is_empty()).then(|| writer.bookmark()).transpose()?;
        let mut text = writer.write(count as usize)?;
        let end = stops.end(&text);
        text.truncate(end.unwrap_or(usize::MAX));
        if let (Some(_), Some(before)) = (end, before) {
            // More was written than is shown: the place is after what is shown.
            left_at = Some(Writer::plain(engine.as_ref(), way, Some(before), &text)?.bookmark()?);
        }
        match &mut harmless {
            Some(harmless) => out.write_all(harmless.pass(&text).as_bytes()),
            None => out.write_all(&text),
        }
        .map_err(CliError::stdout)?;
        if count > 1 || text.contains(&b'\n') {
            out.flush().map_err(CliError::stdout)?;
        }
        left = if end.is_some() { 0 } else { left - count };
        // Twice as many bytes at once, as long as nobody notices the wait.
        now = if start.elapsed() < SOON { (2 * now).min(AT_ONCE) } else { now };
    }
    out.flush().map_err(CliError::stdout)?;
    if args.keeping.saves() {
        let end = left_at.map_or_else(|| writer.bookmark(), Ok)?;
        Keeping::save(&outputs, end)?;
    }
    match (writer.stats(), &engine) {
        (Some(stats), Some(engine)) if speculating.is_on() => {
            let alone = match speculating.measures() {
                true => {
                    let mut alone = Writer::alone(engine, way, again, &prompt)?.measuring(true);
                    alone.write(stats.written as usize)?;
                    alone.stats().copied()
                }
                false => None,
            };
            speculating.report(stats, engine, way, alone.as_ref())
        }
        _ => Ok(()),
    }
}
