//! The shipped models, and those that are made of them.

mod shipped;
mod tied;

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use mambabyte_core::Blob;
use mambabyte_host::align::AlignedBytes;

pub(crate) use shipped::{NONE, file};
pub(crate) use tied::blob_file;

/// The checksum that a model has on every machine.
///
/// # Errors
/// If it cannot be read.
pub(crate) fn golden(root: &Path, model: &str) -> Result<String> {
    let path = file(root, model, "golden.crc32");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    Ok(text.trim().to_owned())
}

/// A model in memory.
pub(crate) struct Model {
    name: String,
    bytes: AlignedBytes,
}

impl Model {
    /// Reads a shipped model, or one that is made of it.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) fn read(root: &Path, name: &str) -> Result<Self> {
        let path = blob_file(root, name)?;
        let bytes = std::fs::read(&path).with_context(|| format!("--model {name}: {}", path.display()))?;
        Ok(Self { name: name.to_owned(), bytes: AlignedBytes::new(&bytes) })
    }

    /// The model.
    ///
    /// # Errors
    /// If it is damaged.
    pub(crate) fn blob(&self) -> Result<Blob<'_>> {
        Blob::parse(self.bytes.as_slice()).map_err(|e| anyhow!("{}: {e}", self.name))
    }

    /// Bytes of its file.
    pub(crate) fn len(&self) -> usize {
        self.bytes.as_slice().len()
    }
}
