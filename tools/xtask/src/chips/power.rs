//! `cargo xtask firmware power`: cuts the power of an emulated board at exact places and looks at what it goes on from.
//!
//! Tests of the programs `power` and `stream`, whose flash is a file that outlives the emulator:
//!
//! * **Every cut of one snapshot.** Flash is all that a cut leaves, and it changes by stores only: between two of them
//!   every instruction leaves the same. So a cut after each store to the flash is every cut there is. Before the last
//!   store the older snapshot must be found, after it the new one.
//! * **Random cuts of a long stream**, each at a random instruction, also while the board restores; the next start goes
//!   on from what the cut has left.
//!
//! * **The program `stream` on its serial line**, killed at any moment, started again and sent what it asks for.
//!
//! After each cut everything that the stream carries must be what this machine has at that position, then and at the end.
//! The same cuts of a store that writes over its only snapshot must fail.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::Args;
use mambabyte_core::flash::{STREAM, save_stream};
use mambabyte_core::record::Message;
use mambabyte_core::{Blob, Decoder, LineScorer, Rng, Threshold, surprise};
use mambabyte_host::align::AlignedBytes;

use crate::chips::boards::Board;
use crate::chips::{bench, qemu, soak};
use crate::{build_with, model_file};

/// Options of the test.
#[derive(Args)]
pub(crate) struct Power {
    /// Board with a flash that QEMU keeps in a file: mps2-an386 or virt-rv32imc, and their like
    #[arg(long, value_parser = Board::named, default_value = "mps2-an386")]
    board: Board,
    /// Shipped model
    #[arg(long, default_value = "sensor-pico")]
    model: String,
    /// Cuts of one snapshot: all, or so many of them at equal distances
    #[arg(long, default_value = "40", value_parser = points)]
    points: u64,
    /// Cuts at random instructions of a stream; 1000 of them take about 64 KiB
    #[arg(long, default_value_t = 30)]
    random: u64,
    /// Kills of the program stream on its serial line
    #[arg(long, default_value_t = 4)]
    kills: u64,
    /// Where the random cuts begin
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn points(text: &str) -> Result<u64, String> {
    if text == "all" {
        return Ok(u64::MAX);
    }
    text.parse().map_err(|_| "a number or the word all".into())
}

/// Bytes between snapshots.
const EVERY: u64 = 48;
/// Bytes of the long stream.
const STREAM_BYTES: u64 = 65_536;
/// Instructions between two random cuts at most.
const BETWEEN: u64 = 21_000_000;
/// Runs of the emulator at a time.
const THREADS: u64 = 2;

/// Where a board's flash is: its file's length, the part of it that is kept, the addresses of that, and where the program
/// notes the last complete snapshot.
struct Place {
    file: u64,
    kept: usize,
    stores: &'static str,
    witness: Option<usize>,
    /// Stores that end a snapshot and change nothing that can be read.
    after: u64,
}

/// Whether QEMU can keep the flash of a board.
pub(crate) fn has_flash(board: &Board) -> bool {
    place(board).is_ok()
}

fn place(board: &Board) -> Result<Place> {
    match board.name {
        "mps2-an385" | "mps2-an386" | "mps2-an500" => {
            Ok(Place { file: 16 << 20, kept: 0x40004, stores: "0x21000000+0x40000", witness: Some(0x40000), after: 0 })
        }
        // The command that ends a program operation comes after the word.
        "virt-rv32imc" | "virt-rv32imac" => {
            Ok(Place { file: 32 << 20, kept: 0x80000, stores: "0x22000000+0x80000", witness: None, after: 1 })
        }
        name => bail!("{name}: QEMU keeps no flash of this board in a file"),
    }
}

/// Makes the file for a board's flash, if it is not there.
pub(crate) fn flash_file(board: &Board, file: &Path) -> Result<()> {
    let options = std::fs::OpenOptions::new().write(true).create(true).truncate(false).open(file);
    let length = place(board)?.file;
    options.and_then(|f| f.set_len(length)).with_context(|| file.display().to_string())
}

/// What this machine has at each position: everything carried, and the surprise of the byte before.
struct Truth {
    carried: Vec<u32>,
    surprises: Vec<u32>,
}

impl Truth {
    fn new(blob: Blob<'_>, text: &[u8], bytes: u64) -> Self {
        let (mut decoder, mut scorer) = (Decoder::owned(blob), LineScorer::new(Threshold::Learned, 0));
        let (mut pending, mut records) = (0, 0);
        let mut truth = Self { carried: Vec::new(), surprises: Vec::new() };
        for &byte in text.iter().cycle().take(bytes as usize + 1) {
            let mut saved = [0; STREAM];
            save_stream(&mut saved, pending, records, &scorer);
            let state = decoder.state().as_slice().iter().flat_map(|e| e.to_le_bytes());
            truth.carried.push(crc32(state.chain(saved)));
            let bits = surprise(decoder.step(pending), byte);
            truth.surprises.push(bits);
            pending = byte;
            records += u32::from(scorer.push(byte, bits).is_some());
        }
        truth
    }

    fn carried(&self, position: u64) -> Option<u32> {
        self.carried.get(position as usize).copied()
    }

    fn heard(&self, from: u64, to: u64) -> u32 {
        let surprises = self.surprises.get(from as usize..to as usize).unwrap_or_default();
        crc32(surprises.iter().flat_map(|s| s.to_le_bytes()))
    }
}

fn crc32(bytes: impl Iterator<Item = u8>) -> u32 {
    crc32fast::hash(&bytes.collect::<Vec<_>>())
}

/// What a start of the program said.
#[derive(Clone, Copy, Debug, Default)]
struct Said {
    restored: Option<(u64, u32)>,
    end: Option<(u64, u32, u32)>,
}

impl Said {
    fn parse(text: &str) -> Option<Self> {
        let mut said = Self::default();
        let hex = |word: Option<&str>| u32::from_str_radix(word?, 16).ok();
        for line in text.lines().filter(|line| !line.is_empty()) {
            let mut words = line.split(' ');
            match words.next()? {
                "restored" => said.restored = Some((words.next()?.parse().ok()?, hex(words.next())?)),
                "end" => said.end = Some((words.next()?.parse().ok()?, hex(words.next())?, hex(words.next())?)),
                _ => {}
            }
        }
        Some(said)
    }
}

/// A program, its board, and a file for its flash.
struct Rig<'r> {
    board: &'r Board,
    elf: &'r Path,
    plugin: &'r Path,
    place: &'r Place,
    truth: &'r Truth,
    image: PathBuf,
}

impl Rig<'_> {
    fn put(&self, flash: &[u8]) -> Result<()> {
        std::fs::write(&self.image, flash).with_context(|| self.image.display().to_string())?;
        Ok(std::fs::OpenOptions::new().write(true).open(&self.image)?.set_len(self.place.file)?)
    }

    fn flash(&self) -> Result<Vec<u8>> {
        use std::io::Read;
        let mut flash = vec![0; self.place.kept];
        std::fs::File::open(&self.image)?.read_exact(&mut flash)?;
        Ok(flash)
    }

    /// Runs to `end`, or to the cut that `plugin` says. Returns whether the power was cut, and what was said.
    fn run(&self, end: u64, plugin: &str) -> Result<(bool, Said)> {
        let words = ["power".to_owned(), end.to_string(), EVERY.to_string()].map(OsString::from);
        let mut command = qemu::command_with_flash(self.board, self.elf, &words, &self.image);
        if !plugin.is_empty() {
            command.arg("-plugin").arg(format!("{},{plugin}", self.plugin.display()));
        }
        let output = command.stdin(Stdio::null()).output().map_err(|error| qemu::missing(self.board, &error))?;
        let text = [&output.stdout, &output.stderr].map(|s| String::from_utf8_lossy(s)).concat();
        let killed = output.status.code().is_none();
        ensure!(
            killed && !plugin.is_empty() || output.status.success(),
            "{}: {}: {text}",
            self.board.name,
            output.status
        );
        // A line may be cut too.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        Ok((killed, Said::parse(whole).with_context(|| format!("{}: it said {text}", self.board.name))?))
    }

    /// Runs to `end` without a cut; returns the position that it went on from, checked there and at the end.
    fn recover(&self, end: u64) -> Result<u64> {
        let (_, said) = self.run(end, "")?;
        let (Some((from, carried)), Some((to, at_end, heard))) = (said.restored, said.end) else {
            bail!("it said {said:?}");
        };
        ensure!(Some(carried) == self.truth.carried(from), "wrong state at {from}");
        let right =
            to == end.max(from) && Some(at_end) == self.truth.carried(to) && heard == self.truth.heard(from, to);
        ensure!(right, "wrong continuation from {from} to {to}");
        Ok(from)
    }

    /// Flash with two snapshots in it, the position of the newer one, the position of the next one, and the stores until
    /// that is complete.
    fn prepare(&self) -> Result<(Vec<u8>, u64, u64, u64)> {
        self.put(&[])?;
        self.run(3 * EVERY - 1, "")?;
        let flash = self.flash()?;
        let old = self.recover(0)?;
        ensure!(old > EVERY, "no snapshot to begin with");
        let counts = self.image.with_extension("stores");
        let out = format!("kill_at={},stores={},out={}", u64::MAX, self.place.stores, counts.display());
        self.run(old + 2 * EVERY - 1, &out)?;
        let text = std::fs::read_to_string(&counts).with_context(|| counts.display().to_string())?;
        let stores = text.trim().strip_prefix("stores ").and_then(|n| n.parse().ok()).context("no count of stores")?;
        let new = self.recover(0)?;
        ensure!(new > old, "no snapshot to be cut");
        Ok((flash, old, new, stores))
    }

    /// One cut after `n` stores of a snapshot. Returns whether the new one was found.
    fn cut(&self, (flash, old, new, stores): &(Vec<u8>, u64, u64, u64), n: u64) -> Result<bool> {
        self.put(flash)?;
        if n > 0 {
            let (killed, _) = self.run(old + 2 * EVERY - 1, &format!("kill_at={n},stores={}", self.place.stores))?;
            ensure!(killed, "the power was not cut");
        }
        let from = self.recover(new + 2 * EVERY)?;
        ensure!(from == *old || from == *new, "lost: it went on from {from}, not {old} or {new}");
        let complete = n + self.place.after >= *stores;
        ensure!((from == *new) == complete, "it went on from {from} after {n} of {stores} stores");
        Ok(from == *new)
    }
}

/// Cuts at `points` stores; returns how many there were and what failed.
fn sweep(rigs: &[Rig<'_>], points: u64) -> Result<(u64, u64, Vec<String>)> {
    let first = rigs.first().context("no emulator")?;
    let prepared = first.prepare()?;
    let stores = prepared.3;
    let (count, next) = (points.clamp(2, stores + 1), AtomicU64::new(0));
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for rig in rigs {
            let (prepared, next, wrong) = (&prepared, &next, &wrong);
            scope.spawn(move || {
                loop {
                    let index = next.fetch_add(1, Ordering::SeqCst);
                    if index >= count {
                        return;
                    }
                    // From before the first store to after the last.
                    let n = index * stores / (count - 1);
                    if let Err(error) = rig.cut(prepared, n)
                        && let Ok(mut wrong) = wrong.lock()
                    {
                        wrong.push(format!("cut after store {n} of {stores}: {error:#}"));
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().map_err(|_| anyhow!("a thread has panicked"))?;
    Ok((count, stores, wrong))
}

/// `cuts` cuts at random instructions of streams of [`STREAM_BYTES`], one after the other; returns how many bytes were
/// scored for good.
fn random(rig: &Rig<'_>, cuts: u64, seed: u64) -> Result<u64> {
    let mut rng = Rng::new(seed);
    rig.put(&[])?;
    let (mut done, mut bytes, mut newest) = (0, 0, 0);
    while done < cuts {
        let at = 1 + rng.next_u64() % BETWEEN;
        // Once the stream has ended, it begins anew.
        let (killed, said) = rig.run(STREAM_BYTES, &format!("kill_at={at}"))?;
        if let Some((from, carried)) = said.restored {
            ensure!(Some(carried) == rig.truth.carried(from), "cut {done}: wrong state at {from}");
            ensure!(from >= newest, "cut {done}: lost: went on from {from}, {newest} was complete");
            newest = from;
        }
        if let Some((to, carried, heard)) = said.end {
            let right = Some(carried) == rig.truth.carried(to) && heard == rig.truth.heard(newest, to);
            ensure!(right, "cut {done}: wrong continuation from {newest} to {to}");
        }
        if !killed {
            rig.put(&[])?;
            (bytes, newest) = (bytes + STREAM_BYTES, 0);
            continue;
        }
        done += 1;
        if let Some(at) = rig.place.witness {
            let flash = rig.flash()?;
            let word = flash.get(at..at + 4).and_then(|w| w.try_into().ok()).context("no witness")?;
            let complete = u64::from(u32::from_le_bytes(word));
            ensure!(complete >= newest || newest - complete <= 2 * EVERY, "cut {done}: a witness of another run");
            newest = newest.max(complete);
        }
        let position = rig.recover(newest + EVERY / 2)?;
        ensure!(position >= newest, "cut {done}: lost: went on from {position}, {newest} was complete");
        newest = position;
    }
    // A good part of what is left without a cut.
    let end = STREAM_BYTES.min(newest + 2048);
    rig.recover(end)?;
    Ok(bytes + end)
}

/// The program `stream`, killed at moments that nobody chose, each time started again and sent the text from the byte on
/// that it asks for. Every record must be one that this machine has, and all of them must have come.
fn streamed(root: &Path, rig: &Rig<'_>, elf: &Path, blob: Blob<'_>, kills: u64, seed: u64) -> Result<()> {
    let board = rig.board;
    let text = soak::text(root, 6000 * (kills as usize + 1))?;
    let expected = soak::expected(blob, &text);
    let mut came = vec![false; expected.len()];
    let (mut rng, mut resumed, mut repeated) = (Rng::new(seed), 0, 0);
    rig.put(&[])?;
    for start in 0..=kills {
        let (_emulator, mut device) = soak::start(board, elf, Some(&rig.image))?;
        let end = if start == kills { u64::MAX } else { 4500 + rng.next_u64() % 4000 };
        let (mut from, mut fed, mut wrong, mut last) = (None, 0, None, Instant::now());
        while came.iter().any(|&c| !c) && device.sent() < end {
            let moved = device.poll(|message| match *message {
                Message::Start(start) => {
                    from = Some(start.position);
                    fed = start.position as usize;
                }
                Message::Line(record) => match expected.get(record.sequence as usize) {
                    Some(want) if *want == record => {
                        if let Some(came) = came.get_mut(record.sequence as usize) {
                            repeated += u64::from(std::mem::replace(came, true));
                        }
                    }
                    want => wrong = Some(format!("{record:?}, this machine has {want:?}")),
                },
                _ => {}
            })?;
            if moved {
                last = Instant::now();
            }
            ensure!(last.elapsed() < soak::SILENCE, "{}: silent in start {start}", board.name);
            if let Some(wrong) = wrong {
                bail!("{}: start {start} from {from:?}: record {wrong}", board.name);
            }
            fed += device.feed(text.get(fed..).unwrap_or_default())?;
        }
        resumed += u64::from(from.is_some_and(|from| from > 0));
    }
    let missing = came.iter().filter(|&&c| !c).count();
    ensure!(missing == 0, "{}: {missing} records never came", board.name);
    ensure!(
        kills < 4 || resumed > kills / 2,
        "{}: only {resumed} of {kills} starts went on from a snapshot",
        board.name
    );
    println!(
        "{}: stream killed {kills} times on its serial line: {resumed} starts from a snapshot, {} records all equal, \
         {repeated} of them sent twice",
        board.name,
        expected.len()
    );
    Ok(())
}

/// Runs both tests, then the sweep over the store that must fail.
///
/// # Errors
/// If a snapshot is lost or a continuation is wrong, or if the broken store is not found out.
pub(crate) fn run(root: &Path, power: Power) -> Result<()> {
    let Power { board, model, points, random: cuts, kills, seed } = power;
    let place = place(&board)?;
    let plugin = bench::plugin(root)?;
    let text = std::fs::read(root.join("models/text/golden-4096.txt"))?;
    let bytes = AlignedBytes::new(&std::fs::read(model_file(root, &model, "model.mbb"))?);
    let blob = Blob::parse(bytes.as_slice()).map_err(|e| anyhow!("{model}: {e}"))?;
    let truth = Truth::new(blob, &text, STREAM_BYTES + 4 * EVERY);
    let program = |feature: &str| -> Result<PathBuf> {
        let elf = build_with(root, &board, &model, "power", &[feature])?;
        let own = elf.with_file_name(format!("power-{feature}"));
        std::fs::copy(&elf, &own).with_context(|| own.display().to_string())?;
        Ok(own)
    };
    let (elf, broken) = (program("snapshots")?, program("one-slot")?);
    let rigs = |elf| -> Vec<Rig<'_>> {
        let image = |i| broken.with_file_name(format!("power-{}-{i}.img", board.name));
        let rig = |i| Rig { board: &board, elf, plugin: &plugin, place: &place, truth: &truth, image: image(i) };
        (0..THREADS).map(rig).collect()
    };

    let begin = Instant::now();
    let (count, stores, wrong) = sweep(&rigs(&elf), points)?;
    if let Some(first) = wrong.first() {
        bail!("{}: {} of {count} cuts went wrong; {first}", board.name, wrong.len());
    }
    let kind = if count == stores + 1 { "all" } else { "of" };
    println!(
        "{} {model}: {count} cuts of one snapshot ({kind} {} states of the flash): 0 lost, 0 wrong continuations, {:.0} s",
        board.name,
        stores + 1,
        begin.elapsed().as_secs_f64()
    );
    let (broken_count, _, wrong) = sweep(&rigs(&broken), points.min(20))?;
    ensure!(!wrong.is_empty(), "{}: a store with one slot passed {broken_count} cuts: this tests nothing", board.name);
    println!("{} {model}: a store with one slot fails at {} of {broken_count} cuts", board.name, wrong.len());
    let begin = Instant::now();
    if cuts > 0
        && let Some(rig) = rigs(&elf).first()
    {
        let bytes = random(rig, cuts, seed)?;
        println!(
            "{} {model}: {cuts} random cuts of a stream, {bytes} bytes in all: 0 lost, 0 wrong continuations, {:.0} s",
            board.name,
            begin.elapsed().as_secs_f64()
        );
    }
    if kills > 0
        && let Some(rig) = rigs(&elf).first()
    {
        let stream = build_with(root, &board, &model, "stream", &["uart", "snapshots"])?;
        streamed(root, rig, &stream, blob, kills, seed)?;
    }
    Ok(())
}
