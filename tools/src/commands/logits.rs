//! `mambabyte logits`: what the model says after every byte, for NumPy.

use std::path::PathBuf;

use mambabyte_core::VOCAB;
use mambabyte_host::cpu::Cpu;
use mambabyte_host::engine::{Answer, Engine, Want};

use crate::computing::Computing;
use crate::error::CliError;
use crate::model::{AnyModel, Loading, read_text};
use crate::output::write_whole;
use crate::progress::Progress;

/// The arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Blob or checkpoint.
    pub model: PathBuf,
    /// The text; row t of the result is the prediction after byte t.
    pub text: PathBuf,
    /// How the model is loaded.
    #[command(flatten)]
    pub loading: Loading,
    /// Where to compute, and in what.
    #[command(flatten)]
    pub computing: Computing,
    /// The file to write: float32 [bytes, 256], natural logits.
    #[arg(long)]
    pub npy: PathBuf,
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
    write_whole(&args.npy, &out)
}
