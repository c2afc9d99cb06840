//! The MODEL argument: a blob, or a checkpoint that runs in f32.

use std::path::Path;

use mambabyte_core::{Blob, Decoder, Dims};
use mambabyte_host::Model;
use mambabyte_host::bpb::{Score, evaluate};
use memmap2::Mmap;

use crate::backend::Gpu;
use crate::error::CliError;
use crate::formats;
use crate::progress::Progress;

/// A blob, mapped.
pub struct BlobFile {
    map: Mmap,
}

impl BlobFile {
    /// Maps `path` and checks it.
    ///
    /// # Errors
    /// [`CliError`] names the file; [`CliError::NeedsBlob`] if it is a checkpoint.
    pub fn open(path: &Path) -> Result<Self, CliError> {
        if path.is_dir()
            || path.extension().is_some_and(|e| e == "safetensors" || e == "bin") && !formats::is_blob(path)
        {
            return Err(CliError::NeedsBlob { path: path.to_owned() });
        }
        let map = formats::map(path)?;
        Blob::parse(&map).map_err(|source| CliError::Blob { path: path.to_owned(), source })?;
        Ok(Self { map })
    }

    /// The blob.
    ///
    /// # Errors
    /// As at [`BlobFile::open`], should the file have changed since.
    pub fn blob(&self) -> Result<Blob<'_>, CliError> {
        Blob::parse(&self.map).map_err(|source| CliError::Blob { path: "blob".into(), source })
    }
}

/// Either kind of model.
pub enum AnyModel {
    /// Integer.
    Blob(BlobFile),
    /// f32.
    Checkpoint(Box<Model>),
}

impl AnyModel {
    /// Opens a blob or loads a checkpoint; notes of the loader go to standard error.
    ///
    /// # Errors
    /// [`CliError`] names what is wrong.
    pub fn open(path: &Path) -> Result<Self, CliError> {
        let blob_name = path.extension().is_some_and(|e| e == "mbb");
        if path.is_file() && (blob_name || formats::is_blob(path)) {
            return Ok(Self::Blob(BlobFile::open(path)?));
        }
        let loaded = formats::load(path)?;
        for note in &loaded.notes {
            eprintln!("note: {note}");
        }
        Ok(Self::Checkpoint(Box::new(Model::new(loaded.checkpoint)?)))
    }

    /// The shape.
    ///
    /// # Errors
    /// See [`BlobFile::blob`].
    pub fn dims(&self) -> Result<Dims, CliError> {
        match self {
            Self::Blob(file) => Ok(*file.blob()?.dims()),
            Self::Checkpoint(model) => Ok(*model.dims()),
        }
    }

    /// `"int"` or `"f32"`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Blob(_) => "int",
            Self::Checkpoint(_) => "f32",
        }
    }

    /// Bits per byte of `text`, see [`evaluate`]; on `gpu` if there is one.
    ///
    /// # Errors
    /// See [`BlobFile::blob`] and [`Gpu::evaluate`].
    pub fn evaluate(&self, gpu: Option<&Gpu>, text: &[u8], window: Option<usize>) -> Result<Score, CliError> {
        let progress = Progress::bytes("evaluating", text.len() as u64);
        let tick = |n| progress.add(n);
        if let Some(gpu) = gpu {
            return gpu.evaluate(text, window, &tick);
        }
        Ok(match self {
            Self::Blob(file) => {
                let blob = file.blob()?;
                evaluate(|| Decoder::owned(blob), text, window, &tick)
            }
            Self::Checkpoint(model) => evaluate(|| model.session(), text, window, &tick),
        })
    }
}

/// Reads a text file, or standard input for `-`.
///
/// # Errors
/// [`CliError::Io`] names the file.
pub fn read_text(path: &Path) -> Result<Vec<u8>, CliError> {
    if path == Path::new("-") {
        let mut text = Vec::new();
        std::io::Read::read_to_end(&mut std::io::stdin().lock(), &mut text)
            .map_err(|e| CliError::io("standard input", e))?;
        return Ok(text);
    }
    std::fs::read(path).map_err(|e| CliError::io(path, e))
}
