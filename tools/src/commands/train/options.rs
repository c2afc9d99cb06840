//! The options of `mambabyte train`, and what they mean for a run.

use std::path::{Path, PathBuf};

use mambabyte_core::Dims;
use mambabyte_host::train::augment::Augment;
use mambabyte_host::train::optimizer::Matrices;
use mambabyte_host::train::rounding::Rounding;
use mambabyte_host::train::schedule::{Fall, Schedule};
use mambabyte_host::train::trainer::Settings;

use crate::computing::DeviceKind;
use crate::error::CliError;
use crate::model::Loading;
use crate::numbers::{finite, share, share_or_none};
use crate::output::shown;
use crate::training::place::PrecisionArg;
use crate::training::shape::Shape;

/// Defaults. They are no `default_value_t`: beside `--resume` without texts it counts whether an option was given.
const WINDOW: u32 = 1024;
const BATCH: u16 = 8;
/// On a GPU.
const GPU_WINDOW: u32 = 4096;
const GPU_BATCH: u16 = 64;
const PASSAGE: u32 = 8192;
const SEED: u64 = 1;
const DECAY: f64 = 0.1;
const CLIP: f64 = 1.0;
const TEACHER_SHARE: f64 = 0.5;

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = examples! {
    "train my.log -o my-model --shape nano --minutes 5"
    "train logs/ old.log.xz -o my-model --chip nRF52840 --minutes 30"
    "train a.log:0.7 b.log:0.3 -o my-model --from sensor-nano --steps 2000 --seed 7"
    "train --resume -o my-model"
})]
pub struct Args {
    /// Texts: files, folders, `-` for standard input; plain, gzip, xz or Zstandard. `FILE:0.3` says its share of what
    /// is read, for all texts or for none; otherwise a text counts by its bytes.
    #[arg(value_name = "TEXT", required_unless_present = "resume")]
    pub texts: Vec<String>,
    /// Folder of the run: checkpoint, blob, log, report and card. A new one, unless with --resume.
    #[arg(short, long, value_name = "FOLDER")]
    pub output: PathBuf,
    /// Go on with the run that is in the folder, from where it was last saved: the result is that of the unbroken run.
    /// With the options of that run, or without any.
    #[arg(long)]
    pub resume: bool,
    /// Print one JSON object at the end instead of text.
    #[arg(long)]
    pub json: bool,
    /// The model.
    #[command(flatten, next_help_heading = "The model")]
    pub model: ModelArgs,
    /// The run.
    #[command(flatten, next_help_heading = "The run")]
    pub run: RunArgs,
    /// The texts.
    #[command(flatten, next_help_heading = "The texts")]
    pub reading: ReadingArgs,
    /// How the model of --from is loaded.
    #[command(flatten)]
    pub loading: Loading,
}

/// Which model is trained.
#[derive(Debug, clap::Args)]
pub struct ModelArgs {
    /// A shape by name. Default: nano.
    #[arg(long, value_enum, conflicts_with_all = ["chip", "from", "d_model"])]
    pub shape: Option<Shape>,
    /// The largest shape by name that this chip has room for (part of its name suffices).
    #[arg(long, value_name = "NAME", conflicts_with_all = ["from", "d_model"])]
    pub chip: Option<String>,
    /// Begin with the weights of this model: a checkpoint, a blob, or a name of `mambabyte models`.
    #[arg(long, value_name = "MODEL", conflicts_with = "d_model")]
    pub from: Option<PathBuf>,
    /// Width of the residual stream.
    #[arg(long, requires = "n_layer")]
    pub d_model: Option<usize>,
    /// Number of blocks.
    #[arg(long, requires = "d_model")]
    pub n_layer: Option<usize>,
    /// Width inside a block. Default: twice d_model.
    #[arg(long, requires = "d_model")]
    pub d_inner: Option<usize>,
    /// States per channel. Default: 8, with free decays 16.
    #[arg(long, requires = "d_model")]
    pub d_state: Option<usize>,
    /// Taps of the convolution. Default: 4.
    #[arg(long, requires = "d_model")]
    pub d_conv: Option<usize>,
    /// Rank of the delta projection. Default: d_model / 16, rounded up.
    #[arg(long, requires = "d_model")]
    pub dt_rank: Option<usize>,
    /// The decays of a channel are free instead of powers of one number.
    #[arg(long, requires = "d_model")]
    pub free_decays: bool,
    /// The head is a matrix of its own instead of the embedding.
    #[arg(long, requires = "d_model")]
    pub untied_head: bool,
    /// Read the texts as subwords: `bpe:N` makes a vocabulary of at most N symbols of them, byte-level BPE. Such a model
    /// drafts for a byte model, `mambabyte generate MODEL --speculate FOLDER`; there is no blob of it.
    #[arg(long, value_name = "bpe:N", value_parser = bpe, conflicts_with_all = ["chip", "from", "refine"])]
    pub tokenizer: Option<usize>,
    /// Name in the blob, at most 24 bytes. Default: that of the first text.
    #[arg(long, value_parser = crate::commands::convert::blob_name)]
    pub name: Option<String>,
    /// Round weights in every step, so that the model learns to live with few bits: 8 with a scale for each row, as a blob
    /// has them, or 4 with a scale for each 32 columns, for which there is no blob yet: the checkpoint holds the rounded
    /// values, for `eval`.
    #[arg(long, value_enum, value_name = "BITS")]
    pub weights: Option<WeightsArg>,
    /// Updates that choose the integers of the blob. Default: as `mambabyte convert --refine auto`.
    #[arg(long, value_name = "UPDATES")]
    pub refine: Option<usize>,
}

/// How it is trained.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// How long, in minutes: they become steps after a short warm-up, which is said and logged, so that the run can be
    /// repeated with --steps. Default: 5.
    #[arg(long, value_name = "N", value_parser = minutes, conflicts_with_all = ["bytes", "steps"])]
    pub minutes: Option<f64>,
    /// How long, in bytes that are read.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "steps")]
    pub bytes: Option<u64>,
    /// How long, in steps.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub steps: Option<u64>,
    /// Threads. Default: all of the machine. The result has the same bits with any number.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Where to compute. Runs of a CPU and of a GPU differ in their last bits. Default: cpu; with --resume, that of the
    /// run.
    #[arg(long, value_enum)]
    pub device: Option<DeviceKind>,
    /// What products and activations are in. Default: f32 on a CPU, bf16 on a GPU.
    #[arg(long, value_enum)]
    pub precision: Option<PrecisionArg>,
    /// Bytes (or subwords) of a row in a step: how far the gradient goes back. Default: 1024, on a GPU 4096.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(8..=1 << 20))]
    pub window: Option<u32>,
    /// Rows in a step. Default: 8, on a GPU 64.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub batch: Option<u16>,
    /// Most bytes that are read in one piece from the zero state: how far the state goes back.
    /// Default: 8192.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(8..=1 << 30))]
    pub passage: Option<u32>,
    /// Names one run; equal ones with equal --steps are equal to the bit. Default: 1.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Learn from this model too: a checkpoint, a blob, or a name of `mambabyte models`, of any size. It may be repeated:
    /// the distributions of several are averaged.
    #[arg(long, value_name = "MODEL", conflicts_with = "tokenizer")]
    pub teacher: Vec<PathBuf>,
    /// Share of the loss that is the teachers'. Default: 0.5.
    #[arg(long, value_name = "SHARE", value_parser = share, requires = "teacher")]
    pub teacher_share: Option<f64>,
    /// Peak of the rate. Default: 0.004 for a width of 64, less for wider models, with --from a quarter of that.
    #[arg(long, value_name = "RATE", value_parser = share)]
    pub rate: Option<f64>,
    /// How the rate falls after its rise. Default: cosine.
    #[arg(long, value_enum)]
    pub schedule: Option<FallArg>,
    /// Who updates the projections. Default: muon.
    #[arg(long, value_enum)]
    pub matrices: Option<MatricesArg>,
    /// Decay of matrices, per unit of rate. Default: 0.1.
    #[arg(long, value_name = "N", value_parser = share_or_none)]
    pub decay: Option<f64>,
    /// Largest norm of the gradient. Default: 1.
    #[arg(long, value_name = "N", value_parser = clip)]
    pub clip: Option<f64>,
    /// Seconds between two states to resume from.
    #[arg(long, value_name = "S", default_value_t = 30.0, value_parser = finite)]
    pub save_every: f64,
}

/// How the texts are read.
#[derive(Debug, clap::Args)]
pub struct ReadingArgs {
    /// What ends a document, beside the end of a file: the state begins anew there. `\n`, `\r`, `\t`, `\0`, `\\` and
    /// `\xNN` stand for bytes.
    #[arg(long, value_name = "BYTES")]
    pub separator: Option<String>,
    /// Text to judge by; may be repeated. Default: the end of each text, a twentieth, is kept back.
    #[arg(long, value_name = "TEXT")]
    pub valid: Vec<PathBuf>,
    /// Share of the passages whose digits are permuted, so that the model learns to look back instead of by heart.
    /// Default: 0.4 where the steps read the text twice or more, otherwise 0: what is read once is not learned by heart.
    #[arg(long, value_name = "SHARE", value_parser = share_or_none)]
    pub digits: Option<f64>,
    /// The same for letters. Default: 0.
    #[arg(long, value_name = "SHARE", value_parser = share_or_none)]
    pub letters: Option<f64>,
    /// Share of the passages that lose one line of eight. Default: 0.
    #[arg(long, value_name = "SHARE", value_parser = share_or_none)]
    pub drop_lines: Option<f64>,
}

/// `--weights`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum WeightsArg {
    /// Of the blob.
    #[value(name = "8")]
    Eight,
    /// Groups of 32.
    #[value(name = "4")]
    Four,
}

/// `--schedule`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum FallArg {
    /// As half a cosine.
    #[default]
    Cosine,
    /// In a straight line, in the last fifth.
    Trapezoid,
}

/// `--matrices`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum MatricesArg {
    /// Muon.
    #[default]
    Muon,
    /// AdamW, as for all else.
    Adamw,
}

fn minutes(text: &str) -> Result<f64, String> {
    finite(text)
        .ok()
        .filter(|&n| n > 0.0 && n <= 100_000.0)
        .ok_or_else(|| "it must be above 0 and at most 100000".into())
}

/// `bpe:N`.
fn bpe(text: &str) -> Result<usize, String> {
    let count = text.strip_prefix("bpe:").and_then(|count| count.parse().ok());
    let count = count.filter(|count| (257..=1 << 16).contains(count));
    count.ok_or_else(|| "it is bpe:N, with N from 257 to 65536".into())
}

fn clip(text: &str) -> Result<f64, String> {
    finite(text).ok().filter(|&n| n > 0.0).ok_or_else(|| "it must be above 0".into())
}

/// The bytes that `--separator` stands for.
pub(super) fn separator(text: &str) -> Result<Vec<u8>, CliError> {
    let refused = || {
        CliError::Usage(format!(
            "--separator {}: a backslash stands before n, r, t, 0, \\ or xNN",
            shown(Path::new(text))
        ))
    };
    let (mut out, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'\\' {
            out.push(first);
            continue;
        }
        let (&kind, after) = rest.split_first().ok_or_else(refused)?;
        rest = after;
        out.push(match kind {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'0' => 0,
            b'\\' => b'\\',
            b'x' => {
                let (digits, after) = rest.split_at_checked(2).ok_or_else(refused)?;
                rest = after;
                let digits = std::str::from_utf8(digits).map_err(|_| refused())?;
                u8::from_str_radix(digits, 16).map_err(|_| refused())?
            }
            _ => return Err(refused()),
        });
    }
    if out.is_empty() { Err(CliError::Usage("--separator: it is empty".into())) } else { Ok(out) }
}

/// `--seed`.
pub(super) fn seed(run: &RunArgs) -> u64 {
    run.seed.unwrap_or(SEED)
}

/// The trainer's settings as the arguments have them; the steps of `--minutes` are not known yet, and with them the
/// default of `--digits`.
pub(super) fn settings(args: &Args, dims: &Dims, gpu: bool) -> Settings {
    let (run, model) = (&args.run, &args.model);
    let (window, batch) = if gpu { (GPU_WINDOW, GPU_BATCH) } else { (WINDOW, BATCH) };
    let (window, batch) = (run.window.unwrap_or(window) as usize, usize::from(run.batch.unwrap_or(batch)));
    let steps = match (run.steps, run.bytes) {
        (Some(steps), _) => steps,
        (None, Some(bytes)) => bytes.div_ceil((window * batch) as u64),
        (None, None) => 1,
    };
    let usual =
        0.004 * (64.0 / dims.d_model as f64).sqrt().min(1.0) * if args.model.from.is_some() { 0.25 } else { 1.0 };
    let fall = match run.schedule.unwrap_or_default() {
        FallArg::Cosine => Fall::Cosine,
        FallArg::Trapezoid => Fall::Trapezoid,
    };
    let reading = &args.reading;
    Settings {
        window,
        batch,
        passage: (run.passage.unwrap_or(PASSAGE) as usize).max(8),
        schedule: Schedule::new(steps, fall),
        rate: run.rate.unwrap_or(usual),
        decay: run.decay.unwrap_or(DECAY),
        clip: run.clip.unwrap_or(CLIP),
        matrices: match run.matrices.unwrap_or_default() {
            MatricesArg::Muon => Matrices::Muon,
            MatricesArg::Adamw => Matrices::Adamw,
        },
        augment: Augment {
            digits: reading.digits.unwrap_or_default(),
            letters: reading.letters.unwrap_or_default(),
            lines: reading.drop_lines.unwrap_or_default(),
        },
        rounding: match model.weights {
            None => Rounding::None,
            Some(WeightsArg::Eight) => Rounding::Bits8,
            Some(WeightsArg::Four) => Rounding::Bits4,
        },
        teachers_share: if run.teacher.is_empty() { 0.0 } else { run.teacher_share.unwrap_or(TEACHER_SHARE) },
        seed: seed(run),
    }
}

/// An option that says what a run is, where `--resume` stands without its texts.
pub(super) fn beside_resume(args: &Args) -> Option<&'static str> {
    if !args.resume || !args.texts.is_empty() {
        return None;
    }
    let Args { model, run, reading, .. } = args;
    let given = [
        ("shape", model.shape.is_some()),
        ("chip", model.chip.is_some()),
        ("from", model.from.is_some()),
        ("d-model", model.d_model.is_some()),
        ("tokenizer", model.tokenizer.is_some()),
        ("name", model.name.is_some()),
        ("refine", model.refine.is_some()),
        ("weights", model.weights.is_some()),
        ("teacher", !run.teacher.is_empty()),
        ("minutes", run.minutes.is_some()),
        ("bytes", run.bytes.is_some()),
        ("steps", run.steps.is_some()),
        ("window", run.window.is_some()),
        ("batch", run.batch.is_some()),
        ("precision", run.precision.is_some()),
        ("passage", run.passage.is_some()),
        ("seed", run.seed.is_some()),
        ("rate", run.rate.is_some()),
        ("schedule", run.schedule.is_some()),
        ("matrices", run.matrices.is_some()),
        ("decay", run.decay.is_some()),
        ("clip", run.clip.is_some()),
        ("separator", reading.separator.is_some()),
        ("valid", !reading.valid.is_empty()),
        ("digits", reading.digits.is_some()),
        ("letters", reading.letters.is_some()),
        ("drop-lines", reading.drop_lines.is_some()),
    ];
    given.into_iter().find_map(|(option, given)| given.then_some(option))
}
