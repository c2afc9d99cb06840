//! A model on the first NVIDIA GPU: a blob in the integers that every machine computes, blobs and checkpoints in floats.

use mambabyte_core::{Logits, Rng, SampleOptions, VOCAB};
use mambabyte_host::bpb::Score;
use mambabyte_host::cuda::{self, Answer, Device, GpuModel, Precision, Want};

use super::{Computing, DeviceKind, PrecisionKind};
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
    /// [`CliError::Cuda`] says what is missing, [`CliError::Usage`] what cannot be computed so.
    pub fn open(computing: Computing, model: &AnyModel) -> Result<Option<Self>, CliError> {
        if computing.device == DeviceKind::Cpu {
            return computing.check_cpu(model).map(|()| None);
        }
        match Self::load(computing.precision(model)?, model) {
            Err(CliError::Cuda(e)) if computing.device == DeviceKind::Auto && e.is_absence() => {
                eprintln!("note: on the CPU: {e}");
                computing.check_cpu(model).map(|()| None)
            }
            loaded => loaded.map(Some),
        }
    }

    fn load(precision: PrecisionKind, model: &AnyModel) -> Result<Self, CliError> {
        let precision = match precision {
            PrecisionKind::Exact => Precision::Exact,
            PrecisionKind::F32 => Precision::F32,
            PrecisionKind::Bf16 => Precision::Bf16,
            PrecisionKind::I8 => Precision::I8,
        };
        let device = Device::open(0)?;
        Ok(Self {
            model: match model {
                AnyModel::Blob(file) => GpuModel::load(&device, file.blob(), precision)?,
                AnyModel::Checkpoint(model) => GpuModel::load(&device, model.checkpoint(), precision)?,
            },
        })
    }

    /// What it computes in, as reports have it.
    pub const fn kind(&self) -> &'static str {
        match self.model.precision() {
            Precision::Exact => "int",
            Precision::F32 => "f32",
            Precision::Bf16 => "bf16",
            Precision::I8 => "i8",
        }
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

    /// Reads a 0x00 byte and the prompt, then writes `count` bytes: in integers the same as on the CPU.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::AnyModel;

    fn model(file: &str) -> AnyModel {
        let path = format!("{}/../models/sensor-pico/{file}", env!("CARGO_MANIFEST_DIR"));
        AnyModel::open(path.as_ref()).unwrap_or_else(|e| panic!("{e}"))
    }

    /// Runs everywhere: what a machine without a GPU answers.
    #[test]
    fn without_a_gpu_the_reason_is_one_line_and_auto_takes_the_cpu() {
        let (blob, checkpoint) = (model("model.mbb"), model(""));
        let open = |device, precision, model: &AnyModel| Gpu::open(Computing { device, precision }, model);
        assert!(open(DeviceKind::Cpu, None, &checkpoint).is_ok_and(|gpu| gpu.is_none()));
        let exact = open(DeviceKind::Cuda, Some(PrecisionKind::Exact), &checkpoint).err();
        assert!(exact.is_some_and(|e| e.to_string().starts_with("--precision exact: ")));
        if Device::open(0).is_ok() {
            return; // the suite of the host crate goes on from here
        }
        for model in [&blob, &checkpoint] {
            let refused = open(DeviceKind::Cuda, None, model).err().map(|e| e.to_string()).unwrap_or_default();
            assert!(refused.contains("NVIDIA") && !refused.contains('\n'), "{refused}");
            assert!(open(DeviceKind::Auto, None, model).is_ok_and(|gpu| gpu.is_none()));
            let bf16 = open(DeviceKind::Auto, Some(PrecisionKind::Bf16), model).err();
            assert!(bf16.is_some_and(|e| e.to_string().starts_with("--precision bf16: on the CPU")));
        }
    }
}
