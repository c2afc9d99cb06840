//! Which model a file belongs to.

use core::fmt;

use super::ArchiveError;
use crate::blob::{Blob, Fingerprint, array_at};

/// Bytes of a name.
const NAME: usize = 24;

/// Fingerprint and name of a model; no model has both empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ModelName {
    fingerprint: Fingerprint,
    /// UTF-8, zero-padded.
    name: [u8; NAME],
}

impl ModelName {
    /// No model: the adapter alone.
    pub const NONE: Self = Self { fingerprint: [0; 16], name: [0; NAME] };
    pub(super) const BYTES: usize = 16 + NAME;

    /// Of the model in `blob`.
    pub fn of(blob: &Blob<'_>) -> Self {
        let mut model = Self { fingerprint: blob.fingerprint(), name: [0; NAME] };
        model.name.iter_mut().zip(blob.name().bytes()).for_each(|(to, from)| *to = from);
        model
    }

    /// Its fingerprint.
    pub const fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Its name, `none` if there is no model.
    pub fn name(&self) -> &str {
        if self.is_none() { "none" } else { text(&self.name).unwrap_or("") }
    }

    /// Whether there is no model.
    pub fn is_none(&self) -> bool {
        self.fingerprint == [0; 16]
    }

    /// Fingerprint, then name.
    pub(super) fn bytes(&self) -> impl Iterator<Item = u8> {
        self.fingerprint.into_iter().chain(self.name)
    }

    pub(super) fn parse(bytes: &[u8; Self::BYTES]) -> Result<Self, ArchiveError> {
        let model = Self { fingerprint: array_at(bytes, 0), name: array_at(bytes, 16) };
        match text(&model.name) {
            Some(name) if !model.is_none() || name.is_empty() => Ok(model),
            _ => Err(ArchiveError::Name),
        }
    }
}

/// What is before the zeros, if that is UTF-8 and nothing follows them.
fn text(name: &[u8; NAME]) -> Option<&str> {
    let end = name.iter().position(|&byte| byte == 0).unwrap_or(NAME);
    let (name, rest) = name.split_at_checked(end)?;
    if rest.iter().any(|&byte| byte != 0) {
        return None;
    }
    core::str::from_utf8(name).ok()
}

/// The name, and the fingerprint of a model in hexadecimal digits. The name comes from a file: what shows it on a
/// terminal escapes it.
impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_none() {
            return f.write_str("none");
        }
        write!(f, "{} (fingerprint ", self.name())?;
        self.fingerprint.iter().try_for_each(|b| write!(f, "{b:02x}"))?;
        f.write_str(")")
    }
}
