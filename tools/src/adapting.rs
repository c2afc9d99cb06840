//! Who reads: a net (MODEL, or `none`), an adapter (`--adapt`), or both.

use std::path::Path;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use mambabyte_host::adapt::Preset;
use mambabyte_host::cpu::Cpu;
use mambabyte_host::engine::AnyEngine;

use crate::computing::{Computing, DeviceKind};
use crate::error::CliError;
use crate::model::{AnyModel, Loading};
use crate::output::bytes;
use crate::shipped::is_none;

/// The preset that is taken where one is needed and none is named.
pub const DEFAULT: Preset = Preset::K16;

/// An adapter, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adapt {
    /// None.
    Off,
    /// Of this preset.
    Preset(Preset),
}

impl Adapt {
    /// The preset, if there is one.
    pub const fn preset(self) -> Option<Preset> {
        match self {
            Self::Off => None,
            Self::Preset(preset) => Some(preset),
        }
    }
}

/// The adapter of commands that have one if it is asked for.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct Adapting {
    /// Memory of an adapter that learns the text beside the model, which stays as it is. Default: off; with MODEL `none`,
    /// the adapter alone, 16K.
    #[arg(long, value_name = "PRESET", ignore_case = true, value_parser = presets())]
    pub adapt: Option<Adapt>,
}

impl Adapting {
    /// The preset; `net` says whether there is a model.
    ///
    /// # Errors
    /// As [`chosen`].
    pub fn preset(&self, net: bool) -> Result<Option<Preset>, CliError> {
        chosen(self.adapt.unwrap_or(if net { Adapt::Off } else { Adapt::Preset(DEFAULT) }), net)
    }
}

/// The preset that `adapt` names; `net` says whether there is a model.
///
/// # Errors
/// [`CliError::Usage`] for neither model nor adapter.
pub fn chosen(adapt: Adapt, net: bool) -> Result<Option<Preset>, CliError> {
    match adapt {
        Adapt::Preset(preset) => Ok(Some(preset)),
        Adapt::Off if net => Ok(None),
        Adapt::Off => Err(CliError::Usage(
            "--adapt off: with MODEL `none` the adapter is all that reads; choose a preset, or a model".into(),
        )),
    }
}

/// What an output says of the adapter: `off` or the preset.
pub const fn name(preset: Option<Preset>) -> &'static str {
    match preset {
        Some(preset) => preset.name(),
        None => "off",
    }
}

/// `off` and the names of all presets.
pub fn presets() -> impl TypedValueParser<Value = Adapt> {
    let sizes = Preset::ALL.map(|preset| PossibleValue::new(preset.name()).help(bytes(preset.bytes() as u64)));
    let off = PossibleValue::new("off").help("no adapter: the model alone");
    PossibleValuesParser::new(std::iter::once(off).chain(sizes)).try_map(|name| match name.as_str() {
        off if off.eq_ignore_ascii_case("off") => Ok(Adapt::Off),
        preset => preset.parse().map(Adapt::Preset),
    })
}

/// Opens what the user calls `path`, or nothing for `none`; notes of the loader go to standard error.
///
/// # Errors
/// Those of [`AnyModel::open`].
pub fn open_net(path: &Path, loading: &Loading) -> Result<Option<AnyModel>, CliError> {
    if is_none(path) { Ok(None) } else { AnyModel::open(path, loading).map(Some) }
}

/// The engine for `net`, if there is one.
///
/// # Errors
/// [`CliError::Usage`] for a GPU or a precision where there is nothing to compute; those of [`Computing::engine`].
pub fn net_engine<'m>(
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn something_has_to_read() {
        let adapting = |adapt| Adapting { adapt };
        assert_eq!(adapting(None).preset(true).unwrap(), None);
        assert_eq!(adapting(None).preset(false).unwrap(), Some(DEFAULT));
        assert_eq!(adapting(Some(Adapt::Preset(Preset::M1))).preset(true).unwrap(), Some(Preset::M1));
        let refused = adapting(Some(Adapt::Off)).preset(false).unwrap_err();
        assert!(refused.to_string().contains("none"), "{refused}");
    }
}
