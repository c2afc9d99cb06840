//! The zip that `torch.save` writes: `NAME/data.pkl` describes tensors, `NAME/data/KEY` holds their storages.
//!
//! Entries are stored, not compressed, so a storage is a slice of the file and nothing is copied. Checksums are
//! compared; a recorded zero counts as none, for writers that leave the field empty.

use std::collections::HashMap;
use std::io::Cursor;

use thiserror::Error;
use zip::CompressionMethod;
use zip::result::ZipError;

use super::pickle::{MAX_PICKLE_BYTES, PickleError, parse_pickle};
use super::shorten::shorten;
use super::tensor::{Entry, RawTensor, ViewError};

/// Why a PyTorch file was refused.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TorchError {
    /// No zip, or a damaged directory.
    #[error("the zip archive is damaged or cut short")]
    Zip(#[from] ZipError),
    /// There is no `data.pkl`, or more than one.
    #[error("the zip archive holds {found} files named data.pkl, torch.save writes one")]
    DataPkl {
        /// How many there are.
        found: usize,
    },
    /// An entry cannot be used.
    #[error("zip entry `{entry}` {why}")]
    Entry {
        /// Its name.
        entry: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The pickle inside was refused.
    #[error(transparent)]
    Pickle(#[from] PickleError),
    /// A tensor names a storage that is not in the archive.
    #[error("tensor `{tensor}` needs storage `{storage}`, which is not in the archive")]
    NoStorage {
        /// Name in the state dict.
        tensor: String,
        /// Key of the storage.
        storage: String,
    },
    /// The storage of a tensor has another size than the pickle claims.
    #[error("storage `{storage}` of tensor `{tensor}` has {have} bytes, the pickle claims {claimed} elements")]
    StorageSize {
        /// Name in the state dict.
        tensor: String,
        /// Key of the storage.
        storage: String,
        /// Elements according to the pickle.
        claimed: usize,
        /// Bytes in the archive.
        have: usize,
    },
    /// Shape, strides and storage do not fit together.
    #[error("tensor `{tensor}` does not fit its storage")]
    View {
        /// Name in the state dict.
        tensor: String,
        /// What does not fit.
        source: ViewError,
    },
    /// Tensors share storages so much that they would exceed twice the file; a tied head shares one.
    #[error("the tensors add up to more than twice the file (at `{tensor}`)")]
    Inflated {
        /// The tensor that crossed the limit.
        tensor: String,
    },
    /// Entries of the archive share bytes: checking each of a thousand would be checking a thousand files.
    #[error("the entries of the zip archive add up to more than the file: they overlap")]
    Overlap,
}

/// What a file of `torch.save` holds.
#[derive(Clone, Debug)]
pub struct TorchFile<'a> {
    /// The entries of its state dict, in the order of the dict; those that are no tensors of floats last.
    pub entries: Vec<(String, Entry<'a>)>,
    /// What of the file was not read.
    pub note: Option<String>,
}

/// Where an entry lies in the file.
#[derive(Clone, Copy)]
struct Stored<'a> {
    bytes: &'a [u8],
    crc: u32,
    /// Neither compressed nor encrypted.
    plain: bool,
}

/// Reads a file of `torch.save` (PyTorch 1.6 or later): a state dict, or a training checkpoint with one in it.
///
/// # Errors
/// [`TorchError`] names the entry, tensor, opcode or Python object at fault.
/// # Cost
/// One pass over the file for the checksums. No weight is copied, no code of the file is run, no panic.
pub fn read_torch_zip(bytes: &[u8]) -> Result<TorchFile<'_>, TorchError> {
    let entries = directory(bytes)?;
    let mut programs = entries.iter().filter(|(name, _)| name.strip_suffix("data.pkl").is_some_and(is_top_folder));
    let (name, program) = match (programs.next(), programs.next()) {
        (Some(one), None) => one,
        (first, _) => return Err(TorchError::DataPkl { found: first.map_or(0, |_| 2 + programs.count()) }),
    };
    let prefix = name.strip_suffix("data.pkl").unwrap_or_default();
    if program.bytes.len() > MAX_PICKLE_BYTES {
        return Err(PickleError::TooLong { have: program.bytes.len() }.into());
    }
    let program = verified(name, *program)?;
    if entries.get(&format!("{prefix}byteorder")).is_some_and(|order| order.bytes.starts_with(b"big")) {
        return Err(TorchError::Entry {
            entry: format!("{prefix}byteorder"),
            why: "says big-endian, which is not read",
        });
    }

    let mut storages: HashMap<&str, &[u8]> = HashMap::new();
    let mut budget = bytes.len().saturating_mul(2);
    let state_dict = parse_pickle(program)?;
    let note = state_dict.entry.map(|entry| {
        let beside: Vec<String> = state_dict.beside.iter().take(LISTED).map(|name| shorten(name)).collect();
        let more = if state_dict.beside.len() > LISTED { ", ..." } else { "" };
        let ignored = if beside.is_empty() { String::new() } else { format!("; not {}{more}", beside.join(", ")) };
        format!("of the training checkpoint `{}` is read{ignored}", shorten(entry))
    });
    let mut entries_read = Vec::new();
    for pickled in state_dict.tensors {
        let tensor = || shorten(pickled.name);
        let storage = match storages.get(pickled.storage) {
            Some(storage) => storage,
            None => {
                let entry = format!("{prefix}data/{}", pickled.storage);
                let found = entries
                    .get(&entry)
                    .ok_or_else(|| TorchError::NoStorage { tensor: tensor(), storage: shorten(pickled.storage) })?;
                let storage = verified(&entry, *found)?;
                storages.insert(pickled.storage, storage);
                storage
            }
        };
        if pickled.storage_elements.checked_mul(pickled.dtype.size()) != Some(storage.len()) {
            return Err(TorchError::StorageSize {
                tensor: tensor(),
                storage: shorten(pickled.storage),
                claimed: pickled.storage_elements,
                have: storage.len(),
            });
        }
        let view = RawTensor::new(pickled.dtype, pickled.shape, Some(pickled.strides), pickled.offset, storage)
            .map_err(|source| TorchError::View { tensor: tensor(), source })?;
        budget = budget
            .checked_sub(view.elements() * pickled.dtype.size())
            .ok_or_else(|| TorchError::Inflated { tensor: tensor() })?;
        entries_read.push((pickled.name.to_owned(), Entry::Tensor(view)));
    }
    entries_read.extend(state_dict.others.into_iter().map(|(name, what)| (name.to_owned(), Entry::Other(what))));
    Ok(TorchFile { entries: entries_read, note })
}

/// Most names that a note lists.
const LISTED: usize = 8;

/// "" or "archive/": torch writes everything below one folder, named after the file.
fn is_top_folder(prefix: &str) -> bool {
    prefix.is_empty() || prefix.strip_suffix('/').is_some_and(|folder| !folder.contains('/'))
}

fn directory(bytes: &[u8]) -> Result<HashMap<String, Stored<'_>>, TorchError> {
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes))?;
    let mut entries = HashMap::new();
    let mut left = bytes.len();
    for index in 0..archive.len() {
        let file = archive.by_index_raw(index)?;
        let name = file.name()?.into_owned();
        let start = file.data_start().and_then(|start| usize::try_from(start).ok());
        let length = usize::try_from(file.compressed_size()).ok();
        let slice = start.zip(length).and_then(|(start, length)| bytes.get(start..)?.get(..length));
        let Some(slice) = slice else {
            return Err(TorchError::Entry { entry: shorten(&name), why: "lies beyond the end of the file" });
        };
        left = left.checked_sub(slice.len()).ok_or(TorchError::Overlap)?;
        let plain = file.compression() == CompressionMethod::Stored && !file.encrypted();
        entries.insert(name, Stored { bytes: slice, crc: file.crc32(), plain });
    }
    Ok(entries)
}

fn verified<'a>(name: &str, entry: Stored<'a>) -> Result<&'a [u8], TorchError> {
    let fault = |why| Err(TorchError::Entry { entry: shorten(name), why });
    if !entry.plain {
        return fault("is compressed or encrypted; torch.save stores entries as they are");
    }
    if entry.crc != 0 && entry.crc != crc32fast::hash(entry.bytes) {
        return fault("does not match its checksum: the file is damaged");
    }
    Ok(entry.bytes)
}
