//! Looks for the libraries of CUDA before the first call of any: cudarc panics without them.

use cudarc::driver::sys;

use super::error::CudaError;

/// The oldest driver that reads the kernels: CUDA 13.0.
const DRIVER: i32 = 13_000;

/// Looks for a driver that the kernels can run on, before the first call of it: cudarc panics without one.
///
/// # Errors
/// [`CudaError::NoDriver`], [`CudaError::OldDriver`].
pub fn probe() -> Result<(), CudaError> {
    // SAFETY: opens a shared library by its name; the driver's initialisers may run, as for every program that uses it.
    if !unsafe { sys::is_culib_present() } {
        return Err(CudaError::NoDriver);
    }
    let mut found = 0;
    // SAFETY: the library is there, and this call needs no initialisation; it writes one int.
    unsafe { sys::cuDriverGetVersion(&raw mut found) }.result()?;
    if found < DRIVER { Err(CudaError::OldDriver { found }) } else { Ok(()) }
}

/// Looks for cuBLASLt.
///
/// # Errors
/// [`CudaError::NoLibrary`].
pub fn probe_cublaslt() -> Result<(), CudaError> {
    // SAFETY: opens a shared library by its name.
    if unsafe { cudarc::cublaslt::sys::is_culib_present() } {
        Ok(())
    } else {
        Err(CudaError::NoLibrary { library: "libcublasLt.so.13", package: "nvidia-cublas==13.*" })
    }
}

/// Looks for the run-time compiler, for developers of kernels.
///
/// # Errors
/// [`CudaError::NoLibrary`].
pub fn probe_nvrtc() -> Result<(), CudaError> {
    // SAFETY: opens a shared library by its name.
    if unsafe { cudarc::nvrtc::sys::is_culib_present() } {
        Ok(())
    } else {
        Err(CudaError::NoLibrary { library: "libnvrtc.so.13", package: "nvidia-cuda-nvrtc==13.0.88" })
    }
}
