//! `cargo xtask firmware power`: cuts the power of an emulated board at exact places and looks at what it resumes from.
//!
//! Tests of the programs `power` and `stream`, whose flash is a file that outlives the emulator:
//!
//! * **Every cut of one snapshot.** Flash is all that a cut leaves, and it changes by stores only: between two of them
//!   every instruction leaves the same flash. So a cut after each store to the flash is every cut there is. Before the
//!   last store the older snapshot must be found, after it the new one.
//! * **Random cuts of a long stream**, each at a random instruction, also while the board restores; the next start
//!   resumes from what the cut has left.
//! * **The program `stream` on its serial line**, killed at any moment, started again and sent what it asks for.
//!
//! After each cut everything that the stream carries must be what this machine has at that position, then and at the
//! end. The same cuts of a store that writes over its only snapshot must fail.

mod cuts;
mod killed;
mod rig;
mod truth;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use super::boards::{self, Board};
use super::program::Program;
use super::{plugin, snapshots};
use crate::models::Model;
use cuts::{random, sweep};
use killed::streamed;
use rig::{EVERY, Rig};
use truth::Truth;

/// Options of the test.
#[derive(Args)]
pub(crate) struct Power {
    /// Board with a flash that QEMU keeps in a file, such as mps2-an386 (which is the default) or virt-rv32imc
    #[arg(long, value_parser = Board::named)]
    board: Option<&'static Board>,
    /// Shipped model
    #[arg(long, default_value = "sensor-pico")]
    model: String,
    /// Cuts of one snapshot: all, or this many of them at equal distances
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

/// Bytes of the long stream.
const STREAM_BYTES: u64 = 65_536;
/// Runs of the emulator at a time.
const THREADS: u64 = 2;

/// Runs both tests, then the sweep over the store that must fail.
///
/// # Errors
/// If a snapshot is lost or a continuation is wrong, or if the broken store is not detected.
pub(crate) fn run(root: &Path, power: Power) -> Result<()> {
    let Power { board, model, points, random: cuts, kills, seed } = power;
    let board = match board {
        Some(board) => board,
        None => boards::of_job("power")?.into_iter().next().context("no board has the job power")?,
    };
    let place = snapshots::place(board)?;
    let plugin = plugin::build(root)?;
    let text = std::fs::read(root.join("models/text/golden-4096.txt"))?;
    let bytes = Model::read(root, &model)?;
    let blob = bytes.blob()?;
    let truth = Truth::new(blob, &text, STREAM_BYTES + 4 * EVERY);
    let program = |feature: &str| -> Result<PathBuf> {
        let elf = Program::new(board, &model, "power").with_features(&[feature]).build(root)?;
        let own = elf.with_file_name(format!("power-{feature}"));
        std::fs::copy(&elf, &own).with_context(|| own.display().to_string())?;
        Ok(own)
    };
    let (elf, broken) = (program("snapshots")?, program("one-slot")?);
    let rigs = |elf| -> Vec<Rig<'_>> {
        let image = |i| broken.with_file_name(format!("power-{}-{i}.img", board.name));
        let rig = |i| Rig { board, elf, plugin: &plugin, place: &place, truth: &truth, image: image(i) };
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
        let bytes = random(rig, STREAM_BYTES, cuts, seed)?;
        println!(
            "{} {model}: {cuts} random cuts of a stream, {bytes} bytes in all: 0 lost, 0 wrong continuations, {:.0} s",
            board.name,
            begin.elapsed().as_secs_f64()
        );
    }
    if kills > 0
        && let Some(rig) = rigs(&elf).first()
    {
        let stream = Program::new(board, &model, "stream");
        let stream = stream.with_features(&["uart", "snapshots"]).build(root)?;
        streamed(root, rig, &stream, blob, kills, seed)?;
    }
    Ok(())
}
