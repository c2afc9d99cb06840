//! The MODEL argument of commands for which no net at all is a model, too: `none`, the adapter alone.

use std::path::Path;

use mambabyte_host::cpu::Cpu;
use mambabyte_host::engine::AnyEngine;

use crate::computing::{Computing, DeviceKind};
use crate::error::CliError;
use crate::model::{AnyModel, Loading};
use crate::shipped::is_none;

/// Opens what the user calls `path`, or nothing for `none`; notes of the loader go to standard error.
///
/// # Errors
/// Those of [`AnyModel::open`].
pub fn open(path: &Path, loading: &Loading) -> Result<Option<AnyModel>, CliError> {
    if is_none(path) { Ok(None) } else { AnyModel::open(path, loading).map(Some) }
}

/// The engine for `net`, if there is one.
///
/// # Errors
/// [`CliError::Usage`] for a GPU or a precision where there is nothing to compute; those of [`Computing::engine`].
pub fn engine<'m>(
    net: Option<&'m AnyModel>,
    computing: Computing,
    cpu: Cpu,
) -> Result<Option<AnyEngine<'m>>, CliError> {
    let asked = match computing {
        Computing { device: DeviceKind::Cuda, .. } => "--device cuda",
        Computing { precision: Some(_), .. } => "--precision",
        _ => "",
    };
    match net {
        Some(model) => computing.engine(model, cpu).map(Some),
        None if asked.is_empty() => Ok(None),
        None => Err(CliError::Usage(format!("{asked}: the model is `none`, an adapter runs on the CPU in integers"))),
    }
}
