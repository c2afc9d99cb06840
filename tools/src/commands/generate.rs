//! `mambabyte generate`: bytes that the model finds likely.

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::builder::{OsStringValueParser, TypedValueParser};
use mambabyte_core::{Rng, SampleOptions, sample};
use mambabyte_host::adapt::{AnyAdapter, Preset};
use mambabyte_host::engine::{AnyEngine, AnyRows, Engine, EngineError, Want};
use mambabyte_host::stream::Mixture;

use crate::adapting::{Adapting, net_engine, open_net};
use crate::computing::{Computing, Running};
use crate::error::CliError;
use crate::model::{Loading, read_text};
use crate::output::Harmless;
use crate::sampling::Sampling;

/// Most bytes that are written at once.
const AT_ONCE: u64 = 64;
/// Bytes of a prompt that an adapter alone reads at once.
const PART: usize = 4096;
/// A time that nobody notices.
const SOON: Duration = Duration::from_millis(20);

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = examples! {
    "generate prose-small --prompt \"It was \" --temperature 0.7 --stop ."
    "generate sensor-nano --prompt-file start.log -n 2000 --seed 7"
    "generate none --prompt-file some.log --adapt 1M"
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

/// Looks for the texts that end the output, across the pieces that it comes in.
struct Stops<'a> {
    texts: Vec<&'a [u8]>,
    /// The last bytes before this piece, as many as a text may have begun in.
    before: Vec<u8>,
}

impl<'a> Stops<'a> {
    fn new(texts: &'a [OsString]) -> Self {
        Self { texts: texts.iter().map(|text| text.as_encoded_bytes()).collect(), before: Vec::new() }
    }

    /// The length of `piece` up to the end of the first text that is complete in it; `None` if none is.
    fn end(&mut self, piece: &[u8]) -> Option<usize> {
        let longest = self.texts.iter().map(|text| text.len()).max()?;
        let old = self.before.len();
        self.before.extend_from_slice(piece);
        let all = &self.before;
        let ends = |at: usize| self.texts.iter().any(|text| all.get(..at).is_some_and(|a| a.ends_with(text)));
        let end = (old + 1..=all.len()).find(|&at| ends(at)).map(|at| at - old);
        self.before.drain(..self.before.len().saturating_sub(longest - 1));
        end
    }
}

/// Who writes. The last byte that is known is read when the next one is sampled.
#[expect(clippy::large_enum_variant, reason = "there is one, and it is not moved")]
enum Writer<'e, 'm> {
    /// The model alone, on the engine's own way.
    Net { engine: &'e AnyEngine<'m>, rows: AnyRows<'m>, rng: Rng, last: u8 },
    /// With an adapter.
    Mixed(Mixture<'e, AnyEngine<'m>>, Rng),
}

impl<'e, 'm> Writer<'e, 'm> {
    fn new(
        engine: Option<&'e AnyEngine<'m>>,
        preset: Option<Preset>,
        prompt: &[u8],
        seed: u64,
    ) -> Result<Self, EngineError> {
        let rng = Rng::new(seed);
        if let (Some(engine), None) = (engine, preset) {
            let (mut rows, mut last) = (engine.rows(1)?, 0);
            if let Some((&newest, head)) = prompt.split_last() {
                engine.read(&mut rows, &[&[&[0], head].concat()], Want::Nothing)?;
                last = newest;
            }
            return Ok(Self::Net { engine, rows, rng, last });
        }
        let mut mixture = Mixture::new(engine, preset.map(|preset| AnyAdapter::new(preset, engine.is_some())))?;
        for part in prompt.chunks(engine.map_or(PART, |engine| engine.full_load().bytes)) {
            mixture.read(part, |_, _| Ok::<_, EngineError>(()))?;
        }
        Ok(Self::Mixed(mixture, rng))
    }

    fn write(&mut self, options: &SampleOptions, count: usize) -> Result<Vec<u8>, EngineError> {
        match self {
            Self::Net { engine, rows, rng, last } => {
                let (mut lasts, mut rngs) = ([*last], [*rng]);
                let text = engine.generate(rows, &mut lasts, &mut rngs, options, count)?.concat();
                ([*last], [*rng]) = (lasts, rngs);
                Ok(text)
            }
            Self::Mixed(mixture, rng) => {
                (0..count).map(|_| mixture.write(|logits| sample(logits, options, rng))).collect()
            }
        }
    }
}

/// Runs the command. One 0x00 byte is read before the prompt, as in training windows.
///
/// # Errors
/// [`CliError`].
pub fn run(args: &Args) -> Result<(), CliError> {
    let options = args.sampling.options();
    let cpu = args.running.cpu()?;
    let model = open_net(&args.model, &args.loading)?;
    let preset = args.adapting.preset(model.is_some())?;
    let engine = net_engine(model.as_ref(), args.computing, cpu)?;
    let mut writer = Writer::new(engine.as_ref(), preset, &args.prompt()?, args.seed)?;
    let mut out = std::io::stdout().lock();
    // What a model writes may be anything; a terminal obeys some of it.
    let mut harmless = out.is_terminal().then(Harmless::default);
    let (mut left, mut now, mut stops) = (args.bytes, 1, Stops::new(&args.stop));
    while left > 0 {
        let start = Instant::now();
        let count = left.min(now);
        let mut text = writer.write(&options, count as usize)?;
        let end = stops.end(&text);
        text.truncate(end.unwrap_or(usize::MAX));
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
    out.flush().map_err(CliError::stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_text_ends_the_output_wherever_the_pieces_part() {
        let text = b"one two\xff three";
        for (stops, end) in [
            (vec!["two"], Some(7)),
            (vec!["three", "two"], Some(7)),
            (vec!["e"], Some(3)),
            (vec!["e t", "wo"], Some(5)),
            (vec!["three"], Some(text.len())),
            (vec!["four"], None),
            (vec![], None),
        ] {
            let stops: Vec<OsString> = stops.into_iter().map(OsString::from).collect();
            for size in 1..=text.len() {
                let mut search = Stops::new(&stops);
                let found = text.chunks(size).enumerate().find_map(|(i, piece)| Some(i * size + search.end(piece)?));
                assert_eq!(found, end, "{stops:?} in pieces of {size}");
            }
        }
    }
}
