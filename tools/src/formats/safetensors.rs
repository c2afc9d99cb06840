//! safetensors, whole or in shards.
//!
//! The `safetensors` crate checks that the tensors tile the file; what is left is to know the element types and, for
//! shards, to check what the index says of them and that their names stay in its folder.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path};

use ::safetensors::{SafeTensorError, SafeTensors};
use thiserror::Error;

use super::names::{EMBEDDING, HEAD, canonical};
use super::shorten::shorten;
use super::tensor::{Dtype, Entry, RawTensor, ViewError};
use crate::output::clean;

/// Why a safetensors file or index was refused.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SafetensorsError {
    /// The layout is damaged.
    #[error("the safetensors file is damaged or cut short")]
    Layout(SafeTensorError),
    /// The header is no table of tensors.
    #[error("the safetensors header is not understood: {why}")]
    Header {
        /// What is wrong with it.
        why: String,
    },
    /// Shape and bytes do not fit together.
    #[error("tensor `{tensor}` does not fit its bytes")]
    View {
        /// Its name.
        tensor: String,
        /// What does not fit.
        source: ViewError,
    },
    /// The index is no JSON object with a `weight_map` of strings.
    #[error("the index is not understood: {why}")]
    Index {
        /// What is wrong with it.
        why: String,
    },
    /// A shard name that is not a plain file name.
    #[error("the index names shard `{shard}`, which is not a plain file name in the same folder")]
    ShardName {
        /// The name.
        shard: String,
    },
    /// The index promises a tensor that its shard does not hold.
    #[error("tensor `{tensor}` is listed in the index, but is not in shard `{shard}`")]
    NotInShard {
        /// Its name.
        tensor: String,
        /// The shard according to the index.
        shard: String,
    },
}

/// Reads one safetensors file; entries come sorted by name. `save_model` leaves out one of two tied weights and calls
/// it the other's alias in `__metadata__`: of the embedding and the head, that is read.
///
/// # Errors
/// [`SafetensorsError`] if the header is not understood or the layout is damaged.
/// # Cost
/// No weight is copied.
pub fn tensors_from_safetensors(bytes: &[u8]) -> Result<Vec<(String, Entry<'_>)>, SafetensorsError> {
    let damaged = |error| match error {
        // The whole header is there: a file that is cut in its header is one of a wrong length.
        SafeTensorError::InvalidHeaderDeserialization(why) => SafetensorsError::Header { why: clean(&why.to_string()) },
        SafeTensorError::InvalidHeader(why) => SafetensorsError::Header { why: why.to_string() },
        error => SafetensorsError::Layout(error),
    };
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(damaged)?;
    let file = SafeTensors::deserialize(bytes).map_err(damaged)?;
    let mut entries = BTreeMap::new();
    for (name, view) in file.tensors() {
        let dtype = match view.dtype() {
            ::safetensors::Dtype::F32 => Dtype::F32,
            ::safetensors::Dtype::F16 => Dtype::F16,
            ::safetensors::Dtype::BF16 => Dtype::Bf16,
            ::safetensors::Dtype::F64 => Dtype::F64,
            other => {
                entries.insert(name, Entry::Other(format!("a tensor of {other:?}")));
                continue;
            }
        };
        let tensor = RawTensor::new(dtype, view.shape().to_vec(), None, 0, view.data())
            .map_err(|source| SafetensorsError::View { tensor: shorten(&name), source })?;
        entries.insert(name, Entry::Tensor(tensor));
    }
    for (alias, kept) in metadata.metadata().iter().flatten() {
        // Any more aliases would let a small file become a large model.
        if !matches!(canonical(alias).as_str(), EMBEDDING | HEAD) {
            continue;
        }
        if let (false, Some(tensor)) = (entries.contains_key(alias), entries.get(kept)) {
            entries.insert(alias.clone(), tensor.clone());
        }
    }
    Ok(entries.into_iter().collect())
}

/// `model.safetensors.index.json` or `pytorch_model.bin.index.json`: which tensor is in which shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardIndex {
    weight_map: BTreeMap<String, String>,
}

impl ShardIndex {
    /// Reads the JSON of an index.
    ///
    /// # Errors
    /// [`SafetensorsError::Index`] if there is no `weight_map`, [`SafetensorsError::ShardName`] if a shard would lie
    /// outside the folder of the index.
    pub fn parse(bytes: &[u8]) -> Result<Self, SafetensorsError> {
        let index = |why: &dyn std::fmt::Display| SafetensorsError::Index { why: why.to_string() };
        let json = super::json::parse(bytes).map_err(|error| index(&error))?;
        let map = json.get("weight_map").and_then(|map| map.as_object());
        let map = map.ok_or_else(|| index(&"it has no object `weight_map`"))?;
        let mut weight_map = BTreeMap::new();
        for (tensor, shard) in map {
            let shard =
                shard.as_str().ok_or_else(|| index(&format!("the shard of `{}` is no string", shorten(tensor))))?;
            if !is_plain_name(shard) {
                return Err(SafetensorsError::ShardName { shard: shorten(shard) });
            }
            weight_map.insert(tensor.clone(), shard.to_owned());
        }
        Ok(Self { weight_map })
    }

    /// File names of the shards, sorted.
    pub fn shards(&self) -> BTreeSet<&str> {
        self.weight_map.values().map(String::as_str).collect()
    }

    /// Keeps of `tensors`, found in `shard`, those that the index puts there; names the others in `notes`.
    ///
    /// # Errors
    /// [`SafetensorsError::NotInShard`] if the index puts one there that is not.
    pub fn select<'a>(
        &self,
        shard: &str,
        tensors: Vec<(String, Entry<'a>)>,
        notes: &mut Vec<String>,
    ) -> Result<Vec<(String, Entry<'a>)>, SafetensorsError> {
        let listed = |name: &str| self.weight_map.get(name).is_some_and(|at| at == shard);
        let found: BTreeSet<&str> = tensors.iter().map(|(name, _)| name.as_str()).collect();
        let promised = self.weight_map.iter().filter(|(_, at)| *at == shard).map(|(name, _)| name.as_str());
        if let Some(tensor) = promised.into_iter().find(|name| !found.contains(name)) {
            return Err(SafetensorsError::NotInShard { tensor: shorten(tensor), shard: shorten(shard) });
        }
        let (kept, ignored): (Vec<_>, Vec<_>) = tensors.into_iter().partition(|(name, _)| listed(name));
        if let Some((first, _)) = ignored.first() {
            let more = if ignored.len() > 1 { format!(" and {} more", ignored.len() - 1) } else { String::new() };
            let (first, shard) = (shorten(first), shorten(shard));
            notes.push(format!("{first}{more} in {shard} ignored: the index does not list it there"));
        }
        Ok(kept)
    }
}

/// One component, on any operating system, that can be printed.
fn is_plain_name(name: &str) -> bool {
    let mut components = Path::new(name).components();
    let single = matches!((components.next(), components.next()), (Some(Component::Normal(_)), None));
    single && name.len() <= 255 && !name.contains(['/', '\\', ':']) && !name.contains(char::is_control)
}
