//! Opening files: whole JSON documents, and maps of weights. Only regular files: a FIFO would wait for a writer.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use memmap2::Mmap;

use super::content::Content;
use super::error::FormatError;
use super::safetensors::ShardIndex;

/// Longest config.json or index read.
const MAX_JSON_BYTES: u64 = 16 << 20;

/// A whole JSON file, up to a limit that no honest one reaches.
pub(super) fn read_json(path: &Path) -> Result<Vec<u8>, FormatError> {
    let io = |source| FormatError::Io { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    open(path)?.take(MAX_JSON_BYTES).read_to_end(&mut bytes).map_err(io)?;
    Ok(bytes)
}

/// Opens a regular file: a FIFO would wait for a writer.
pub(super) fn open(path: &Path) -> Result<File, FormatError> {
    let io = |source| FormatError::Io { path: path.to_owned(), source };
    let kind = std::fs::metadata(path).map_err(io)?;
    if !kind.is_file() {
        return Err(FormatError::NoFile { path: path.to_owned() });
    }
    File::open(path).map_err(io)
}

/// Maps a file for reading.
pub(super) fn map(path: &Path) -> Result<Mmap, FormatError> {
    Ok(map_file(path)?.1)
}

/// Opens a file and maps it for reading.
#[allow(unsafe_code, reason = "memory maps are unsafe by nature; copying would double the memory of large models")]
pub(crate) fn map_file(path: &Path) -> Result<(File, Mmap), FormatError> {
    let io = |source| FormatError::Io { path: path.to_owned(), source };
    let file = open(path)?;
    // SAFETY: the map is read-only. What cannot be ruled out is that another process changes the file meanwhile; as
    // with every tool that maps its input, the user owes that it does not.
    let map = unsafe { Mmap::map(&file) }.map_err(io)?;
    Ok((file, map))
}

/// Reads a file into memory of its own; `None` if it is empty.
pub(crate) fn copy_file(path: &Path) -> Result<Option<memmap2::MmapMut>, FormatError> {
    let io = |source| FormatError::Io { path: path.to_owned(), source };
    let mut file = open(path)?;
    let length = usize::try_from(file.metadata().map_err(io)?.len()).map_err(|e| io(std::io::Error::other(e)))?;
    if length == 0 {
        return Ok(None);
    }
    let mut copy = memmap2::MmapMut::map_anon(length).map_err(io)?;
    file.read_exact(&mut copy).map_err(io)?;
    Ok(Some(copy))
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
    open(path).is_ok_and(|mut file| file.read_exact(&mut head).is_ok()) && head == mambabyte_core::blob::MAGIC
}

/// What the file at `path` is, if it can be read.
pub fn content(path: &Path) -> Option<Content> {
    let name = path.file_name()?.to_string_lossy();
    Some(Content::of(&map(path).ok()?, &name))
}

/// The index of shards at `path`.
pub(super) fn read_index(path: &Path) -> Result<ShardIndex, FormatError> {
    let at_index = |source| FormatError::Safetensors { path: path.to_owned(), source };
    ShardIndex::parse(&read_json(path)?).map_err(at_index)
}
