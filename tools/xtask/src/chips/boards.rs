//! The boards of `firmware/boards.toml`: their cores, how their programs are built, and what emulates them.

use std::fmt::{Display, Formatter};
use std::str::FromStr;
use std::sync::LazyLock;

use anyhow::{Context, Result, ensure};
use mambabyte_host::adapt::Preset;
use serde::Deserialize;

/// A board with a memory map in `firmware/memory`. The fields are explained in the file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Board {
    pub(crate) name: String,
    pub(crate) core: String,
    pub(crate) target: String,
    pub(crate) cpu: Option<String>,
    pub(crate) opt_level: String,
    pub(crate) kernels: String,
    /// The adapter of its programs if none is asked for.
    #[serde(default = "default_preset")]
    pub(crate) adapt: Adapt,
    pub(crate) feature: Option<String>,
    pub(crate) uart: Option<String>,
    #[cfg_attr(not(test), expect(dead_code, reason = "read by the firmware's build.rs"))]
    clock: Option<String>,
    pub(crate) flash: Option<Flash>,
    emulator: Option<String>,
    runner: Option<String>,
    pub(crate) machine: Vec<String>,
    #[serde(default)]
    pub(crate) jobs: Vec<String>,
    pub(crate) proof: Option<String>,
    #[serde(default)]
    pub(crate) counted: Vec<String>,
    #[serde(default)]
    pub(crate) sized: Vec<String>,
}

/// The preset of a program's adapter, `None` without one.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(try_from = "String")]
pub(crate) struct Adapt(pub(crate) Option<Preset>);

impl FromStr for Adapt {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        if name == "off" { Ok(Self(None)) } else { Ok(Self(Some(name.parse()?))) }
    }
}

impl TryFrom<String> for Adapt {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        name.parse()
    }
}

impl Display for Adapt {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.map_or("off", Preset::name))
    }
}

const fn default_preset() -> Adapt {
    Adapt(Some(Preset::K8))
}

/// Drivers of a flash for snapshots, in `firmware/src/flash`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Flash {
    Mapped,
    Cfi,
    Stm32f4,
}

/// The emulator of a process: no machine, the same semihosting.
pub(crate) const AARCH64_USER: &str = "qemu-aarch64";
/// The runner of boards on the table: it flashes and runs a program and shows its semihosting output and its logs.
pub(crate) const PROBE: &str = "probe-rs";
/// The ESP32-C3's: it writes an image to the flash through the chip's ROM.
pub(crate) const ESPTOOL: &str = "esptool.py";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    board: Vec<Board>,
}

/// The list, read once.
static LIST: LazyLock<Result<Vec<Board>, String>> =
    LazyLock::new(|| parse(include_str!("../../../../firmware/boards.toml")).map_err(|e| format!("{e:#}")));

fn parse(text: &str) -> Result<Vec<Board>> {
    let List { board: boards } = toml::from_str(text).context("firmware/boards.toml")?;
    for (at, board) in boards.iter().enumerate() {
        let name = &board.name;
        ensure!(boards.iter().take(at).all(|other| other.name != *name), "firmware/boards.toml: {name} is there twice");
        ensure!(
            board.emulator.is_some() != board.runner.is_some(),
            "firmware/boards.toml: {name} needs an emulator or a runner, not both"
        );
    }
    Ok(boards)
}

/// All boards, in the order of the list.
///
/// # Errors
/// If `firmware/boards.toml` is not a list of boards.
pub(crate) fn all() -> Result<&'static [Board]> {
    LIST.as_deref().map_err(|e| anyhow::anyhow!("{e}"))
}

/// The boards that are emulated.
pub(crate) fn emulated() -> Result<Vec<&'static Board>> {
    Ok(all()?.iter().filter(|board| !board.real()).collect())
}

/// The boards that are not.
pub(crate) fn real() -> Result<Vec<&'static Board>> {
    Ok(all()?.iter().filter(|board| board.real()).collect())
}

/// The boards that a job takes if none is named.
///
/// # Errors
/// If there is none.
pub(crate) fn of_job(job: &str) -> Result<Vec<&'static Board>> {
    let boards: Vec<_> = all()?.iter().filter(|board| board.jobs.iter().any(|j| j == job)).collect();
    ensure!(!boards.is_empty(), "firmware/boards.toml: no board has the job {job}");
    Ok(boards)
}

impl Board {
    /// Whether it is a board on the table.
    pub(crate) fn real(&self) -> bool {
        self.runner.is_some()
    }

    /// The program that emulates it, or that flashes it.
    pub(crate) fn runner(&self) -> &str {
        self.emulator.as_deref().or(self.runner.as_deref()).unwrap_or_default()
    }

    /// The board of that name.
    ///
    /// # Errors
    /// If there is none: a list of those that there are.
    pub(crate) fn named(name: &str) -> Result<&'static Self, String> {
        let boards = all().map_err(|e| e.to_string())?;
        let names = || boards.iter().map(|b| b.name.as_str()).collect::<Vec<_>>().join(", ");
        boards.iter().find(|b| b.name == name).ok_or_else(|| format!("there are: {}", names()))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_board_has_its_files_and_every_file_its_board() {
        let firmware = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../firmware");
        for board in all().unwrap() {
            assert!(firmware.join("memory").join(&board.name).with_extension("x").is_file(), "{}", board.name);
            for (folder, driver) in [("uart", &board.uart), ("clock", &board.clock)] {
                let Some(driver) = driver else { continue };
                assert!(firmware.join("src").join(folder).join(driver).with_extension("rs").is_file(), "{driver}");
            }
            let kernels = firmware.join("../core/src/simd").join(&board.kernels);
            assert!(kernels.with_extension("rs").is_file(), "{}: kernels {}", board.name, board.kernels);
            assert!(["s", "3"].contains(&board.opt_level.as_str()));
        }
        for entry in firmware.join("memory").read_dir().unwrap() {
            let name = entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned();
            Board::named(&name).unwrap();
        }
    }

    #[test]
    fn jobs_have_boards_and_real_boards_are_not_run() {
        for job in ["run", "size", "bench", "stack", "power", "soak", "generate", "faults", "lint", "c"] {
            assert!(!of_job(job).unwrap().is_empty());
        }
        assert!(of_job("no such job").is_err());
        assert!(real().unwrap().iter().all(|b| b.jobs.iter().all(|job| job == "lint")));
        assert_eq!(emulated().unwrap().len() + real().unwrap().len(), all().unwrap().len());
    }

    #[test]
    fn wrong_lists() {
        let board =
            "[[board]]\nname = \"a\"\ncore = \"c\"\ntarget = \"t\"\nopt-level = \"s\"\nkernels = \"k\"\nmachine = []\n";
        let emulated = format!("{board}emulator = \"e\"\n");
        assert_eq!(parse(&emulated).unwrap().len(), 1);
        for (text, words) in [
            (board.to_owned(), "emulator or a runner"),
            (format!("{emulated}runner = \"r\"\n"), "emulator or a runner"),
            (format!("{emulated}{emulated}"), "twice"),
            (format!("{emulated}colour = \"red\"\n"), "colour"),
        ] {
            let error = format!("{:#}", parse(&text).unwrap_err());
            assert!(error.contains(words), "{error}");
        }
    }
}
