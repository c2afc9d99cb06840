//! Where a run computes: `--device` and `--precision` of `mambabyte train`.

use mambabyte_host::Checkpoint;
#[cfg(feature = "cuda")]
use mambabyte_host::cuda::train::{GpuMachine, Products};
use mambabyte_host::train::Window;
use mambabyte_host::train::machine::{Change, Cpu, Machine, Parts};
use mambabyte_host::train::teachers::Teaching;
#[cfg(feature = "cuda")]
use mambabyte_host::train::trainer::Trainer;
use mambabyte_host::train::trainer::{Settings, TrainError};
use serde::{Deserialize, Serialize};

use crate::computing::{DeviceKind, is_absence};
use crate::error::CliError;
use crate::output::note;

/// What a run is computed by and in; runs of different ones are different runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arithmetic {
    /// f32 on all cores of a CPU.
    #[default]
    Cpu,
    /// f32 on a GPU.
    CudaF32,
    /// bf16 products and activations on a GPU, everything else in f32.
    CudaBf16,
}

/// `--precision`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum PrecisionArg {
    /// Everything in f32.
    F32,
    /// Products and activations in bf16, weights, sums and state in f32: for GPUs.
    Bf16,
}

/// Where a run computes, opened.
#[derive(Clone, Debug)]
pub struct Place {
    /// What with.
    pub arithmetic: Arithmetic,
    /// Whom its runs learn from.
    teachers: Vec<Checkpoint>,
    #[cfg(feature = "cuda")]
    device: Option<std::sync::Arc<mambabyte_host::cuda::Device>>,
}

impl Place {
    /// Opens what was asked for. With [`DeviceKind::Auto`] the reason for the CPU goes to standard error.
    ///
    /// # Errors
    /// [`CliError::Usage`] for bf16 on a CPU, [`CliError::NoCuda`] or `CliError::Cuda` without a GPU.
    pub fn open(device: DeviceKind, precision: Option<PrecisionArg>) -> Result<Self, CliError> {
        match device {
            DeviceKind::Cpu => Self::cpu(precision),
            DeviceKind::Cuda => Self::gpu(precision),
            DeviceKind::Auto => match Self::gpu(precision) {
                Err(error) if is_absence(&error) => {
                    note(format_args!("on the CPU: {error}"));
                    Self::cpu(precision)
                }
                place => place,
            },
        }
    }

    /// Opens what a run was computed by.
    ///
    /// # Errors
    /// As [`Place::open`].
    pub fn of(arithmetic: Arithmetic) -> Result<Self, CliError> {
        match arithmetic {
            Arithmetic::Cpu => Self::cpu(None),
            Arithmetic::CudaF32 => Self::gpu(Some(PrecisionArg::F32)),
            Arithmetic::CudaBf16 => Self::gpu(Some(PrecisionArg::Bf16)),
        }
    }

    fn cpu(precision: Option<PrecisionArg>) -> Result<Self, CliError> {
        if precision == Some(PrecisionArg::Bf16) {
            return Err(CliError::Usage("--precision bf16: a CPU trains in f32; --device cuda is needed".into()));
        }
        Ok(Self {
            arithmetic: Arithmetic::Cpu,
            teachers: Vec::new(),
            #[cfg(feature = "cuda")]
            device: None,
        })
    }

    #[cfg(feature = "cuda")]
    fn gpu(precision: Option<PrecisionArg>) -> Result<Self, CliError> {
        let arithmetic = match precision {
            Some(PrecisionArg::F32) => Arithmetic::CudaF32,
            Some(PrecisionArg::Bf16) | None => Arithmetic::CudaBf16,
        };
        Ok(Self { arithmetic, teachers: Vec::new(), device: Some(mambabyte_host::cuda::Device::open(0)?) })
    }

    #[cfg(not(feature = "cuda"))]
    fn gpu(_: Option<PrecisionArg>) -> Result<Self, CliError> {
        Err(CliError::NoCuda { asked: "--device cuda" })
    }

    #[cfg(feature = "cuda")]
    fn products(&self) -> Products {
        if self.arithmetic == Arithmetic::CudaF32 { Products::F32 } else { Products::Bf16 }
    }

    /// With teachers, of whom runs learn as their settings say.
    pub fn with_teachers(self, teachers: Vec<Checkpoint>) -> Self {
        Self { teachers, ..self }
    }

    fn teaching(&self, settings: &Settings) -> Teaching {
        Teaching { teachers: self.teachers.clone(), share: settings.teachers_share as f32 }
    }

    /// Takes a run's parts there.
    ///
    /// # Errors
    /// [`TrainError`]: parts that are no model, too little memory, widths that a GPU has no kernels for.
    pub fn machine(&self, parts: Parts, settings: &Settings) -> Result<Box<dyn Machine>, TrainError> {
        #[cfg(feature = "cuda")]
        if let Some(device) = &self.device {
            let shape = (settings.batch, settings.window);
            return GpuMachine::boxed(
                device,
                parts,
                self.products(),
                shape,
                (settings.rounding, &self.teaching(settings)),
            );
        }
        Cpu::boxed(parts, settings.rounding, self.teaching(settings))
    }

    /// Where the time of a step goes, milliseconds and launches by kind; nothing on a CPU.
    ///
    /// # Errors
    /// As [`Place::machine`].
    pub fn stages(
        &self,
        weights: &Checkpoint,
        settings: &Settings,
        windows: &[Window<'_>],
        change: Change,
    ) -> Result<Vec<(&'static str, f64, usize)>, TrainError> {
        #[cfg(feature = "cuda")]
        if let Some(device) = &self.device {
            let parts = Trainer::begin(weights.clone(), settings);
            let products = self.products();
            let (shape, aim) = ((settings.batch, settings.window), (settings.rounding, &self.teaching(settings)));
            let mut machine = GpuMachine::new(device, parts, products, shape, aim)?;
            machine.step(windows, change)?;
            return machine.timed_step(windows, change);
        }
        let _ = (weights, settings, windows, change);
        Ok(Vec::new())
    }

    /// Operations a second of large bf16 products on the GPU, the fastest that there are; `None` on a CPU.
    pub fn product_rate(&self) -> Option<Result<f64, CliError>> {
        #[cfg(feature = "cuda")]
        if let Some(device) = &self.device {
            return Some(mambabyte_host::cuda::bench::product_rate(device).map_err(CliError::from));
        }
        None
    }

    /// Whether a GPU computes: it wants larger steps than a CPU.
    pub fn is_gpu(&self) -> bool {
        self.arithmetic != Arithmetic::Cpu
    }
}
