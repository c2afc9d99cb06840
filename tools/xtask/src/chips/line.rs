//! The serial line of an emulated board: started at the other end of a local connection, a text sent each way, all that
//! the board says compared with what this machine has.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use mambabyte::device::Device;
use mambabyte_core::detect::{Detector, Rate};
use mambabyte_core::record::{LineVerdict, Message, Record, Status};
use mambabyte_core::{Blob, Decoder, LineScorer, Rng, Threshold, surprise};
use mambabyte_host::adapt::AnyAdapter;

use super::boards::{Adapt, Board};
use super::program::Program;
use super::qemu;
use crate::models::{Model, NONE};

/// A board that is silent for this long has stopped.
pub(crate) const SILENCE: Duration = Duration::from_secs(60);

/// A running emulator; ends with its owner.
pub(crate) struct Emulator(Child);

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts `elf`, with its flash for snapshots in a file if there is one, and connects to its serial line.
pub(crate) fn start(board: &Board, elf: &Path, flash: Option<&Path>) -> Result<(Emulator, Device<TcpStream>)> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let serial = format!("tcp:{},nodelay=on", listener.local_addr()?);
    let mut command = qemu::command_of(board, elf, &[], &serial, flash);
    let child = command.stdin(Stdio::null()).spawn().map_err(|error| qemu::missing(board, &error))?;
    let mut emulator = Emulator(child);
    listener.set_nonblocking(true)?;
    let begin = Instant::now();
    let link = loop {
        match listener.accept() {
            Ok((link, _)) => break link,
            Err(e) if e.kind() == ErrorKind::WouldBlock => {}
            Err(e) => return Err(e.into()),
        }
        if let Some(status) = emulator.0.try_wait()? {
            bail!("{}: the emulator ended with {status}", board.name);
        }
        ensure!(begin.elapsed() < SILENCE, "{}: the emulator does not connect its serial line", board.name);
        std::thread::sleep(Duration::from_millis(10));
    };
    link.set_nonblocking(false)?;
    link.set_nodelay(true)?;
    link.set_read_timeout(Some(Duration::from_millis(20)))?;
    Ok((emulator, Device::new(link)))
}

/// Text of every kind that is shipped, and noise with every byte value; `bytes` of it, the last one a newline.
pub(crate) fn text(root: &Path, bytes: usize) -> Result<Vec<u8>> {
    let mut one = Vec::new();
    for file in ["gnss-sample.nmea", "golden-4096.txt"] {
        let path = root.join("models/text").join(file);
        one.extend(std::fs::read(&path).with_context(|| path.display().to_string())?);
    }
    let (mut rng, mut all) = (Rng::new(1), Vec::new());
    while all.len() < bytes {
        all.extend(&one);
        all.extend((0..1000).map(|_| rng.next_u64() as u8));
    }
    all.truncate(bytes);
    if let Some(last) = all.last_mut() {
        *last = b'\n';
    }
    Ok(all)
}

/// The records that this machine makes of `text`.
pub(crate) fn expected(blob: Option<Blob<'_>>, adapt: Adapt, text: &[u8]) -> Vec<Record> {
    expected_with(blob, adapt, None, text).0
}

/// The same with a detector, if there is one, and what that says of each line.
fn expected_with(
    blob: Option<Blob<'_>>,
    adapt: Adapt,
    mut detector: Option<Detector>,
    text: &[u8],
) -> (Vec<Record>, Vec<LineVerdict>) {
    if let (Some(detector), Some(blob)) = (&mut detector, &blob) {
        detector.set_unknown_text(blob.unknown_text());
    }
    let mut verdicts = Vec::new();
    let mut decoder = blob.map(Decoder::owned);
    let mut adapter = adapt.0.map(|preset| AnyAdapter::new(preset, blob.is_some()));
    let mut scorer = LineScorer::new(Threshold::Learned, 0);
    let (mut records, mut of_net, mut pending) = (Vec::new(), 0, 0);
    for &byte in text {
        let logits = decoder.as_mut().map(|decoder| decoder.step(pending));
        let net = logits.map_or(0, |logits| surprise(logits, byte));
        of_net += u64::from(net);
        let bits = adapter.as_mut().map_or(net, |adapter| adapter.read(logits, byte).surprise());
        let verdict = detector.as_mut().and_then(|detector| detector.push(byte, bits, blob.map(|_| net)));
        if let Some(score) = scorer.push(byte, bits) {
            let both = (blob.is_some() && adapt.0.is_some()).then_some(of_net);
            let (sequence, flagged) = (records.len() as u32, verdict.map_or(score.flagged, |verdict| verdict.alarm));
            records.push(Record { flagged, ..Record::new(&score, sequence, 0, 0, both) });
            verdicts.extend(verdict.map(|verdict| LineVerdict { sequence, verdict }));
            of_net = 0;
        }
        pending = byte;
    }
    (records, verdicts)
}

/// What a board has said.
#[derive(Default)]
pub(crate) struct Heard {
    pub(crate) records: Vec<Record>,
    verdicts: Vec<LineVerdict>,
    share: Option<u32>,
    text: Vec<u8>,
    status: Option<Status>,
    adapter: Option<u8>,
    pub(crate) starts: u32,
    wrong: Option<String>,
}

impl Heard {
    fn take(&mut self, message: &Message<'_>) {
        match *message {
            Message::Start(_) => self.starts += 1,
            Message::Line(record) => self.records.push(record),
            Message::Adapter(preset) => self.adapter = Some(preset),
            Message::Detector(share) => self.share = Some(share),
            Message::Verdict(verdict) => self.verdicts.push(verdict),
            Message::FirstLine(_) | Message::Credit(_) => {}
            Message::Status(status) => self.status = Some(status),
            Message::Text(at, bytes) => {
                if at != self.text.len() as u64 {
                    self.wrong = Some(format!("echo of byte {at} where {} is next", self.text.len()));
                }
                self.text.extend_from_slice(bytes);
            }
        }
    }
}

/// Polls once.
///
/// # Errors
/// Those of the line; that the board has been silent for too long.
pub(crate) fn listen<L: Read + Write>(
    board: &Board,
    device: &mut Device<L>,
    heard: &mut Heard,
    last: &mut Instant,
) -> Result<()> {
    if device.poll(|message| heard.take(message)).with_context(|| format!("{}: serial line", board.name))? {
        *last = Instant::now();
    }
    let (sent, records) = (device.sent(), heard.records.len());
    ensure!(last.elapsed() < SILENCE, "{}: silent after {sent} bytes and {records} records", board.name);
    Ok(())
}

/// What a board has said in a test that it passed.
pub(crate) struct Said {
    /// Of itself, last.
    pub(crate) status: Status,
    /// Lines that alarm, or are surprising.
    pub(crate) alarms: usize,
    /// Events of its detector.
    pub(crate) events: usize,
}

/// The long text, with flow control.
fn each_way(program: &Program<'_>, elf: &Path, blob: Option<Blob<'_>>, text: &[u8]) -> Result<Said> {
    let Program { board, model, adapt, false_alarms, .. } = *program;
    let rate = false_alarms.map(rate).transpose()?;
    let (expected, verdicts) = expected_with(blob, adapt, rate.map(Detector::new), text);
    let (_emulator, mut device) = start(board, elf, None)?;
    let (mut heard, mut sent, begin) = (Heard::default(), 0, Instant::now());
    let mut last = begin;
    while heard.text.len() < text.len() || heard.records.len() < expected.len() {
        sent += device.feed(text.get(sent..).unwrap_or_default())?;
        listen(board, &mut device, &mut heard, &mut last)?;
    }
    let seconds = begin.elapsed().as_secs_f64();
    let name = &board.name;
    ensure!(heard.starts == 1, "{name}: started {} times", heard.starts);
    let preset = adapt.0.map(|preset| preset.design().id);
    ensure!(heard.adapter == preset, "{name}: an adapter of preset {:?}, not {preset:?}", heard.adapter);
    ensure!(device.bad() == 0, "{name}: {} damaged frames", device.bad());
    if let Some(wrong) = heard.wrong {
        bail!("{name}: {wrong}");
    }
    ensure!(heard.text == text, "{name}: the text that came back is another one");
    if let Some((got, want)) = heard.records.iter().zip(&expected).find(|(got, want)| got != want) {
        bail!("{name}: record {got:?}, this machine has {want:?}");
    }
    ensure!(heard.records.len() == expected.len(), "{name}: {} records too many", heard.records.len() - expected.len());
    if let Some((got, want)) = heard.verdicts.iter().zip(&verdicts).find(|(got, want)| got != want) {
        bail!("{name}: {got:?}, this machine has {want:?}");
    }
    let (got, want) = (heard.verdicts.len(), verdicts.len());
    ensure!(got == want, "{name}: {got} verdicts, not {want}");
    ensure!(heard.share == rate.map(Rate::share), "{name}: a share of {:?} false alarms, not {rate:?}", heard.share);
    let flagged = expected.iter().filter(|r| r.flagged).count();
    let events = verdicts.iter().map(|line| line.verdict.events.iter().count()).sum();
    let judged = match rate {
        Some(_) => format!(", {want} verdicts equal with {events} events"),
        None => String::new(),
    };
    let status = heard.status.unwrap_or_default();
    let Status { stack_used, stack_watched, waiting, capacity } = status;
    println!(
        "{name:14} {model}, adapter {adapt}: {} bytes each way in {seconds:.0} s, 0 lost; {} records equal, {flagged} flagged{judged}; \
         stack {stack_used} of {stack_watched} bytes, at most {waiting} of {capacity} bytes waited",
        text.len(),
        expected.len()
    );
    Ok(Said { status, alarms: flagged, events })
}

/// A share such as `1%`.
fn rate(text: &str) -> Result<Rate> {
    let percent = text.strip_suffix('%').and_then(|number| number.parse::<f64>().ok());
    let percent = percent.with_context(|| format!("--false-alarms {text}: a share, such as 1%"))?;
    Ok(Rate::of_share((percent / 100.0 * 4_294_967_296.0) as u32))
}

/// Sends `bytes` of text through `elf`, which echoes; returns what the board last said of itself.
///
/// # Errors
/// If a byte is lost, or a record differs from this machine's.
pub(crate) fn echo(root: &Path, program: &Program<'_>, elf: &Path, bytes: usize) -> Result<Status> {
    Ok(both_ways(root, program, elf, &text(root, bytes)?)?.status)
}

/// As [`echo`], with a text of the caller's, whose last byte is a newline.
///
/// # Errors
/// If a byte is lost, or a record or a verdict differs from this machine's.
pub(crate) fn both_ways(root: &Path, program: &Program<'_>, elf: &Path, text: &[u8]) -> Result<Said> {
    if program.model == NONE {
        return each_way(program, elf, None, text);
    }
    each_way(program, elf, Some(Model::read(root, program.model)?.blob()?), text)
}
