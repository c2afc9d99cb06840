//! `cargo xtask firmware lint`: clippy and rustdoc on the firmware, a warning is an error.

use std::path::Path;

use anyhow::{Context, Result, bail};

use super::boards::Board;
use super::select::What;
use crate::models;
use crate::route::Route;

/// Features that go together and that a board may have.
fn features(board: &Board) -> Vec<&str> {
    let mut features = vec!["kernel-check"];
    if board.uart.is_some() {
        features.extend(["uart", "selftest", if board.real() { "log-rtt" } else { "log-semihosting" }]);
    }
    if board.flash.is_some() {
        features.push("snapshots");
    }
    features.extend(board.feature.as_deref());
    features
}

/// Checks all programs of every board, one for each family of targets if none is named.
///
/// # Errors
/// If there is a warning; [`Missing`](crate::route::Missing) if the toolchain has no clippy.
pub(crate) fn run(root: &Path, what: What) -> Result<()> {
    for (board, model) in what.of_job("lint", &["sensor-pico"])? {
        let route = Route::find(&board.target)?;
        route.clippy()?;
        for (command, rest) in [("clippy", &["--", "-Dwarnings"][..]), ("doc", &["--no-deps"])] {
            eprintln!("{} ({}): cargo {command}, {}", board.name, board.target, route.name);
            let mut cargo = route.cargo(root, command, &board.target, board.cpu.as_deref(), "emulate");
            cargo.args(["--locked", "--features", &features(board).join(",")]).args(rest);
            cargo.env("RUSTDOCFLAGS", "-Dwarnings").env("FW_BOARD", &board.name);
            cargo.env("FW_MODEL", models::file(root, &model, "model.mbb")).env("DEFMT_LOG", "info");
            if !cargo.current_dir(root.join("firmware")).status().context("cargo could not be started")?.success() {
                bail!("{}: warnings of cargo {command}", board.name);
            }
        }
        println!("{:16} {:28} no warning of clippy and rustdoc", board.name, board.target);
    }
    Ok(())
}
