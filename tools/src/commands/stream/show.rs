//! What goes out: the stream with its scores, painted lines, or records.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::time::SystemTime;

use mambabyte_core::LineScore;
use serde_json::Value;

use super::input::shown_label;
use super::out::Out;
use super::words;
use crate::output::{Harmless, json_line};
use crate::paint::{self, Beside, Scale, bits};
use crate::records::Line;

/// What is shown.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Output")]
pub struct ShowArgs {
    /// Paint every byte by its surprise, relative to the stream: the more unusual for it, the redder.
    #[arg(long)]
    pub color: bool,
    /// Print one JSON object per line of the stream instead of the stream itself: docs/stream.schema.json describes them.
    /// A line of more than 4,096 bytes is scored in pieces of so many: each is an object with the number of the line, and
    /// `piece` counts them from 1. `bits_per_byte` and `peak` are of model and adapter together, `bits_per_byte_net` and
    /// `peak_net` of the model alone (null without one). `alarm` and `reason` say what was found, with the detector also
    /// `rarity`, `odd`, and `worst`: the byte that stands out most, and what was likelier `instead`. Objects with an
    /// `event` are of the stream; the last one, `end`, has totals.
    #[arg(long, conflicts_with = "color")]
    pub json: bool,
    /// No `text` or `raw` in records.
    #[arg(long, requires = "json")]
    pub no_text: bool,
    /// No `time` in records.
    #[arg(long, requires = "json")]
    pub no_time: bool,
    /// Show lines that alarm only, and what happens to the stream.
    #[arg(long)]
    pub only_alarms: bool,
    /// With --only-alarms also so many lines before and after each.
    #[arg(short = 'C', long, value_name = "N", default_value_t = 0, requires = "only_alarms")]
    pub context: usize,
}

/// How it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Plain,
    Color,
    Json,
}

/// A line, ready to go out.
struct Ready {
    out: Vec<u8>,
    /// For standard error.
    say: Option<String>,
}

/// Shows.
pub(super) struct Show {
    mode: Mode,
    out: Out,
    err: Out,
    only_alarms: bool,
    context: usize,
    /// Text and time are in records.
    pub(super) text: bool,
    time: bool,
    /// There are several streams: lines are shown whole.
    several: bool,
    /// Standard output is a terminal.
    terminal: Option<Harmless>,
    scale: Scale,
    /// Lines before an alarm that may be shown still.
    before: VecDeque<Ready>,
    /// Lines to show after one.
    after: usize,
    /// Lines were left out since the last one.
    gap: bool,
    /// A row with an open line is on the terminal, of so many bytes.
    open: usize,
}

impl Show {
    pub(super) fn new(args: &ShowArgs, out: Out, err: Out, several: bool, terminal: bool) -> Self {
        let mode = match args {
            ShowArgs { color: true, .. } => Mode::Color,
            ShowArgs { json: true, .. } => Mode::Json,
            _ => Mode::Plain,
        };
        Self {
            mode,
            out,
            err,
            only_alarms: args.only_alarms,
            context: args.context,
            text: !args.no_text,
            time: !args.no_time,
            several,
            terminal: terminal.then(Harmless::default),
            scale: Scale::default(),
            before: VecDeque::new(),
            after: 0,
            gap: false,
            open: 0,
        }
    }

    /// Whether the stream passes byte for byte.
    pub(super) fn passes(&self) -> bool {
        self.mode == Mode::Plain && !self.only_alarms && !self.several
    }

    /// Whether surprises of bytes are shown.
    pub(super) fn paints(&self) -> bool {
        self.mode == Mode::Color
    }

    /// Bytes of the stream.
    pub(super) fn pass(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.terminal {
            Some(harmless) => self.out.write_all(harmless.pass(bytes).as_bytes()),
            None => self.out.write_all(bytes),
        }
    }

    /// When something is, if that is said.
    pub(super) fn now(&self) -> Option<SystemTime> {
        self.time.then(SystemTime::now)
    }

    /// A line; `text` is the line as it stands there, `costs` its bytes and what they cost.
    pub(super) fn line(
        &mut self,
        line: &Line<'_>,
        score: &LineScore,
        goes_on: bool,
        text: &[u8],
        costs: &[(u8, u32)],
    ) -> io::Result<()> {
        if self.only_alarms && !line.found.alarm && self.context == 0 {
            self.gap = true;
            return Ok(());
        }
        let ready = self.ready(line, score, goes_on, text, costs);
        self.scale.take(costs);
        if !self.only_alarms {
            return self.put(&ready);
        }
        if line.found.alarm {
            let before = std::mem::take(&mut self.before);
            if std::mem::take(&mut self.gap) && self.context > 0 && self.mode != Mode::Json {
                self.out.write_all(b"--\n")?;
            }
            before.iter().try_for_each(|ready| self.put(ready))?;
            self.after = self.context;
            return self.put(&ready);
        }
        if self.after > 0 {
            self.after -= 1;
            return self.put(&ready);
        }
        self.before.push_back(ready);
        if self.before.len() > self.context {
            self.before.pop_front();
            self.gap = true;
        }
        Ok(())
    }

    fn ready(&mut self, line: &Line<'_>, score: &LineScore, goes_on: bool, text: &[u8], costs: &[(u8, u32)]) -> Ready {
        let label = line.label.map_or_else(String::new, |label| format!("{}  ", shown_label(label)));
        let number = line.line.unwrap_or_default();
        let words = words::words(&line.found);
        match self.mode {
            Mode::Plain => {
                let piece = line.piece.map_or_else(String::new, |piece| format!(", piece {piece}"));
                let net = line.net.map_or_else(String::new, |(mean, _)| format!("  net {:7.3}", bits(mean)));
                let say = format!(
                    "{:7.3} bits/byte  peak {:6.2}{net}  {label}line {number}{piece}{words}\n",
                    bits(line.adapted.0),
                    bits(line.adapted.1)
                );
                let mut out = Vec::new();
                if !self.passes() {
                    if let Some(label) = line.label {
                        out.extend_from_slice(shown_label(label).as_bytes());
                        out.push(b'\t');
                    }
                    match &self.terminal {
                        Some(_) => out.extend_from_slice(Harmless::default().pass(text).as_bytes()),
                        None => out.extend_from_slice(text),
                    }
                    if !goes_on {
                        out.push(b'\n');
                    }
                }
                Ready { out, say: Some(say) }
            }
            Mode::Color => {
                let number = format!("{label}{number:>6}");
                let beside = Beside { number, words, alarm: line.found.alarm, goes_on };
                Ready { out: paint::painted(score, &beside, costs, &self.scale).into_bytes(), say: None }
            }
            Mode::Json => {
                let mut line = line.clone();
                line.found.context = self.only_alarms && !line.found.alarm;
                let line = Line { text: Some(text).filter(|_| self.text), ..line };
                Ready { out: json_line(&Value::Object(line.record())).into_bytes(), say: None }
            }
        }
    }

    fn put(&mut self, ready: &Ready) -> io::Result<()> {
        self.clear_open()?;
        self.out.write_all(&ready.out)?;
        self.out.flush()?;
        if let Some(say) = &ready.say {
            self.say(say);
        }
        Ok(())
    }

    /// Words on standard error: they help people; if nobody takes them, the stream passes all the same.
    fn say(&mut self, words: &str) {
        let _ = self.err.write_all(words.as_bytes());
        let _ = self.err.flush();
    }

    /// Something about the stream: a record of its own, else words on standard error.
    pub(super) fn event(&mut self, record: &Value, words: &str) -> io::Result<()> {
        self.clear_open()?;
        if self.mode == Mode::Json {
            self.out.write_all(json_line(record).as_bytes())?;
        }
        self.out.flush()?;
        if self.mode != Mode::Json {
            self.say(&format!("{words}\n"));
        }
        Ok(())
    }

    /// What the colours mean, once.
    pub(super) fn legend(&mut self) {
        if self.mode == Mode::Color {
            self.say(&format!("{}\n", Scale::legend()));
        }
    }

    /// Nothing comes at the moment: a line that is open shows as far as it is.
    pub(super) fn idle(&mut self, costs: &[(u8, u32)]) -> io::Result<()> {
        if self.mode == Mode::Color && self.terminal.is_some() && !self.only_alarms && costs.len() != self.open {
            let row = format!("{}{}", paint::AGAIN, paint::open(costs, &self.scale));
            self.open = costs.len();
            self.out.write_all(row.as_bytes())?;
        }
        self.out.flush()
    }

    fn clear_open(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.open) > 0 {
            self.out.write_all(paint::AGAIN.as_bytes())?;
        }
        Ok(())
    }

    /// The line that is open at the end, which a later run continues.
    pub(super) fn last(&mut self, costs: &[(u8, u32)]) -> io::Result<()> {
        self.clear_open()?;
        if self.mode == Mode::Color && !costs.is_empty() {
            let row = format!("{}\n", paint::open(costs, &self.scale));
            self.out.write_all(row.as_bytes())?;
        }
        self.out.flush()
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
