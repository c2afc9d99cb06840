//! `cargo xtask firmware lint`: clippy and rustdoc on the firmware, a warning is an error.

use std::path::Path;

use anyhow::{Context, Result, bail};

use super::boards::Board;
use super::program::PROFILE;
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

/// Checks all programs for every board that is named; if none is, for one board of each family of targets. The proof
/// has a panic handler of its own, so it is checked alone, where it is linked.
///
/// # Errors
/// If there is a warning; [`Missing`](crate::route::Missing) if the toolchain has no clippy.
pub(crate) fn run(root: &Path, what: What) -> Result<()> {
    for (board, model) in what.of_job("lint", &["sensor-pico"])? {
        let route = Route::find(&board.target)?;
        route.clippy()?;
        let features = features(board).join(",");
        let mut checks = vec![
            ("clippy", "off", vec!["--features", &features, "--", "-Dwarnings"]),
            // With a detector all of it once more, but for what has none.
            ("clippy", "1%", vec!["--features", &features, "--lib", "--bin", "stream", "--", "-Dwarnings"]),
            ("doc", "1%", vec!["--features", &features, "--no-deps", "--lib"]),
        ];
        if board.uart.is_none() {
            checks.retain(|(command, share, _)| *command != "clippy" || *share == "off");
        }
        if board.proof.is_some() {
            checks.push(("clippy", "off", vec!["--features", "proof", "--bin", "proof", "--", "-Dwarnings"]));
        }
        for (command, share, arguments) in checks {
            eprintln!("{} ({}): cargo {command}, {}", board.name, board.target, route.name);
            let mut cargo = route.cargo(root, command, &board.target, board.cpu.as_deref(), PROFILE);
            cargo.arg("--locked").args(arguments).current_dir(root.join("firmware"));
            cargo.env("RUSTDOCFLAGS", "-Dwarnings").env("FW_BOARD", &board.name).env("FW_FALSE_ALARMS", share);
            cargo.env("FW_MODEL", models::file(root, &model, "model.mbb")).env("DEFMT_LOG", "info");
            if !cargo.status().context("cargo could not be started")?.success() {
                bail!("{}: warnings of cargo {command}", board.name);
            }
        }
        println!("{:16} {:28} no warning of clippy and rustdoc", board.name, board.target);
    }
    Ok(())
}
