//! What a run begins with: the weights, and its teachers.

use std::path::{Path, PathBuf};

use mambabyte_core::Dims;
use mambabyte_host::Checkpoint;
use mambabyte_host::dequantize::dequantize;
use mambabyte_host::train::initial;

use super::options::{Args, seed};
use crate::error::CliError;
use crate::model::{AnyModel, Loading};
use crate::output::{say, shown};
use crate::training::shape::{self, Shape};

/// What a run is begun with: weights, and where they came from; and whom it learns from.
pub(super) struct Start {
    pub(super) weights: Checkpoint,
    pub(super) from: Option<(String, u32)>,
    pub(super) teachers: Vec<Checkpoint>,
    pub(super) named: Vec<(String, u32)>,
}

/// The weights of a model, its name, and their CRC-32.
pub(super) type Weights = (Checkpoint, (String, u32));

pub(super) fn weights_of(path: &Path, loading: &Loading) -> Result<Weights, CliError> {
    let mut weights = match AnyModel::open(path, loading)? {
        AnyModel::Blob(file) => dequantize(&file.blob()).checkpoint,
        AnyModel::Checkpoint(model) => model.checkpoint().clone(),
    };
    weights.tie_decays();
    let mut crc = crc32fast::Hasher::new();
    for (.., values) in weights.tensors_mut() {
        values.iter().for_each(|v| crc.update(&v.to_le_bytes()));
    }
    Ok((weights, (shown(path), crc.finalize())))
}

/// The models at `paths`.
pub(super) fn teachers(paths: &[PathBuf], loading: &Loading) -> Result<Vec<Weights>, CliError> {
    paths.iter().map(|path| weights_of(path, loading)).collect()
}

/// The weights of `--from`, or random ones of the shape that was asked for, over as many symbols.
pub(super) fn start(args: &Args, symbols: usize) -> Result<Start, CliError> {
    let (teachers, named) = teachers(&args.run.teacher, &args.loading)?.into_iter().unzip();
    let model = &args.model;
    if let Some(path) = &model.from {
        let (weights, from) = weights_of(path, &args.loading)?;
        return Ok(Start { weights, from: Some(from), teachers, named });
    }
    let dims = match (&model.chip, model.shape, model.d_model) {
        (Some(chip), ..) => {
            let (shape, why) = shape::largest(chip)?;
            say(format_args!("{why}"));
            shape.dims()
        }
        (_, Some(shape), _) => shape.dims(),
        (_, _, Some(d_model)) => {
            let default = shape::of(d_model, model.n_layer.unwrap_or(1), !model.free_decays);
            Dims {
                d_inner: model.d_inner.unwrap_or(default.d_inner),
                d_state: model.d_state.unwrap_or(default.d_state),
                d_conv: model.d_conv.unwrap_or(default.d_conv),
                dt_rank: model.dt_rank.unwrap_or(default.dt_rank),
                tied_head: !model.untied_head,
                ..default
            }
        }
        _ => Shape::Nano.dims(),
    };
    if let Some((name, found, low, high)) = dims.out_of_bounds() {
        return Err(CliError::Usage(format!("--{}: {found} is outside {low}..={high}", name.replace('_', "-"))));
    }
    let weights = initial::with_vocabulary(&dims, symbols, seed(&args.run));
    Ok(Start { weights, from: None, teachers, named })
}
