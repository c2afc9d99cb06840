//! Nets as archives name them, and adapters that have read something: `--prime`.

use std::fs;
use std::path::Path;

use mambabyte_core::archive::{ModelName, Primed};
use mambabyte_host::adapt::{AnyAdapter, Preset};
use mambabyte_host::archive::ArchiveFault;

use crate::error::CliError;
use crate::model::{AnyModel, BlobFile, Verify};
use crate::output::clean;
use crate::shipped::is_none;

/// Opens a blob, by path or by name; `none` is no model.
///
/// # Errors
/// As [`BlobFile::open`]: checkpoints are refused, as they compute in floats.
pub fn open_blob(path: &Path, verify: Verify) -> Result<Option<AnyModel>, CliError> {
    if is_none(path) {
        return Ok(None);
    }
    BlobFile::open(path, verify).map(|file| Some(AnyModel::Blob(file)))
}

/// Fingerprint and name of a model, as archives have them. Of a checkpoint, which no archive has, those of none.
pub fn model_name(model: Option<&AnyModel>) -> ModelName {
    match model {
        Some(AnyModel::Blob(file)) => ModelName::of(&file.blob()),
        Some(AnyModel::Checkpoint(_)) | None => ModelName::NONE,
    }
}

/// A primed adapter, whole, and its file's bytes.
pub struct PrimedFile {
    path: std::path::PathBuf,
    bytes: Vec<u8>,
}

impl PrimedFile {
    /// Reads `path`.
    ///
    /// # Errors
    /// [`CliError::Io`]; [`CliError::Archive`] if it is no primed adapter, or damaged.
    pub fn open(path: &Path) -> Result<Self, CliError> {
        let bytes = fs::read(path).map_err(|error| CliError::io(path, error))?;
        let file = Self { path: path.to_owned(), bytes };
        file.primed()?;
        Ok(file)
    }

    /// What it is.
    ///
    /// # Errors
    /// None after [`PrimedFile::open`].
    pub fn primed(&self) -> Result<Primed<'_>, CliError> {
        Primed::parse(&self.bytes).map_err(|error| self.refused(ArchiveFault::Archive { at: 0, kept: 0, error }))
    }

    /// Why it cannot be used.
    pub fn refused(&self, source: ArchiveFault) -> CliError {
        CliError::Archive { path: self.path.clone(), source }
    }

    /// The adapter, which has to be of `model`.
    ///
    /// # Errors
    /// [`CliError::Archive`] names both models.
    pub fn adapter(&self, model: &ModelName) -> Result<AnyAdapter, CliError> {
        let primed = self.primed()?;
        let needs = |text: String| self.refused(ArchiveFault::Needs(text));
        if primed.model().fingerprint() != model.fingerprint() {
            let (of, this) = (primed.model().to_string(), model.to_string());
            return Err(needs(format!("primed with the model {}; this one is {}", clean(&of), clean(&this))));
        }
        let number = primed.design().id;
        let preset = Preset::of_id(number).ok_or_else(|| needs(format!("preset number {number} is unknown")))?;
        let mut adapter = AnyAdapter::new(preset, !model.is_none());
        adapter.load(primed.adapter()).map_err(|error| needs(error.to_string()))?;
        Ok(adapter)
    }
}
