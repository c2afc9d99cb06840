//! `mambabyte logits`: what the model says after every byte, for NumPy.

use std::path::PathBuf;

use mambabyte_core::VOCAB;
use mambabyte_host::cpu::Cpu;
use mambabyte_host::engine::{Answer, Engine, Want};

use crate::computing::Computing;
use crate::error::CliError;
use crate::model::{AnyModel, Loading, read_text};
use crate::output::Door;
use crate::progress::Progress;

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = examples! {
    "logits sensor-nano some.log --npy logits.npy"
    "logits sensor-nano - --npy - < some.log > logits.npy"
})]
pub struct Args {
    /// Blob or checkpoint, by path or by name.
    pub model: PathBuf,
    /// The text, `-` is standard input; row t of the result is the prediction after byte t.
    pub text: PathBuf,
    /// The file to write: float32 [bytes, 256], natural logits. `-` is standard output.
    #[arg(long, value_name = "FILE")]
    pub npy: PathBuf,
    /// How the model is loaded.
    #[command(flatten)]
    pub loading: Loading,
    /// Where to compute, and in what.
    #[command(flatten)]
    pub computing: Computing,
}

/// A version 1.0 `.npy` header for float32 `[rows, 256]`, padded to 64 bytes.
fn header(rows: usize) -> Vec<u8> {
    let mut dict = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {VOCAB}), }}");
    while (10 + dict.len() + 1) % 64 != 0 {
        dict.push(' ');
    }
    dict.push('\n');
    let mut out = b"\x93NUMPY\x01\x00".to_vec();
    out.extend((dict.len() as u16).to_le_bytes());
    out.extend(dict.bytes());
    out
}

/// Runs the command.
///
/// # Errors
/// [`CliError`].
pub fn run(args: &Args) -> Result<(), CliError> {
    let mut door = Door::default();
    door.reads_model(&args.model);
    door.reads(&args.text);
    door.writes("--npy", &*args.npy);
    let outputs = door.open()?;
    let model = AnyModel::open(&args.model, &args.loading)?;
    let engine = args.computing.engine(&model, Cpu::default())?;
    let text = read_text(&args.text)?;
    let mut out = header(text.len());
    let bar = Progress::bytes("logits", text.len() as u64);
    let (mut rows, mut answer) = (engine.rows(1)?, Answer::Nothing);
    for part in text.chunks(engine.full_load().bytes.max(1)) {
        engine.read_into(&mut rows, &[part], Want::All, &mut answer)?;
        out.extend(answer.natural_logits().as_flattened().iter().flat_map(|&l| (l as f32).to_le_bytes()));
        bar.add(part.len());
    }
    outputs.write(&[("--npy", &out)])
}
