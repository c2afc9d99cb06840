//! The command line, as clap reads it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::backend::{Computing, DeviceKind};
use crate::calibration_text::Mixture;

/// Byte-level Mamba models, from a training checkpoint to a microcontroller.
///
/// A blob (.mbb) is a quantised model that computes the same integers on every machine. Without a command, a
/// demonstration runs on the built-in model.
#[derive(Debug, Parser)]
#[command(name = "mambabyte", version, max_term_width = 100)]
pub struct Cli {
    /// What to do; nothing: a demonstration.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Quantise a trained checkpoint into a blob and measure what that costs.
    Convert(Convert),
    /// Show what a blob holds and what memory it needs.
    Inspect(Inspect),
    /// Say which chips a model fits, and what remains.
    Fit(Fit),
    /// Bits per byte of texts under a blob or a checkpoint.
    Eval(Eval),
    /// Write the logits after every byte of a text as a NumPy file.
    Logits(Logits),
    /// One CRC-32 over all integer logits of a text: equal on every machine.
    Checksum(Checksum),
    /// Pass a byte stream through, with the surprise of every line, and flag odd lines.
    Stream(Stream),
    /// Watch a device that scores a stream: the firmware's program `stream`, on a board or emulated.
    Monitor(Monitor),
    /// Write bytes that the model finds likely.
    Generate(Generate),
    /// Measure speed and memory on this machine.
    Bench(Bench),
    /// One model of `bench`, in a process of its own.
    #[command(hide = true)]
    BenchOne(BenchOne),
}

/// What a blob runs on.
#[derive(Clone, Debug, Default, Args)]
pub struct Running {
    /// Threads. Default: all of the machine. The result has the same bits with any number.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Kernels, by name (`mambabyte bench` lists those of this machine). Default: the fastest. All have the same bits.
    #[arg(long, value_name = "NAME")]
    pub backend: Option<String>,
}

/// `convert`.
#[derive(Debug, Args)]
pub struct Convert {
    /// Folder with config.json and weights, or a weight file (safetensors, index of shards, PyTorch .bin).
    pub checkpoint: PathBuf,
    /// The blob to write.
    #[arg(short, long)]
    pub output: PathBuf,
    /// Text like the model's input, to choose scales by; may be repeated. Default: a small built-in mixture.
    #[arg(long, value_name = "TEXT")]
    pub calibrate: Vec<PathBuf>,
    /// Which built-in text to use when no --calibrate is given.
    #[arg(long, value_enum, default_value_t, conflicts_with = "calibrate")]
    pub mixture: Mixture,
    /// Updates that choose all integers together, by distillation; 0 rounds each matrix for itself. Default: 400 up to
    /// a million parameters, 0 above.
    #[arg(long, value_name = "UPDATES")]
    pub refine: Option<usize>,
    /// Write nothing and fail if the integer model costs more than this many bits per byte over f32.
    #[arg(long, value_name = "BPB", allow_negative_numbers = true)]
    pub max_delta: Option<f64>,
    /// Also write a report with plots, one self-contained HTML file.
    #[arg(long, value_name = "OUT.html")]
    pub report: Option<PathBuf>,
    /// Name stored in the blob. Default: the name of the checkpoint's folder or file.
    #[arg(long)]
    pub name: Option<String>,
    /// Print one JSON object instead of text.
    #[arg(long)]
    pub json: bool,
}

/// `inspect`.
#[derive(Debug, Args)]
pub struct Inspect {
    /// The blob.
    pub model: PathBuf,
    /// Print one JSON object instead of text.
    #[arg(long)]
    pub json: bool,
}

/// `fit`.
#[derive(Debug, Args)]
pub struct Fit {
    /// A blob; or give the dimensions.
    #[arg(required_unless_present = "d_model", conflicts_with_all = ["d_model", "layers"])]
    pub model: Option<PathBuf>,
    /// Width of the residual stream.
    #[arg(long, requires = "layers")]
    pub d_model: Option<usize>,
    /// Number of blocks.
    #[arg(long, requires = "d_model")]
    pub layers: Option<usize>,
    /// Width inside a block. Default: twice d_model.
    #[arg(long)]
    pub d_inner: Option<usize>,
    /// States per channel.
    #[arg(long, default_value_t = 8)]
    pub d_state: usize,
    /// Taps of the convolution.
    #[arg(long, default_value_t = 4)]
    pub d_conv: usize,
    /// Rank of the delta projection. Default: d_model / 16, rounded up.
    #[arg(long)]
    pub dt_rank: Option<usize>,
    /// The decays of a channel are free instead of powers of one number.
    #[arg(long)]
    pub free_decays: bool,
    /// Only this chip (part of its name suffices); exits with 1 if the model does not fit.
    #[arg(long)]
    pub chip: Option<String>,
    /// Print one JSON object instead of text.
    #[arg(long)]
    pub json: bool,
}

/// `eval`.
#[derive(Debug, Args)]
pub struct Eval {
    /// Blob or checkpoint.
    pub model: PathBuf,
    /// Texts; `-` is standard input.
    #[arg(required = true)]
    pub texts: Vec<PathBuf>,
    /// Start anew from the zero state every N bytes. Default: one unbroken stream per text.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub window: Option<u64>,
    /// Read only the first N bytes of each text.
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Where to compute, and in what.
    #[command(flatten)]
    pub computing: Computing,
    /// Print one JSON object instead of text.
    #[arg(long)]
    pub json: bool,
    /// What to run on.
    #[command(flatten)]
    pub running: Running,
}

/// `logits`.
#[derive(Debug, Args)]
pub struct Logits {
    /// Blob or checkpoint.
    pub model: PathBuf,
    /// The text; row t of the result is the prediction after byte t.
    pub text: PathBuf,
    /// Where to compute, and in what.
    #[command(flatten)]
    pub computing: Computing,
    /// The file to write: float32 [bytes, 256], natural logits.
    #[arg(long)]
    pub npy: PathBuf,
}

/// `checksum`.
#[derive(Debug, Args)]
pub struct Checksum {
    /// The blob.
    pub model: PathBuf,
    /// The text; `-` is standard input.
    pub text: PathBuf,
    /// Where to compute.
    #[arg(long, value_enum, default_value_t)]
    pub device: DeviceKind,
    /// Print one JSON object instead of text.
    #[arg(long)]
    pub json: bool,
    /// What to run on.
    #[command(flatten)]
    pub running: Running,
}

/// `stream`.
#[derive(Debug, Args)]
pub struct Stream {
    /// The blob.
    pub model: PathBuf,
    /// The stream; `-` or nothing is standard input.
    pub file: Option<PathBuf>,
    /// Paint every byte by its surprise.
    #[arg(long)]
    pub color: bool,
    /// Flag lines above this many bits per byte. `auto` learns it from the last 64 lines, for
    /// the mean and for the worst 8 bytes: 15th 16-quantile and half of its distance from the median; after 16
    /// lines.
    #[arg(long, default_value = "auto", value_name = "BITS|auto")]
    pub threshold: String,
    /// Write the model's state here at the end (also at Ctrl-C).
    #[arg(long, value_name = "FILE")]
    pub save_state: Option<PathBuf>,
    /// Continue from a saved state, bit for bit as if never stopped.
    #[arg(long, value_name = "FILE")]
    pub load_state: Option<PathBuf>,
    /// Print one JSON object per line of the stream instead of the stream itself.
    #[arg(long, conflicts_with = "color")]
    pub json: bool,
    /// What to run on.
    #[command(flatten)]
    pub running: Running,
}

/// `monitor`.
#[derive(Debug, Args)]
pub struct Monitor {
    /// Serial port of the device, or tcp:HOST:PORT. If it is unplugged, the command waits for its return.
    #[arg(required_unless_present = "qemu", conflicts_with = "qemu")]
    pub port: Option<String>,
    /// Emulate this board in place of a port (`cargo xtask firmware boards` lists them) and send it --input. In the
    /// source folder only.
    #[arg(long, value_name = "BOARD", requires = "input")]
    pub qemu: Option<String>,
    /// A text to send to the device as it can take it; `-` is standard input. A newline is added if the last line has
    /// none. A device that starts anew gets it again from the byte on that it asks for: the first, or the one behind its
    /// last snapshot. The command ends when all is scored.
    #[arg(long, value_name = "FILE")]
    pub input: Option<PathBuf>,
    /// The emulated board's model, a folder in `models`.
    #[arg(long, value_name = "NAME", default_value = "sensor-pico", requires = "qemu")]
    pub model: String,
    /// Bits per second of a serial port.
    #[arg(long, default_value_t = 115_200)]
    pub baud: u32,
    /// End after so many lines.
    #[arg(long, value_name = "N")]
    pub lines: Option<u64>,
    /// Print one JSON object per event in place of the live view.
    #[arg(long)]
    pub json: bool,
}

/// `generate`.
#[derive(Debug, Args)]
pub struct Generate {
    /// Blob or checkpoint.
    pub model: PathBuf,
    /// Text to begin with; `-` reads it from standard input. It is not repeated in the output.
    #[arg(long, default_value = "")]
    pub prompt: String,
    /// Bytes to write.
    #[arg(short = 'n', long, default_value_t = 256)]
    pub bytes: u64,
    /// 1 samples from the model's distribution, less is more certain, 0 takes the most likely byte.
    #[arg(long, default_value_t = 1.0)]
    pub temperature: f64,
    /// Only the K most likely bytes; 0 for all.
    #[arg(long, default_value_t = 0, value_name = "K")]
    pub top_k: u16,
    /// Only the most likely bytes that together reach this share.
    #[arg(long, default_value_t = 1.0, value_name = "P")]
    pub top_p: f64,
    /// Where to compute, and in what.
    #[command(flatten)]
    pub computing: Computing,
    /// Equal seeds give equal text; in integers, on every machine.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// What to run on.
    #[command(flatten)]
    pub running: Running,
}

/// `bench`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Bench {
    /// What else to measure.
    #[command(subcommand)]
    pub command: Option<BenchCommand>,
    /// Sizes with random weights (width x layers): S 256 x 8, S-tied, M 512 x 16, L 1024 x 24, P 1024 x 53; nano is the
    /// built-in model.
    #[arg(long, value_delimiter = ',', value_enum, default_values_t = [Size::Nano, Size::S, Size::STied, Size::M, Size::L, Size::P])]
    pub size: Vec<Size>,
    /// Also measure this blob; may be repeated.
    #[arg(long, value_name = "BLOB")]
    pub model: Vec<PathBuf>,
    /// Numbers of threads to measure with.
    #[arg(long, value_delimiter = ',', value_name = "N", default_values_t = [1, 2], value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Vec<u16>,
    /// Kernels, by name. Default: the fastest.
    #[arg(long, value_name = "NAME")]
    pub backend: Option<String>,
    /// Rounds; every figure is the median over them.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub rounds: u16,
    /// Seconds for each figure in a round.
    #[arg(long, value_name = "S", default_value_t = 0.5)]
    pub seconds: f64,
    /// Write all figures, one JSON object.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write a plot.
    #[arg(long, value_name = "FILE.svg")]
    pub plot: Option<PathBuf>,
}

/// Measurements of `bench` that are not of this machine's CPU.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Times on the first NVIDIA GPU, beside what they must be, the peer's, and what the GPU could do.
    Gpu(BenchGpu),
}

/// `bench gpu`.
#[derive(Debug, Args)]
pub struct BenchGpu {
    /// A Python that has PyTorch, mamba-ssm and causal-conv1d: it is timed in the same run.
    #[arg(long, value_name = "PATH_TO_PYTHON")]
    pub peer: Option<PathBuf>,
    /// Print one JSON object instead of tables.
    #[arg(long)]
    pub json: bool,
}

/// A model with random weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "verbatim")]
pub enum Size {
    /// sensor-nano, the built-in model.
    #[value(name = "nano")]
    Nano,
    /// 256 x 8.
    S,
    /// 256 x 8, tied decays.
    #[value(name = "S-tied")]
    STied,
    /// 512 x 16.
    M,
    /// 1024 x 24.
    L,
    /// 1024 x 53.
    P,
}

/// `bench-one`.
#[derive(Debug, Args)]
pub struct BenchOne {
    /// The blob.
    pub model: PathBuf,
    /// Numbers of threads.
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Vec<u16>,
    /// Kernels, by name.
    #[arg(long)]
    pub backend: String,
    /// Rounds.
    #[arg(long)]
    pub rounds: u16,
    /// Seconds.
    #[arg(long)]
    pub seconds: f64,
}
