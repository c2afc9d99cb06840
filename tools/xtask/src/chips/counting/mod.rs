//! Exact instructions per byte, by stage of the step.
//!
//! The program `bench` reads a fixed text between two markers; a plugin counts each instruction there and notes by
//! which calls it was reached. The program's debug information gives each address and each return address a chain of
//! functions, inlined ones too, with the line of each; `stages` finds the stage.

mod adapter;
mod chains;
mod detector;
mod marks;
mod stages;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use mambabyte_core::Dims;

use super::boards::Board;
use super::program::Program;
use super::{plugin, qemu};
use crate::models::Model;
pub(crate) use adapter::{Adapter, adapter};
use chains::Chains;
pub(crate) use detector::{Detector, detector};
use marks::Marks;
pub(crate) use stages::COLUMNS;

/// What was counted for one board and model.
#[derive(Clone, Debug)]
pub(crate) struct Counts {
    dims: Dims,
    pub(crate) per_byte: f64,
    /// Instructions per byte of each stage.
    stages: BTreeMap<&'static str, f64>,
}

impl Counts {
    /// Instructions per byte of a stage; of `rest` what belongs to none.
    pub(crate) fn stage(&self, name: &str) -> f64 {
        self.stages.get(name).copied().unwrap_or(0.0)
    }

    /// Instructions per multiply-add of the projections whose rows have at least 64 columns.
    pub(crate) fn per_mac(&self) -> Option<f64> {
        let d = &self.dims;
        let all = [
            ("in_proj", d.d_model, d.n_layer * 2 * d.d_inner * d.d_model),
            ("x_proj", d.d_inner, d.n_layer * d.x_proj_rows() * d.d_inner),
            ("out_proj", d.d_inner, d.n_layer * d.d_model * d.d_inner),
            ("head", d.d_model, 256 * d.d_model),
        ];
        let long = all.into_iter().filter(|&(_, columns, _)| columns >= 64);
        let (instructions, macs) = long.fold((0.0, 0), |(i, m), (name, _, macs)| (i + self.stage(name), m + macs));
        (macs > 0).then(|| instructions / macs as f64)
    }

    /// Instructions per element of the scan: decay, update and output.
    pub(crate) fn per_element(&self) -> f64 {
        self.stage("scan") / (self.dims.n_layer * self.dims.d_inner * self.dims.d_state) as f64
    }
}

/// Builds and runs a program that says how many bytes it read between its markers: its file, the bytes, and what the
/// plugin wrote.
fn run(root: &Path, program: &Program<'_>) -> Result<(PathBuf, f64, String)> {
    run_and_hear(root, program).map(|(elf, bytes, _, text)| (elf, bytes, text))
}

/// As [`run`], with what the program printed before what the plugin wrote.
fn run_and_hear(root: &Path, program: &Program<'_>) -> Result<(PathBuf, f64, String, String)> {
    let Program { board, bin, .. } = *program;
    let elf = program.build(root)?;
    let file = elf.with_extension("counts");
    let mut qemu = qemu::command(board, &elf, &[]);
    let plugin = plugin::build(root)?;
    qemu.arg("-plugin").arg(format!("{},out={}", plugin.display(), file.display())).args(["-d", "plugin"]);
    let output = qemu.stdin(Stdio::null()).output().map_err(|error| qemu::missing(board, &error))?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!("{}: {bin} ended with {}: {printed}", board.name, output.status);
    }
    let bytes = printed.lines().find_map(|l| l.strip_prefix("bytes ")).and_then(|n| n.trim().parse::<f64>().ok());
    let bytes = bytes.with_context(|| format!("{bin} did not say how many bytes it read"))?;
    let text = std::fs::read_to_string(&file).with_context(|| format!("the plugin left no {}", file.display()))?;
    Ok((elf, bytes, printed, text))
}

/// Builds and runs `bench` and counts.
///
/// # Errors
/// If it cannot be built or run, or the stages of its instructions cannot be told.
pub(crate) fn count(root: &Path, board: &Board, model: &str) -> Result<Counts> {
    let (elf, bytes, text) = run(root, &Program::new(board, model, "bench"))?;
    let counted = Chains::new(&elf)?.count(&Marks::read(root)?, &text)?;
    counted.check().with_context(|| format!("{} {model}", board.name))?;
    let stages: BTreeMap<_, _> = counted.columns.into_iter().map(|(column, n)| (column, n / bytes)).collect();
    let dims = *Model::read(root, model)?.blob()?.dims();
    Ok(Counts { dims, per_byte: stages.values().sum(), stages })
}
