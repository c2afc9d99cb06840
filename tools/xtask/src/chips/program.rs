//! Builds a program of the firmware for a board.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::boards::{Adapt, Board, ESPTOOL};
use super::image;
use crate::models;
use crate::route::Route;

/// The profile in `firmware/Cargo.toml` that programs are built with, for emulators too: what takes time is `core` for
/// a target, which a profile of its own would build once more.
pub(crate) const PROFILE: &str = "release";

/// A program to be built.
#[derive(Clone, Copy)]
pub(crate) struct Program<'p> {
    pub(crate) board: &'p Board,
    /// A model's name, for messages.
    pub(crate) model: &'p str,
    /// The name of the binary.
    pub(crate) bin: &'p str,
    /// Its adapter, if the program has one.
    pub(crate) adapt: Adapt,
    /// A file of `mambabyte prime` that the adapter begins with.
    pub(crate) prime: Option<&'p Path>,
    /// The share of quiet lines that the detector of `stream` may flag, if it has one.
    pub(crate) false_alarms: Option<&'p str>,
    /// Features of the firmware beside the board's.
    pub(crate) features: &'p [&'p str],
    /// A command line that is built in, for a board that gives a program none.
    pub(crate) words: &'p [OsString],
}

impl<'p> Program<'p> {
    /// `bin` with the features that it always has.
    pub(crate) fn new(board: &'p Board, model: &'p str, bin: &'p str) -> Self {
        let (adapt, features) = (board.adapt, features(board, bin));
        Self { board, model, bin, adapt, prime: None, false_alarms: None, features, words: &[] }
    }

    /// The same with exactly these features.
    pub(crate) fn with_features(self, features: &'p [&'p str]) -> Self {
        Self { features, ..self }
    }

    /// The same with another adapter, if one was asked for.
    pub(crate) fn with_adapter(self, adapt: Option<Adapt>) -> Self {
        Self { adapt: adapt.unwrap_or(self.adapt), ..self }
    }

    /// The same with a detector, if a share of lines is given that it may flag.
    pub(crate) fn with_false_alarms(self, share: Option<&'p str>) -> Self {
        Self { false_alarms: share, ..self }
    }

    /// Builds it and returns the file.
    ///
    /// # Errors
    /// If there is no such model or toolchain, or the program cannot be built.
    pub(crate) fn build(&self, root: &Path) -> Result<PathBuf> {
        let blob = models::blob_file(root, self.model)?;
        if self.model != models::NONE && !blob.exists() {
            bail!("--model {}: there is no {}", self.model, blob.display());
        }
        self.build_blob(root, &blob)
    }

    /// As [`Program::build`], with the model in the file `blob`.
    ///
    /// # Errors
    /// As [`Program::build`].
    pub(crate) fn build_blob(&self, root: &Path, blob: &Path) -> Result<PathBuf> {
        let (board, bin) = (self.board, self.bin);
        let route = Route::find(&board.target)?;
        eprintln!("{} ({}), {}: {}, {}", board.name, board.core, self.model, board.target, route.name);
        let mut cargo = self.cargo(root, &route, "build", blob);
        if !cargo.status().context("cargo could not be started")?.success() {
            bail!("{bin} could not be built for {}", board.name);
        }
        let elf = route.output(root).join(&board.target).join(PROFILE).join(bin);
        if board.runner() == ESPTOOL {
            image::write(&elf)?;
        }
        Ok(elf)
    }

    /// The command `cargo COMMAND` for it.
    pub(crate) fn cargo(&self, root: &Path, route: &Route, command: &str, blob: &Path) -> Command {
        let board = self.board;
        let mut cargo = route.cargo(root, command, &board.target, board.cpu.as_deref(), PROFILE);
        cargo.args(["--locked", "--bin", self.bin]).current_dir(root.join("firmware"));
        let features: Vec<&str> = self.features.iter().copied().chain(board.feature.as_deref()).collect();
        cargo.args(["--features", &features.join(",")]);
        let level = format!("CARGO_PROFILE_{}_OPT_LEVEL", PROFILE.to_uppercase());
        cargo.env(level, &board.opt_level);
        cargo.env("FW_BOARD", &board.name).env("FW_MODEL", blob).env_remove("FW_ARGUMENTS");
        cargo.env("FW_ADAPT", self.adapt.to_string()).env_remove("FW_PRIME");
        cargo.envs(self.prime.map(|file| ("FW_PRIME", file)));
        cargo.env("FW_FALSE_ALARMS", self.false_alarms.unwrap_or("off"));
        if !self.words.is_empty() {
            cargo.env("FW_ARGUMENTS", self.words.join(OsStr::new(" ")));
        }
        // Without a level defmt logs errors only.
        if std::env::var_os("DEFMT_LOG").is_none() {
            cargo.env("DEFMT_LOG", "info");
        }
        cargo
    }
}

/// What `bin` is always built with: `stream` has the serial line, on a board on the table also logs for the debugger.
fn features(board: &Board, bin: &str) -> &'static [&'static str] {
    match bin {
        "stream" if board.real() => &["uart", "log-rtt"],
        "stream" => &["uart"],
        "kernels" => &["kernel-check"],
        _ => &[],
    }
}
