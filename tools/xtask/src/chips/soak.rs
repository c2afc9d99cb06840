//! `cargo xtask firmware soak`: the serial line under load. A long text each way with nothing lost, then a sender that
//! ignores flow control, every loss counted.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use super::boards::{Adapt, Board};
use super::line::{self, Heard, listen};
use super::program::Program;
use super::select::What;

/// Options of the test.
#[derive(Args)]
pub(crate) struct Soak {
    #[command(flatten)]
    what: What,
    /// Adapter of the program: a preset, or off. Default: the board's
    #[arg(long)]
    adapt: Option<Adapt>,
    /// Bytes of text to the board, and the same back; what is shipped is tried with 1000000
    #[arg(long, default_value_t = 24_000)]
    bytes: usize,
    /// Bytes sent without regard to flow control; 0 leaves that test out
    #[arg(long, default_value_t = 32_768)]
    flood: usize,
}

/// A sender that ignores flow control: sent = scored + lost.
fn overrun(board: &Board, model: &str, elf: &Path, text: &[u8]) -> Result<()> {
    let (_emulator, mut device) = line::start(board, elf, None)?;
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
    for (board, model) in soak.what.of_job("soak", &["sensor-pico"])? {
        let program = Program::new(board, &model, "stream").with_features(&["echo"]).with_adapter(soak.adapt);
        let built = program.build(root)?;
        // This runs for minutes; another build must not replace it meanwhile.
        let elf = built.with_file_name(format!("soak-{}", board.name));
        std::fs::copy(&built, &elf).with_context(|| elf.display().to_string())?;
        line::echo(root, &program, &elf, soak.bytes.max(1))?;
        if soak.flood > 0 {
            overrun(board, &model, &elf, &line::text(root, soak.flood)?)?;
        }
    }
    Ok(())
}
