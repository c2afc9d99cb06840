//! `mambabyte bench`: bytes per second, share of the memory's bandwidth, time by stage, memory.
//!
//! Every model runs in a process of its own, so that its peak memory is its own. Within a round, decode, prefill and a
//! plain read of the same weights follow each other; figures are medians over rounds, so a disturbed machine shifts all
//! of them alike.

mod args;
#[cfg(feature = "cuda")]
mod gpu;
mod json;
mod measure;
mod peer;
mod plot;
mod train;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use self::json::{number, rows};
use mambabyte_core::{Backend, Dims, Norm};
use mambabyte_host::random_blob::{BlobSpec, Contents, random_blob};
use serde_json::{Value, json};

pub use args::{Args, GpuArgs, OneArgs, Other, Size, TrainArgs};

use crate::builtin::MODEL;
use crate::computing::Running;
use crate::error::CliError;
use crate::output::{Door, bytes, clean, print_json, say};

impl Size {
    /// Name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nano => "sensor-nano",
            Self::S => "S",
            Self::STied => "S-tied",
            Self::M => "M",
            Self::L => "L",
            Self::P => "P",
        }
    }

    /// The blob: random weights in the shape of the size, or the built-in model.
    fn blob(self) -> Vec<u8> {
        let (d_model, n_layer) = match self {
            Self::Nano => return MODEL.to_vec(),
            Self::S | Self::STied => (256, 8),
            Self::M => (512, 16),
            Self::L => (1024, 24),
            Self::P => (1024, 53),
        };
        let dims = Dims {
            d_model,
            n_layer,
            d_inner: 2 * d_model,
            d_state: 16,
            d_conv: 4,
            dt_rank: d_model / 16,
            norm: Norm::Rms,
            tied_head: true,
            tied_decays: self == Self::STied,
        };
        random_blob(BlobSpec { dims, contents: Contents::Typical, seed: 1 })
    }
}

/// Runs the command.
///
/// # Errors
/// [`CliError`].
pub fn run(args: &Args) -> Result<(), CliError> {
    match &args.command {
        None => {}
        Some(Other::Train(args)) => return train::run(args),
        #[cfg(feature = "cuda")]
        Some(Other::Gpu(args)) => return gpu::run(args),
        #[cfg(not(feature = "cuda"))]
        Some(Other::Gpu(_)) => return Err(CliError::NoCuda { asked: "bench gpu" }),
    }
    let backend = Running { threads: None, backend: args.backend.clone() }.cpu()?.backend;
    let mut door = Door::default();
    args.model.iter().for_each(|model| door.reads_model(model));
    door.writes("--json", args.json.as_deref());
    door.writes("--plot", args.plot.as_deref());
    let outputs = door.open()?;
    let folder = tempfile::tempdir().map_err(|e| CliError::io("temporary folder", e))?;
    let mut models = Vec::new();
    for path in &args.model {
        let folder = path.parent().and_then(Path::file_name).or(path.file_stem()).unwrap_or_default();
        let generic = path.file_stem().is_some_and(|stem| stem == "model");
        let name = if generic { folder } else { path.file_stem().unwrap_or_default() };
        models.push(measure_model(&clean(&name.to_string_lossy()), path, backend, args)?);
    }
    for size in &args.size {
        let path = folder.path().join("bench.mbb");
        std::fs::write(&path, size.blob()).map_err(|e| CliError::io(&path, e))?;
        models.push(measure_model(size.name(), &path, backend, args)?);
    }
    let all: Vec<_> = Backend::all().map(Backend::name).collect();
    let report = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "cpu": cpu_name(),
        "logical_cpus": std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        "backend": backend.name(),
        "backends": all,
        "rounds": args.rounds,
        "seconds": args.seconds,
        "models": models,
    });
    let figures = format!("{report:#}\n");
    let plot = args.plot.as_ref().map(|_| plot::svg(&report)).transpose()?.unwrap_or_default();
    outputs.write(&[("--json", figures.as_bytes()), ("--plot", plot.as_bytes())])?;
    outputs.print(&table(&report))
}

/// Measures the blob at `path` in another process.
fn measure_model(name: &str, path: &Path, backend: Backend, args: &Args) -> Result<Value, CliError> {
    say(format_args!("measuring {name}"));
    let threads: Vec<String> = args.threads.iter().map(u16::to_string).collect();
    let program = std::env::current_exe().map_err(|e| CliError::io("this program", e))?;
    let mut command = Command::new(&program);
    command.arg("bench-one").arg(path).args(["--threads", &threads.join(","), "--backend", backend.name()]);
    command.args(["--rounds", &args.rounds.to_string(), "--seconds", &args.seconds.to_string()]);
    let output = command.stderr(Stdio::inherit()).output().map_err(|e| CliError::io(&program, e))?;
    let failed = || CliError::Usage(format!("{name}: the measuring process failed ({})", output.status));
    if !output.status.success() {
        return Err(failed());
    }
    let mut value: Value = serde_json::from_slice(&output.stdout).map_err(|_| failed())?;
    value["name"] = name.into();
    Ok(value)
}

/// Runs `bench-one`.
///
/// # Errors
/// [`CliError`].
pub fn run_one(args: &OneArgs) -> Result<(), CliError> {
    let cpu = Running { threads: None, backend: Some(args.backend.clone()) }.cpu()?;
    print_json(&measure::one(args, cpu.backend)?)
}

/// The processor's name, as the system tells it.
fn cpu_name() -> String {
    let text = std::fs::read_to_string(PathBuf::from("/proc/cpuinfo")).unwrap_or_default();
    let name = text.lines().find(|l| l.starts_with("model name")).and_then(|l| l.split(':').nth(1));
    name.map_or_else(|| std::env::consts::ARCH.to_owned(), |name| name.trim().to_owned())
}

/// What people read.
fn table(report: &Value) -> String {
    let text = |v: &Value| v.as_str().unwrap_or("").to_owned();
    let names: Vec<String> = rows(&report["backends"]).iter().map(text).collect();
    let mut out = format!(
        "{}, {} logical CPUs; kernels {} (this machine has {})\n\n",
        text(&report["cpu"]),
        report["logical_cpus"],
        text(&report["backend"]),
        names.join(", ")
    );
    let _ = writeln!(
        out,
        "{:<14}{:>10} {:>3} {:>12} {:>13} {:>9} {:>9} {:>7} {:>9} {:>9} {:>11}",
        "model",
        "weights",
        "thr",
        "decode B/s",
        "prefill B/s",
        "GB/s",
        "can read",
        "share",
        "load ms",
        "copy ms",
        "peak over"
    );
    for model in rows(&report["models"]) {
        for run in rows(&model["runs"]) {
            let _ = writeln!(
                out,
                "{:<14}{:>10} {:>3} {:>12.0} {:>13.0} {:>9.1} {:>9.1} {:>6.0}% {:>9.2} {:>9.2} {:>11}",
                text(&model["name"]),
                bytes(model["weights_bytes"].as_u64().unwrap_or(0)),
                run["threads"],
                number(&run["decode"]),
                number(&run["prefill"]),
                number(&run["decode_gb_s"]),
                number(&run["read_gb_s"]),
                100.0 * number(&run["share"]),
                number(&model["load_ms"]),
                number(&model["prepare_ms"]),
                model["rss_over"].as_i64().map_or_else(|| "?".to_owned(), |n| bytes(n.max(0) as u64)),
            );
        }
    }
    out.push_str(
        "\nGB/s: weights read by decode; can read: the same weights, only read, in the same run. load: map and check;\n\
         copy: in the order of these kernels. peak over: resident memory beyond weights and state, one thread.\n\nshare of time by stage, one thread, %\n",
    );
    let _ = write!(out, "{:<22}", "");
    for stage in mambabyte_core::Stage::ALL {
        let _ = write!(out, "{:>9}", stage.name());
    }
    out.push('\n');
    for model in rows(&report["models"]) {
        for kind in ["decode", "prefill"] {
            let _ = write!(out, "{:<22}", format!("{} {kind}", text(&model["name"])));
            for stage in mambabyte_core::Stage::ALL {
                let _ = write!(out, "{:>9.1}", 100.0 * number(&model["stages"][kind][stage.name()]));
            }
            out.push('\n');
        }
    }
    out
}
