//! Which files a checkpoint is made of, wherever the user points.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::content::{Content, Foreign};
use super::error::FormatError;
use super::read::read_index;
use super::shorten::shorten;
use crate::output::clean;

/// The weights of a checkpoint.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Weights {
    /// One file.
    File(PathBuf),
    /// An index that names shards beside it.
    Index(PathBuf),
    /// Shards without an index: all of `NAME-0000N-of-0000M`.
    Set(Vec<PathBuf>),
}

impl Weights {
    /// The file that stands for all: config.json is beside it.
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::File(path) | Self::Index(path) => path,
            Self::Set(paths) => paths.first().map_or(Path::new(""), PathBuf::as_path),
        }
    }
}

/// First found, first read.
const USUAL: [&str; 4] =
    ["model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"];
/// Files that training leaves beside the weights, by how their names begin.
const OF_TRAINING: [&str; 6] = ["optim", "scheduler", "rng_state", "random_states", "training_args", "scaler"];

/// Finds the weights that `path`, a folder or a file, stands for.
///
/// # Errors
/// [`FormatError`] if there are none, several, or some of a set are missing.
pub(super) fn find(path: &Path, notes: &mut Vec<String>) -> Result<Weights, FormatError> {
    if path.is_dir() { in_folder(&revision(path, notes)?, notes) } else { of_file(path.to_owned(), notes) }
}

/// The folder of the files themselves, of a folder in Hugging Face's cache: `models--NAME/snapshots/REVISION`.
fn revision(dir: &Path, notes: &mut Vec<String>) -> Result<PathBuf, FormatError> {
    let snapshots = dir.join("snapshots");
    if !snapshots.is_dir() {
        return Ok(dir.to_owned());
    }
    let main = dir.join("refs/main");
    // A FIFO would wait for a writer.
    let main = if main.is_file() { read_start(&main, 256).ok() } else { None };
    let main = main
        .map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned())
        .filter(|name| !name.is_empty() && Path::new(name).file_name() == Some(OsStr::new(name)));
    let mut found: Vec<PathBuf> = entries(&snapshots)?.into_iter().filter(|path| path.is_dir()).collect();
    if let Some(main) = main.map(|name| snapshots.join(name)).filter(|main| main.is_dir()) {
        found = vec![main];
    }
    match found.as_slice() {
        [one] => {
            notes.push(format!("of the cache folder the revision {} is read", name_of(one)));
            Ok(one.clone())
        }
        [] => Err(FormatError::NoWeights { dir: dir.to_owned() }),
        several => {
            Err(FormatError::Ambiguous { dir: snapshots, files: several.iter().map(|path| name_of(path)).collect() })
        }
    }
}

/// The files of weights in a folder.
fn in_folder(dir: &Path, notes: &mut Vec<String>) -> Result<Weights, FormatError> {
    // A link that leads nowhere is named as what cannot be read.
    let there = |name: &&str| dir.join(name).is_file() || dir.join(name).is_symlink();
    let mut usual = USUAL.into_iter().filter(there);
    if let Some(first) = usual.next() {
        notes.extend(usual.map(|name| format!("{name} ignored, {first} is read")));
        return of_file(dir.join(first), notes);
    }
    let (mut found, mut indexes) = (Vec::new(), Vec::new());
    for path in entries(dir)?.into_iter().filter(|path| path.is_file()) {
        let name = name_of(&path);
        if is_index(&name) {
            indexes.push(path);
        } else if has_extension(&path, &["safetensors"])
            || (has_extension(&path, &["bin", "pt", "pth", "ckpt"]) && is_torch(&path))
        {
            if OF_TRAINING.iter().any(|start| name.starts_with(start)) {
                notes.push(format!("{} ignored: of training, not weights", shorten(&name)));
            } else {
                found.push(path);
            }
        }
    }
    if let [index] = indexes.as_slice() {
        return Ok(Weights::Index(index.clone()));
    }
    let names = |paths: &[PathBuf]| paths.iter().map(|path| name_of(path)).collect();
    match found.as_slice() {
        [] => Err(FormatError::NoWeights { dir: dir.to_owned() }),
        [one] => of_file(one.clone(), notes),
        [first, ..] => match Shard::of(first) {
            Some(shard) if found.iter().all(|path| Shard::of(path).as_ref() == Some(&shard)) => {
                of_file(first.clone(), notes)
            }
            _ => Err(FormatError::Ambiguous { dir: dir.to_owned(), files: names(&found) }),
        },
    }
}

/// A file, or the set that it is a part of.
fn of_file(path: PathBuf, notes: &mut Vec<String>) -> Result<Weights, FormatError> {
    if is_index(&name_of(&path)) {
        return Ok(Weights::Index(path));
    }
    let Some(shard) = Shard::of(&path) else { return Ok(Weights::File(path)) };
    if !path.exists() {
        return Err(FormatError::Io { source: std::io::ErrorKind::NotFound.into(), path });
    }
    let index = path.with_file_name(format!("{}.{}.index.json", shard.stem, shard.extension));
    if index.is_file() {
        notes.push(format!(
            "{} is one of {} files: all are read, as {} lists them",
            name_of(&path),
            shard.of,
            name_of(&index)
        ));
        return Ok(Weights::Index(index));
    }
    let all = (1..=shard.of).map(|number| path.with_file_name(shard.name(number)));
    let (there, missing): (Vec<PathBuf>, Vec<PathBuf>) = all.partition(|path| path.is_file());
    if missing.is_empty() {
        notes.push(format!("{} files are a set without an index: all are read", shard.of));
        return Ok(Weights::Set(there));
    }
    Err(FormatError::SetIncomplete {
        path,
        of: shard.of,
        missing: missing.iter().map(|path| name_of(path)).collect(),
        index: name_of(&index),
    })
}

/// `STEM-0000N-of-0000M.EXTENSION`.
#[derive(Debug, PartialEq, Eq)]
struct Shard {
    stem: String,
    of: u32,
    extension: String,
}

impl Shard {
    fn of(path: &Path) -> Option<Self> {
        let (name, extension) = path.file_name()?.to_str()?.rsplit_once('.')?;
        let (rest, of) = name.rsplit_once("-of-")?;
        let (stem, number) = rest.rsplit_once('-')?;
        let plain = |text: &str| text.len() == 5 && text.bytes().all(|b| b.is_ascii_digit());
        let digits = |text: &str| if plain(text) { text.parse::<u32>().ok() } else { None };
        let (number, of) = (digits(number)?, digits(of)?);
        (of > 1 && (1..=of).contains(&number)).then(|| Self {
            stem: stem.to_owned(),
            of,
            extension: extension.to_owned(),
        })
    }

    fn name(&self, number: u32) -> String {
        format!("{}-{number:05}-of-{:05}.{}", self.stem, self.of, self.extension)
    }
}

fn is_index(name: &str) -> bool {
    name.ends_with(".index.json")
}

/// The entries of a folder, sorted.
fn entries(dir: &Path) -> Result<Vec<PathBuf>, FormatError> {
    let io = |source| FormatError::Io { path: dir.to_owned(), source };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(io)? {
        paths.push(entry.map_err(io)?.path());
    }
    paths.sort();
    Ok(paths)
}

/// A file's name for people.
fn name_of(path: &Path) -> String {
    path.file_name().map(|name| clean(&name.to_string_lossy())).unwrap_or_default()
}

pub(super) fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    path.extension().is_some_and(|found| extensions.iter().any(|extension| found == *extension))
}

/// Other files end in `.bin` too; unreadable ones are no candidates.
fn is_torch(path: &Path) -> bool {
    read_start(path, 512).is_ok_and(|start| {
        matches!(Content::of(&start, ""), Content::TorchZip | Content::Foreign(Foreign::LegacyPickle))
    })
}

/// The first bytes of a file.
pub(super) fn read_start(path: &Path, most: u64) -> std::io::Result<Vec<u8>> {
    let mut start = Vec::new();
    File::open(path)?.take(most).read_to_end(&mut start)?;
    Ok(start)
}

/// Every file that the checkpoint at `path` is read from: an output must not replace any. If it does not load, `path`
/// itself.
pub fn inputs(path: &Path) -> Vec<PathBuf> {
    let Ok(weights) = find(path, &mut Vec::new()) else { return vec![path.to_owned()] };
    let beside = ["config.json", "tokenizer_config.json"].map(|name| weights.path().with_file_name(name));
    let files = match weights {
        Weights::File(path) => vec![path],
        Weights::Set(paths) => paths,
        Weights::Index(path) => {
            let index = read_index(&path);
            let shards = index.iter().flat_map(|index| index.shards()).map(|shard| path.with_file_name(shard));
            shards.chain([path.clone()]).collect()
        }
    };
    files.into_iter().chain(beside).filter(|path| path.exists()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_shards() {
        let of = |name: &str| Shard::of(Path::new(name));
        let shard = of("a/model-00002-of-00003.safetensors").unwrap();
        assert_eq!((shard.stem.as_str(), shard.of, shard.extension.as_str()), ("model", 3, "safetensors"));
        assert_eq!(shard.name(1), "model-00001-of-00003.safetensors");
        for other in [
            "model.safetensors",
            "m-00000-of-00003.bin",
            "m-00004-of-00003.bin",
            "m-1-of-3.bin",
            "m-0000x-of-00003.bin",
            "m-00001-of-00001.bin",
            "m-+0001-of-00003.bin",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
