//! `cargo xtask c ...`: the static library for C, its header, and the C programs of `tests/c` on an emulated chip.

mod header;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Subcommand;

use mambabyte_tests::adapter_golden::committed;
use mambabyte_tests::detector_golden;

use crate::chips::boards::{self, Board};
use crate::chips::qemu;
use crate::models;
use crate::route::{Missing, Route};

/// How gcc is told about the core of the board whose start-up code and memory map are in `tests/c`.
const CORE: [&str; 4] = ["-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"];
const GCC: &str = "arm-none-eabi-gcc";

/// The chores.
#[derive(Subcommand)]
pub(crate) enum CLibrary {
    /// Build libmambabyte.a; prints where it is
    Build {
        /// Rust target. Default: this machine
        #[arg(long)]
        target: Option<String>,
    },
    /// Write core/include/mambabyte.h
    Header {
        /// Write nothing, fail if the file is not current
        #[arg(long)]
        check: bool,
    },
    /// Compile tests/c with gcc, link it with the library and run it on the emulated mps2-an386 (Cortex-M4F)
    Test,
}

/// Runs a chore.
pub(crate) fn run(root: &Path, chore: CLibrary) -> Result<()> {
    match chore {
        CLibrary::Build { target } => {
            println!("{}", build(root, target.as_deref())?.display());
            Ok(())
        }
        CLibrary::Header { check } => header::run(root, check),
        CLibrary::Test => test(root),
    }
}

/// Builds the library, for this machine if there is no target; returns its path.
fn build(root: &Path, target: Option<&str>) -> Result<PathBuf> {
    let (mut cargo, output) = match target {
        Some(target) => {
            let route = Route::find(target)?;
            eprintln!("libmambabyte.a: {target}, {}", route.name);
            (route.cargo(root, "rustc", target, None, "staticlib"), route.output(root).join(target))
        }
        None => {
            let mut cargo = Command::new("cargo");
            cargo.args(["rustc", "--quiet", "--profile", "staticlib"]);
            cargo.env("CARGO_TARGET_DIR", root.join("target"));
            (cargo, root.join("target"))
        }
    };
    cargo.args(["--locked", "-p", "mambabyte-capi", "--lib", "--features", "panic-handler"]);
    cargo.args(["--crate-type", "staticlib"]).current_dir(root);
    if !cargo.status().context("cargo could not be started")?.success() {
        bail!("libmambabyte.a could not be built for {}", target.unwrap_or("this machine"));
    }
    let folder = root.join("target/c").join(target.unwrap_or("host"));
    std::fs::create_dir_all(&folder)?;
    let (library, unfinished) = (folder.join("libmambabyte.a"), folder.join("libmambabyte.a.new"));
    std::fs::copy(output.join("staticlib/libmambabyte_capi.a"), &unfinished)?;
    std::fs::rename(&unfinished, &library)?;
    Ok(library)
}

/// Golden text and misuse, in C, on the emulated chip.
fn test(root: &Path) -> Result<()> {
    let version = Command::new(GCC).arg("-dumpversion").output();
    let version = version.map_err(|e| Missing(format!("{GCC}: {e} (Debian: apt-get install gcc-arm-none-eabi)")))?;
    eprintln!("{GCC} {}", String::from_utf8_lossy(&version.stdout).trim());
    let board = boards::of_job("c")?.into_iter().next().context("no board has the job c")?;
    let library = build(root, Some(&board.target))?;
    for model in ["sensor-pico", "sensor-nano"] {
        let printed = qemu::run(board, &compile(root, board, "golden", model, &library)?)?;
        let golden = models::golden(root, model)?;
        let checksum = printed.lines().find_map(|l| l.strip_prefix("checksum ")).unwrap_or("none").trim();
        if checksum != golden {
            bail!("the C program computes {checksum} for {model}, not {golden}:\n{printed}");
        }
        println!("{:16} {:11} {model:13} {checksum} equal, from C", board.name, board.core);
    }
    let adapters = committed(root)?;
    let printed = qemu::run(board, &compile(root, board, "adapter", "sensor-nano", &library)?)?;
    for (word, net) in [("none", "none"), ("net", "sensor-nano")] {
        let golden = adapters.get(&("8K".to_owned(), net.to_owned())).context("no golden checksum of 8K")?;
        let found = printed.lines().find_map(|l| l.strip_prefix(&format!("8K {word} "))).unwrap_or("none").trim();
        if found != golden {
            bail!("the C program computes {found} for the adapter 8K with {net}, not {golden}:\n{printed}");
        }
        println!("{:16} {:11} {net:13} 8K {found} equal, from C", board.name, board.core);
    }
    let printed = qemu::run(board, &compile(root, board, "detector", "sensor-pico", &library)?)?;
    let said = ["lines ", "alarms ", "verdicts "]
        .map(|word| printed.lines().find_map(|line| line.strip_prefix(word)).unwrap_or("none").trim());
    let (said, golden) = (said.join(" "), detector_golden::committed(root));
    if said != golden {
        bail!("the C program's detector says {said}, not {golden}:\n{printed}");
    }
    println!("{:16} {:11} {:13} detector {said} equal, from C", board.name, board.core, "none");
    let printed = qemu::run(board, &compile(root, board, "misuse", "sensor-pico", &library)?)?;
    let Some(passed) = printed.lines().find_map(|l| l.strip_prefix("passed ")) else {
        bail!("the program misuse does not say how many checks passed:\n{printed}");
    };
    println!("{:16} {:11} {passed} calls with wrong arguments or damaged data refused, from C", board.name, board.core);
    Ok(())
}

/// Compiles one of the programs for the board.
fn compile(root: &Path, board: &Board, program: &str, model: &str, library: &Path) -> Result<PathBuf> {
    let source = root.join("tests/c");
    let text = if program == "detector" { "request-latency.csv" } else { "golden-4096.txt" };
    let elf = library.with_file_name(format!("{program}-{model}.elf"));
    let mut gcc = Command::new(GCC);
    gcc.args(CORE).args(["-std=c99", "-Os", "-ffreestanding", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion"]);
    gcc.args(["-Werror", "-nostdlib", "-Wl,--gc-sections", "-Wl,--fatal-warnings,-z,noexecstack"]);
    gcc.arg("-I").arg(root.join("core/include"));
    for (name, path) in
        [("MODEL_PATH", models::file(root, model, "model.mbb")), ("TEXT_PATH", root.join("models/text").join(text))]
    {
        gcc.arg(format!("-D{name}=\"{}\"", path.display()));
    }
    gcc.arg("-T").arg(source.join(&board.name).with_extension("ld"));
    gcc.args([source.join(format!("{program}.c")), source.join("platform_cortex_m.c"), library.to_owned()]);
    gcc.args(["-lgcc", "-o"]).arg(&elf);
    if !gcc.status().with_context(|| format!("{GCC} could not be started"))?.success() {
        bail!("tests/c/{program}.c could not be built");
    }
    Ok(elf)
}
