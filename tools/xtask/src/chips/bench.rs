//! `cargo xtask firmware bench`: exact instructions per byte, by stage of the step.
//!
//! The program `bench` reads a fixed text between two markers; a plugin counts each instruction there and notes by which
//! calls it was reached. The program's debug information gives each address and each return address a chain of
//! functions, inlined ones too, and the first one of these below the step that has a stage's name decides.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow, bail};
use mambabyte_core::{Blob, Dims};
use mambabyte_host::align::AlignedBytes;

use crate::build;
use crate::chips::boards::Board;
use crate::chips::qemu;
use crate::models::tied::blob_file;

/// Functions and their stages. The order is that of the report.
const STAGES: [(&str, &str); 16] = [
    ("embed", "embedding"),
    ("norm", "norm"),
    ("in_proj", "in_proj"),
    ("conv1d_silu", "conv"),
    ("project_x", "x_proj"),
    ("log_delta", "delta"),
    ("delta_x", "delta"),
    ("first_decay", "scan"),
    ("scan_free", "scan"),
    ("scan_tied", "scan"),
    ("gate", "gate"),
    ("matvec_add", "out_proj"),
    ("matvec_i32", "head"),
    ("pack", "packing"),
    ("unpack", "packing"),
    ("layer", "rest"),
];

/// What was counted for one board and model.
#[derive(Clone, Debug)]
pub(crate) struct Counts {
    pub(crate) dims: Dims,
    pub(crate) per_byte: f64,
    /// Instructions per byte of each stage.
    pub(crate) stages: BTreeMap<&'static str, f64>,
}

impl Counts {
    fn stage(&self, name: &str) -> f64 {
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

/// Builds and runs `bench` and counts.
pub(crate) fn count(root: &Path, board: &Board, model: &str) -> Result<Counts> {
    let elf = build(root, board, model, "bench")?;
    let file = elf.with_extension("counts");
    let mut qemu = qemu::command(board, &elf, &[]);
    qemu.arg("-plugin").arg(format!("{},out={}", plugin(root)?.display(), file.display())).args(["-d", "plugin"]);
    let output = qemu.stdin(Stdio::null()).output().map_err(|error| qemu::missing(board, &error))?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!("{}: bench ended with {}: {printed}", board.name, output.status);
    }
    let bytes = printed.lines().find_map(|l| l.strip_prefix("bytes ")).and_then(|n| n.trim().parse::<f64>().ok());
    let bytes = bytes.context("bench did not say how many bytes it read")?;
    let text = std::fs::read_to_string(&file).with_context(|| format!("the plugin left no {}", file.display()))?;
    let mut stages = Chains::new(&elf)?.stages(&text)?;
    stages.values_mut().for_each(|n| *n /= bytes);
    let blob = AlignedBytes::new(&std::fs::read(blob_file(root, model)?)?);
    let dims = *Blob::parse(blob.as_slice()).map_err(|e| anyhow!("{model}: {e}"))?.dims();
    Ok(Counts { dims, per_byte: stages.values().sum(), stages })
}

/// Builds the plugin for the host's QEMU.
pub(crate) fn plugin(root: &Path) -> Result<PathBuf> {
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--quiet", "--release", "--locked", "-p", "mambabyte-qemu-plugin"]).current_dir(root);
    if !cargo.status().context("cargo could not be started")?.success() {
        bail!("the plugin could not be built");
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    Ok(target.join("release/libmambabyte_qemu_plugin.so"))
}

/// Which functions an address belongs to.
struct Chains {
    loader: addr2line::Loader,
    /// Functions of addresses that were asked for, the innermost first.
    known: BTreeMap<u64, Vec<String>>,
}

impl Chains {
    fn new(elf: &Path) -> Result<Self> {
        let loader = addr2line::Loader::new(elf).map_err(|e| anyhow!("{}: {e}", elf.display()))?;
        Ok(Self { loader, known: BTreeMap::new() })
    }

    fn functions(&mut self, address: u64) -> Result<Vec<String>> {
        if let Some(functions) = self.known.get(&address) {
            return Ok(functions.clone());
        }
        let mut functions = Vec::new();
        let mut frames = self.loader.find_frames(address).map_err(|e| anyhow!("debug information: {e}"))?;
        while let Some(frame) = frames.next().map_err(|e| anyhow!("debug information: {e}"))? {
            if let Some(name) = frame.function.as_ref().and_then(|f| f.demangle().ok()) {
                functions.push(name.into_owned());
            }
        }
        self.known.insert(address, functions.clone());
        Ok(functions)
    }

    /// The instructions of each stage.
    fn stages(&mut self, text: &str) -> Result<BTreeMap<&'static str, f64>> {
        let mut contexts: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
        let mut stages = BTreeMap::new();
        let number = |word: Option<&str>| -> Result<u64> {
            let word = word.context("a line of the counts is too short")?;
            let parsed = word.strip_prefix("0x").map_or_else(|| word.parse(), |hex| u64::from_str_radix(hex, 16));
            parsed.with_context(|| format!("the counts have no number at {word}"))
        };
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("context") => {
                    let (name, caller) = (number(words.next())?, number(words.next())?);
                    contexts.insert(name, (caller, number(words.next())?));
                }
                Some("count") => {
                    let (mut context, address) = (number(words.next())?, number(words.next())?);
                    let times = number(words.next())?;
                    let mut chain = self.functions(address)?;
                    while let Some(&(caller, returns_to)) = contexts.get(&context) {
                        // The call is before the address that it returns to. One inside a single function is a long
                        // branch in the form of a call, as Armv6-M has it; nothing here recurses.
                        let from = self.functions(returns_to - 2)?;
                        if chain.last() != from.last() {
                            chain.extend(from);
                        }
                        context = caller;
                    }
                    *stages.entry(stage(&chain)).or_insert(0.0) += times as f64;
                }
                _ => {}
            }
        }
        Ok(stages)
    }
}

/// The stage of a chain of functions, the innermost first.
fn stage(chain: &[String]) -> &'static str {
    let below_step = chain.iter().rev().map(|name| last_part(name));
    below_step
        .filter_map(|name| STAGES.iter().find(|(function, _)| *function == name))
        .map(|&(_, stage)| stage)
        .next()
        .unwrap_or("rest")
}

/// The name of a function without its path and its parameters.
fn last_part(name: &str) -> &str {
    let name = name.split("::<").next().unwrap_or(name);
    name.rsplit("::").find(|part| !part.starts_with('{')).unwrap_or(name)
}

/// Prints it for people.
pub(crate) fn print(board: &Board, model: &str, counts: &Counts) {
    println!("{} ({}), {model}: {:.0} instructions per byte", board.name, board.core, counts.per_byte);
    for (stage, n) in &counts.stages {
        println!("  {stage:10} {n:10.0}  {:5.1} %", 100.0 * n / counts.per_byte);
    }
    if let Some(per_mac) = counts.per_mac() {
        println!("  {per_mac:.3} per multiply-add of projections with rows of 64 and more");
    }
    println!("  {:.2} per element of the scan", counts.per_element());
}

#[cfg(test)]
mod tests {
    use super::{last_part, stage};

    #[test]
    fn the_outermost_function_with_a_stage_decides() {
        let chain = ["core::num::wrapping_add", "mambabyte_core::simd::channels::silu", "a::b::gate", "a::step"];
        assert_eq!(stage(&chain.map(str::to_owned)), "gate");
        let chain = ["mambabyte_core::simd::fours::run_fours::<i16>", "k::matvec_i16", "step::in_proj", "a::advance"];
        assert_eq!(stage(&chain.map(str::to_owned)), "in_proj");
        assert_eq!(stage(&["main".to_owned()]), "rest");
        assert_eq!(last_part("<a::B as c::D>::pack::{closure#0}"), "pack");
    }
}
