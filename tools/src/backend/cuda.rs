//! A model on the first NVIDIA GPU: a blob in the integers that every machine computes, checkpoints are refused.

use mambabyte_core::{Logits, Rng, SampleOptions, VOCAB};
use mambabyte_host::bpb::Score;
use mambabyte_host::cuda::{self, Answer, CudaError, Device, GpuModel, Precision, Want};

use super::DeviceKind;
use crate::error::CliError;
use crate::model::AnyModel;

/// Bytes per call, so that the logits of a call stay small.
const PART: usize = 8192;
/// Bytes that are generated before they are written.
const WRITTEN: u64 = 64;

/// A model on a GPU.
pub struct Gpu {
    model: GpuModel,
}

impl Gpu {
    /// The model on the GPU; `None` for the CPU. With [`DeviceKind::Auto`] the reason for the CPU goes to standard error.
    ///
    /// # Errors
    /// [`CliError::Cuda`] says what is missing.
    pub fn open(kind: DeviceKind, model: &AnyModel) -> Result<Option<Self>, CliError> {
        if kind == DeviceKind::Cpu {
            return Ok(None);
        }
        match Self::load(model) {
            Err(CliError::Cuda(e))
                if kind == DeviceKind::Auto && (e.is_absence() || matches!(e, CudaError::Precision { .. })) =>
            {
                eprintln!("note: on the CPU: {e}");
                Ok(None)
            }
            loaded => loaded.map(Some),
        }
    }

    fn load(model: &AnyModel) -> Result<Self, CliError> {
        let device = Device::open(0)?;
        Ok(Self {
            model: match model {
                AnyModel::Blob(file) => GpuModel::load(&device, file.blob(), Precision::Exact)?,
                AnyModel::Checkpoint(model) => GpuModel::load(&device, model.checkpoint(), Precision::F32)?,
            },
        })
    }

    /// Bits per byte of `text`, as [`mambabyte_host::bpb::evaluate`] has it.
    ///
    /// # Errors
    /// [`CliError::Cuda`].
    pub fn evaluate(&self, text: &[u8], window: Option<usize>, tick: &dyn Fn(usize)) -> Result<Score, CliError> {
        Ok(cuda::evaluate(&self.model, text, window, tick)?)
    }

    /// The natural logits after each byte of `text`.
    ///
    /// # Errors
    /// [`CliError::Cuda`].
    pub fn natural_logits(&self, text: &[u8], see: &mut dyn FnMut(&[f64; VOCAB])) -> Result<(), CliError> {
        self.parts(text, &mut |answer| answer.natural_logits().iter().for_each(&mut *see))
    }

    /// The integer logits after each byte of `text`; nothing if the model is no blob.
    ///
    /// # Errors
    /// [`CliError::Cuda`].
    pub fn integer_logits(&self, text: &[u8], see: &mut dyn FnMut(&Logits)) -> Result<(), CliError> {
        self.parts(text, &mut |answer| {
            if let Answer::Logits(all) = answer {
                all.iter().for_each(&mut *see);
            }
        })
    }

    fn parts(&self, text: &[u8], see: &mut dyn FnMut(Answer)) -> Result<(), CliError> {
        let mut state = self.model.state(1)?;
        for part in text.chunks(PART) {
            see(self.model.prefill(&[part], &mut state, Want::All)?);
        }
        Ok(())
    }

    /// Reads a 0x00 byte and the prompt, then writes `count` bytes: the same as on the CPU.
    ///
    /// # Errors
    /// [`CliError::Cuda`], and those of `write`.
    pub fn generate(
        &self,
        prompt: &[u8],
        count: u64,
        (options, seed): (&SampleOptions, u64),
        write: &mut dyn FnMut(&[u8]) -> Result<(), CliError>,
    ) -> Result<(), CliError> {
        let mut state = self.model.state(1)?;
        let (mut last, mut rngs) = ([0], [Rng::new(seed)]);
        if let Some((&newest, rest)) = prompt.split_last() {
            let read = [&[0], rest].concat();
            self.model.prefill(&[&read], &mut state, Want::Nothing)?;
            last = [newest];
        }
        let mut left = count;
        while left > 0 {
            let now = left.min(WRITTEN);
            let text = self.model.decode(now as usize, &mut last, &mut rngs, options, &mut state)?;
            write(&text.concat())?;
            left -= now;
        }
        Ok(())
    }
}
