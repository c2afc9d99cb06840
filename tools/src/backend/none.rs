//! A build without GPU code: there is never a GPU.

use std::convert::Infallible;

use mambabyte_core::{Logits, SampleOptions, VOCAB};
use mambabyte_host::bpb::Score;

use super::{Computing, DeviceKind};
use crate::error::CliError;
use crate::model::AnyModel;

/// A model on a GPU: none in this build.
pub struct Gpu(Infallible);

impl Gpu {
    /// The model on the GPU; `None` for the CPU.
    ///
    /// # Errors
    /// [`CliError::NoCuda`] if a GPU is asked for, [`CliError::Usage`] for what a CPU does not compute in.
    pub fn open(computing: Computing, model: &AnyModel) -> Result<Option<Self>, CliError> {
        match computing.device {
            DeviceKind::Cuda => Err(CliError::NoCuda { asked: "--device cuda" }),
            DeviceKind::Cpu | DeviceKind::Auto => computing.check_cpu(model).map(|()| None),
        }
    }

    /// See the build with the feature.
    pub const fn kind(&self) -> &'static str {
        match self.0 {}
    }

    /// See the build with the feature.
    ///
    /// # Errors
    /// None.
    pub fn evaluate(&self, _: &[u8], _: Option<usize>, _: &dyn Fn(usize)) -> Result<Score, CliError> {
        match self.0 {}
    }

    /// See the build with the feature.
    ///
    /// # Errors
    /// None.
    pub fn natural_logits(&self, _: &[u8], _: &mut dyn FnMut(&[f64; VOCAB])) -> Result<(), CliError> {
        match self.0 {}
    }

    /// See the build with the feature.
    ///
    /// # Errors
    /// None.
    pub fn integer_logits(&self, _: &[u8], _: &mut dyn FnMut(&Logits)) -> Result<(), CliError> {
        match self.0 {}
    }

    /// See the build with the feature.
    ///
    /// # Errors
    /// None.
    pub fn generate(
        &self,
        _: &[u8],
        _: u64,
        _: (&SampleOptions, u64),
        _: &mut dyn FnMut(&[u8]) -> Result<(), CliError>,
    ) -> Result<(), CliError> {
        match self.0 {}
    }
}
