//! What can go wrong with a GPU. Every message is one line that says what is missing and how to get it.

use cudarc::driver::result::DriverError;
use cudarc::driver::sys::CUresult;
use mambabyte_core::StateError;

use crate::model::LOGIT_LIMIT;

/// Why the GPU was not used, or did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CudaError {
    /// No driver on this machine.
    #[error(
        "there is no NVIDIA driver (libcuda.so.1): install the driver package of your system, version 580 or newer, \
         on a machine with an NVIDIA GPU"
    )]
    NoDriver,
    /// A driver, but older than CUDA 13.0.
    #[error("the NVIDIA driver is too old: it supports CUDA {}.{}, 13.0 is needed (driver 580 or newer)",
        found / 1000, found % 1000 / 10)]
    OldDriver {
        /// As `cuDriverGetVersion` gives it: 12040 is 12.4.
        found: i32,
    },
    /// A driver, but no GPU that it can use.
    #[error("the NVIDIA driver sees no usable GPU {ordinal}: {reason} (nvidia-smi lists GPUs)")]
    NoDevice {
        /// The GPU asked for.
        ordinal: usize,
        /// The driver's reason.
        reason: String,
    },
    /// A GPU that the kernels are not built for.
    #[error(
        "{name} has compute capability {major}.{minor}, {needed}.0 or newer is needed (8.0: A100, RTX 30; 9.0: H100)"
    )]
    OldDevice {
        /// Name of the GPU.
        name: String,
        /// Major number.
        major: i32,
        /// Minor number.
        minor: i32,
        /// Smallest major number.
        needed: i32,
    },
    /// A library of CUDA that the work needs besides the driver.
    #[error(
        "{library} is not there: `pip install {package}` and put its folder nvidia/cu13/lib into LD_LIBRARY_PATH, or \
         install the CUDA 13 toolkit"
    )]
    NoLibrary {
        /// The file.
        library: &'static str,
        /// The package of PyPI that has it.
        package: &'static str,
    },
    /// A kernel file that the driver refuses, or that does not compile.
    #[error("kernel file {file}: {reason}")]
    Kernel {
        /// Its name.
        file: &'static str,
        /// The driver's or the compiler's reason.
        reason: String,
    },
    /// Too little GPU memory.
    #[error("out of GPU memory: {what} needs {need} bytes, {free} are free")]
    OutOfMemory {
        /// What the memory is for.
        what: &'static str,
        /// Bytes asked for.
        need: usize,
        /// Bytes free.
        free: usize,
    },
    /// A launch that the driver refused, or that failed.
    #[error("kernel {kernel} ({shape}): {source}")]
    Launch {
        /// Name of the kernel.
        kernel: &'static str,
        /// The shape that it was given.
        shape: String,
        /// The driver's reason.
        source: DriverError,
    },
    /// A kernel whose blocks wait for each other: one of them waited in vain. The states that the call should have
    /// moved are lost; this model and all others still work.
    #[error(
        "kernel {kernel} ({shape}) gave up: block {block} waited in vain for {waited}; the states of this call are lost, \
         the model is not"
    )]
    GaveUp {
        /// Name of the kernel.
        kernel: &'static str,
        /// The model's shape.
        shape: String,
        /// The block that was the first to give up.
        block: u64,
        /// What for.
        waited: &'static str,
    },
    /// A kernel failed in a way that ends the GPU's context: every later call in this process fails too.
    #[error(
        "a kernel failed ({0}): no model of this process can use the GPU any more; end the process, and run it with \
         compute-sanitizer or CUDA_LAUNCH_BLOCKING=1 to see which kernel it was"
    )]
    Lost(DriverError),
    /// Any other call of the driver.
    #[error("the NVIDIA driver: {0}")]
    Driver(DriverError),
    /// Any call of cuBLASLt.
    #[error("cuBLASLt, {what}: {reason}")]
    Blas {
        /// The product.
        what: String,
        /// The library's reason.
        reason: String,
    },
    /// The precision does not go with the source of the weights.
    #[error("precision {precision} needs {needs}")]
    Precision {
        /// The precision asked for.
        precision: super::Precision,
        /// What it is loaded from.
        needs: &'static str,
    },
    /// A checkpoint that is no model.
    #[error(transparent)]
    Model(#[from] crate::model::ModelError),
    /// A shape that the GPU path does not take.
    #[error("{name} is {found}, the limit is {limit}")]
    Shape {
        /// The dimension.
        name: &'static str,
        /// Its value.
        found: usize,
        /// Largest value.
        limit: usize,
    },
    /// As many rows are needed as the state has.
    #[error("{found} rows given, the state has {expected}")]
    Rows {
        /// Rows of the state.
        expected: usize,
        /// Rows given.
        found: usize,
    },
    /// Logits of a float model that are NaN, infinite, or not below [`LOGIT_LIMIT`] in magnitude. The states that the
    /// call moved are lost.
    #[error(
        "the logits of bytes {from}..{to} of row {row} are not finite, or not below {LOGIT_LIMIT} in magnitude; a CPU \
         (--device cpu) names the layer"
    )]
    NotFinite {
        /// The row.
        row: usize,
        /// The block's first byte: how many the row had read before.
        from: u64,
        /// One after the block's last byte.
        to: u64,
    },
    /// The state belongs to another model or another precision.
    #[error("the state belongs to another model or precision")]
    ForeignState,
    /// A state that does not fit the model.
    #[error(transparent)]
    State(#[from] StateError),
}

impl From<DriverError> for CudaError {
    fn from(error: DriverError) -> Self {
        if is_sticky(&error) { Self::Lost(error) } else { Self::Driver(error) }
    }
}

impl CudaError {
    /// Counts a block of bytes that is not finite from the zero state of its row instead of from the call.
    pub(super) fn after(mut self, positions: &[u64]) -> Self {
        if let Self::NotFinite { row, from, to } = &mut self {
            let read = positions.get(*row).copied().unwrap_or(0);
            (*from, *to) = (from.wrapping_add(read), to.wrapping_add(read));
        }
        self
    }

    /// Whether the reason is that the machine has no usable GPU or lacks a library, so that a CPU may take over.
    pub const fn is_absence(&self) -> bool {
        matches!(
            self,
            Self::NoDriver
                | Self::OldDriver { .. }
                | Self::NoDevice { .. }
                | Self::OldDevice { .. }
                | Self::NoLibrary { .. }
        )
    }
}

/// Whether the driver ran out of memory.
pub(crate) fn is_out_of_memory(error: &DriverError) -> bool {
    error.0 == CUresult::CUDA_ERROR_OUT_OF_MEMORY
}

/// Whether the context of the process is lost with it.
const fn is_sticky(error: &DriverError) -> bool {
    matches!(
        error.0,
        CUresult::CUDA_ERROR_ILLEGAL_ADDRESS
            | CUresult::CUDA_ERROR_LAUNCH_TIMEOUT
            | CUresult::CUDA_ERROR_HARDWARE_STACK_ERROR
            | CUresult::CUDA_ERROR_ILLEGAL_INSTRUCTION
            | CUresult::CUDA_ERROR_MISALIGNED_ADDRESS
            | CUresult::CUDA_ERROR_INVALID_ADDRESS_SPACE
            | CUresult::CUDA_ERROR_INVALID_PC
            | CUresult::CUDA_ERROR_LAUNCH_FAILED
            | CUresult::CUDA_ERROR_ASSERT
            | CUresult::CUDA_ERROR_ECC_UNCORRECTABLE
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_context_is_not_any_error_of_the_driver() {
        let of = |code| CudaError::from(DriverError(code));
        assert!(matches!(of(CUresult::CUDA_ERROR_LAUNCH_FAILED), CudaError::Lost(_)));
        assert!(matches!(of(CUresult::CUDA_ERROR_ILLEGAL_ADDRESS), CudaError::Lost(_)));
        assert!(matches!(of(CUresult::CUDA_ERROR_INVALID_VALUE), CudaError::Driver(_)));
        assert!(matches!(of(CUresult::CUDA_ERROR_OUT_OF_MEMORY), CudaError::Driver(_)));
    }
}
