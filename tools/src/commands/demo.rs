//! Without arguments: what this is, shown on the built-in model and two real logs.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Instant;

use mambabyte_core::Threshold;
use mambabyte_host::adapt::AnyAdapter;
use mambabyte_host::cpu::{Cpu, IntEngine};
use mambabyte_host::stream::{LineScores, Reader};

use crate::adapting::DEFAULT;
use crate::builtin::{self, MODEL, SAMPLE, UNSEEN, UNSEEN_DAMAGE};
use crate::error::CliError;
use crate::output::{bytes, print, thousands};
use crate::paint::{Beside, Scale, painted};

/// Lines shown at the start.
const FIRST: usize = 6;
/// Lines shown before and after the damaged one.
const CONTEXT: usize = 3;
/// Lines in which an adapter gets to know a stream: nothing is said of their rank.
const LEARNING: usize = 64;
/// First lines of the parts of the learning curve.
const PARTS: [usize; 5] = [0, 1, 10, 64, 256];

fn gzip_bits(text: &[u8]) -> f64 {
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let packed = gz.write_all(text).and_then(|()| gz.finish()).map_or(text.len(), |v| v.len());
    8.0 * packed as f64 / text.len() as f64
}

fn xz_bits(text: &[u8]) -> f64 {
    let options = lzma_rust2::XzOptions::with_preset(9);
    let packed = lzma_rust2::XzWriter::new(Vec::new(), options)
        .and_then(|mut xz| xz.write_all(text).and_then(|()| xz.finish()))
        .map_or(text.len(), |v| v.len());
    8.0 * packed as f64 / text.len() as f64
}

/// A log that was read by net and adapter.
pub struct Read {
    /// Each line: its bytes with their surprises, and its scores.
    pub lines: Vec<(Vec<(u8, u32)>, LineScores)>,
}

impl Read {
    /// Reads `text` with the built-in model and the default adapter, on one core.
    ///
    /// # Errors
    /// None in practice: one stream on a CPU.
    pub fn all(text: &[u8]) -> Result<Self, CliError> {
        let engine = IntEngine::of(builtin::model()?, Cpu::single());
        let mut reader = Reader::of(Some(&engine), Some(AnyAdapter::new(DEFAULT, true)), Threshold::Learned)?;
        let (mut lines, mut line) = (Vec::new(), Vec::new());
        for block in text.chunks(1024) {
            reader.read_all(block, |byte, cost, scores| {
                line.push((byte, cost.asked()));
                if let Some(scores) = scores {
                    lines.push((std::mem::take(&mut line), scores));
                }
                Ok::<_, CliError>(())
            })?;
        }
        Ok(Self { lines })
    }

    /// Bits per byte of some lines, of the net alone and of both.
    fn bits(&self, from: usize, to: usize) -> (f64, f64) {
        let scores = || self.lines.iter().take(to).skip(from).map(|(_, scores)| scores);
        let all = scores().map(|scores| u64::from(scores.line.bytes)).sum::<u64>().max(1) as f64 * 65_536.0;
        let net = scores().filter_map(|scores| scores.net).map(|net| net.bits).sum::<u64>();
        (net as f64 / all, scores().map(|scores| scores.line.bits).sum::<u64>() as f64 / all)
    }

    /// How many lines after the first ones have a higher peak than line `number`, and one: by the net alone, by both.
    pub fn ranks(&self, number: usize) -> (usize, usize) {
        let rank = |peak: fn(&LineScores) -> u32| {
            let Some((_, own)) = self.lines.get(number) else { return 0 };
            self.lines.iter().skip(LEARNING).filter(|(_, other)| peak(other) > peak(own)).count() + 1
        };
        (rank(|scores| scores.net.map_or(0, |net| net.peak)), rank(|scores| scores.line.peak))
    }
}

/// A line of the learning curve.
fn bar(out: &mut String, name: &str, (net, both): (f64, f64)) {
    let blocks = |bits: f64| "#".repeat((bits * 5.0).round() as usize);
    let _ = writeln!(out, "{name:<16} {net:>6.3}  {}", blocks(net));
    let _ = writeln!(out, "{:<16} {both:>6.3}  {}", "", blocks(both));
}

/// Runs the demonstration.
///
/// # Errors
/// [`CliError`] if standard output fails.
pub fn run() -> Result<(), CliError> {
    let blob = builtin::model()?;
    let damaged = UNSEEN_DAMAGE.line;
    let mut out = format!(
        "MambaByte: a Mamba model that reads raw bytes, in integers that are the same on every machine.\n\n\
         The built-in model {} ({}, state {}) was never trained on a server's latency log.\n\
         Beside it an adapter of {} learns what it reads. One bit of line {} was flipped: a 9 of the date became a 1.\n\
         Bits per byte, then the line; a byte's colour is its surprise.\n\n",
        blob.name(),
        bytes(MODEL.len() as u64),
        bytes(blob.dims().state_bytes() as u64),
        bytes(DEFAULT.bytes() as u64),
        damaged + 1
    );
    let start = Instant::now();
    let text = UNSEEN_DAMAGE.of(UNSEEN);
    let read = Read::all(&text)?;
    let seconds = start.elapsed().as_secs_f64();
    let mut scale = Scale::default();
    for (number, (line, scores)) in read.lines.iter().enumerate() {
        if number < FIRST || number.abs_diff(damaged) <= CONTEXT {
            let beside =
                Beside { number: format!("{:>4}", number + 1), alarm: scores.line.flagged, ..Beside::default() };
            out.push_str(&painted(&scores.line, &beside, line, &scale));
        } else if number == FIRST || number == damaged + CONTEXT + 1 {
            out.push_str("         ...\n");
        }
        scale.take(line);
    }
    let _ = writeln!(out, "\nlines          bits per byte: the model alone, below it model and adapter");
    for (part, &from) in PARTS.iter().enumerate() {
        let to = PARTS.get(part + 1).copied().unwrap_or(read.lines.len());
        bar(&mut out, &format!("{:>5} ..{:>5}", from + 1, to), read.bits(from, to));
    }
    let (net, both) = read.ranks(damaged);
    let count = read.lines.len() - LEARNING;
    let flagged = if read.lines.get(damaged).is_some_and(|(_, scores)| scores.line.flagged) { "" } else { "not " };
    let _ = writeln!(
        out,
        "\nThe damaged line {} is {flagged}flagged. By its most surprising bytes it is number {both} of the {count} lines\n\
         after the first {LEARNING}; for the model alone it is number {net}.\n",
        damaged + 1
    );
    let _ = writeln!(out, "bits per byte             model   and adapter   gzip -9   xz -9");
    let known = Read::all(SAMPLE)?;
    for (name, text, read) in [("this log", &text[..], &read), ("a GPS receiver, known", SAMPLE, &known)] {
        let (net, both) = read.bits(0, read.lines.len());
        let (gzip, xz) = (gzip_bits(text), xz_bits(text));
        let _ = writeln!(out, "{name:<24} {net:>6.3} {both:>13.3} {gzip:>9.3} {xz:>7.3}");
    }
    let _ = write!(
        out,
        "{} bytes/s on one core here\n\n\
         What next:\n  \
         mambabyte stream sensor-nano --color YOUR.log\n  \
         mambabyte eval sensor-nano YOUR.log --adapt 16K --compare\n  \
         mambabyte generate prose-small --prompt \"It was \" --temperature 0.7\n  \
         mambabyte convert models/sensor-pico -o my.mbb --report my.html\n  \
         mambabyte fit sensor-nano --adapt 8K\n  \
         mambabyte models\n  \
         mambabyte --help\n\n(`cargo run --release --` instead of `mambabyte` from the source folder)\n",
        thousands((text.len() as f64 / seconds) as u64)
    );
    print(&out)
}
