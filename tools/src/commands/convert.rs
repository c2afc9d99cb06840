//! `mambabyte convert`: checkpoint in, blob and the price of it out.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use mambabyte_core::Blob;
use mambabyte_host::Model;
use mambabyte_host::align::AlignedBytes;
use mambabyte_host::quantize::{Options, Quantized, Schedule, quantize};
use serde_json::json;

use crate::calibration_text::{Mixture, Text, texts};
use crate::error::CliError;
use crate::formats;
use crate::measured::Measured;
use crate::numbers::{byte_bits, finite};
use crate::output::{Door, Outputs, bytes, clean, hex, shown, thousands};
use crate::progress::Progress;
use crate::report;
use crate::shipped::find_checkpoint;

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = examples! {
    "convert models/sensor-pico -o my.mbb --report my.html"
    "convert checkpoint.pt -o my.mbb --refine 0 --calibrate some.log"
    "convert sensor-pico -o - --refine 0 | wc -c"
})]
pub struct Args {
    /// Folder with config.json and weights, or a weight file (safetensors, index of shards, PyTorch .bin); or a name of
    /// `mambabyte models` whose checkpoint is at hand.
    pub checkpoint: PathBuf,
    /// The blob to write; `-` is standard output, and what else there is to say goes to standard error.
    #[arg(short, long)]
    pub output: PathBuf,
    /// Text like the model's input, to choose scales by; may be repeated. Of each, 64 KiB in pieces from all over it are
    /// used; of a pipe (`-` is standard input) from its first 16 MiB. Default: a small built-in mixture.
    #[arg(long, value_name = "TEXT")]
    pub calibrate: Vec<PathBuf>,
    /// Which built-in text to use when no --calibrate is given.
    #[arg(long, value_enum, default_value_t, conflicts_with = "calibrate")]
    pub mixture: Mixture,
    /// Updates that choose all integers together, by distillation; 0 rounds each matrix for itself. `auto`: 400 up to
    /// 262,144 parameters, 300 up to 1,048,576, 0 above; on two cores less than half a minute for pico, one and a half for
    /// nano, three for micro. The size decides and no clock, so that the same checkpoint gives the same blob.
    #[arg(long, value_name = "auto|UPDATES", default_value = "auto")]
    pub refine: Refine,
    /// Write nothing and fail if the integer model costs more than this many bits per byte over f32.
    #[arg(long, value_name = "BPB", allow_negative_numbers = true, value_parser = finite)]
    pub max_delta: Option<f64>,
    /// Also write a report with plots, one self-contained HTML file. It appears together with the blob, or neither.
    #[arg(long, value_name = "OUT.html")]
    pub report: Option<PathBuf>,
    /// Name stored in the blob, at most 24 bytes. Default: the name of the checkpoint's folder or file, cut to that.
    #[arg(long, value_parser = blob_name)]
    pub name: Option<String>,
    /// Bits per byte above which a text is none that the model knows, stored in the blob: `stream --false-alarms` says
    /// unknown-text of such. Between what texts of the kinds that it has learned cost and what others do. Default: nothing is stored,
    /// which stands for 4.
    #[arg(long, value_name = "BITS", allow_negative_numbers = true, value_parser = byte_bits)]
    pub unknown_text: Option<f64>,
    /// Print one JSON object instead of text.
    #[arg(long)]
    pub json: bool,
    /// How the checkpoint is loaded.
    #[command(flatten, next_help_heading = "Loading the checkpoint")]
    pub loading: formats::Options,
}

/// `--refine`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refine {
    /// As many updates as suit the size of the model.
    Auto,
    /// So many.
    Updates(usize),
}

impl std::str::FromStr for Refine {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            number => number.parse().map(Self::Updates).map_err(|_| "`auto` or a number of updates".to_owned()),
        }
    }
}

/// What a conversion gave.
pub struct Converted {
    /// The blob, and what is known of it.
    pub quantized: Quantized,
    /// What its integers cost.
    pub measured: Measured,
    /// Parameters of the checkpoint.
    pub parameters: usize,
    /// What scales were chosen by.
    pub texts: Vec<Text>,
    /// What there is to say.
    pub notes: Vec<String>,
}

/// Makes a blob; nothing is written. `tick` is told how many more bytes are read, and of how many in all.
///
/// # Errors
/// [`CliError`].
pub fn convert(args: &Args, tick: &(dyn Fn(usize, usize) + Sync)) -> Result<Converted, CliError> {
    let checkpoint = find_checkpoint(&args.checkpoint)?;
    let loaded = formats::load(&checkpoint, &args.loading)?;
    let mut notes = loaded.notes;
    let model = Model::new(loaded.checkpoint)?;
    let texts = texts(&args.calibrate, args.mixture)?;
    let calibration: Vec<&[u8]> = texts.iter().map(|t| t.calibration.as_slice()).collect();
    let holdout: Vec<&[u8]> = texts.iter().map(|t| t.holdout.as_slice()).collect();
    let parameters = model.checkpoint().parameters();
    let refine = match args.refine {
        Refine::Auto => Schedule::auto(parameters),
        Refine::Updates(updates) => Schedule::of(parameters, updates),
    };
    if args.refine == Refine::Auto && refine.updates == 0 {
        notes.push("a large model: rounded without refinement, which --refine 300 would do".to_owned());
    }
    let total = texts.iter().map(Text::used).sum::<usize>() + refine.bytes();
    let name = args.name.clone().unwrap_or_else(|| default_name(&checkpoint));
    let unknown_text = args.unknown_text.map_or(0, |bits| (bits * 256.0).round() as u16);
    let options = Options { name, unknown_text, refine, ..Options::default() };
    let bar = Progress::bytes("calibrating", total as u64);
    let seen = |n| {
        bar.add(n);
        tick(n, total);
    };
    let quantized = quantize(&model, &calibration, &holdout, &options, &seen)?;
    drop(bar);
    notes.extend(quantized.notes.iter().cloned());
    let aligned = AlignedBytes::new(&quantized.blob);
    let blob =
        Blob::parse(aligned.as_slice()).map_err(|source| CliError::Blob { path: args.output.clone(), source })?;
    let measured = Measured::of(&model, blob, &holdout)?;
    if let Some(allowed) = args.max_delta.filter(|&allowed| measured.delta() > allowed) {
        return Err(CliError::TooMuchLoss { delta: measured.delta(), allowed });
    }
    Ok(Converted { quantized, measured, parameters, texts, notes })
}

/// Makes a blob and writes it, and the report if there is to be one; where else there is something to say.
///
/// # Errors
/// [`CliError`]; nothing is written then.
pub fn write(args: &Args, tick: &(dyn Fn(usize, usize) + Sync)) -> Result<(Converted, Outputs), CliError> {
    let checkpoint = find_checkpoint(&args.checkpoint)?;
    let mut door = Door::default();
    door.reads_checkpoint(&checkpoint);
    args.calibrate.iter().for_each(|text| door.reads(text));
    door.writes("--output", &*args.output);
    door.writes("--report", args.report.as_deref());
    let outputs = door.open()?;
    let made = convert(args, tick)?;
    let aligned = AlignedBytes::new(&made.quantized.blob);
    let blob =
        Blob::parse(aligned.as_slice()).map_err(|source| CliError::Blob { path: args.output.clone(), source })?;
    let names: Vec<String> = made.texts.iter().map(Text::description).collect();
    let page = args.report.as_ref().map(|_| {
        report::page(&report::Input {
            checkpoint: &checkpoint.display().to_string(),
            blob,
            parameters: made.parameters,
            quantized: &made.quantized,
            measured: &made.measured,
            texts: &names,
            notes: &made.notes,
        })
    });
    outputs.write(&[("--output", &made.quantized.blob), ("--report", page.unwrap_or_default().as_bytes())])?;
    Ok((made, outputs))
}

/// Runs the command.
///
/// # Errors
/// [`CliError`]; nothing is written then.
pub fn run(args: &Args) -> Result<(), CliError> {
    let (made, outputs) = write(args, &|_, _| ())?;
    let Converted { quantized, measured, parameters, texts, notes } = made;
    let aligned = AlignedBytes::new(&quantized.blob);
    let blob =
        Blob::parse(aligned.as_slice()).map_err(|source| CliError::Blob { path: args.output.clone(), source })?;
    let names: Vec<String> = texts.iter().map(Text::description).collect();
    if args.json {
        return outputs.print_json(&json!({
            "bpb_f32": measured.f32.bits_per_byte(), "bpb_int": measured.int.bits_per_byte(),
            "delta_bpb": measured.delta(), "bytes": quantized.blob.len(), "params": parameters,
            "fingerprint": hex(&blob.fingerprint()), "calibration": texts.iter().map(Text::json).collect::<Vec<_>>(), "holdout_bytes": measured.f32.bytes,
            "tensors": quantized.tensors, "notes": notes,
            "clipped": quantized.activations.iter().map(|a| json!({ "layer": a.layer, "activation": a.activation,
                "clip": a.clip, "largest": a.largest, "clipped_share": a.clipped_share })).collect::<Vec<_>>(),
        }));
    }
    outputs.print(&summary(args, &quantized, &measured, parameters, &blob, &names, &notes))
}

fn default_name(path: &Path) -> String {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let stem = if path.is_dir() { path.file_name() } else { path.file_stem() };
    stem.map(|s| clean(&s.to_string_lossy())).unwrap_or_default()
}

/// `--name`: what is stored as it is, and harmless where it is shown.
pub(super) fn blob_name(name: &str) -> Result<String, String> {
    if name.len() > 24 {
        return Err(format!("{} bytes; a blob has room for 24", name.len()));
    }
    if clean(name) != name {
        return Err("control characters have no place in a name".into());
    }
    Ok(name.to_owned())
}

fn summary(
    args: &Args,
    q: &Quantized,
    measured: &Measured,
    parameters: usize,
    blob: &Blob<'_>,
    names: &[String],
    notes: &[String],
) -> String {
    let mut out = String::new();
    for note in notes {
        let _ = writeln!(out, "note: {note}");
    }
    let _ = writeln!(out, "calibrated on {}", clean(&names.join(", ")));
    let n_layer = blob.dims().n_layer;
    let _ = writeln!(
        out,
        "\n{:<10} {:>22} {:>34}",
        "tensor", "SQNR dB (least, mean)", "accumulator, share of 2^31, proved"
    );
    let mut seen: Vec<&str> = Vec::new();
    for t in &q.tensors {
        if seen.contains(&t.tensor) {
            continue;
        }
        seen.push(t.tensor);
        let all: Vec<_> = q.tensors.iter().filter(|o| o.tensor == t.tensor).collect();
        let least = all.iter().map(|t| t.sqnr_db).fold(f64::INFINITY, f64::min);
        let mean = all.iter().map(|t| t.sqnr_db).sum::<f64>() / all.len() as f64;
        let share = all.iter().map(|t| t.accumulator_share).fold(0.0, f64::max);
        let _ = writeln!(out, "{:<10} {least:>14.1} {mean:>7.1} {share:>34.4}", t.tensor);
    }
    let worst = q.activations.iter().max_by(|a, b| a.clipped_share.total_cmp(&b.clipped_share));
    if let Some(a) = worst {
        let place = if a.layer == n_layer { "the head".to_owned() } else { format!("layer {}", a.layer) };
        let _ = writeln!(
            out,
            "\nmost clipped activation on the hold-out: {} of {place}, {:.5} %",
            a.activation,
            100.0 * a.clipped_share
        );
    }
    let _ = writeln!(
        out,
        "bits per byte on the hold-out ({} bytes): f32 {:.5}, integer {:.5}, difference {:+.5}",
        thousands(measured.f32.bytes as u64),
        measured.f32.bits_per_byte(),
        measured.int.bits_per_byte(),
        measured.delta()
    );
    let _ = writeln!(
        out,
        "{}: {} for {} parameters ({:.4} bytes each), fingerprint {}",
        if args.output == Path::new("-") { "standard output".into() } else { shown(&args.output) },
        bytes(q.blob.len() as u64),
        thousands(parameters as u64),
        q.blob.len() as f64 / parameters as f64,
        hex(&blob.fingerprint())
    );
    out
}
