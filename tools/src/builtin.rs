//! What is built in: a model, and logs with one damaged line, for the demonstration.

use mambabyte_core::Blob;

use crate::error::CliError;

/// The model: sensor-nano.
pub const MODEL: &[u8] = mambabyte_models::SENSOR_NANO;
/// A log of a kind that the model knows: a GPS receiver's output, see `models/text/README.md`.
pub const SAMPLE: &[u8] = mambabyte_models::GNSS_SAMPLE;
/// A log of a kind that no shipped model was trained on: latency of a server's requests, see `models/text/README.md`.
pub const UNSEEN: &[u8] = mambabyte_models::REQUEST_LATENCY;

/// What is damaged for the show: one bit.
#[derive(Clone, Copy, Debug)]
pub struct Damage {
    /// The line, counted from 0.
    pub line: usize,
    /// The byte in it.
    pub column: usize,
    /// Its bit.
    pub mask: u8,
}

/// In [`SAMPLE`].
pub const DAMAGE: Damage = Damage { line: 100, column: 19, mask: 0x10 };
/// In [`UNSEEN`]: a date that is none of these days, and a date all the same.
pub const UNSEEN_DAMAGE: Damage = Damage { line: 700, column: 9, mask: 0x08 };

impl Damage {
    /// The text with the bit flipped.
    pub fn of(&self, text: &[u8]) -> Vec<u8> {
        let mut text = text.to_vec();
        let start = text.split_inclusive(|&b| b == b'\n').take(self.line).map(<[u8]>::len).sum::<usize>();
        if let Some(byte) = text.get_mut(start + self.column) {
            *byte ^= self.mask;
        }
        text
    }
}

/// The model, checked.
///
/// # Errors
/// None in a program that was built right.
pub fn model() -> Result<Blob<'static>, CliError> {
    Blob::parse(MODEL).map_err(|source| CliError::Blob { path: "built-in model".into(), source })
}
