//! Without arguments: what this is, shown on the built-in model and a real log.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Instant;

use mambabyte_core::Threshold;
use mambabyte_host::cpu::{Cpu, IntEngine};
use mambabyte_host::stream::{LineScores, Reader};

use crate::builtin::{self, DAMAGE, MODEL, damaged_sample};
use crate::error::CliError;
use crate::output::{bytes, print};
use crate::paint::{bits, painted};

/// Lines shown before and after the damaged one.
const CONTEXT: usize = 5;

fn gzip_bits(text: &[u8]) -> f64 {
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let packed = gz.write_all(text).and_then(|()| gz.finish()).map_or(text.len(), |v| v.len());
    8.0 * packed as f64 / text.len() as f64
}

fn xz_bits(text: &[u8]) -> f64 {
    let options = lzma_rust2::XzOptions::with_preset(9);
    let packed = lzma_rust2::XzWriter::new(Vec::new(), options)
        .and_then(|mut xz| xz.write_all(text).and_then(|()| xz.finish()))
        .map_or(text.len(), |v| v.len());
    8.0 * packed as f64 / text.len() as f64
}

/// Runs the demonstration.
///
/// # Errors
/// [`CliError`] if standard output fails.
pub fn run() -> Result<(), CliError> {
    let blob = builtin::model()?;
    let dims = *blob.dims();
    let sample = damaged_sample();
    let mut out = format!(
        "MambaByte: a Mamba model that reads raw bytes, in integers that are the same on every machine.\n\n\
         The built-in model {} ({}, state {}) reads the log of a GPS receiver.\n\
         One bit of line {} was flipped. Bits per byte, then the line; a byte's colour is its surprise.\n\n",
        blob.name(),
        bytes(MODEL.len() as u64),
        bytes(dims.state_bytes() as u64),
        DAMAGE.0 + 1
    );
    let start = Instant::now();
    let engine = IntEngine::of(blob, Cpu::single());
    let mut reader = Reader::new(&engine, Threshold::Learned)?;
    let (mut line, mut number, mut total, mut flagged) = (Vec::new(), 0usize, 0.0, Vec::new());
    for &byte in &sample {
        let (cost, scores) = reader.read(byte)?;
        line.push((byte, cost.asked()));
        total += bits(cost.asked());
        if let Some(LineScores { line: score, .. }) = scores {
            if score.flagged {
                flagged.push(number);
            }
            if number < 3 || number.abs_diff(DAMAGE.0) <= CONTEXT {
                out.push_str(&painted(&score, &line));
            } else if number == 3 {
                out.push_str("         ...\n");
            }
            line.clear();
            number += 1;
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    let verdict: Vec<String> = flagged.iter().map(|n| (n + 1).to_string()).collect();
    let _ = write!(
        out,
        "\n{number} lines, {} bytes. Flagged as surprising: line {}.\n\n\
         bits per byte   this model {:.3}   gzip -9 {:.3}   xz -9 {:.3}\n\
         state {} (fixed), {:.0} bytes/s on one core here\n\n\
         What next:\n  \
         mambabyte stream sensor-nano --color YOUR.log\n  \
         mambabyte generate prose-small --prompt \"It was \" --temperature 0.7\n  \
         mambabyte convert models/sensor-pico -o my.mbb --report my.html\n  \
         mambabyte fit sensor-nano\n  \
         mambabyte models\n  \
         mambabyte --help\n\n(`cargo run --release --` instead of `mambabyte` from the source folder)\n",
        sample.len(),
        if verdict.is_empty() { "none".to_owned() } else { verdict.join(", ") },
        total / sample.len() as f64,
        gzip_bits(&sample),
        xz_bits(&sample),
        bytes(dims.state_bytes() as u64),
        sample.len() as f64 / seconds
    );
    print(&out)
}
