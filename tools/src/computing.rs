//! Where a model is computed, and in what: the options that commands share, and the engine that they choose.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use mambabyte_core::Backend;
use mambabyte_host::cpu::{Cpu, FloatEngine, IntEngine};
use mambabyte_host::engine::{AnyEngine, Precision};

use crate::error::CliError;
use crate::model::AnyModel;
use crate::output::note;

/// What a processor computes with.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Computing")]
pub struct Running {
    /// Threads. Default: all of the machine. The result has the same bits with any number.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Kernels, by name (`mambabyte bench` lists those of this machine). Default: the fastest. All have the same bits.
    #[arg(long, value_name = "NAME")]
    pub backend: Option<String>,
}

impl Running {
    /// What the options say, or the default where one is not given.
    ///
    /// # Errors
    /// [`CliError::Usage`] names the option.
    pub fn cpu(&self) -> Result<Cpu, CliError> {
        let mut cpu = Cpu::default();
        if let Some(threads) = self.threads {
            cpu.threads = usize::from(threads);
        }
        if let Some(name) = &self.backend {
            cpu.backend = Backend::by_name(name).map_err(|e| CliError::Usage(format!("--backend {name}: {e}")))?;
        }
        Ok(cpu)
    }
}

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

/// Where to compute, and in what.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
#[command(next_help_heading = "Computing")]
pub struct Computing {
    /// Where to compute.
    #[arg(long, value_enum, default_value_t)]
    pub device: DeviceKind,
    /// What to compute in. Default: exact for a blob, f32 for a checkpoint, which is all that a CPU does.
    #[arg(long, value_parser = precisions())]
    pub precision: Option<Precision>,
}

/// The names of all precisions.
pub fn precisions() -> impl TypedValueParser<Value = Precision> {
    let values = Precision::ALL.map(|p| PossibleValue::new(p.name()).help(p.about()));
    PossibleValuesParser::new(values).try_map(|name| {
        let found = Precision::ALL.into_iter().find(|p| p.name() == name);
        found.ok_or_else(|| format!("{name} is no precision"))
    })
}

impl Computing {
    /// The engine for `model`, which may be a blob or a checkpoint. With [`DeviceKind::Auto`] the reason for the CPU
    /// goes to standard error.
    ///
    /// # Errors
    /// [`CliError::Usage`] for what cannot be computed so, [`CliError::NoCuda`] or `CliError::Cuda` without a GPU.
    /// # Cost
    /// On a CPU that of [`BlobFile::weights`](crate::model::BlobFile::weights), on a GPU a copy of the weights.
    pub fn engine<'m>(&self, model: &'m AnyModel, cpu: Cpu) -> Result<AnyEngine<'m>, CliError> {
        let own = model.precision();
        let precision = match self.precision {
            Some(Precision::Exact) if own != Precision::Exact => {
                return Err(CliError::Usage(
                    "--precision exact: a checkpoint has no integers; `mambabyte convert` makes a blob of it".into(),
                ));
            }
            chosen => chosen.unwrap_or(own),
        };
        match self.device {
            DeviceKind::Cpu => on_cpu(model, precision, cpu),
            DeviceKind::Cuda => gpu::engine(model, precision),
            DeviceKind::Auto => match gpu::engine(model, precision) {
                Err(error) if is_absence(&error) => {
                    note(format_args!("on the CPU: {error}"));
                    on_cpu(model, precision, cpu)
                }
                engine => engine,
            },
        }
    }
}

fn on_cpu(model: &AnyModel, precision: Precision, cpu: Cpu) -> Result<AnyEngine<'_>, CliError> {
    let own = model.precision();
    if precision != own {
        let kind = if own == Precision::Exact { "blob" } else { "checkpoint" };
        return Err(CliError::Usage(format!(
            "--precision {precision}: on the CPU a {kind} is computed in {own}; a GPU is needed"
        )));
    }
    Ok(match model {
        AnyModel::Blob(file) => IntEngine::new(file.weights(cpu.backend), cpu).into(),
        AnyModel::Checkpoint(model) => FloatEngine::new(model, cpu.threads).into(),
    })
}

pub(crate) use gpu::is_absence;

#[cfg(feature = "cuda")]
mod gpu {
    use mambabyte_host::cuda::{Device, GpuModel};
    use mambabyte_host::engine::{AnyEngine, Precision};

    use crate::error::CliError;
    use crate::model::AnyModel;

    /// The engine on the first GPU.
    pub(super) fn engine(model: &AnyModel, precision: Precision) -> Result<AnyEngine<'_>, CliError> {
        let device = Device::open(0)?;
        let loaded = match model {
            AnyModel::Blob(file) => GpuModel::load(&device, file.blob(), precision)?,
            AnyModel::Checkpoint(model) => GpuModel::load(&device, model.checkpoint(), precision)?,
        };
        Ok(loaded.into())
    }

    /// Whether the machine has no GPU that could do it.
    pub(crate) const fn is_absence(error: &CliError) -> bool {
        matches!(error, CliError::Cuda(error) if error.is_absence())
    }
}

#[cfg(not(feature = "cuda"))]
mod gpu {
    use mambabyte_host::engine::{AnyEngine, Precision};

    use crate::error::CliError;
    use crate::model::AnyModel;

    /// There is never a GPU.
    pub(super) const fn engine(_: &AnyModel, _: Precision) -> Result<AnyEngine<'_>, CliError> {
        Err(CliError::NoCuda { asked: "--device cuda" })
    }

    /// Whether the machine has no GPU that could do it.
    pub(crate) const fn is_absence(_: &CliError) -> bool {
        true
    }
}

#[cfg(all(test, feature = "cuda"))]
mod tests {
    use mambabyte_host::cuda::Device;

    use super::*;
    use crate::model::Loading;

    fn model(file: &str) -> AnyModel {
        let path = format!("{}/../models/sensor-pico/{file}", env!("CARGO_MANIFEST_DIR"));
        AnyModel::open(path.as_ref(), &Loading::default()).unwrap_or_else(|e| panic!("{e}"))
    }

    fn is_on_cpu(engine: &Result<AnyEngine<'_>, CliError>) -> bool {
        matches!(engine, Ok(AnyEngine::Int(_) | AnyEngine::Float(_)))
    }

    /// Runs everywhere: what a machine without a GPU answers.
    #[test]
    fn without_a_gpu_the_reason_is_one_line_and_auto_takes_the_cpu() {
        let (blob, checkpoint) = (model("model.mbb"), model(""));
        let said = |engine: Result<AnyEngine<'_>, CliError>| engine.err().map(|e| e.to_string()).unwrap_or_default();
        for model in [&blob, &checkpoint] {
            let open = |device, precision| Computing { device, precision }.engine(model, Cpu::default());
            assert!(is_on_cpu(&open(DeviceKind::Cpu, None)));
            if Device::open(0).is_ok() {
                continue; // what a GPU does is the host crate's suite
            }
            let refused = said(open(DeviceKind::Cuda, None));
            assert!(refused.contains("NVIDIA") && !refused.contains('\n'), "{refused}");
            assert!(is_on_cpu(&open(DeviceKind::Auto, None)));
            assert!(said(open(DeviceKind::Auto, Some(Precision::Bf16))).starts_with("--precision bf16: on the CPU"));
        }
        let exact = Computing { device: DeviceKind::Cuda, precision: Some(Precision::Exact) };
        assert!(said(exact.engine(&checkpoint, Cpu::default())).starts_with("--precision exact: "));
    }
}
