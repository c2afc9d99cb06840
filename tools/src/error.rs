//! What can go wrong in a command, and the exit code that says so.

use std::path::{Path, PathBuf};

use mambabyte_core::{BlobError, StateError};
use mambabyte_host::archive::ArchiveFault;
use mambabyte_host::engine::EngineError;
use mambabyte_host::model::ModelError;
use mambabyte_host::quantize::QuantizeError;
use mambabyte_host::quantize::writer::OtherContents;
use mambabyte_host::train::state_file::StateFault;
use mambabyte_host::train::trainer::TrainError;
use miette::Diagnostic;

use crate::formats::{Foreign, FormatError, OnnxError};
use crate::output::{OutputFault, shown};

/// A failed command. Wrong use exits with 2 (as does an unknown option), everything else with 1.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[non_exhaustive]
pub enum CliError {
    /// A file could not be read or written.
    #[error("{}", shown(path))]
    Io {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// A file cannot be written, or must not be.
    #[error("{option} {}: {fault}", shown(path))]
    Output {
        /// The option that names it.
        option: String,
        /// The file, as the user wrote it.
        path: PathBuf,
        /// The reason.
        fault: OutputFault,
    },
    /// A model that is neither a path nor a name.
    #[error("{}: {reason}", shown(given))]
    #[diagnostic(help("a path, or a name of `mambabyte models`: sensor-pico, sensor-nano, sensor-micro, prose-small"))]
    NoModel {
        /// What the user wrote.
        given: PathBuf,
        /// What was looked for.
        reason: String,
    },
    /// A text that the model fails on.
    #[error("{}", shown(path))]
    Text {
        /// The text.
        path: PathBuf,
        /// The reason.
        source: EngineError,
    },
    /// Some of several texts have no score; each was said.
    #[error("{failed} of {all} texts have no score")]
    Texts {
        /// How many.
        failed: usize,
        /// Of how many.
        all: usize,
    },
    /// A file that should be a blob and is not.
    #[error("{}", shown(path))]
    #[diagnostic(help("`mambabyte convert` makes blobs; a damaged transfer shows as a checksum"))]
    Blob {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: BlobError,
    },
    /// A blob whose contents are not those that its fingerprint names.
    #[error("{}", shown(path))]
    #[diagnostic(help(
        "it is another model, or was changed by hand; `mambabyte inspect` shows it, `convert` makes a right one"
    ))]
    Contents {
        /// The file.
        path: PathBuf,
        /// Both fingerprints.
        source: OtherContents,
    },
    /// A file of another kind where a blob should be.
    #[error("{}: not a MambaByte blob but {kind}", shown(path))]
    #[diagnostic(help("{}; `mambabyte convert` makes blobs of checkpoints", kind.help()))]
    NoBlob {
        /// The file.
        path: PathBuf,
        /// What it is.
        kind: Foreign,
    },
    /// A snapshot that does not fit.
    #[error("{}", shown(path))]
    #[diagnostic(help(
        "a saved state belongs to the model and the preset of --adapt that made it, and has a detector unless it was made \
         with --threshold; leave --load-state out, or remove the file of --state, to start anew"
    ))]
    State {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: StateError,
    },
    /// An archive that is not what the command needs, or a primed adapter.
    #[error("{}", shown(path))]
    Archive {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: ArchiveFault,
    },
    /// A checkpoint that does not load.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Format(#[from] FormatError),
    /// A model that is no ONNX file.
    #[error("--onnx")]
    Onnx(#[from] OnnxError),
    /// A checkpoint that does not run.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A checkpoint that cannot be quantised.
    #[error(transparent)]
    Quantize(#[from] QuantizeError),
    /// A training run that cannot go on.
    #[error(transparent)]
    #[diagnostic(help("begin again with a lower --rate; `--resume` goes on from the last state that was saved"))]
    Train(#[from] TrainError),
    /// A state of a training run that cannot be gone on from.
    #[error("{}", shown(path))]
    TrainState {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: StateFault,
    },
    /// The quantised model is worse than allowed.
    #[error(
        "the integer model costs {delta:+.5} bits per byte more than f32, {allowed} are allowed; nothing was written"
    )]
    #[diagnostic(help("give calibration text like the model's input with --calibrate, or raise --max-delta"))]
    TooMuchLoss {
        /// Measured.
        delta: f64,
        /// Allowed.
        allowed: f64,
    },
    /// The command needs a blob and got a checkpoint.
    #[error("{}: this command needs a blob (.mbb)", shown(path))]
    #[diagnostic(help("make one: mambabyte convert {} -o model.mbb", shown(path)))]
    NeedsBlob {
        /// The path given.
        path: PathBuf,
    },
    /// An engine that did not do what it was asked.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The GPU.
    #[cfg(feature = "cuda")]
    #[error(transparent)]
    #[diagnostic(help("--device auto takes the CPU where there is no GPU"))]
    Cuda(#[from] mambabyte_host::cuda::CudaError),
    /// A GPU is asked for in a build without it.
    #[error("{asked}: this build has no GPU code")]
    #[diagnostic(help("build it with `cargo build --release --features cuda`; nothing of CUDA is needed for that"))]
    NoCuda {
        /// The option or command.
        asked: &'static str,
    },
    /// `fit --chip`.
    #[error("the model does not fit")]
    DoesNotFit,
    /// Options that make no sense.
    #[error("{0}")]
    Usage(String),
    /// Something alarmed, and that was to be the exit code: no words.
    #[error("there were alarms")]
    Alarmed,
    /// The terminal's other end is gone: not an error, the command ends quietly.
    #[error("the reader of the output is gone")]
    BrokenPipe,
}

impl CliError {
    /// Names the file in an I/O error.
    pub fn io(path: impl AsRef<Path>, source: std::io::Error) -> Self {
        Self::Io { path: path.as_ref().to_owned(), source }
    }

    /// An error of going on at the state in `path`.
    pub fn of_state(path: &Path, error: EngineError) -> Self {
        match error {
            EngineError::State(source) => Self::State { path: path.to_owned(), source },
            other => other.into(),
        }
    }

    /// An error of writing to standard output.
    pub fn stdout(source: std::io::Error) -> Self {
        if source.kind() == std::io::ErrorKind::BrokenPipe {
            Self::BrokenPipe
        } else {
            Self::io("standard output", source)
        }
    }

    /// Whether a machine is not there or does not work.
    pub const fn is_of_device(&self) -> bool {
        match self {
            Self::NoCuda { .. } => true,
            #[cfg(feature = "cuda")]
            Self::Cuda(_) => true,
            _ => false,
        }
    }

    /// The exit code of the process.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_)
            | Self::NeedsBlob { .. }
            | Self::NoCuda { .. }
            | Self::Engine(EngineError::NotIntegers { .. }) => 2,
            Self::Output { fault, .. } if fault.is_usage() => 2,
            Self::BrokenPipe => 0,
            Self::Alarmed => 3,
            _ => 1,
        }
    }
}
