//! Nets as archives name them, and adapters that have read something: `--prime`.

use std::fs;
use std::path::Path;

use mambabyte_core::archive::{Header, ModelName, Primed};
use mambabyte_host::adapt::{AnyAdapter, Preset};
use mambabyte_host::archive::{ArchiveFault, Predictor};
use mambabyte_host::engine::AnyEngine;

use crate::adapting::Adapt;
use crate::error::CliError;
use crate::model::{AnyModel, BlobFile, Verify};
use crate::output::{clean, thousands};
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

/// The adapter to begin with, which `--adapt` and `--prime` name.
///
/// # Errors
/// [`CliError::Usage`], and those of [`PrimedFile::adapter`].
pub fn first_adapter(
    adapt: Option<Adapt>,
    primed: Option<&PrimedFile>,
    model: &ModelName,
) -> Result<Option<AnyAdapter>, CliError> {
    let Some(file) = primed else {
        let adapt = adapt.unwrap_or(Adapt::Preset(Preset::K16));
        return Ok(adapt.preset().map(|preset| AnyAdapter::new(preset, !model.is_none())));
    };
    let adapter = file.adapter(model)?;
    match adapt {
        Some(Adapt::Off) => Err(CliError::Usage("--prime: with --adapt off there is no adapter".into())),
        Some(Adapt::Preset(asked)) if asked != adapter.preset() => {
            let found = adapter.preset();
            Err(file.refused(ArchiveFault::Needs(format!("the primed adapter is {found}, --adapt asks for {asked}"))))
        }
        _ => Ok(Some(adapter)),
    }
}

/// What an archive begins with.
///
/// # Errors
/// None after [`PrimedFile::open`].
pub fn header(
    model: ModelName,
    preset: Option<Preset>,
    primed: Option<&PrimedFile>,
    block: u32,
) -> Result<Header, CliError> {
    let primed = primed.map(|file| file.primed().map(|primed| primed.id())).transpose()?;
    Ok(Header { model, preset: preset.map_or(0, |preset| preset.design().id), primed, block })
}

/// What failed, with its name; `write` names what was written to.
pub fn named(fault: ArchiveFault, input: &Path, write: impl FnOnce(std::io::Error) -> CliError) -> CliError {
    match fault {
        ArchiveFault::Read(error) => CliError::io(input, error),
        ArchiveFault::Write(error) => write(error),
        ArchiveFault::Engine(error) => error.into(),
        ArchiveFault::Nothing => CliError::Usage("neither a model nor an adapter: nothing predicts".into()),
        source => CliError::Archive { path: input.to_owned(), source },
    }
}

/// What an archive is decoded with.
pub struct Given<'e, 'm> {
    /// The model.
    pub model: ModelName,
    /// What computes it.
    pub engine: Option<&'e AnyEngine<'m>>,
    /// A primed adapter.
    pub primed: Option<&'e PrimedFile>,
}

impl<'e, 'm> Given<'e, 'm> {
    /// What `header` asks for, or why it is not there.
    ///
    /// # Errors
    /// [`ArchiveFault::Needs`], and those of [`Predictor::new`].
    pub fn open(&self, header: &Header) -> Result<Predictor<'e, AnyEngine<'m>>, ArchiveFault> {
        let needs = |text: String| Err(ArchiveFault::Needs(text));
        if header.model.fingerprint() != self.model.fingerprint() {
            let (asked, given) = (header.model.to_string(), self.model.to_string());
            return needs(format!("compressed with the model {}; this one is {}", clean(&asked), clean(&given)));
        }
        let adapter = match (header.primed, self.primed) {
            (Some(asked), None) => {
                let bytes = thousands(asked.bytes);
                return needs(format!(
                    "begun with a primed adapter, CRC-32 {:08x}, which has read {bytes} bytes; give it with --prime",
                    asked.crc
                ));
            }
            (Some(asked), Some(file)) => {
                let given = file.primed().map_err(|error| ArchiveFault::Needs(error.to_string()))?;
                if given.id() != asked || given.design().id != header.preset {
                    return needs(format!(
                        "begun with another primed adapter than --prime: CRC-32 {:08x}, not {:08x}",
                        asked.crc,
                        given.id().crc
                    ));
                }
                Some(file.adapter(&self.model).map_err(|error| ArchiveFault::Needs(error.to_string()))?)
            }
            // Of several archives some may need one.
            (None, _) => Preset::of_id(header.preset).map(|preset| AnyAdapter::new(preset, !self.model.is_none())),
        };
        Predictor::new(self.engine, adapter)
    }
}
