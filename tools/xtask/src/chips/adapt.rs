//! `cargo xtask firmware adapt`: the golden checksum of adapters on every emulated board, and their instructions.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use clap::Args;
use mambabyte_core::archive::Primed;
use mambabyte_host::adapt::{AnyAdapter, Preset};
use mambabyte_host::checksum::adapter_checksum;
use mambabyte_host::cpu::{Cpu, IntEngine};
use mambabyte_tests::adapter_golden::committed;

use super::boards::{self, Adapt, Board};
use super::counting::{Adapter, adapter};
use super::program::Program;
use super::qemu;
use super::select::What;
use super::sizes::fits_with;
use crate::models::{Model, NONE};

/// The models of the matrix, the largest first: each board has the first that fits, and none.
const MODELS: [&str; 2] = ["sensor-nano", "sensor-pico"];
/// What one program begins with: the adapter 8K beside sensor-pico, which has read the golden text.
const PRIMED: &str = "tests/data/golden/sensor-pico-8K.mbp";
/// What the instructions are counted of.
const COUNTED: Adapt = Adapt(Some(Preset::K8));

/// Options.
#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    what: What,
    /// A preset. Default: the board's own
    #[arg(long)]
    preset: Option<Preset>,
    /// Count the instructions per byte instead, on a Cortex-M4, a Cortex-M0 and an RV32 core
    #[arg(long)]
    count: bool,
}

/// The matrix, or the counts.
///
/// # Errors
/// If a checksum is another one, or nothing fits.
pub(crate) fn run(root: &Path, Options { what, preset, count }: Options) -> Result<()> {
    if count {
        return counted(root)?.iter().try_for_each(|(board, counts)| print(board, counts));
    }
    let golden = committed(root)?;
    let (mut wrong, mut ran) = (Vec::new(), 0);
    let boards_are_all = what.board.is_empty();
    let boards = if boards_are_all { boards::emulated()? } else { what.board };
    for board in boards {
        let adapt = preset.map_or(board.adapt, |preset| Adapt(Some(preset)));
        let Adapt(Some(preset)) = adapt else { continue };
        let fitting = |model: &&str| fits_with(root, board, model, adapt).is_ok_and(|fits| fits);
        let models = if what.model.is_empty() {
            std::iter::once(NONE).chain(MODELS.into_iter().find(fitting)).map(str::to_owned).collect()
        } else {
            what.model.clone()
        };
        for model in models {
            if !fits_with(root, board, &model, adapt)? {
                println!("{:16} {:11} {model:13} {adapt:3} does not fit", board.name, board.core);
                continue;
            }
            let key = (preset.name().to_owned(), model.clone());
            let golden = golden.get(&key).with_context(|| format!("no golden checksum of {adapt} with {model}"))?;
            let program = Program::new(board, &model, "adapt").with_adapter(Some(adapt));
            let printed = qemu::run(board, &program.build(root)?)?;
            let checksum = printed.lines().find_map(|l| l.strip_prefix("checksum ")).unwrap_or("none").trim();
            let same = checksum == golden;
            ran += 1;
            let equal = if same { "equal" } else { "WRONG" };
            println!("{:16} {:11} {model:13} {adapt:3} {checksum} {equal}", board.name, board.core);
            if !same {
                wrong.push(format!("{} computes {checksum} for {adapt} with {model}, not {golden}", board.name));
            }
        }
    }
    if what.model.is_empty() && boards_are_all {
        primed(root)?;
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("; "));
    ensure!(ran > 0, "no adapter fits");
    Ok(())
}

/// A program that begins with a primed adapter computes what this machine does with it.
///
/// # Errors
/// If it computes something else.
fn primed(root: &Path) -> Result<()> {
    let (board, model, file) =
        (Board::named("mps2-an386").map_err(anyhow::Error::msg)?, "sensor-pico", root.join(PRIMED));
    let bytes = std::fs::read(&file).with_context(|| file.display().to_string())?;
    let primed = Primed::parse(&bytes).with_context(|| file.display().to_string())?;
    let preset = Preset::of_id(primed.design().id).context("a preset")?;
    let mut adapter = AnyAdapter::new(preset, true);
    adapter.load(primed.adapter())?;
    let (blob, text) = (Model::read(root, model)?, std::fs::read(root.join("models/text/golden-4096.txt"))?);
    let engine = IntEngine::of(blob.blob()?, Cpu::default());
    let golden = format!("{:08x}", adapter_checksum(Some(&engine), adapter, &text, |_| ())?);
    let program =
        Program { prime: Some(&file), ..Program::new(board, model, "adapt").with_adapter(Some(Adapt(Some(preset)))) };
    let printed = qemu::run(board, &program.build(root)?)?;
    let checksum = printed.lines().find_map(|l| l.strip_prefix("checksum ")).unwrap_or("none").trim();
    ensure!(checksum == golden, "{} computes {checksum} for the primed adapter, not {golden}", board.name);
    println!("{:16} {:11} {model:13} {preset:3} {checksum} equal, primed", board.name, board.core);
    Ok(())
}

/// Instructions per byte with sensor-nano on the three kinds of cores that have bars.
///
/// # Errors
/// If something cannot be counted.
pub(crate) fn counted(root: &Path) -> Result<Vec<(Board, Adapter)>> {
    let named = |name| Board::named(name).map_err(anyhow::Error::msg);
    // The microbit has no room for a net, this preset and a stack: its code on the memory of another board.
    let (small, roomy) = (named("microbit")?, named("mps2-an385")?);
    let mut m0 = roomy.clone();
    (m0.core, m0.target) = (small.core.clone(), small.target.clone());
    (m0.opt_level, m0.kernels) = (small.opt_level.clone(), small.kernels.clone());
    let boards = [named("mps2-an386")?.clone(), m0, named("virt-rv32imc")?.clone()];
    let count = |board: Board| {
        let program = Program::new(&board, "sensor-nano", "adapt").with_adapter(Some(COUNTED));
        let counts = adapter(root, &program)?;
        Ok((board, counts))
    };
    boards.into_iter().map(count).collect()
}

/// Prints counts for people.
fn print(board: &Board, counts: &Adapter) -> Result<()> {
    println!(
        "{} ({}), {COUNTED}: {:.0} instructions per byte beyond the net's own weights, which take {:.0}",
        board.name,
        board.core,
        counts.beyond(),
        counts.weights
    );
    for (file, n) in &counts.files {
        println!("  {file:10} {n:10.0}  {:5.1} %", 100.0 * n / counts.beyond());
    }
    Ok(())
}
