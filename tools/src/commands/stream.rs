//! `mambabyte stream`: bytes pass through, every line gets its surprise, odd lines a flag.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use mambabyte_core::lines::MAX_LINE;
use mambabyte_core::snapshot::{Section, Sections, Snapshot};
use mambabyte_core::{Backend, Blob, LineScore, LineScorer, Logits, State, StateError, Threshold, Want, surprise};
use mambabyte_host::cpu::Stream;
use serde_json::json;

use crate::cli;
use crate::error::CliError;
use crate::model::{BlobFile, cpu};
use crate::output::write_whole;

/// A model that reads a stream: the state has read all bytes but the last, which is pending.
pub struct Reader<'b> {
    stream: Stream<'b>,
    /// The state before the block that is being read.
    before: State<Vec<i16>>,
    scorer: LineScorer,
    pending: u8,
}

impl<'b> Reader<'b> {
    /// At the zero state; a 0x00 byte is pending, as in training windows.
    pub fn new(blob: Blob<'b>, threshold: Threshold) -> Self {
        Self::on(Stream::of(blob, Backend::detect()), threshold)
    }

    /// [`Reader::new`] on a stream at the zero state.
    pub fn on(stream: Stream<'b>, threshold: Threshold) -> Self {
        let before = State::new(stream.blob(), vec![0; stream.blob().dims().state_len()]);
        // The memory has just been sized by the function that `State::new` checks.
        let before = before.unwrap_or_else(|_| unreachable!());
        Self { stream, before, scorer: LineScorer::new(threshold, 0), pending: 0 }
    }

    /// Reads a byte: its surprise in Q16 bits, and the score of the line that it ends.
    pub fn read(&mut self, byte: u8) -> (u32, Option<LineScore>) {
        let bits = surprise(self.stream.step(self.pending), byte);
        self.pending = byte;
        (bits, self.scorer.push(byte, bits))
    }

    /// Reads `bytes` as blocks, which is faster than one by one; `see(byte, surprise, score)` hears of each. If it fails,
    /// the bytes after that one have not been read.
    ///
    /// # Errors
    /// What `see` returns.
    pub fn read_all<E>(
        &mut self,
        bytes: &[u8],
        mut see: impl FnMut(u8, u32, Option<LineScore>) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some((_, head)) = bytes.split_last() else { return Ok(()) };
        let input: Vec<u8> = std::iter::once(self.pending).chain(head.iter().copied()).collect();
        // Both states are of one model.
        let _ = self.before.clone_from(self.stream.state());
        let mut costs = Vec::with_capacity(bytes.len());
        let map = |first: usize, logits: &[Logits]| -> Vec<u32> {
            let next = bytes.get(first..).unwrap_or(&[]);
            logits.iter().zip(next).map(|(logits, &next)| surprise(logits, next)).collect()
        };
        self.stream.prefill(&input, Want::All, map, |part| costs.extend(part));
        for (index, (&byte, &bits)) in bytes.iter().zip(&costs).enumerate() {
            self.pending = byte;
            let score = self.scorer.push(byte, bits);
            if let Err(error) = see(byte, bits, score) {
                // Back to before the block, then as far as was seen.
                let _ = self.stream.state_mut().clone_from(&self.before);
                let seen = input.get(..=index).unwrap_or(&[]);
                self.stream.prefill(seen, Want::Nothing, |_, _| (), |()| ());
                return Err(error);
            }
        }
        Ok(())
    }

    /// Ends the line that is open at the end of the stream.
    pub fn finish(&mut self) -> Option<LineScore> {
        self.scorer.finish()
    }

    /// A snapshot of the stream: state, pending byte, line scorer.
    ///
    /// # Errors
    /// None in practice: the buffer is sized by the same list.
    pub fn save(&mut self) -> Result<Vec<u8>, StateError> {
        let mut out = vec![0; Sections::STREAM.snapshot_bytes(self.stream.blob().dims())];
        let beside = [Section::Pending(self.pending), Section::Lines(&self.scorer)];
        self.stream.state().snapshot_with(&beside, &mut out)?;
        Ok(out)
    }

    /// Continues where [`Reader::save`] stopped.
    ///
    /// # Errors
    /// [`StateError`] for anything but a whole, undamaged save of the same model; nothing has changed then.
    pub fn load(&mut self, saved: &[u8], threshold: Threshold) -> Result<(), StateError> {
        let saved = Snapshot::parse(saved, Sections::STREAM)?;
        let (pending, scorer) = (saved.pending()?, LineScorer::load(threshold, saved.lines()?));
        self.stream.state_mut().load(&saved)?;
        (self.pending, self.scorer) = (pending, scorer);
        Ok(())
    }
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

/// The 256-colour background of a surprise in Q16 bits: none below 1 bit, then blue to red.
pub const fn color(bits: u32) -> Option<u8> {
    match bits >> 16 {
        0 => None,
        1 => Some(17),
        2 => Some(18),
        3 => Some(54),
        4 | 5 => Some(90),
        6 | 7 => Some(125),
        8..=10 => Some(160),
        _ => Some(196),
    }
}

/// Q16 bits as a number.
pub fn bits(q16: u32) -> f64 {
    f64::from(q16) / 65_536.0
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

/// A line, painted: score, flag, bytes with their surprise as background; control bytes as `.`.
pub fn painted(score: &LineScore, line: &[(u8, u32)]) -> String {
    use std::fmt::Write as _;
    let flag = if score.flagged { "\x1b[1;31m!\x1b[0m" } else { " " };
    let mut out = format!("{:6.3} {flag} ", bits(score.mean()));
    let mut current = None;
    for &(byte, surprise) in line.iter().filter(|(b, _)| !matches!(b, b'\n' | b'\r')) {
        let want = color(surprise);
        if want != current {
            match want {
                Some(c) => _ = write!(out, "\x1b[38;5;231;48;5;{c}m"),
                None => out.push_str("\x1b[0m"),
            }
            current = want;
        }
        out.push(if (b' '..=b'~').contains(&byte) { char::from(byte) } else { '.' });
    }
    out.push_str("\x1b[0m\n");
    out
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
pub fn run(args: &cli::Stream) -> Result<(), CliError> {
    let threshold = threshold(&args.threshold)?;
    let cpu = cpu(&args.running)?;
    let file = BlobFile::open(&args.model)?;
    let mut reader = Reader::on(Stream::new(file.weights(cpu.backend), cpu), threshold);
    if let Some(path) = &args.load_state {
        let saved = std::fs::read(path).map_err(|e| CliError::io(path, e))?;
        reader.load(&saved, threshold).map_err(|source| CliError::State { path: path.clone(), source })?;
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
        let saved = reader.save().map_err(|source| CliError::State { path: path.clone(), source })?;
        write_whole(path, &saved)?;
    }
    outcome
}

/// The loop: until the input ends, the output closes or Ctrl-C comes.
fn pass(
    reader: &mut Reader<'_>,
    input: &Receiver<io::Result<Vec<u8>>>,
    stop: &AtomicBool,
    show: &mut Show,
    args: &cli::Stream,
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
            reader
                .read_all(piece, |byte, bits, score| {
                    match show {
                        Show::Plain => out.write_all(&[byte])?,
                        Show::Color(line) => _ = line.push((byte, bits)),
                        Show::Json => {}
                    }
                    match score {
                        Some(score) => {
                            number += 1;
                            show.line(&score, number, &mut out)
                        }
                        None => Ok(()),
                    }
                })
                .map_err(CliError::stdout)?;
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
