//! `cargo xtask firmware core`: the core crate with all features, where there are no atomics and where there is no
//! chip. Checked, not built: what is missing on a target shows when types are checked, and the programs are linked anyway.

use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::route::Route;

/// The first one has the least: no atomics, no float registers.
const TARGETS: [&str; 3] = ["thumbv6m-none-eabi", "riscv32imc-unknown-none-elf", "wasm32-unknown-unknown"];

/// Options of the check.
#[derive(Args)]
pub(crate) struct Core {
    /// For all targets. Default: for the one that has the least
    #[arg(long)]
    all: bool,
}

/// Checks it.
///
/// # Errors
/// If it does not compile.
pub(crate) fn run(root: &Path, Core { all }: Core) -> Result<()> {
    for target in TARGETS.into_iter().take(if all { TARGETS.len() } else { 1 }) {
        let route = Route::find(target)?;
        eprintln!("mambabyte-core with all features: {target}, {}", route.name);
        let mut cargo = route.cargo(root, "check", target, None, "release");
        cargo.args(["--locked", "-p", "mambabyte-core", "--features", "f32,defmt"]).current_dir(root);
        if !cargo.status().context("cargo could not be started")?.success() {
            bail!("mambabyte-core does not compile for {target}");
        }
    }
    Ok(())
}
