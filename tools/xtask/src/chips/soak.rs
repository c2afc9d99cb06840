//! The serial line under load: a long text each way with nothing lost, then a sender that ignores flow control, every
//! loss counted. The emulated UART is at the other end of a local connection.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use mambabyte::commands::stream::Reader;
use mambabyte::device::Device;
use mambabyte_core::record::{Message, Record, Status};
use mambabyte_core::{Blob, Rng, Threshold};
use mambabyte_host::align::AlignedBytes;

use crate::chips::boards::Board;
use crate::chips::qemu;
use crate::{What, build_with, model_file};

/// Options of the test.
#[derive(Args)]
pub(crate) struct Soak {
    #[command(flatten)]
    what: What,
    /// Bytes of text to the board, and the same back
    #[arg(long, default_value_t = 1_000_000)]
    bytes: usize,
    /// Bytes sent without regard to flow control; 0 leaves that test out
    #[arg(long, default_value_t = 32_768)]
    flood: usize,
}

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
pub(crate) fn expected(blob: Blob<'_>, text: &[u8]) -> Vec<Record> {
    let mut reader = Reader::new(blob, Threshold::Learned);
    let scores = text.iter().filter_map(|&byte| reader.read(byte).1);
    scores.zip(0..).map(|(score, sequence)| Record::new(&score, sequence, 0, 0)).collect()
}

/// What a board has said.
#[derive(Default)]
struct Heard {
    records: Vec<Record>,
    text: Vec<u8>,
    status: Option<Status>,
    starts: u32,
    wrong: Option<String>,
}

impl Heard {
    fn take(&mut self, message: &Message<'_>) {
        match *message {
            Message::Start(_) => self.starts += 1,
            Message::Line(record) => self.records.push(record),
            Message::Credit(_) => {}
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

/// Polls once; fails after too long a silence.
fn listen<L: Read + Write>(board: &Board, device: &mut Device<L>, heard: &mut Heard, last: &mut Instant) -> Result<()> {
    if device.poll(|message| heard.take(message)).with_context(|| format!("{}: serial line", board.name))? {
        *last = Instant::now();
    }
    let (sent, records) = (device.sent(), heard.records.len());
    ensure!(last.elapsed() < SILENCE, "{}: silent after {sent} bytes and {records} records", board.name);
    Ok(())
}

/// The long text, with flow control.
fn each_way(board: &Board, model: &str, elf: &Path, blob: Blob<'_>, text: &[u8]) -> Result<Status> {
    let expected = expected(blob, text);
    let (_emulator, mut device) = start(board, elf, None)?;
    let (mut heard, mut sent, begin) = (Heard::default(), 0, Instant::now());
    let mut last = begin;
    while heard.text.len() < text.len() || heard.records.len() < expected.len() {
        sent += device.feed(text.get(sent..).unwrap_or_default())?;
        listen(board, &mut device, &mut heard, &mut last)?;
    }
    let seconds = begin.elapsed().as_secs_f64();
    let name = board.name;
    ensure!(heard.starts == 1, "{name}: started {} times", heard.starts);
    ensure!(device.bad() == 0, "{name}: {} damaged frames", device.bad());
    if let Some(wrong) = heard.wrong {
        bail!("{name}: {wrong}");
    }
    ensure!(heard.text == text, "{name}: the text that came back is another one");
    if let Some((got, want)) = heard.records.iter().zip(&expected).find(|(got, want)| got != want) {
        bail!("{name}: record {got:?}, this machine has {want:?}");
    }
    ensure!(heard.records.len() == expected.len(), "{name}: {} records too many", heard.records.len() - expected.len());
    let flagged = expected.iter().filter(|r| r.flagged).count();
    let status = heard.status.unwrap_or_default();
    let Status { stack_used, stack_watched, waiting, capacity } = status;
    println!(
        "{name:14} {model}: {} bytes each way in {seconds:.0} s, 0 lost; {} records equal, {flagged} flagged; \
         stack {stack_used} of {stack_watched} bytes, at most {waiting} of {capacity} bytes waited",
        text.len(),
        expected.len()
    );
    Ok(status)
}

/// Sends `bytes` of text through `elf`, which echoes; returns what the board last said of itself.
///
/// # Errors
/// As [`run`].
pub(crate) fn one_board(root: &Path, board: &Board, model: &str, elf: &Path, bytes: usize) -> Result<Status> {
    let file = AlignedBytes::new(&std::fs::read(model_file(root, model, "model.mbb"))?);
    let blob = Blob::parse(file.as_slice()).map_err(|e| anyhow::anyhow!("{model}: {e}"))?;
    each_way(board, model, elf, blob, &text(root, bytes)?)
}

/// A sender that ignores flow control: sent = scored + lost.
fn overrun(board: &Board, model: &str, elf: &Path, text: &[u8]) -> Result<()> {
    let (_emulator, mut device) = start(board, elf, None)?;
    let mut heard = Heard::default();
    let mut last = Instant::now();
    while heard.starts == 0 {
        listen(board, &mut device, &mut heard, &mut last)?;
    }
    for chunk in text.chunks(4096) {
        device.flood(chunk)?;
        listen(board, &mut device, &mut heard, &mut last)?;
    }
    // The flood is over when nothing has come for a while; then a line that has room tells the count.
    while last.elapsed() < Duration::from_secs(3) {
        listen(board, &mut device, &mut heard, &mut last)?;
    }
    device.flood(b"\n")?;
    let before = heard.records.len();
    while heard.records.len() == before {
        listen(board, &mut device, &mut heard, &mut last)?;
    }
    let Some(end) = heard.records.last() else { bail!("{}: no record", board.name) };
    let (sent, scored) = (device.sent(), end.start + u64::from(end.bytes));
    let counted = u64::from(end.lost) + u64::from(end.overruns);
    ensure!(end.lost > 0, "{}: {sent} bytes sent without flow control and none lost: this tests nothing", board.name);
    ensure!(
        sent == scored + counted,
        "{}: {sent} bytes sent, {scored} scored, {} counted as lost by the program and {} by the hardware",
        board.name,
        end.lost,
        end.overruns
    );
    println!("{:14} {model}: flood of {sent} bytes: {scored} scored + {counted} counted as lost", board.name);
    Ok(())
}

/// Runs both tests on every board.
///
/// # Errors
/// If a byte is lost without being counted, or a record differs from this machine's.
pub(crate) fn run(root: &Path, soak: Soak) -> Result<()> {
    let boards = ["microbit", "lm3s6965evb", "mps2-an386"].map(Board::named);
    let boards = boards.into_iter().collect::<Result<Vec<_>, _>>().map_err(anyhow::Error::msg)?;
    for (board, model) in soak.what.pairs(&boards, &["sensor-pico"]) {
        let built = build_with(root, &board, &model, "stream", &["echo"])?;
        // This runs for minutes; another build must not replace it meanwhile.
        let elf = built.with_file_name(format!("soak-{}", board.name));
        std::fs::copy(&built, &elf).with_context(|| elf.display().to_string())?;
        one_board(root, &board, &model, &elf, soak.bytes.max(1))?;
        if soak.flood > 0 {
            overrun(&board, &model, &elf, &text(root, soak.flood)?)?;
        }
    }
    Ok(())
}
