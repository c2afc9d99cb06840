//! What is built in: a model, and a log with one damaged line, for the demonstration.

use mambabyte_core::{Blob, include_blob};

use crate::error::CliError;

/// The model: sensor-nano.
pub const MODEL: &[u8] = include_blob!("../../models/sensor-nano/model.mbb");
/// A GPS receiver's output, see `models/text/README.md`.
pub const SAMPLE: &[u8] = include_bytes!("../../models/text/gnss-sample.nmea");
/// The line that is damaged for the show, and the byte in it: one flipped bit.
pub const DAMAGE: (usize, usize, u8) = (100, 19, 0x10);

/// The model, checked.
///
/// # Errors
/// None in a program that was built right.
pub fn model() -> Result<Blob<'static>, CliError> {
    Blob::parse(MODEL).map_err(|source| CliError::Blob { path: "built-in model".into(), source })
}

/// The sample with one bit flipped.
pub fn damaged_sample() -> Vec<u8> {
    let (line, column, mask) = DAMAGE;
    let mut sample = SAMPLE.to_vec();
    let start = sample.split_inclusive(|&b| b == b'\n').take(line).map(<[u8]>::len).sum::<usize>();
    if let Some(byte) = sample.get_mut(start + column) {
        *byte ^= mask;
    }
    sample
}
