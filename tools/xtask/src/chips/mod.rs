//! `cargo xtask firmware ...`: builds, runs and measures the firmware without a board at hand.

// What jobs share.
mod arguments;
pub(crate) mod boards;
mod counting;
mod figures;
mod image;
mod instructions;
mod line;
mod memory;
mod plugin;
mod program;
pub(crate) mod qemu;
mod select;
mod sizes;
mod snapshots;
// The jobs.
mod adapt;
mod alarms;
mod bench;
mod core;
mod faults;
mod footprint;
mod forge;
mod generate;
mod golden;
mod lint;
mod power;
mod proof;
mod real;
mod run;
mod soak;
mod stack;

use std::path::Path;

use anyhow::Result;
use clap::Subcommand;

use program::Program;
use select::What;

/// The jobs.
#[derive(Subcommand)]
pub(crate) enum Firmware {
    /// List the boards
    Boards,
    /// Build a program and run it on the emulated board; flash it and run it on a board on the table
    Run(run::Run),
    /// Check that boards generate the same bytes as `mambabyte generate`
    Generate(What),
    /// Check that every board computes the golden checksum of every model that fits it
    Test(golden::Golden),
    /// Check that every board computes the golden checksum of an adapter that fits it, without a model and with one
    Adapt(adapt::Options),
    /// Check that the detector of `stream` says on emulated boards what it says here, line by line
    Alarms(alarms::Options),
    /// Compare the kernels of every core with the scalar code, on the core
    Kernels(golden::Kernels),
    /// Run the hostile blobs of the tests on emulated chips, and compare with the scalar code
    Forge(What),
    /// Check that the core builds, with all features, where there are no atomics and where there is no chip
    Core(core::Core),
    /// Check the firmware with clippy and rustdoc, for one board of each family of targets
    Lint(What),
    /// Prove that nothing in the model's code can panic, use floats or allocate: by linking, for three kinds of cores
    Proof,
    /// Check the serial line: a text each way with nothing lost, then a flood with every loss counted
    Soak(soak::Soak),
    /// Check that a program that meets a bug says so and ends with status 1, with logs by defmt and without
    Faults(What),
    /// Bound the stack of `stream` on a Cortex-M board, compare with a run, and check its RAM. Default model:
    /// sensor-nano
    Stack(What),
    /// Cut the power of an emulated board at exact places: no snapshot may be lost, no continuation wrong
    Power(power::Power),
    /// Build programs for the boards that are not emulated, each with the largest model that fits
    Real(real::Real),
    /// Count the instructions per byte by stage. Default model: sensor-nano
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

/// Does a job.
///
/// # Errors
/// The job's; [`Missing`](crate::route::Missing) if a toolchain or an emulator is.
pub(crate) fn run(root: &Path, job: Firmware) -> Result<()> {
    match job {
        Firmware::Boards => {
            for b in boards::all()? {
                println!("{:16} {:11} {:28} {} {}", b.name, b.core, b.target, b.runner(), b.machine.join(" "));
            }
            Ok(())
        }
        Firmware::Size { what, bin } => {
            for (board, model) in what.of_job("size", &["sensor-pico"])? {
                sizes::print(board, &model, &Program::new(board, &model, &bin).build(root)?)?;
            }
            Ok(())
        }
        Firmware::Run(options) => run::run(root, options),
        Firmware::Generate(what) => generate::run(root, what),
        Firmware::Test(options) => golden::run(root, options),
        Firmware::Adapt(options) => adapt::run(root, options),
        Firmware::Alarms(options) => alarms::run(root, options),
        Firmware::Kernels(what) => golden::kernels(root, what),
        Firmware::Forge(what) => forge::run(root, what),
        Firmware::Core(options) => core::run(root, options),
        Firmware::Lint(what) => lint::run(root, what),
        Firmware::Proof => proof::run(root),
        Firmware::Soak(options) => soak::run(root, options),
        Firmware::Faults(what) => faults::run(root, what),
        Firmware::Stack(what) => stack::run(root, what),
        Firmware::Power(options) => power::run(root, options),
        Firmware::Real(options) => real::run(root, options),
        Firmware::Bench(what) => bench::run(root, what),
        Firmware::Footprint { table: true, .. } => footprint::table(root),
        Firmware::Footprint { check, .. } => footprint::run(root, check),
    }
}
