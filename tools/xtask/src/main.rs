//! `cargo xtask firmware ...`: builds, runs and measures the firmware without a board at hand.
//! `cargo xtask c ...`: the library for C. `cargo xtask web ...`: the same for browsers and Node.
//! `cargo xtask cuda ...`: the kernels for GPUs.

mod c;
mod chips;
mod ci;
mod cuda;
mod models;
mod route;
mod web;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand};
use mambabyte_core::{Blob, Dims};
use mambabyte_host::align::AlignedBytes;
use object::{Object, ObjectSection, SectionFlags};

use chips::boards::{BOARDS, Board, REAL};
use chips::{bench, boards, faults, footprint, generate, image, power, proof, qemu, soak, stack};
use models::tied;
use route::{Missing, Route};

#[derive(Parser)]
#[command(about = "Chores of this repository")]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Programs for chips
    #[command(subcommand)]
    Firmware(Firmware),
    /// The library for C
    #[command(subcommand)]
    C(c::CLibrary),
    /// The kernels for GPUs
    #[command(subcommand)]
    Cuda(cuda::Cuda),
    /// The library as a WebAssembly module, and its page
    #[command(subcommand)]
    Web(web::Web),
    /// Count the circles of imports among the source files
    Circles(ci::circles::Circles),
}

#[derive(Subcommand)]
enum Firmware {
    /// List the boards
    Boards,
    /// Build a program and run it on the emulated board; flash it and run it on a board on the table
    Run {
        #[command(flatten)]
        what: What,
        /// The program
        #[arg(long, default_value = "selftest")]
        bin: String,
        /// Features of the firmware beside those that the program needs, with commas: text, log-rtt, log-semihosting
        #[arg(long, value_delimiter = ',')]
        features: Vec<String>,
        /// Where its serial line goes, as QEMU's option of that name takes it; for one board
        #[arg(long, conflicts_with = "arguments")]
        serial: Option<String>,
        /// A file for the flash of `stream`, which then saves itself there and goes on from it; with --serial
        #[arg(long, requires = "serial")]
        flash: Option<PathBuf>,
        /// Its command line; for generate, the options of `mambabyte generate`
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Check that boards generate the same bytes as `mambabyte generate`. Default: mps2-an386 and virt-rv32imc
    Generate(What),
    /// Check that every board computes the golden checksum of every model that fits it
    Test(What),
    /// Compare the kernels of every core with the scalar code, on the core
    Kernels(What),
    /// Check that the core builds, with all features, where there are no atomics and where there is no chip
    Core,
    /// Prove that nothing in the model's code can panic, use floats or allocate: by linking, for three kinds of cores
    Proof,
    /// Check the serial line: a text each way with nothing lost, then a flood with every loss counted. Default: three
    /// boards
    Soak(soak::Soak),
    /// Check that a program that meets a bug says so and ends with status 1, with logs by defmt and without. Default:
    /// mps2-an386 and virt-rv32imc
    Faults(What),
    /// Bound the stack of `stream` on a Cortex-M board, compare with a run, and check its RAM. Default: mps2-an386 with
    /// sensor-nano
    Stack(What),
    /// Cut the power of an emulated board at exact places: no snapshot may be lost, no continuation wrong
    Power(power::Power),
    /// Build all programs for the boards that are not emulated, each with the largest model that fits
    Real(What),
    /// Count the instructions per byte by stage
    Bench(What),
    /// Measure all boards into firmware/FOOTPRINT.md
    Footprint {
        /// Compare with the file instead, and fail if a figure grew by more than 2 %
        #[arg(long)]
        check: bool,
        /// Measure nothing: only make the table for `mambabyte fit` of the file
        #[arg(long, conflicts_with = "check")]
        table: bool,
    },
    /// Print what a program takes of flash and RAM
    Size {
        #[command(flatten)]
        what: What,
        /// The program
        #[arg(long, default_value = "selftest")]
        bin: String,
    },
}

#[derive(Args)]
struct What {
    /// Board; may be repeated. Default: mps2-an386, for test all
    #[arg(long, value_parser = Board::named)]
    board: Vec<Board>,
    /// Shipped model, or one with -tied behind its name for one that is only counted; may be repeated. Default: sensor-pico, for test the three sensor models
    #[arg(long)]
    model: Vec<String>,
}

impl What {
    fn pairs(self, boards: &[Board], models: &[&str]) -> Vec<(Board, String)> {
        let boards = if self.board.is_empty() { boards.to_vec() } else { self.board };
        let models = if self.model.is_empty() { models.iter().map(|&m| m.to_owned()).collect() } else { self.model };
        boards.iter().flat_map(|&b| models.iter().map(move |m| (b, m.clone()))).collect()
    }
}

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let done = root.canonicalize().map_err(anyhow::Error::from).and_then(|root| match Cli::parse().chore {
        Chore::Firmware(command) => firmware(&root, command),
        Chore::C(chore) => c::run(&root, chore),
        Chore::Cuda(chore) => cuda::run(&root, chore),
        Chore::Web(chore) => web::run(&root, chore),
        Chore::Circles(options) => ci::circles::run(&root, &options),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            // 3: nothing is wrong but that a toolchain or an emulator is missing.
            ExitCode::from(if error.is::<Missing>() { 3 } else { 1 })
        }
    }
}

fn firmware(root: &Path, command: Firmware) -> Result<()> {
    let default = Board::named("mps2-an386").map_err(anyhow::Error::msg)?;
    match command {
        Firmware::Boards => {
            for b in BOARDS.iter().chain(&REAL) {
                println!("{:16} {:11} {:28} {} {}", b.name, b.core, b.target, b.emulator.0, b.emulator.1.join(" "));
            }
            Ok(())
        }
        Firmware::Run { what, bin, features, serial, flash, arguments } => {
            let words = match (bin.as_str(), arguments.is_empty()) {
                ("generate", _) => generate::words(&arguments)?,
                (_, true) => Vec::new(),
                (_, false) => std::iter::once(&bin).chain(&arguments).map(OsString::from).collect(),
            };
            for (board, model) in what.pairs(&[default], &["sensor-pico"]) {
                let mut all = program_features(&board, &bin);
                all.extend(features.iter().map(String::as_str));
                if let Some(file) = &flash {
                    power::flash_file(&board, file)?;
                    all.push("snapshots");
                }
                let built_in = board.real() && !words.is_empty();
                let elf = build_words(root, &board, &model, &bin, &all, if built_in { &words } else { &[] })?;
                match &serial {
                    Some(_) if board.real() => bail!("{}: its serial line is where you wired it", board.name),
                    Some(serial) => qemu::become_it(&board, &elf, serial, flash.as_deref())?,
                    None => qemu::show(&board, &elf, &words)?,
                }
            }
            Ok(())
        }
        Firmware::Generate(what) => {
            let riscv = Board::named("virt-rv32imc").map_err(anyhow::Error::msg)?;
            for (board, model) in what.pairs(&[default, riscv], &["sensor-pico"]) {
                generate::compare(root, &board, &model, &build(root, &board, &model, "generate")?)?;
            }
            Ok(())
        }
        Firmware::Size { what, bin } => {
            for (board, model) in what.pairs(&[default], &["sensor-pico"]) {
                size(&board, &model, &build(root, &board, &model, &bin)?)?;
            }
            Ok(())
        }
        Firmware::Test(what) => test(root, what),
        Firmware::Real(what) => real(root, what),
        Firmware::Bench(what) => {
            for (board, model) in what.pairs(&[default], &["sensor-nano"]) {
                bench::print(&board, &model, &bench::count(root, &board, &model)?);
            }
            Ok(())
        }
        Firmware::Footprint { table: true, .. } => footprint::table(root),
        Firmware::Footprint { check, .. } => footprint::run(root, check),
        Firmware::Kernels(what) => {
            for (board, model) in what.pairs(&BOARDS, &["sensor-pico"]) {
                print!("{}", qemu::run(&board, &build(root, &board, &model, "kernels")?)?);
            }
            Ok(())
        }
        Firmware::Soak(options) => soak::run(root, options),
        Firmware::Faults(what) => faults::run(root, what),
        Firmware::Power(options) => power::run(root, options),
        Firmware::Stack(what) => stack::run(root, what),
        Firmware::Proof => proof::run(root),
        Firmware::Core => core(root),
    }
}

fn model_file(root: &Path, model: &str, file: &str) -> PathBuf {
    root.join("models").join(model).join(file)
}

/// What `bin` is built with: `stream` has the serial line, on a board on the table also logs for the debugger.
fn program_features(board: &Board, bin: &str) -> Vec<&'static str> {
    match bin {
        "stream" if board.real() => vec!["uart", "log-rtt"],
        "stream" => vec!["uart"],
        "kernels" => vec!["kernel-check"],
        _ => Vec::new(),
    }
}

/// Builds `bin` and returns the program; `stream` with messages.
fn build(root: &Path, board: &Board, model: &str, bin: &str) -> Result<PathBuf> {
    build_with(root, board, model, bin, &program_features(board, bin))
}

/// Builds `bin` with features of the firmware and returns the program.
fn build_with(root: &Path, board: &Board, model: &str, bin: &str, features: &[&str]) -> Result<PathBuf> {
    build_words(root, board, model, bin, features, &[])
}

/// As [`build_with`], with the words of a command line in the program where the board gives it none.
fn build_words(
    root: &Path,
    board: &Board,
    model: &str,
    bin: &str,
    features: &[&str],
    words: &[OsString],
) -> Result<PathBuf> {
    let blob = tied::blob_file(root, model)?;
    if !blob.exists() {
        bail!("--model {model}: there is no {}", blob.display());
    }
    let route = Route::find(board.target)?;
    eprintln!("{} ({}), {model}: {}, {}", board.name, board.core, board.target, route.name);
    let mut cargo = route.cargo(root, "build", board.target, board.cpu);
    cargo.args(["--locked", "--bin", bin]).current_dir(root.join("firmware"));
    let features: Vec<&str> = features.iter().copied().chain(board.feature()).collect();
    cargo.args(["--features", &features.join(",")]);
    cargo.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", board.opt_level());
    cargo.env("FW_BOARD", board.name).env("FW_MODEL", blob).env_remove("FW_ARGUMENTS");
    if !words.is_empty() {
        cargo.env("FW_ARGUMENTS", words.join(std::ffi::OsStr::new(" ")));
    }
    // Without a level defmt logs errors only.
    if std::env::var_os("DEFMT_LOG").is_none() {
        cargo.env("DEFMT_LOG", "info");
    }
    if !cargo.status().context("cargo could not be started")?.success() {
        bail!("{bin} could not be built for {}", board.name);
    }
    let elf = route.output(root).join(board.target).join("release").join(bin);
    if board.emulator.0 == boards::ESPTOOL {
        image::write(&elf)?;
    }
    Ok(elf)
}

/// All programs of the boards on the table.
fn real(root: &Path, what: What) -> Result<()> {
    const PROGRAMS: [(&str, &[&str]); 5] = [
        ("selftest", &[]),
        ("generate", &[]),
        ("stream", &["uart", "log-rtt"]),
        ("stream", &["text", "log-rtt"]),
        ("stream", &["uart"]),
    ];
    let models = ["sensor-micro", "sensor-nano", "sensor-pico"];
    for board in if what.board.is_empty() { REAL.to_vec() } else { what.board } {
        let model = models.into_iter().find(|model| {
            (what.model.is_empty() || what.model.iter().any(|m| m == model))
                && fits(root, &board, model).is_ok_and(|fits| fits)
        });
        let model = model.with_context(|| format!("{}: no model fits", board.name))?;
        for (bin, features) in PROGRAMS {
            let elf = build_with(root, &board, model, bin, features)?;
            let (flash, ram) = footprint::sizes(&elf)?;
            println!(
                "{:10} {:11} {model:13} {bin:9} {:13} built, not run: {flash} bytes of flash, {ram} of RAM",
                board.name,
                board.core,
                features.join("+")
            );
        }
    }
    Ok(())
}

/// The other targets are built with every self-test.
fn core(root: &Path) -> Result<()> {
    for target in ["thumbv6m-none-eabi", "riscv32imc-unknown-none-elf", "wasm32-unknown-unknown"] {
        let route = Route::find(target)?;
        eprintln!("mambabyte-core with all features: {target}, {}", route.name);
        let mut cargo = route.cargo(root, "build", target, None);
        cargo.args(["--locked", "-p", "mambabyte-core", "--features", "f32,defmt"]).current_dir(root);
        if !cargo.status().context("cargo could not be started")?.success() {
            bail!("mambabyte-core could not be built for {target}");
        }
    }
    Ok(())
}

/// The equality matrix.
fn test(root: &Path, what: What) -> Result<()> {
    let (mut wrong, mut ran) = (Vec::new(), 0);
    for (board, model) in what.pairs(&BOARDS, &["sensor-pico", "sensor-nano", "sensor-micro"]) {
        if !fits(root, &board, &model)? {
            println!("{:16} {:11} {model:13} does not fit", board.name, board.core);
            continue;
        }
        let golden = std::fs::read_to_string(model_file(root, &model, "golden.crc32"))?;
        let printed = qemu::run(&board, &build(root, &board, &model, "selftest")?)?;
        let checksum = printed.lines().find_map(|l| l.strip_prefix("checksum ")).unwrap_or("none").trim();
        let same = checksum == golden.trim();
        ran += 1;
        println!("{:16} {:11} {model:13} {checksum} {}", board.name, board.core, if same { "equal" } else { "WRONG" });
        if !same {
            wrong.push(format!("{} computes {checksum} for {model}, not {}", board.name, golden.trim()));
        }
    }
    if !wrong.is_empty() {
        bail!("{}", wrong.join("; "));
    }
    if ran == 0 {
        bail!("no model fits");
    }
    Ok(())
}

/// Whether flash holds the model beside 32 KiB of program, and RAM its state beside 4 KiB.
fn fits(root: &Path, board: &Board, model: &str) -> Result<bool> {
    let map = std::fs::read_to_string(root.join("firmware/memory").join(format!("{}.x", board.name)))?;
    let region = |name: &str| -> Result<usize> {
        let line = map.lines().find(|l| l.trim_start().starts_with(name)).context("memory map without FLASH or RAM")?;
        let length = line.rsplit("LENGTH =").next().unwrap_or_default().trim();
        let (number, unit) = length.split_at(length.len() - 1);
        Ok(number.parse::<usize>()? * if unit == "M" { 1024 * 1024 } else { 1024 })
    };
    let bytes = AlignedBytes::new(&std::fs::read(tied::blob_file(root, model)?)?);
    let blob = Blob::parse(bytes.as_slice()).map_err(|e| anyhow::anyhow!("{model}: {e}"))?;
    let dims: &Dims = blob.dims();
    let ram = dims.state_bytes() + dims.scratch_bytes() + 4096;
    Ok(bytes.as_slice().len() + 32 * 1024 <= region("FLASH")? && ram <= region("RAM")?)
}

/// Sections by where they go.
fn size(board: &Board, model: &str, elf: &Path) -> Result<()> {
    let data = std::fs::read(elf)?;
    let file = object::File::parse(&*data)?;
    println!("{} {model} {}", board.name, elf.display());
    for section in file.sections() {
        let SectionFlags::Elf { sh_flags } = section.flags() else { continue };
        if sh_flags & u64::from(object::elf::SHF_ALLOC) != 0 && section.size() > 0 {
            println!("{:16} {:9} bytes at {:#010x}", section.name()?, section.size(), section.address());
        }
    }
    Ok(())
}
