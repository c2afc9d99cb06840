//! A program on its board with a file for its flash: runs, cuts of the power, recoveries.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail, ensure};

use super::truth::Truth;
use crate::chips::boards::Board;
use crate::chips::qemu;
use crate::chips::snapshots::Place;

/// Bytes between snapshots.
pub(super) const EVERY: u64 = 48;

/// What a start of the program said.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Said {
    pub(super) restored: Option<(u64, u32)>,
    pub(super) end: Option<(u64, u32, u32)>,
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

/// Where every cut of one snapshot begins.
pub(super) struct Prepared {
    /// Flash with two snapshots in it.
    flash: Vec<u8>,
    /// The position of the newer one.
    old: u64,
    /// The position of the next one.
    new: u64,
    /// Stores until that is complete.
    pub(super) stores: u64,
}

/// A program, its board, and a file for its flash.
pub(super) struct Rig<'r> {
    pub(super) board: &'r Board,
    pub(super) elf: &'r Path,
    pub(super) plugin: &'r Path,
    pub(super) place: &'r Place,
    pub(super) truth: &'r Truth,
    pub(super) image: PathBuf,
}

impl Rig<'_> {
    /// Makes the file anew, with `flash` at its beginning.
    pub(super) fn put(&self, flash: &[u8]) -> Result<()> {
        std::fs::write(&self.image, flash).with_context(|| self.image.display().to_string())?;
        Ok(std::fs::OpenOptions::new().write(true).open(&self.image)?.set_len(self.place.file)?)
    }

    /// What is in the flash.
    pub(super) fn flash(&self) -> Result<Vec<u8>> {
        use std::io::Read;
        let mut flash = vec![0; self.place.kept];
        std::fs::File::open(&self.image)?.read_exact(&mut flash)?;
        Ok(flash)
    }

    /// Runs to `end`, or to the cut that `plugin` says. Returns whether the power was cut, and what was said.
    pub(super) fn run(&self, end: u64, plugin: &str) -> Result<(bool, Said)> {
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

    /// Runs to `end` without a cut; returns the position that it resumed at, checked there and at the end.
    pub(super) fn recover(&self, end: u64) -> Result<u64> {
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

    /// Writes two snapshots and counts the stores of the next one.
    pub(super) fn prepare(&self) -> Result<Prepared> {
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
        Ok(Prepared { flash, old, new, stores })
    }

    /// One cut after `n` stores of a snapshot. Returns whether the new one was found.
    pub(super) fn cut(&self, Prepared { flash, old, new, stores }: &Prepared, n: u64) -> Result<bool> {
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
