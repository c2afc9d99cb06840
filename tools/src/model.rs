//! The MODEL argument: a blob, or a checkpoint that runs in f32; a path, or the name of a model that comes with the
//! program.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use mambabyte_core::{Backend, Blob, BlobError, Dims};
use mambabyte_host::Model;
use mambabyte_host::align::AlignedBytes;
use mambabyte_host::cpu::{Source, Weights};
use mambabyte_host::engine::Precision;
use mambabyte_host::quantize::writer;

use crate::error::CliError;
use crate::formats::{self, Content, Foreign};
use crate::output::{note, shown};
use crate::shipped::{self, Found};

/// A blob in memory: mapped, and, if it runs on the processor, in the order that the processor reads best.
pub struct BlobFile {
    weights: Weights,
    prepared: OnceLock<Weights>,
}

/// A blob in the program.
struct BuiltIn(&'static [u8]);

impl AsRef<[u8]> for BuiltIn {
    fn as_ref(&self) -> &[u8] {
        self.0
    }
}

impl Source for BuiltIn {}

/// A mapped file.
struct Mapped {
    map: memmap2::Mmap,
    #[cfg(unix)]
    file: std::fs::File,
}

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        &self.map
    }
}

impl Source for Mapped {
    #[cfg(unix)]
    fn read(&self, at: usize, out: &mut [u8]) -> std::io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(&self.file, out, at as u64)
    }

    #[cfg(target_os = "linux")]
    fn release(&self) {
        formats::release(&self.map);
    }
}

/// A blob that came as bytes.
struct Owned(AlignedBytes);

impl AsRef<[u8]> for Owned {
    fn as_ref(&self) -> &[u8] {
        self.0.as_slice()
    }
}

impl Source for Owned {}

/// A copy of a file, which stays what it is whatever becomes of the file.
struct Copied(memmap2::MmapMut);

impl AsRef<[u8]> for Copied {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Source for Copied {}

/// How a blob's file comes into memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Residence {
    /// Mapped: nothing is read before it is needed, and programs share it. Who overwrites the file changes the model.
    Mapped,
    /// Read once.
    Copied,
}

/// Bytes of the largest blob whose fingerprint is always compared with its contents.
const VERIFIED: usize = 64 << 20;

impl BlobFile {
    /// Opens `path`, or the model of that name, and checks it: checksums, and up to 64 MiB, or if it is asked for, the
    /// fingerprint.
    ///
    /// # Errors
    /// [`CliError`] names the file; [`CliError::NeedsBlob`] if it is a checkpoint.
    /// # Cost
    /// That of [`BlobFile::unverified`] and of [`writer::verify`].
    pub fn open(path: &Path, verify: Verify) -> Result<Self, CliError> {
        Self::open_as(path, verify, Residence::Mapped)
    }

    /// As [`BlobFile::open`], mapped or copied.
    ///
    /// # Errors
    /// The same.
    pub fn open_as(path: &Path, verify: Verify, residence: Residence) -> Result<Self, CliError> {
        let file = Self::unverified_as(path, residence)?;
        if verify.verify || file.blob().as_bytes().len() <= VERIFIED {
            writer::verify(&file.blob()).map_err(|source| CliError::Contents { path: path.to_owned(), source })?;
        }
        Ok(file)
    }

    /// Opens `path` and checks it, all but the fingerprint: for showing what is there.
    ///
    /// # Errors
    /// As [`BlobFile::open`].
    pub fn unverified(path: &Path) -> Result<Self, CliError> {
        Self::unverified_as(path, Residence::Mapped)
    }

    fn unverified_as(path: &Path, residence: Residence) -> Result<Self, CliError> {
        let found = shipped::find(path)?;
        let path: &Path = match &found {
            Found::File(file) => file,
            Found::BuiltIn(bytes) => return Self::built_in(bytes, path),
        };
        if path.is_dir()
            || path.extension().is_some_and(|e| e == "safetensors" || e == "bin") && !formats::is_blob(path)
        {
            return Err(CliError::NeedsBlob { path: path.to_owned() });
        }
        let opened = match residence {
            Residence::Mapped => {
                let (file, map) = formats::map_file(path)?;
                #[cfg(not(unix))]
                drop(file);
                let mapped = Mapped {
                    map,
                    #[cfg(unix)]
                    file,
                };
                Self::of(mapped, path)
            }
            Residence::Copied => {
                let copy = formats::copy_file(path)?;
                match copy {
                    Some(copy) => Self::of(Copied(copy), path),
                    // What is empty cannot be mapped or copied, and says so.
                    None => Err(CliError::Blob {
                        path: path.to_owned(),
                        source: BlobError::Truncated { need: mambabyte_core::blob::HEADER as u64, have: 0 },
                    }),
                }
            }
        };
        opened.map_err(|error| match &error {
            // What has not the start of a blob is something else, or nothing.
            CliError::Blob { source: BlobError::BadMagic | BlobError::Truncated { .. }, .. } => {
                let path = path.to_owned();
                match formats::content(&path) {
                    Some(Content::Safetensors | Content::TorchZip) => CliError::NeedsBlob { path },
                    Some(Content::Foreign(Foreign::Blob | Foreign::Unknown)) | None => error,
                    Some(Content::Foreign(kind)) => CliError::NoBlob { path, kind },
                }
            }
            _ => error,
        })
    }

    /// Checks a blob that is in the program.
    ///
    /// # Errors
    /// None in a program that was built right.
    pub fn built_in(bytes: &'static [u8], name: &Path) -> Result<Self, CliError> {
        Self::of(BuiltIn(bytes), name)
    }

    /// Checks a copy of `bytes`, which people call `name`: checksums and fingerprint.
    ///
    /// # Errors
    /// [`CliError::Blob`], [`CliError::Contents`].
    pub fn of_bytes(bytes: &[u8], name: &Path) -> Result<Self, CliError> {
        let file = Self::of(Owned(AlignedBytes::new(bytes)), name)?;
        writer::verify(&file.blob()).map_err(|source| CliError::Contents { path: name.to_owned(), source })?;
        Ok(file)
    }

    /// Checks what is at `path`.
    fn of(source: impl Source + 'static, path: &Path) -> Result<Self, CliError> {
        let weights =
            Weights::new(Arc::new(source)).map_err(|source| CliError::Blob { path: path.to_owned(), source })?;
        Ok(Self { weights, prepared: OnceLock::new() })
    }

    /// The blob.
    pub fn blob(&self) -> Blob<'_> {
        self.weights.blob()
    }

    /// The memory, for engines on `backend`; prepared once for the first one. If it could not be prepared, that is said
    /// on standard error.
    ///
    /// # Cost
    /// The first time that of [`Weights::for_backend`].
    pub fn weights(&self, backend: Backend) -> &Weights {
        self.prepared.get_or_init(|| {
            let weights = self.weights.clone().for_backend(backend);
            if let Some(text) = weights.note() {
                note(text);
            }
            weights
        })
    }
}

/// How a model is loaded: options of every command that takes a blob or a checkpoint.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
#[command(next_help_heading = "Loading the model")]
pub struct Loading {
    /// Of a checkpoint.
    #[command(flatten)]
    pub checkpoint: formats::Options,
    /// Of a blob.
    #[command(flatten)]
    pub blob: Verify,
}

/// How a blob is loaded: options of every command that takes one.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
#[command(next_help_heading = "Loading the model")]
pub struct Verify {
    /// Compare a blob's fingerprint with its contents, whatever its size. Default: up to 64 MiB.
    #[arg(long)]
    pub verify: bool,
}

/// Either kind of model.
pub enum AnyModel {
    /// Integer.
    Blob(BlobFile),
    /// f32.
    Checkpoint(Box<Model>),
}

impl AnyModel {
    /// Opens a blob or loads a checkpoint, by path or by name; notes of the loader go to standard error.
    ///
    /// # Errors
    /// [`CliError`] names what is wrong.
    pub fn open(path: &Path, loading: &Loading) -> Result<Self, CliError> {
        Self::open_as(path, loading, Residence::Mapped)
    }

    /// As [`AnyModel::open`]; a blob mapped or copied.
    ///
    /// # Errors
    /// The same.
    pub fn open_as(path: &Path, loading: &Loading, residence: Residence) -> Result<Self, CliError> {
        let Found::File(path) = &shipped::find(path)? else {
            return Ok(Self::Blob(BlobFile::open(path, loading.blob)?));
        };
        let blob_name = path.extension().is_some_and(|e| e == "mbb");
        if path.is_file() && (blob_name || formats::is_blob(path)) {
            let formats::Options { trust_tensors, byte_offset } = loading.checkpoint;
            if trust_tensors || byte_offset.is_some() {
                let path = shown(path);
                return Err(CliError::Usage(format!(
                    "{path}: a blob; --trust-tensors and --byte-offset are for checkpoints"
                )));
            }
            return Ok(Self::Blob(BlobFile::open_as(path, loading.blob, residence)?));
        }
        let loaded = formats::load(path, &loading.checkpoint)?;
        for text in &loaded.notes {
            note(text);
        }
        Ok(Self::Checkpoint(Box::new(Model::new(loaded.checkpoint)?)))
    }

    /// The shape.
    pub fn dims(&self) -> Dims {
        match self {
            Self::Blob(file) => *file.blob().dims(),
            Self::Checkpoint(model) => *model.dims(),
        }
    }

    /// What it is computed in on a CPU.
    pub const fn precision(&self) -> Precision {
        match self {
            Self::Blob(_) => Precision::Exact,
            Self::Checkpoint(_) => Precision::F32,
        }
    }
}

/// Reads a text file, or standard input for `-`.
///
/// # Errors
/// [`CliError::Io`] names the file.
pub fn read_text(path: &Path) -> Result<Vec<u8>, CliError> {
    read_start(path, u64::MAX)
}

/// Reads the first `limit` bytes of a text file, or of standard input for `-`, and no more: it may be endless.
///
/// # Errors
/// [`CliError::Io`] names the file.
pub fn read_start(path: &Path, limit: u64) -> Result<Vec<u8>, CliError> {
    let mut text = Vec::new();
    let (name, read) = if path == Path::new("-") {
        (Path::new("standard input"), std::io::stdin().lock().take(limit).read_to_end(&mut text))
    } else {
        (path, File::open(path).and_then(|file| file.take(limit).read_to_end(&mut text)))
    };
    read.map_err(|e| CliError::io(name, e))?;
    Ok(text)
}
