//! Foreign checkpoints: safetensors, sharded safetensors and the pickles of PyTorch.
//!
//! [`load`] answers with a [`Checkpoint`] whose shape comes from the tensors alone. What config.json says otherwise is
//! kept as notes for the user: the config of the official MambaByte weights is wrong in several places.
//!
//! Files are untrusted. No code in them is run, sizes are checked before anything is allocated, and every error names
//! the file, tensor, opcode or dimension at fault. The parsers [`parse_pickle`], [`read_torch_zip`] and
//! [`tensors_from_safetensors`] take plain bytes and are fuzzed.
//!
//! Files are mapped and weights are converted one tensor at a time: peak memory is the f32 checkpoint itself.

mod assemble;
mod config;
mod content;
mod decays;
mod error;
mod json;
mod locate;
mod names;
mod onnx;
mod options;
mod pickle;
mod read;
mod safetensors;
mod shorten;
mod tensor;
mod tensors;
mod torch;
mod vocabulary;
mod write;

use std::fmt;
use std::path::{Path, PathBuf};

use mambabyte_host::Checkpoint;
use serde_json::Value;

use config::Config;
use locate::Weights;
use read::{map, read_index, read_json};
use vocabulary::Symbols;

pub use content::{Content, Foreign};
pub use error::{FormatError, Mismatch, TensorTable};
pub use locate::inputs;
pub use onnx::{OPSET, OnnxError, onnx};
pub use options::Options;
pub use pickle::{MAX_PICKLE_BYTES, PickleError, PickledTensor, StateDict, parse_pickle};
pub use read::{content, is_blob};
pub(crate) use read::{copy_file, map_file, release};
pub use safetensors::{SafetensorsError, ShardIndex, tensors_from_safetensors};
pub use tensor::{Dtype, Entry, RawTensor, ViewError};
pub use torch::{TorchError, TorchFile, read_torch_zip};
pub use write::{Written, write};

/// Container that the weights came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceFormat {
    /// One safetensors file.
    Safetensors,
    /// Several, with an index or as a set.
    ShardedSafetensors,
    /// A zip of `torch.save`.
    TorchZip,
    /// Several.
    ShardedTorchZip,
}

impl fmt::Display for SourceFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SourceFormat::Safetensors => "safetensors",
            SourceFormat::ShardedSafetensors => "sharded safetensors",
            SourceFormat::TorchZip => "PyTorch pickle",
            SourceFormat::ShardedTorchZip => "sharded PyTorch pickles",
        })
    }
}

/// A checkpoint and where it came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The model.
    pub checkpoint: Checkpoint,
    /// Sentences about what the config has wrong, what was read unlike it is written, and what was left out.
    pub notes: Vec<String>,
    /// Container of the weights.
    pub source_format: SourceFormat,
    /// Files read: weights, then index and config if there are any.
    pub files: Vec<PathBuf>,
}

/// Loads a checkpoint from a folder or from one file.
///
/// A folder holds `model.safetensors`, `pytorch_model.bin` or an index of shards (first found), or one file or set of
/// files `*.safetensors`, `*.bin`, `*.pt`, `*.pth` or `*.ckpt` that is a checkpoint; or it is a folder of Hugging Face's
/// cache. `config.json` and `tokenizer_config.json` beside the weights are read if there.
///
/// # Errors
/// [`FormatError`]; missing, extra and misshapen tensors are reported together.
/// # Cost
/// One pass over the files; memory for the f32 checkpoint and the largest tensor. The files are mapped and must not
/// change meanwhile.
pub fn load(path: &Path, options: &Options) -> Result<Loaded, FormatError> {
    load_as(path, Symbols::Bytes, options)
}

/// As [`load`], with all rows of the vocabulary, whatever they stand for: `trust_tensors` is as there.
///
/// # Errors
/// The same.
pub fn load_symbols(path: &Path, trust_tensors: bool) -> Result<Loaded, FormatError> {
    load_as(path, Symbols::All, &Options { trust_tensors, byte_offset: None })
}

fn load_as(path: &Path, symbols: Symbols, options: &Options) -> Result<Loaded, FormatError> {
    let mut notes = Vec::new();
    let weights = locate::find(path, &mut notes)?;
    let beside = Beside::read(weights.path(), &mut notes)?;
    let index = match &weights {
        Weights::Index(path) => Some(read_index(path)?),
        _ => None,
    };
    let mut files = match (&weights, &index) {
        (Weights::File(path), _) => vec![path.clone()],
        (Weights::Set(paths), _) => paths.clone(),
        (Weights::Index(path), index) => shards(path, index.as_ref())?,
    };
    let maps = files.iter().map(|file| map(file)).collect::<Result<Vec<_>, _>>()?;
    let mut entries = Vec::new();
    let mut source_format = SourceFormat::Safetensors;
    for (map, file) in maps.iter().zip(&files) {
        let (format, mut found) = read_entries(map, file, &mut notes)?;
        source_format = format;
        if let (Some(index), Weights::Index(path)) = (&index, &weights) {
            let shard = file.file_name().unwrap_or_default().to_string_lossy();
            let selected = index.select(&shard, found, &mut notes);
            found = selected.map_err(|source| FormatError::Safetensors { path: path.clone(), source })?;
        }
        entries.extend(found);
    }
    source_format = match source_format {
        SourceFormat::Safetensors if !matches!(weights, Weights::File(_)) => SourceFormat::ShardedSafetensors,
        SourceFormat::TorchZip if !matches!(weights, Weights::File(_)) => SourceFormat::ShardedTorchZip,
        one => one,
    };
    if source_format == SourceFormat::ShardedTorchZip && index.is_some() {
        notes.push(format!("the weights are {} files of torch.save, as their index lists them", files.len()));
    }
    let checkpoint = assemble::assemble(entries, &beside.config, &beside.tokenizer, symbols, options, &mut notes)?;
    if let Weights::Index(path) = weights {
        files.push(path);
    }
    files.extend(beside.files);
    Ok(Loaded { checkpoint, notes, source_format, files })
}

/// The files that an index names.
fn shards(path: &Path, index: Option<&ShardIndex>) -> Result<Vec<PathBuf>, FormatError> {
    let names = index.map(ShardIndex::shards).unwrap_or_default();
    let (there, missing): (Vec<&str>, Vec<&str>) =
        names.into_iter().partition(|name| path.with_file_name(name).exists());
    if missing.is_empty() {
        return Ok(there.into_iter().map(|name| path.with_file_name(name)).collect());
    }
    Err(FormatError::ShardMissing { index: path.to_owned(), shards: missing.into_iter().map(str::to_owned).collect() })
}

/// The entries of one file of weights.
fn read_entries<'m>(
    map: &'m [u8],
    path: &Path,
    notes: &mut Vec<String>,
) -> Result<(SourceFormat, Vec<(String, Entry<'m>)>), FormatError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    match Content::of(map, &name) {
        Content::Safetensors => {
            let entries = tensors_from_safetensors(map);
            let entries = entries.map_err(|source| FormatError::Safetensors { path: path.to_owned(), source })?;
            Ok((SourceFormat::Safetensors, entries))
        }
        Content::TorchZip => {
            let read = read_torch_zip(map);
            let TorchFile { entries, note } =
                read.map_err(|source| FormatError::Torch { path: path.to_owned(), source })?;
            notes.extend(note);
            Ok((SourceFormat::TorchZip, entries))
        }
        Content::Foreign(kind) => {
            // A damaged file is still a damaged safetensors if its name says so.
            if kind == Foreign::Unknown && locate::has_extension(path, &["safetensors"]) {
                let source = match tensors_from_safetensors(map) {
                    Err(source) => source,
                    Ok(_) => SafetensorsError::Header { why: "it does not begin with `{`".to_owned() },
                };
                return Err(FormatError::Safetensors { path: path.to_owned(), source });
            }
            Err(FormatError::Foreign { path: path.to_owned(), kind })
        }
    }
}

/// What lies beside the weights and describes them.
struct Beside {
    config: Config,
    /// tokenizer_config.json, or null.
    tokenizer: Value,
    files: Vec<PathBuf>,
}

impl Beside {
    fn read(weights: &Path, notes: &mut Vec<String>) -> Result<Self, FormatError> {
        let mut beside = Self { config: Config::default(), tokenizer: Value::Null, files: Vec::new() };
        let path = weights.with_file_name("config.json");
        if path.is_file() {
            let config = Config::parse(&read_json(&path)?);
            beside.config = config.map_err(|source| FormatError::Config { path: path.clone(), source })?;
            beside.files.push(path);
        } else {
            notes.push(format!("no config.json beside the weights: norm epsilon {:e} is used", config::DEFAULT_EPS));
        }
        let path = weights.with_file_name("tokenizer_config.json");
        if path.is_file() {
            match json::parse(&read_json(&path)?) {
                Ok(tokenizer) => beside.tokenizer = tokenizer,
                // It is asked for the byte's rows only, and most vocabularies do not need it.
                Err(error) => notes.push(format!("tokenizer_config.json is not understood, ignored: {error}")),
            }
            beside.files.push(path);
        }
        Ok(beside)
    }
}
