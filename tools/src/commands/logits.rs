//! `mambabyte logits`: what the model says after every byte, for NumPy.

use mambabyte_core::{Decoder, VOCAB};
use mambabyte_host::bpb::ByteModel;

use crate::backend::Gpu;
use crate::cli;
use crate::error::CliError;
use crate::model::{AnyModel, read_text};
use crate::output::write_whole;
use crate::progress::Progress;

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
pub fn run(args: &cli::Logits) -> Result<(), CliError> {
    let model = AnyModel::open(&args.model)?;
    let text = read_text(&args.text)?;
    let mut out = header(text.len());
    let bar = Progress::bytes("logits", text.len() as u64);
    if let Some(gpu) = Gpu::open(args.computing, &model)? {
        gpu.natural_logits(&text, &mut |logits| {
            out.extend(logits.iter().flat_map(|&l| (l as f32).to_le_bytes()));
            bar.add(1);
        })?;
        return write_whole(&args.npy, &out);
    }
    let mut read = |stream: &mut dyn ByteModel| {
        for &byte in &text {
            stream.read(byte, &mut |logits| out.extend(logits.iter().flat_map(|&l| (l as f32).to_le_bytes())));
            bar.add(1);
        }
    };
    match &model {
        AnyModel::Blob(file) => read(&mut Decoder::owned(file.blob())),
        AnyModel::Checkpoint(model) => read(&mut model.session()),
    }
    write_whole(&args.npy, &out)
}
