//! `mambabyte stream`: bytes pass through, every line gets its surprise, odd lines a flag.

mod alarms;

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use mambabyte_core::Threshold;
use mambabyte_core::lines::MAX_LINE;
use mambabyte_host::adapt::AnyAdapter;
use mambabyte_host::engine::{AnyEngine, Engine, EngineError, Precision};
use mambabyte_host::stream::{LineScores, Reader};
use serde_json::{Value, json};

use crate::adapting::{self, Adapt, DEFAULT, chosen, net_engine, open_net, presets};
use crate::computing::{Computing, Running};
use crate::error::CliError;
use crate::model::{AnyModel, Loading};
use crate::net::{PrimedFile, model_name};
use crate::output::{Door, clean, say};
use crate::paint::{bits, painted};
use alarms::{Clock, FalseAlarms};

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = examples! {
    "stream sensor-nano --color some.log"
    "stream sensor-nano --false-alarms 1% some.log"
    "stream sensor-nano --json < /dev/ttyUSB0"
    "stream sensor-nano part.log --load-state log.state --save-state log.state"
    "stream none some.log --adapt 1M"
})]
pub struct Args {
    /// Blob or checkpoint, by path or by name; `none` is no net, an adapter alone.
    pub model: PathBuf,
    /// The stream; `-` or nothing is standard input.
    pub file: Option<PathBuf>,
    /// Memory of an adapter that learns the stream beside the model, which stays as it is; off: the model alone. What
    /// repeats stops being surprising: the model's own surprise of a line is shown beside it. Default: that of --prime,
    /// else 16K.
    #[arg(long, value_name = "PRESET", ignore_case = true, value_parser = presets())]
    pub adapt: Option<Adapt>,
    /// Begin with an adapter that has read something, from `mambabyte prime`.
    #[arg(long, value_name = "FILE", conflicts_with = "load_state")]
    pub prime: Option<PathBuf>,
    /// Paint every byte by its surprise.
    #[arg(long)]
    pub color: bool,
    /// Flag lines above this many bits per byte. `auto` learns it from the last 64 lines, for
    /// the mean and for the worst 8 bytes: 15th 16-quantile and half of its distance from the median; after 16
    /// lines.
    #[arg(long, default_value = "auto", value_name = "BITS|auto")]
    pub threshold: String,
    /// Flag lines that alarm: about this share of quiet lines, or so many a day by the clock, which is for live streams.
    /// `1%`: about one quiet line in a hundred, never more than four in a hundred plus 19. The first 64 lines are
    /// learned from and judged afterwards. Each line gets a rarity: 2^-rarity of quiet lines are as odd. Beside alarms
    /// it is said what happens to the stream: more-odd, new-normal, new-kind, frozen, unknown-text.
    #[arg(long, value_name = "SHARE%|N/day", conflicts_with = "threshold")]
    pub false_alarms: Option<String>,
    /// Write the model's state here at the end (also at Ctrl-C). This may be the file of --load-state, which is
    /// replaced. `-` is standard output, which then gets nothing else: the stream is not passed on, and what --json and
    /// --color say goes to standard error.
    #[arg(long, value_name = "FILE")]
    pub save_state: Option<PathBuf>,
    /// Continue from a saved state, bit for bit as if never stopped.
    #[arg(long, value_name = "FILE")]
    pub load_state: Option<PathBuf>,
    /// Print one JSON object per line of the stream instead of the stream itself. A line of more than 4,096 bytes is
    /// scored in pieces of so many: each is an object with the number of the line, and `piece` counts them from 1.
    /// `bits_per_byte`, `peak` and `flagged` are of model and adapter together, `bits_per_byte_net` and `peak_net` of the
    /// model alone (null without one). With --false-alarms also `rarity`, `odd`, `alarm`, `reason` and `worst`, and
    /// objects with an `event`.
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
        _ => Err(CliError::Usage(format!("--threshold {}: a number of bits from 0 to 64, or auto", clean(text)))),
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

/// Which line of the stream a score is of, counted by line ends from 1.
struct Count {
    line: u64,
    /// Pieces of it that are scored.
    pieces: u32,
}

/// What a score is of.
struct Scored {
    line: u64,
    /// Counted from 1, if the line is scored in pieces.
    piece: Option<u32>,
    /// The line goes on after this piece.
    goes_on: bool,
}

impl Count {
    const fn new() -> Self {
        Self { line: 1, pieces: 0 }
    }

    /// Takes a score whose last byte is `last`; `None` at the end of the stream.
    fn take(&mut self, score: &LineScores, last: Option<u8>) -> Scored {
        let score = &score.line;
        let goes_on = last.is_some_and(|last| last != b'\n') && score.bytes >= MAX_LINE;
        let piece = (goes_on || self.pieces > 0).then_some(self.pieces + 1);
        let scored = Scored { line: self.line, piece, goes_on };
        *self =
            if goes_on { Self { pieces: self.pieces + 1, ..*self } } else { Self { line: self.line + 1, pieces: 0 } };
        scored
    }
}

impl Show {
    /// A line, and what happens to the stream at it.
    fn line(&mut self, scores: &LineScores, scored: &Scored, adapt: &str, out: &mut impl Write) -> io::Result<()> {
        self.scores(scores, scored, adapt, out)?;
        let Some(verdict) = &scores.verdict else { return Ok(()) };
        verdict.events.iter().try_for_each(|event| {
            let record = alarms::record(event, scored.line, scores.line.start, verdict);
            self.event(&record, &alarms::sentence(event, scored.line, verdict), out)
        })
    }

    fn scores(&mut self, scores: &LineScores, scored: &Scored, adapt: &str, out: &mut impl Write) -> io::Result<()> {
        let Scored { line: number, piece, goes_on } = *scored;
        let LineScores { line: score, net, verdict } = scores;
        match self {
            Self::Plain => {
                out.flush()?;
                let flag = match verdict {
                    Some(verdict) => alarms::words(verdict),
                    None => if score.flagged { "  ! surprising" } else { "" }.to_owned(),
                };
                let piece = piece.map_or_else(String::new, |piece| format!(", piece {piece}"));
                let net = net.map_or_else(String::new, |net| format!("  net {:7.3}", bits(net.mean())));
                // The scores are a side show: if standard error is closed, the stream still passes.
                say(format_args!(
                    "{:7.3} bits/byte  peak {:6.2}{net}  line {number}{piece}{flag}",
                    bits(score.mean()),
                    bits(score.peak)
                ));
                Ok(())
            }
            Self::Color(line) => {
                let mut painted = painted(score, line);
                if goes_on {
                    painted.insert_str(painted.len() - 1, "...");
                }
                out.write_all(painted.as_bytes())?;
                line.clear();
                out.flush()
            }
            Self::Json => {
                let threshold = (score.mean_threshold != u32::MAX).then(|| bits(score.mean_threshold));
                let mut value = json!({
                    "line": number, "piece": piece, "start": score.start, "bytes": score.bytes, "bits_per_byte": bits(score.mean()),
                    "peak": bits(score.peak), "threshold": threshold, "flagged": score.flagged, "adapt": adapt,
                    "bits_per_byte_net": net.map(|net| bits(net.mean())), "peak_net": net.map(|net| bits(net.peak)),
                });
                if let (Some(verdict), Some(record)) = (verdict, value.as_object_mut()) {
                    alarms::fields(verdict, record);
                }
                writeln!(out, "{value}")?;
                out.flush()
            }
        }
    }

    /// Something about the stream: a record of its own, else words on standard error.
    fn event(&self, record: &Value, words: &str, out: &mut impl Write) -> io::Result<()> {
        if let Self::Json = self {
            writeln!(out, "{record}")?;
        } else {
            say(words);
        }
        out.flush()
    }
}

/// Runs the command.
///
/// # Errors
/// [`CliError`].
pub fn run(args: &Args) -> Result<(), CliError> {
    let threshold = threshold(&args.threshold)?;
    let false_alarms = args.false_alarms.as_deref().map(FalseAlarms::parse).transpose()?;
    let is_file = |path: &PathBuf| path.metadata().is_ok_and(|found| found.is_file());
    if let (Some(FalseAlarms::PerDay(_)), true) = (false_alarms, args.file.as_ref().is_some_and(is_file)) {
        let why = "--false-alarms N/day is for a live stream: a file has no days; a share, such as 1%, is for both";
        return Err(CliError::Usage(why.into()));
    }
    let cpu = args.running.cpu()?;
    let mut door = Door::default();
    door.reads_model(&args.model);
    door.reads(args.file.as_deref().unwrap_or(Path::new("-")));
    args.prime.iter().for_each(|prime| door.reads(prime));
    // The state that is loaded is no input to protect: the one that is saved is its successor.
    door.writes("--save-state", args.save_state.as_deref());
    let outputs = door.open()?;
    let model = open_net(&args.model, &args.loading)?;
    let adapter = adapter(args, model.as_ref())?;
    let engine = net_engine(model.as_ref(), args.computing, cpu)?;
    let precision = engine.as_ref().map_or(Precision::Exact, Engine::precision);
    if precision != Precision::Exact && (args.save_state.is_some() || args.load_state.is_some()) {
        // Better now than at the end of the stream.
        return Err(EngineError::NotIntegers { precision }.into());
    }
    let mut reader = match false_alarms {
        Some(wanted) => Reader::detecting(engine.as_ref(), adapter, wanted.rate())?,
        None => Reader::of(engine.as_ref(), adapter, threshold)?,
    };
    if let Some(path) = &args.load_state {
        let saved = std::fs::read(path).map_err(|e| CliError::io(path, e))?;
        reader.load(&saved, threshold).map_err(|error| of_state(path, error))?;
        if let Some(FalseAlarms::Share(rate)) = false_alarms {
            reader.set_rate(rate);
        }
    }
    let input = match args.file.as_deref().filter(|p| *p != Path::new("-")) {
        Some(path) => chunks(File::open(path).map_err(|e| CliError::io(path, e))?),
        None => {
            if io::stdin().is_terminal() {
                say("reading standard input; Ctrl-D ends it");
            }
            chunks(io::stdin())
        }
    };
    // After the input is opened: until a FIFO has a writer, Ctrl-C ends the program.
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    // A second handler in one process would be refused; the first one then still ends the program.
    let _ = ctrlc::set_handler(move || flag.store(true, Ordering::SeqCst));
    let mut show = match (args.color, args.json) {
        (true, _) => Show::Color(Box::default()),
        (_, true) => Show::Json,
        _ => Show::Plain,
    };
    let out: Box<dyn Write> = match (outputs.take_stdout(), &show) {
        (false, _) => Box::new(io::stdout().lock()),
        (true, Show::Plain) => Box::new(io::sink()),
        (true, _) => Box::new(io::stderr()),
    };
    let clock = false_alarms.and_then(Clock::new);
    let way = Way { out: io::BufWriter::new(out), piece: PIECE * cpu.threads, clock };
    let outcome = pass(&mut reader, &input, &stop, &mut show, args, way);
    if let Some(path) = &args.save_state {
        let saved = reader.save().map_err(|error| of_state(path, error))?;
        outputs.write(&[("--save-state", &saved)])?;
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

/// The adapter to begin with.
fn adapter(args: &Args, model: Option<&AnyModel>) -> Result<Option<AnyAdapter>, CliError> {
    match &args.prime {
        None => {
            let preset = chosen(args.adapt.unwrap_or(Adapt::Preset(DEFAULT)), model.is_some())?;
            Ok(preset.map(|preset| AnyAdapter::new(preset, model.is_some())))
        }
        Some(_) if matches!(model, Some(AnyModel::Checkpoint(_))) => {
            Err(CliError::Usage("--prime: an adapter is primed with a blob, or with none; this is a checkpoint".into()))
        }
        Some(file) => super::compress::adapter(args.adapt, Some(&PrimedFile::open(file)?), &model_name(model)),
    }
}

/// How the loop works.
struct Way {
    out: io::BufWriter<Box<dyn Write>>,
    /// Bytes that are read as one block.
    piece: usize,
    /// For alarms that are counted by the day.
    clock: Option<Clock>,
}

/// The loop: until the input ends, the output closes or Ctrl-C comes.
fn pass(
    reader: &mut Reader<'_, AnyEngine<'_>>,
    input: &Receiver<io::Result<Vec<u8>>>,
    stop: &AtomicBool,
    show: &mut Show,
    args: &Args,
    way: Way,
) -> Result<(), CliError> {
    let Way { mut out, piece, mut clock } = way;
    let mut count = Count::new();
    if let Some((record, words)) = reader.detector().and_then(alarms::announcement) {
        show.event(&record, &words, &mut out).map_err(CliError::stdout)?;
    }
    let adapt = adapting::name(reader.mixture().adapter().map(AnyAdapter::preset));
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
            let mut lines = 0;
            reader.read_all(piece, |byte, cost, scores| {
                match show {
                    Show::Plain => out.write_all(&[byte]).map_err(CliError::stdout)?,
                    Show::Color(line) => _ = line.push((byte, cost.asked())),
                    Show::Json => {}
                }
                match scores {
                    Some(scores) => {
                        let scored = count.take(&scores, Some(byte));
                        lines += 1;
                        show.line(&scores, &scored, adapt, &mut out).map_err(CliError::stdout)
                    }
                    None => Ok(()),
                }
            })?;
            let rate = clock.as_mut().and_then(|clock| (0..lines).filter_map(|_| clock.line(Instant::now())).last());
            rate.into_iter().for_each(|rate| reader.set_rate(rate));
        }
        out.flush().map_err(CliError::stdout)?;
    }
    // With a state to save the line stays open: a later run continues it.
    if args.save_state.is_none() {
        if let Some(scores) = reader.finish() {
            let scored = count.take(&scores, None);
            show.line(&scores, &scored, adapt, &mut out).map_err(CliError::stdout)?;
        }
    } else if let Show::Color(line) = show {
        let rest: Vec<u8> = line.iter().map(|l| l.0).collect();
        out.write_all(&rest).map_err(CliError::stdout)?;
    }
    out.flush().map_err(CliError::stdout)
}
