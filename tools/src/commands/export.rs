//! `mambabyte export`: a model in the form of others.

use std::path::{Path, PathBuf};

use mambabyte_host::dequantize::dequantize;
use serde_json::json;

use crate::error::CliError;
use crate::formats::{OPSET, onnx};
use crate::model::{AnyModel, Loading};
use crate::output::{Door, Outputs, bytes, clean, hex, shown};

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = examples! {
    "export models/sensor-nano --onnx sensor-nano.onnx"
    "export my.mbb --onnx my.onnx"
})]
pub struct Args {
    /// Blob or checkpoint, by path or by name. Of a blob the numbers that its integers stand for: in f32 they do not compute
    /// its bits.
    pub model: PathBuf,
    /// The file to write: the model's step in f32, of opset 17. It reads a byte of each of any number of streams, and what is
    /// carried from byte to byte goes in and comes out; docs/CHECKPOINTS.md says how to run it. `-` is standard output.
    #[arg(long, value_name = "FILE")]
    pub onnx: PathBuf,
    /// Print one JSON object instead of text.
    #[arg(long)]
    pub json: bool,
    /// How the model is loaded.
    #[command(flatten)]
    pub loading: Loading,
}

/// What was written.
pub struct Exported {
    /// Bytes of the file.
    pub bytes: usize,
    /// Where the rest of what there is to say goes.
    pub outputs: Outputs,
}

/// Where `to` may be written: it is no file of the model `from`, if that is one.
///
/// # Errors
/// As [`Door::open`].
pub fn open(from: Option<&Path>, to: &Path) -> Result<Outputs, CliError> {
    let mut door = Door::default();
    if let Some(from) = from {
        door.reads_model(from);
    }
    door.writes("--onnx", to);
    door.open()
}

/// Writes the step of `model`, whole or not at all.
///
/// # Errors
/// [`CliError::Onnx`] if it has no such form; those of the output.
pub fn write(model: &AnyModel, outputs: Outputs) -> Result<Exported, CliError> {
    let file = match model {
        AnyModel::Checkpoint(model) => onnx(model.checkpoint(), &[]),
        AnyModel::Blob(file) => {
            let blob = file.blob();
            let about = [("name", clean(blob.name())), ("fingerprint", hex(&blob.fingerprint()))];
            onnx(&dequantize(&blob).checkpoint, &about)
        }
    }?;
    outputs.write(&[("--onnx", &file)])?;
    Ok(Exported { bytes: file.len(), outputs })
}

/// Runs the command.
///
/// # Errors
/// [`CliError`]; nothing is written then.
pub fn run(args: &Args) -> Result<(), CliError> {
    let outputs = open(Some(&args.model), &args.onnx)?;
    let model = AnyModel::open(&args.model, &args.loading)?;
    let Exported { bytes: length, outputs } = write(&model, outputs)?;
    let dims = model.dims();
    let conv = format!("[{}, batch, {}, {}]", dims.n_layer, dims.d_inner, dims.d_conv - 1);
    let ssm = format!("[{}, batch, {}, {}]", dims.n_layer, dims.d_inner, dims.d_state);
    if args.json {
        return outputs.print_json(&json!({
            "bytes": length, "opset": OPSET, "n_layer": dims.n_layer, "d_inner": dims.d_inner, "d_state": dims.d_state,
            "d_conv": dims.d_conv,
        }));
    }
    let what = match &model {
        AnyModel::Checkpoint(_) => "",
        AnyModel::Blob(_) => ", with the numbers that the blob's integers stand for: not its bits",
    };
    let name = if args.onnx == Path::new("-") { "standard output".into() } else { shown(&args.onnx) };
    outputs.print(&format!(
        "{name}: {}, opset {OPSET}, f32{what}\n  in   byte int64 [batch], conv {conv}, ssm {ssm}\n  out  logits [batch, 256], \
         conv_out, ssm_out\n",
        bytes(length as u64)
    ))
}
