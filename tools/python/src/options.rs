//! Arguments that several functions share.

use mambabyte::adapting::{Adapt, chosen};
use mambabyte::computing::{Computing, DeviceKind, Running};
use mambabyte_host::adapt::Preset;
use mambabyte_host::cpu::Cpu;
use mambabyte_host::engine::Precision;
use pyo3::prelude::*;

use crate::error::{exception, usage};

/// The preset that `adapt` names, `None` or `off` for none; `net` says whether there is a model.
///
/// # Errors
/// `UsageError`.
pub(crate) fn preset(adapt: Option<&str>, net: bool) -> PyResult<Option<Preset>> {
    chosen(self::adapt(adapt)?, net).map_err(|error| exception(&error))
}

/// What `adapt` says.
///
/// # Errors
/// `UsageError`.
pub(crate) fn adapt(adapt: Option<&str>) -> PyResult<Adapt> {
    match adapt {
        None => Ok(Adapt::Off),
        Some(off) if off.eq_ignore_ascii_case("off") => Ok(Adapt::Off),
        Some(name) => name.parse().map(Adapt::Preset).map_err(|why| usage(format!("adapt: {why}, off"))),
    }
}

/// Where to compute, and in what.
///
/// # Errors
/// `UsageError`.
pub(crate) fn computing(device: &str, precision: Option<&str>) -> PyResult<Computing> {
    let device = match device {
        "cpu" => DeviceKind::Cpu,
        "cuda" => DeviceKind::Cuda,
        "auto" => DeviceKind::Auto,
        other => return Err(usage(format!("device {other:?}: cpu, cuda or auto"))),
    };
    let named = |name: &str| {
        let found = Precision::ALL.into_iter().find(|precision| precision.name() == name);
        let names = Precision::ALL.map(Precision::name).join(", ");
        found.ok_or_else(|| usage(format!("precision {name:?}: {names}")))
    };
    Ok(Computing { device, precision: precision.map(named).transpose()? })
}

/// What to run on.
///
/// # Errors
/// `UsageError`.
pub(crate) fn cpu(threads: Option<u16>, backend: Option<String>) -> PyResult<Cpu> {
    if threads.is_some_and(|threads| !(1..=1024).contains(&threads)) {
        return Err(usage("threads: 1 to 1024"));
    }
    Running { threads, backend }.cpu().map_err(|error| exception(&error))
}
