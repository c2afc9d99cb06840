//! `mambabyte checksum`: the golden value that every other target must reproduce.

use mambabyte_core::{Backend, Blob, Logits, Want};
use mambabyte_host::cpu::Stream;
use serde_json::json;

use crate::backend::{Computing, Gpu};
use crate::cli;
use crate::error::CliError;
use crate::model::{AnyModel, BlobFile, cpu, read_text};
use crate::output::{print, print_json};
use crate::progress::Progress;

/// CRC-32 (as in zip) over the 256 little-endian i32 logits after each byte of `text`, from the zero state.
pub fn checksum(blob: Blob<'_>, text: &[u8], progress: impl FnMut(usize) + Send) -> u32 {
    checksum_of(Stream::of(blob, Backend::detect()), text, progress)
}

/// [`checksum`] on a new stream.
fn checksum_of(mut stream: Stream<'_>, text: &[u8], mut progress: impl FnMut(usize) + Send) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    let part = |_: usize, logits: &[Logits]| {
        let mut part = crc32fast::Hasher::new();
        logits.as_flattened().iter().for_each(|logit| part.update(&logit.to_le_bytes()));
        (part, logits.len())
    };
    stream.prefill(text, Want::All, part, |(part, bytes)| {
        hasher.combine(&part);
        progress(bytes);
    });
    hasher.finalize()
}

/// Runs the command.
///
/// # Errors
/// [`CliError`].
pub fn run(args: &cli::Checksum) -> Result<(), CliError> {
    let cpu = cpu(&args.running)?;
    let model = AnyModel::Blob(BlobFile::open(&args.model)?);
    let text = read_text(&args.text)?;
    let bar = Progress::bytes("checksum", text.len() as u64);
    let crc = match (Gpu::open(Computing { device: args.device, precision: None }, &model)?, &model) {
        (Some(gpu), _) => {
            let mut hasher = crc32fast::Hasher::new();
            gpu.integer_logits(&text, &mut |logits| {
                logits.iter().for_each(|l| hasher.update(&l.to_le_bytes()));
                bar.add(1);
            })?;
            hasher.finalize()
        }
        (None, AnyModel::Blob(file)) => checksum_of(Stream::new(file.weights(cpu.backend), cpu), &text, |n| bar.add(n)),
        (None, AnyModel::Checkpoint(_)) => return Err(CliError::NeedsBlob { path: args.model.clone() }),
    };
    drop(bar);
    if args.json {
        return print_json(&json!({ "checksum": format!("{crc:08x}"), "bytes": text.len() }));
    }
    print(&format!("{crc:08x}  {} bytes\n", text.len()))
}
