//! `--device` and `--precision`: whether a command computes on the CPU or on an NVIDIA GPU (feature `cuda`), and in what.

use crate::error::CliError;
use crate::model::AnyModel;

#[cfg(feature = "cuda")]
mod cuda;
#[cfg(feature = "cuda")]
pub use cuda::Gpu;
#[cfg(not(feature = "cuda"))]
mod none;
#[cfg(not(feature = "cuda"))]
pub use none::Gpu;

/// Where to compute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum DeviceKind {
    /// All cores of the CPU.
    #[default]
    Cpu,
    /// The first NVIDIA GPU; an error if there is none.
    Cuda,
    /// The GPU if there is one that works, else the CPU.
    Auto,
}

/// What to compute in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum PrecisionKind {
    /// A blob's integers, equal on every machine.
    Exact,
    /// 32-bit floats.
    F32,
    /// bf16 weights and activations, f32 sums and state; GPUs only.
    Bf16,
    /// i8 weights, bf16 activations, f32 sums and state; GPUs only.
    I8,
}

impl std::fmt::Display for PrecisionKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Exact => "exact",
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::I8 => "i8",
        })
    }
}

/// Where to compute, and in what.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct Computing {
    /// Where to compute.
    #[arg(long, value_enum, default_value_t)]
    pub device: DeviceKind,
    /// What to compute in. Default: exact for a blob, f32 for a checkpoint, which is all that a CPU does.
    #[arg(long, value_enum)]
    pub precision: Option<PrecisionKind>,
}

impl Computing {
    /// What `model` is computed in.
    ///
    /// # Errors
    /// [`CliError::Usage`] for the integers of a checkpoint.
    pub fn precision(&self, model: &AnyModel) -> Result<PrecisionKind, CliError> {
        let own = model.precision();
        match self.precision {
            Some(PrecisionKind::Exact) if own != PrecisionKind::Exact => Err(CliError::Usage(
                "--precision exact: a checkpoint has no integers; `mambabyte convert` makes a blob of it".into(),
            )),
            chosen => Ok(chosen.unwrap_or(own)),
        }
    }

    /// Whether the CPU may compute `model` so.
    ///
    /// # Errors
    /// [`CliError::Usage`] names the option.
    pub fn check_cpu(&self, model: &AnyModel) -> Result<(), CliError> {
        let (precision, own) = (self.precision(model)?, model.precision());
        if precision == own {
            return Ok(());
        }
        let kind = if own == PrecisionKind::Exact { "blob" } else { "checkpoint" };
        Err(CliError::Usage(format!(
            "--precision {precision}: on the CPU a {kind} is computed in {own}; a GPU is needed"
        )))
    }
}
