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
mod error;
mod pickle;
mod safetensors;
mod shorten;
mod tensor;
mod torch;

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use mambabyte_host::Checkpoint;
use memmap2::Mmap;

use config::Config;

pub use error::{FormatError, Mismatch, TensorTable};
pub use pickle::{MAX_PICKLE_BYTES, PickleError, PickledTensor, parse_pickle};
pub use safetensors::{SafetensorsError, ShardIndex, tensors_from_safetensors};
pub use tensor::{Dtype, RawTensor, ViewError};
pub use torch::{TorchError, read_torch_zip};

/// Longest config.json or index read.
const MAX_JSON_BYTES: u64 = 16 << 20;

/// Container that the weights came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceFormat {
    /// One safetensors file.
    Safetensors,
    /// `model.safetensors.index.json` and its shards.
    ShardedSafetensors,
    /// A zip of `torch.save`.
    TorchZip,
}

impl fmt::Display for SourceFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SourceFormat::Safetensors => "safetensors",
            SourceFormat::ShardedSafetensors => "sharded safetensors",
            SourceFormat::TorchZip => "PyTorch pickle",
        })
    }
}

/// A checkpoint and where it came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The model.
    pub checkpoint: Checkpoint,
    /// Sentences about what the config has wrong and what was left out.
    pub notes: Vec<String>,
    /// Container of the weights.
    pub source_format: SourceFormat,
    /// Files read: weights, then index and config if there are any.
    pub files: Vec<PathBuf>,
}

/// What the user insists on against what the files say.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct Options {
    /// Believe the tensors of a checkpoint where config.json promises more layers or a head that the files lack.
    #[arg(long)]
    pub trust_tensors: bool,
    /// The row of a checkpoint's vocabulary that is byte 0 (3 for ByT5). Default: what its files say, else 0.
    #[arg(long, value_name = "N")]
    pub byte_offset: Option<usize>,
}

/// Loads a checkpoint from a folder or from one file.
///
/// A folder holds `model.safetensors`, `model.safetensors.index.json` or `pytorch_model.bin` (first found), or one file
/// `*.safetensors`, `*.bin`, `*.pt` or `*.pth` that is a checkpoint. `config.json` beside the weights is read if there.
///
/// # Errors
/// [`FormatError`]; missing, extra and misshapen tensors are reported together.
/// # Cost
/// One pass over the files; memory for the f32 checkpoint and the largest tensor. The files are mapped and must not
/// change meanwhile.
pub fn load(path: &Path, options: &Options) -> Result<Loaded, FormatError> {
    let _ = options;
    let mut notes = Vec::new();
    let weights = if path.is_dir() { find_weights(path, &mut notes)? } else { path.to_owned() };
    let (config, config_path) = read_config(&weights, &mut notes)?;
    if weights.file_name().is_some_and(|name| name.to_string_lossy().ends_with(".index.json")) {
        return load_shards(&weights, &config, config_path, notes);
    }
    let map = map(&weights)?;
    let (source_format, tensors) = match sniff(&map) {
        Some(Content::Zip) => {
            let tensors = read_torch_zip(&map);
            let tensors = tensors.map_err(|source| FormatError::Torch { path: weights.clone(), source })?;
            (SourceFormat::TorchZip, tensors)
        }
        Some(Content::Legacy) => return Err(FormatError::LegacyPickle { path: weights }),
        // A damaged file is still a damaged safetensors if its name says so.
        content if content == Some(Content::Safetensors) || has_extension(&weights, &["safetensors"]) => {
            let tensors = tensors_from_safetensors(&map);
            let tensors = tensors.map_err(|source| FormatError::Safetensors { path: weights.clone(), source })?;
            (SourceFormat::Safetensors, tensors)
        }
        _ => return Err(FormatError::Unrecognised { path: weights }),
    };
    let checkpoint = assemble::assemble(tensors, &config, &mut notes)?;
    let files = [weights].into_iter().chain(config_path).collect();
    Ok(Loaded { checkpoint, notes, source_format, files })
}

fn load_shards(
    index_path: &Path,
    config: &Config,
    config_path: Option<PathBuf>,
    mut notes: Vec<String>,
) -> Result<Loaded, FormatError> {
    let at_index = |source| FormatError::Safetensors { path: index_path.to_owned(), source };
    let index = ShardIndex::parse(&read_json(index_path)?).map_err(at_index)?;
    let mut maps = Vec::new();
    let mut files = Vec::new();
    for shard in index.shards() {
        let path = index_path.with_file_name(shard);
        if !path.exists() {
            return Err(FormatError::ShardMissing { index: index_path.to_owned(), shard: shard.to_owned() });
        }
        maps.push((shard, map(&path)?));
        files.push(path);
    }
    let mut tensors = Vec::new();
    for ((shard, map), path) in maps.iter().zip(&files) {
        let found = tensors_from_safetensors(map);
        let found = found.map_err(|source| FormatError::Safetensors { path: path.clone(), source })?;
        tensors.extend(index.select(shard, found, &mut notes).map_err(at_index)?);
    }
    let checkpoint = assemble::assemble(tensors, config, &mut notes)?;
    files.push(index_path.to_owned());
    files.extend(config_path);
    Ok(Loaded { checkpoint, notes, source_format: SourceFormat::ShardedSafetensors, files })
}

/// Every file that [`load`] may read of `path`, found without opening one: an output must not replace any of them.
pub fn inputs(path: &Path) -> Vec<PathBuf> {
    const READ: [&str; 6] = ["json", "safetensors", "bin", "pt", "pth", "ckpt"];
    let folder = match path.parent() {
        _ if path.is_dir() => path,
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let beside = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let own = (!path.is_dir()).then(|| path.to_owned());
    own.into_iter().chain(beside.filter(|path| has_extension(path, &READ) && path.is_file())).collect()
}

/// The file of weights in a folder.
fn find_weights(dir: &Path, notes: &mut Vec<String>) -> Result<PathBuf, FormatError> {
    const USUAL: [&str; 3] = ["model.safetensors", "model.safetensors.index.json", "pytorch_model.bin"];
    let mut usual = USUAL.into_iter().filter(|name| dir.join(name).is_file());
    if let Some(first) = usual.next() {
        notes.extend(usual.map(|name| format!("{name} ignored, {first} is read")));
        return Ok(dir.join(first));
    }
    let io = |source| FormatError::Io { path: dir.to_owned(), source };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if has_extension(&path, &["safetensors"]) || (has_extension(&path, &["bin", "pt", "pth"]) && is_torch(&path)) {
            found.push(path);
        }
    }
    found.sort();
    match found.as_slice() {
        [] => Err(FormatError::NoWeights { dir: dir.to_owned() }),
        [one] => Ok(one.clone()),
        several => {
            let names = several.iter().filter_map(|path| path.file_name());
            let files = names.map(|name| name.to_string_lossy().into_owned()).collect();
            Err(FormatError::Ambiguous { dir: dir.to_owned(), files })
        }
    }
}

fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    path.extension().is_some_and(|found| extensions.iter().any(|extension| found == *extension))
}

/// Other files end in `.bin` too; unreadable ones are no candidates.
fn is_torch(path: &Path) -> bool {
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(16).read_to_end(&mut start));
    read.is_ok() && matches!(sniff(&start), Some(Content::Zip | Content::Legacy))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Content {
    Safetensors,
    Zip,
    Legacy,
}

/// Content by its first bytes.
fn sniff(bytes: &[u8]) -> Option<Content> {
    if bytes.starts_with(b"PK\x03\x04") {
        Some(Content::Zip)
    } else if bytes.get(8) == Some(&b'{') {
        Some(Content::Safetensors)
    } else if bytes.starts_with(&[0x80]) && bytes.get(1).is_some_and(|version| (2..=5).contains(version)) {
        Some(Content::Legacy)
    } else {
        None
    }
}

fn read_config(weights: &Path, notes: &mut Vec<String>) -> Result<(Config, Option<PathBuf>), FormatError> {
    let path = weights.with_file_name("config.json");
    if !path.is_file() {
        notes.push(format!("no config.json beside the weights: norm epsilon {:e} is used", config::DEFAULT_EPS));
        return Ok((Config::default(), None));
    }
    let config = Config::parse(&read_json(&path)?);
    let config = config.map_err(|source| FormatError::Config { path: path.clone(), source })?;
    Ok((config, Some(path)))
}

fn read_json(path: &Path) -> Result<Vec<u8>, FormatError> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_JSON_BYTES).read_to_end(&mut bytes));
    read.map_err(|source| FormatError::Io { path: path.to_owned(), source })?;
    Ok(bytes)
}

/// Maps a file for reading.
pub(crate) fn map(path: &Path) -> Result<Mmap, FormatError> {
    Ok(map_file(path)?.1)
}

/// Opens a file and maps it for reading.
#[allow(unsafe_code, reason = "memory maps are unsafe by nature; copying would double the memory of large models")]
pub(crate) fn map_file(path: &Path) -> Result<(File, Mmap), FormatError> {
    let io = |source| FormatError::Io { path: path.to_owned(), source };
    let file = File::open(path).map_err(io)?;
    // SAFETY: the map is read-only. What cannot be ruled out is that another process changes the file meanwhile; as
    // with every tool that maps its input, the user owes that it does not.
    let map = unsafe { Mmap::map(&file) }.map_err(io)?;
    Ok((file, map))
}

/// Gives the memory of a map's pages back; they are read from the file again when they are needed.
#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "the system's call")]
pub(crate) fn release(map: &Mmap) {
    // SAFETY: a map of a file that is never written to has the same bytes whenever its pages come.
    // An error means that they stay, which is no harm.
    let _ = unsafe { map.unchecked_advise(memmap2::UncheckedAdvice::DontNeed) };
}

/// Whether the file at `path` starts as a blob does.
pub fn is_blob(path: &Path) -> bool {
    let mut head = [0; 8];
    File::open(path).and_then(|mut f| std::io::Read::read_exact(&mut f, &mut head)).is_ok()
        && head == mambabyte_core::blob::MAGIC
}
