//! Foreign checkpoint formats, translated once into a [`Checkpoint`]. No other room knows their names.
//!
//! * containers: safetensors ([`safetensors`], one file or sharded) and PyTorch's zip of a pickle ([`torch`], read by a
//!   small machine that executes nothing);
//! * tensor names: Hugging Face `MambaForCausalLM` and `state-spaces/mamba`, which MambaByte uses ([`mapping`]);
//! * `config.json` of both ([`config`]). **Shapes decide**; what contradicts the config becomes a note.

pub mod config;
pub mod mapping;
pub mod pickle;
pub mod safetensors;
pub mod torch;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use mambabyte_host::Checkpoint;

/// A tensor as read: shape and values in f32.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
    /// Row-major values.
    pub data: Vec<f32>,
}

/// Tensors by name.
pub type Tensors = BTreeMap<String, Tensor>;

/// A checkpoint and what was noticed on the way.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The model.
    pub checkpoint: Checkpoint,
    /// Contradictions with the config and things ignored, one sentence each.
    pub notes: Vec<String>,
    /// The files read.
    pub files: Vec<PathBuf>,
}

/// Why a checkpoint was not loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// The file system said no.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// A folder without weights.
    #[error(
        "{}: no weights here; expected model.safetensors, model.safetensors.index.json or pytorch_model.bin",
        path.display()
    )]
    NoWeights {
        /// The folder.
        path: PathBuf,
    },
    /// A damaged or foreign file.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        reason: String,
    },
    /// Tensors missing, extra or of the wrong shape.
    #[error("the tensors do not make a Mamba byte model:\n{table}")]
    Tensors {
        /// Name, expected, found.
        table: String,
    },
    /// A NaN or an infinity.
    #[error("tensor {tensor}: element {index} is {value}")]
    NonFinite {
        /// The tensor.
        tensor: String,
        /// Flat index.
        index: usize,
        /// The value.
        value: f32,
    },
    /// A dimension outside what this software supports.
    #[error("{name} = {found} is outside {low}..={high}")]
    Dimension {
        /// Name of the dimension.
        name: &'static str,
        /// Its value.
        found: usize,
        /// Smallest value allowed.
        low: usize,
        /// Largest value allowed.
        high: usize,
    },
}

impl FormatError {
    fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }

    fn file(path: &Path, reason: impl ToString) -> Self {
        Self::File { path: path.to_owned(), reason: reason.to_string() }
    }
}

/// Loads a checkpoint: a folder, or one weight file (a `config.json` beside it is read if there is one).
///
/// # Errors
/// [`FormatError`] names the file, tensor or dimension.
pub fn load(path: &Path) -> Result<Loaded, FormatError> {
    let meta = std::fs::metadata(path).map_err(|e| FormatError::io(path, e))?;
    let (folder, weights) = if meta.is_dir() {
        (path.to_owned(), find_weights(path)?)
    } else {
        (path.parent().map(Path::to_owned).unwrap_or_default(), path.to_owned())
    };
    let mut files = vec![weights.clone()];
    let name = weights.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let tensors = if name.ends_with(".index.json") {
        safetensors::read_sharded(&weights, &mut files)?
    } else {
        let bytes = map(&weights)?;
        // Zip, legacy pickle, or else safetensors: decided by content, not by name.
        if bytes.starts_with(b"PK") || bytes.first() == Some(&0x80) {
            torch::read(&bytes).map_err(|reason| FormatError::file(&weights, reason))?
        } else {
            safetensors::read(&bytes).map_err(|reason| FormatError::file(&weights, reason))?
        }
    };
    let config_path = folder.join("config.json");
    let config = if config_path.is_file() {
        files.push(config_path.clone());
        let text = std::fs::read(&config_path).map_err(|e| FormatError::io(&config_path, e))?;
        config::Config::parse(&text).map_err(|e| FormatError::file(&config_path, e))?
    } else {
        config::Config::default()
    };
    let mut notes = Vec::new();
    let checkpoint = mapping::checkpoint(tensors, &config, &mut notes)?;
    Ok(Loaded { checkpoint, notes, files })
}

/// Whether `path` looks like a checkpoint rather than a blob: a folder or a file that is not a blob.
pub fn is_blob(path: &Path) -> bool {
    let mut head = [0; 8];
    File::open(path).and_then(|mut f| std::io::Read::read_exact(&mut f, &mut head)).is_ok()
        && head == mambabyte_core::blob::MAGIC
}

fn find_weights(folder: &Path) -> Result<PathBuf, FormatError> {
    let known = ["model.safetensors", "model.safetensors.index.json", "pytorch_model.bin"];
    known
        .iter()
        .map(|name| folder.join(name))
        .find(|path| path.is_file())
        .ok_or_else(|| FormatError::NoWeights { path: folder.to_owned() })
}

/// A read-only memory map of a file.
pub(crate) fn map(path: &Path) -> Result<memmap2::Mmap, FormatError> {
    let file = File::open(path).map_err(|e| FormatError::io(path, e))?;
    // SAFETY: the map is private to this process and read once, front to back; if another process truncates the file
    // meanwhile, this one is ended by the system, it does not read foreign memory.
    #[allow(unsafe_code, reason = "a map of a foreign file cannot be proved immutable")]
    let map = unsafe { memmap2::Mmap::map(&file) };
    map.map_err(|e| FormatError::io(path, e))
}
