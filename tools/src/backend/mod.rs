//! `--device`: whether a command computes on the CPU or on an NVIDIA GPU (feature `cuda`).

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
