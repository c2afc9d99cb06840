//! Safetensors, one file or several under an index.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use half::{bf16, f16};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use super::{FormatError, Tensor, Tensors, map};

/// Reads all tensors of one file.
///
/// # Errors
/// A sentence that names the tensor or the place.
pub fn read(bytes: &[u8]) -> Result<Tensors, String> {
    let file = SafeTensors::deserialize(bytes).map_err(|e| format!("not a whole safetensors file: {e}"))?;
    file.iter().map(|(name, view)| Ok((name.to_owned(), convert(name, &view)?))).collect()
}

fn convert(name: &str, view: &TensorView<'_>) -> Result<Tensor, String> {
    let bytes = view.data();
    let data = match view.dtype() {
        Dtype::F32 => bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
        Dtype::F16 => bytes.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
        Dtype::BF16 => bytes.chunks_exact(2).map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
        Dtype::F64 => {
            let wide = bytes.chunks_exact(8).map(|b| f64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]));
            wide.map(|x| x as f32).collect()
        }
        other => return Err(format!("tensor {name}: element type {other:?} is not supported (f32, f16, bf16, f64 are)")),
    };
    Ok(Tensor { shape: view.shape().to_vec(), data })
}

/// The part of `model.safetensors.index.json` that is used.
#[derive(serde::Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// Reads the shards that an index names; the files read are added to `files`.
///
/// # Errors
/// [`FormatError`] names the shard, and the tensor that it should hold.
pub fn read_sharded(index: &Path, files: &mut Vec<PathBuf>) -> Result<Tensors, FormatError> {
    let text = std::fs::read(index).map_err(|e| FormatError::io(index, e))?;
    let Index { weight_map } = serde_json::from_slice(&text).map_err(|e| FormatError::file(index, e))?;
    let mut shards: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (tensor, shard) in &weight_map {
        let mut parts = Path::new(shard).components();
        if !matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None)) {
            return Err(FormatError::file(index, format!("shard name {shard:?} is not a plain file name")));
        }
        shards.entry(shard).or_default().push(tensor);
    }
    let mut all = Tensors::new();
    for (shard, names) in shards {
        let path = index.with_file_name(shard);
        let bytes = map(&path)?;
        let tensors = read(&bytes).map_err(|reason| FormatError::file(&path, reason))?;
        if let Some(missing) = names.iter().find(|&&name| !tensors.contains_key(name)) {
            return Err(FormatError::file(&path, format!("the index promises tensor {missing} here")));
        }
        for (name, tensor) in tensors {
            if all.insert(name.clone(), tensor).is_some() {
                return Err(FormatError::file(&path, format!("tensor {name} is in another shard too")));
            }
        }
        files.push(path);
    }
    Ok(all)
}
