//! `cargo xtask firmware ...`: builds, runs and measures the firmware without a board at hand.
//! `cargo xtask c ...`: the library for C. `cargo xtask web ...`: the same for browsers and Node.
//! `cargo xtask cuda ...`: the kernels for GPUs. `cargo xtask circles`: circles of imports.

mod c;
mod chips;
mod ci;
mod cuda;
mod forged;
mod models;
mod route;
mod web;

use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use route::Missing;

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
    Firmware(chips::Firmware),
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

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let done = root.canonicalize().map_err(anyhow::Error::from).and_then(|root| match Cli::parse().chore {
        Chore::Firmware(job) => chips::run(&root, job),
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
