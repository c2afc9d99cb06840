//! The command lines of `bench`.

use std::path::PathBuf;

use crate::computing::DeviceKind;
use crate::numbers::seconds;
use crate::training::place::PrecisionArg;
use crate::training::shape::Shape;

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, after_help = examples! {
    "bench"
    "bench --model prose-small --size nano --threads 1 --json speed.json --plot speed.svg"
})]
pub struct Args {
    /// What else to measure.
    #[command(subcommand)]
    pub command: Option<Other>,
    /// Sizes with random weights (width x layers): S 256 x 8, S-tied, M 512 x 16, L 1024 x 24, P 1024 x 53; nano is the
    /// built-in model.
    #[arg(long, value_delimiter = ',', value_enum, default_values_t = [Size::Nano, Size::S, Size::STied, Size::M, Size::L, Size::P])]
    pub size: Vec<Size>,
    /// Also measure this blob, by path or by name; may be repeated.
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
    #[arg(long, value_name = "S", default_value_t = 0.5, value_parser = seconds)]
    pub seconds: f64,
    /// Write all figures, one JSON object; `-` is standard output, and the table goes to standard error.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write a plot; it appears together with the figures, or neither.
    #[arg(long, value_name = "FILE.svg")]
    pub plot: Option<PathBuf>,
}

/// Measurements of `bench` that are not of this machine's CPU.
#[derive(Debug, clap::Subcommand)]
pub enum Other {
    /// Times on the first NVIDIA GPU, beside what they must be, the peer's, and what the GPU could do.
    Gpu(GpuArgs),
    /// How fast training is: forward, back and update over random text.
    Train(TrainArgs),
}

/// The arguments of `bench train`.
#[derive(Debug, clap::Args)]
pub struct TrainArgs {
    /// Shapes of `train`.
    #[arg(long, value_delimiter = ',', value_enum, default_values_t = [Shape::Nano, Shape::Micro])]
    pub shape: Vec<Shape>,
    /// Where to compute.
    #[arg(long, value_enum, default_value_t)]
    pub device: DeviceKind,
    /// What products and activations are in. Default: f32 on a CPU, bf16 on a GPU.
    #[arg(long, value_enum)]
    pub precision: Option<PrecisionArg>,
    /// Bytes of a row. Default: 1024, on a GPU 8192.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(8..=1 << 20))]
    pub window: Option<u32>,
    /// Rows. Default: 8, on a GPU 64.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub batch: Option<u16>,
    /// Steps that are timed, after two that are not; the median counts.
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub steps: u16,
    /// Threads of the CPU. Default: all.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Also where the time of a step goes, on a GPU.
    #[arg(long)]
    pub stages: bool,
    /// A Python that has PyTorch and, for a CPU, transformers, for a GPU mamba-ssm and causal-conv1d: the same steps are
    /// timed there in the same run.
    #[arg(long, value_name = "PATH_TO_PYTHON")]
    pub peer: Option<PathBuf>,
    /// Print one JSON object instead of a table.
    #[arg(long)]
    pub json: bool,
}

/// The arguments of `bench gpu`.
#[derive(Debug, clap::Args)]
pub struct GpuArgs {
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

/// The arguments of `bench-one`.
#[derive(Debug, clap::Args)]
pub struct OneArgs {
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
    #[arg(long, value_parser = seconds)]
    pub seconds: f64,
}
