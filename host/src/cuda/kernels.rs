//! The kernels' machine code, as `cargo xtask cuda build` made it: one fatbin beside each `kernels/*.cu`.
//!
//! Each fatbin has code for sm_80 and sm_90, and PTX of compute_90 for later GPUs. `NAME.hash` beside it holds the
//! SHA-256 of its sources (the `.cu` file, then every `.cuh` in this folder that it includes, in order of names) and of
//! the fatbin; a test compares them. With `MAMBABYTE_CUDA_SOURCES=FOLDER` the kernels are compiled from that folder at
//! run time instead, by NVRTC: for developers.

use std::fmt::Display;
use std::path::Path;

use cudarc::driver::sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES as MAX_SHARED;
use cudarc::driver::{CudaFunction, CudaStream, DeviceRepr, LaunchConfig, PushKernelArg};
use cudarc::nvrtc::{CompileOptions, Ptx, compile_ptx_with_opts};

use super::error::CudaError;

/// One `.cu` file.
#[derive(Debug)]
pub(crate) struct KernelFile {
    /// Its name without `.cu`.
    pub(crate) name: &'static str,
    fatbin: &'static [u8],
}

/// The file `kernels/NAME.cu`.
macro_rules! kernel_file {
    ($name:literal) => {
        KernelFile { name: $name, fatbin: include_bytes!(concat!("kernels/", $name, ".fatbin")) }
    };
}

/// The exact integer step.
pub(crate) static EXACT: KernelFile = kernel_file!("exact");
/// Float decode and verify.
pub(crate) static DECODE: KernelFile = kernel_file!("decode");

/// The selective scan of the float model.
pub(crate) static SCAN: KernelFile = kernel_file!("scan");
/// Its convolution.
pub(crate) static CONV: KernelFile = kernel_file!("conv");
/// Its norms.
pub(crate) static NORM: KernelFile = kernel_file!("norm");
/// Its embedding and log-probabilities.
pub(crate) static HEAD: KernelFile = kernel_file!("head");

/// The selective scan of training, forward and back.
pub(crate) static TRAIN_SCAN: KernelFile = kernel_file!("train_scan");
/// Its convolution.
pub(crate) static TRAIN_CONV: KernelFile = kernel_file!("train_conv");
/// The gradient of its norms.
pub(crate) static TRAIN_NORM: KernelFile = kernel_file!("train_norm");
/// Its loss, and sums.
pub(crate) static TRAIN_SUMS: KernelFile = kernel_file!("train_sums");
/// Its optimisers.
pub(crate) static OPTIMIZER: KernelFile = kernel_file!("optimizer");

/// All files, for tests.
#[cfg(test)]
pub(crate) static ALL: &[&KernelFile] =
    &[&EXACT, &DECODE, &SCAN, &CONV, &NORM, &HEAD, &TRAIN_SCAN, &TRAIN_CONV, &TRAIN_NORM, &TRAIN_SUMS, &OPTIMIZER];

impl KernelFile {
    /// What the driver loads on a GPU of this compute capability.
    pub(crate) fn image(&self, capability: (i32, i32)) -> Result<Ptx, CudaError> {
        match std::env::var_os("MAMBABYTE_CUDA_SOURCES") {
            None => Ok(Ptx::from_binary(self.fatbin.to_vec())),
            Some(folder) => self.compile(Path::new(&folder), capability),
        }
    }

    /// Compiles the file in `folder` by NVRTC.
    pub(crate) fn compile(&self, folder: &Path, (major, minor): (i32, i32)) -> Result<Ptx, CudaError> {
        super::probe::probe_nvrtc()?;
        let failed = |reason: String| CudaError::Kernel { file: self.name, reason };
        let path = folder.join(self.name).with_extension("cu");
        let source = std::fs::read_to_string(&path).map_err(|e| failed(format!("{}: {e}", path.display())))?;
        let mut options = vec![format!("--gpu-architecture=compute_{major}{minor}")];
        options.extend(flags(&source).map(str::to_owned));
        let include_paths = vec![folder.display().to_string()];
        let options = CompileOptions { include_paths, options, ..CompileOptions::default() };
        compile_ptx_with_opts(source, options).map_err(|e| failed(format!("{e:?}").replace("\\n", "\n")))
    }
}

/// Options that a source asks for in its first line: `// nvcc: --fmad=false`.
pub(crate) fn flags(source: &str) -> impl Iterator<Item = &str> {
    let first = source.lines().next().and_then(|line| line.strip_prefix("// nvcc:"));
    first.unwrap_or("").split_whitespace()
}

/// A kernel, loaded.
#[derive(Clone, Debug)]
pub(crate) struct Kernel {
    name: &'static str,
    function: CudaFunction,
}

/// Grid, block and dynamic shared memory of a launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Launch {
    pub(crate) grid: (u32, u32, u32),
    pub(crate) block: u32,
    pub(crate) shared: u32,
    /// All blocks must be resident at once.
    pub(crate) cooperative: bool,
}

impl Launch {
    pub(crate) const fn new(grid: (u32, u32, u32), block: u32) -> Self {
        Self { grid, block, shared: 0, cooperative: false }
    }
}

impl Kernel {
    pub(crate) const fn new(name: &'static str, function: CudaFunction) -> Self {
        Self { name, function }
    }

    pub(crate) const fn name(&self) -> &'static str {
        self.name
    }

    /// Lets launches ask for `bytes` of shared memory; more than 48 KiB must be asked for in advance.
    ///
    /// # Errors
    /// [`CudaError::Driver`] if the GPU has less.
    pub(crate) fn allow_shared(&self, bytes: usize) -> Result<(), CudaError> {
        Ok(self.function.set_attribute(MAX_SHARED, bytes as i32)?)
    }

    /// Launches the kernel with one struct of parameters, by value. An empty grid launches nothing.
    ///
    /// # Errors
    /// [`CudaError::Launch`] with the kernel's name and `shape`.
    ///
    /// # Safety
    /// * `P` has the layout of the kernel's only parameter.
    /// * Every address in it is of a buffer of the same GPU that is alive until the launch has been made, and as long
    ///   as the kernel's indices for this grid reach.
    pub(crate) unsafe fn launch<P: DeviceRepr>(
        &self,
        stream: &CudaStream,
        launch: Launch,
        parameters: &P,
        shape: &dyn Display,
    ) -> Result<(), CudaError> {
        let (x, y, z) = launch.grid;
        if x == 0 || y == 0 || z == 0 {
            return Ok(());
        }
        let config =
            LaunchConfig { grid_dim: launch.grid, block_dim: (launch.block, 1, 1), shared_mem_bytes: launch.shared };
        let mut arguments = stream.launch_builder(&self.function);
        arguments.arg(parameters);
        let launched = if launch.cooperative {
            // SAFETY: as the caller promises.
            unsafe { arguments.launch_cooperative(config) }
        } else {
            // SAFETY: as the caller promises.
            unsafe { arguments.launch(config) }
        };
        launched.map(|_| ()).map_err(|source| CudaError::Launch { kernel: self.name, shape: shape.to_string(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};

    fn folder() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cuda/kernels")
    }

    /// Names in `#include "..."` lines, transitively, in order of names.
    fn headers(source: &str, found: &mut std::collections::BTreeSet<String>) {
        for line in source.lines() {
            let Some(name) = line.strip_prefix("#include \"").and_then(|l| l.strip_suffix('"')) else { continue };
            if found.insert(name.to_owned()) {
                headers(&std::fs::read_to_string(folder().join(name)).unwrap(), found);
            }
        }
    }

    /// The fatbins were built from these sources; if not: `cargo xtask cuda build`.
    #[test]
    fn fatbins_are_current() {
        for file in ALL {
            let source = std::fs::read_to_string(folder().join(file.name).with_extension("cu")).unwrap();
            let mut names = std::collections::BTreeSet::new();
            headers(&source, &mut names);
            let mut digest = Sha256::new();
            digest.update(&source);
            for name in &names {
                digest.update(std::fs::read(folder().join(name)).unwrap());
            }
            let hex = |digest: Sha256| digest.finalize().iter().map(|b| format!("{b:02x}")).collect::<String>();
            let expected = format!("sources {}\nfatbin {}\n", hex(digest), hex(Sha256::new_with_prefix(file.fatbin)));
            let stored = std::fs::read_to_string(folder().join(file.name).with_extension("hash")).unwrap();
            assert_eq!(stored, expected, "{}: run `cargo xtask cuda build`", file.name);
        }
    }

    #[test]
    fn every_source_has_an_entry() {
        let files = std::fs::read_dir(folder()).unwrap().map(|f| f.unwrap().path());
        let mut sources: Vec<_> = files
            .filter(|p| p.extension().is_some_and(|e| e == "cu"))
            .map(|p| p.file_stem().unwrap().to_str().unwrap().to_owned())
            .collect();
        sources.sort();
        let mut listed: Vec<_> = ALL.iter().map(|f| f.name.to_owned()).collect();
        listed.sort();
        assert_eq!(sources, listed);
    }

    #[test]
    fn flags_of_the_first_line() {
        assert_eq!(
            flags("// nvcc: --fmad=false -lineinfo\n// nvcc: no").collect::<Vec<_>>(),
            ["--fmad=false", "-lineinfo"]
        );
        assert_eq!(flags("#include").count(), 0);
    }

    /// `cargo xtask cuda check --all` runs it with the compiler's library in its path.
    #[test]
    #[ignore = "needs libnvrtc.so.13"]
    fn nvrtc_compiles_every_kernel() {
        for file in ALL {
            for capability in [(8, 0), (9, 0)] {
                file.compile(&folder(), capability).unwrap_or_else(|e| panic!("{e}"));
            }
        }
    }
}
