//! Matrix products by cuBLASLt: `y = x w^T` or `y += x w^T`, all row-major.
//!
//! One algorithm for each shape, the library's first proposal that needs no reduction between blocks, kept as long as
//! the model lives: two runs give the same bits. bf16 is multiplied with sums in f32; f32 is multiplied in f32, never
//! in TF32.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use cudarc::cublaslt::result::{self, CublasError};
use cudarc::cublaslt::sys;
use cudarc::driver::CudaSlice;

use super::buffer::Element;
use crate::cuda::device::{Device, between_captures};
use crate::cuda::error::CudaError;
use crate::cuda::probe::probe_cublaslt;

/// Memory that the library may use. Hopper's kernels ask for up to 32 MiB.
const WORKSPACE: usize = 32 << 20;

/// `y[m, n] = x[m, k] w[n, k]^T`, with leading dimensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Product {
    pub(crate) m: usize,
    pub(crate) n: usize,
    pub(crate) k: usize,
    pub(crate) ld_x: usize,
    pub(crate) ld_w: usize,
    pub(crate) ld_y: usize,
    /// Of x and w.
    pub(crate) input: Element,
    pub(crate) output: Element,
    /// Adds to y.
    pub(crate) add: bool,
}

impl std::fmt::Display for Product {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[{}, {}] x [{}, {}]^T in {:?}", self.m, self.k, self.n, self.k, self.input)
    }
}

impl Product {
    /// Whether the leading dimensions hold the rows and every row starts at a multiple of 16 bytes, as the fast
    /// algorithms need.
    pub(crate) fn validate(&self) -> Result<(), CudaError> {
        let rows = [(self.ld_x, self.k, self.input), (self.ld_w, self.k, self.input), (self.ld_y, self.n, self.output)];
        if rows.iter().all(|&(ld, columns, e)| ld >= columns && ld * e.bytes() % 16 == 0) {
            Ok(())
        } else {
            Err(CudaError::Blas { what: self.to_string(), reason: "rows are not 16-byte aligned".into() })
        }
    }
}

struct Plan {
    operation: sys::cublasLtMatmulDesc_t,
    w: sys::cublasLtMatrixLayout_t,
    x: sys::cublasLtMatrixLayout_t,
    y: sys::cublasLtMatrixLayout_t,
    algorithm: sys::cublasLtMatmulAlgo_t,
}

/// The library, its workspace and the plans made so far.
pub(crate) struct Blas {
    handle: sys::cublasLtHandle_t,
    workspace: CudaSlice<u8>,
    plans: Mutex<HashMap<Product, Plan>>,
}

// SAFETY: the library's handle may be used by any thread, plans are only read after they have been made, and the
// workspace is used in the order of one stream: graphs are launched there too.
unsafe impl Send for Blas {}
// SAFETY: as above; the table of plans has a lock.
unsafe impl Sync for Blas {}

const fn data_type(element: Element) -> sys::cudaDataType {
    match element {
        Element::F32 => sys::cudaDataType::CUDA_R_32F,
        Element::Bf16 => sys::cudaDataType::CUDA_R_16BF,
    }
}

impl Blas {
    /// # Errors
    /// [`CudaError::NoLibrary`], [`CudaError::OutOfMemory`].
    pub(crate) fn new(device: &Device) -> Result<Self, CudaError> {
        probe_cublaslt()?;
        let workspace = device.zeros("workspace of cuBLASLt", WORKSPACE)?;
        let _guard = between_captures();
        let handle =
            result::create_handle().map_err(|e| CudaError::Blas { what: "start".into(), reason: e.to_string() })?;
        Ok(Self { handle, workspace, plans: Mutex::default() })
    }

    /// Computes the product on the stream of `device`.
    ///
    /// # Errors
    /// [`CudaError::Blas`] names the product.
    ///
    /// # Safety
    /// `w`, `x` and `y` are addresses of buffers of this GPU, alive until the launch has been made, 16-byte aligned and
    /// as long as the shape says.
    pub(crate) unsafe fn run(&self, device: &Device, p: Product, w: u64, x: u64, y: u64) -> Result<(), CudaError> {
        if p.m == 0 {
            return Ok(());
        }
        let failed = |e: CublasError| CudaError::Blas { what: p.to_string(), reason: e.to_string() };
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        let plan = match plans.entry(p) {
            std::collections::hash_map::Entry::Occupied(e) => e.into_mut(),
            std::collections::hash_map::Entry::Vacant(e) => {
                p.validate()?;
                e.insert(self.plan(&p).map_err(failed)?)
            }
        };
        let (alpha, beta) = (1.0f32, if p.add { 1.0f32 } else { 0.0 });
        // SAFETY: the plan's objects live as long as `self`; the caller vouches for the three buffers; alpha and beta
        // are read during the call.
        unsafe {
            result::matmul(
                self.handle,
                plan.operation,
                (&raw const alpha).cast(),
                (&raw const beta).cast(),
                w as *const _,
                plan.w,
                x as *const _,
                plan.x,
                y as *const _,
                plan.y,
                y as *mut _,
                plan.y,
                &raw const plan.algorithm,
                device.address(&self.workspace) as *mut _,
                WORKSPACE,
                device.stream().cu_stream().cast(),
            )
        }
        .map_err(failed)
    }

    /// The library is column-major: it computes `y^T = w x^T` from `w^T` and `x^T`, which is how rows look to it.
    fn plan(&self, p: &Product) -> Result<Plan, CublasError> {
        let (input, output) = (data_type(p.input), data_type(p.output));
        let operation =
            result::create_matmul_desc(sys::cublasComputeType_t::CUBLAS_COMPUTE_32F, sys::cudaDataType::CUDA_R_32F)?;
        let transpose = 1i32; // CUBLAS_OP_T
        // SAFETY: the descriptor was made above; the attribute is an enum of 32 bits.
        unsafe {
            result::set_matmul_desc_attribute(
                operation,
                sys::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_TRANSA,
                (&raw const transpose).cast(),
                size_of_val(&transpose),
            )?;
        }
        let w = result::create_matrix_layout(input, p.k as u64, p.n as u64, p.ld_w as i64)?;
        let x = result::create_matrix_layout(input, p.k as u64, p.m as u64, p.ld_x as i64)?;
        let y = result::create_matrix_layout(output, p.n as u64, p.m as u64, p.ld_y as i64)?;
        let preference = result::create_matmul_pref()?;
        let reductions = 0u32;
        // SAFETY: all objects were made above, the attributes have the types that the library documents.
        let found = unsafe {
            result::set_matmul_pref_attribute(
                preference,
                sys::cublasLtMatmulPreferenceAttributes_t::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                (&raw const WORKSPACE_BYTES).cast(),
                size_of_val(&WORKSPACE_BYTES),
            )?;
            result::set_matmul_pref_attribute(
                preference,
                sys::cublasLtMatmulPreferenceAttributes_t::CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
                (&raw const reductions).cast(),
                size_of_val(&reductions),
            )?;
            let found = result::get_matmul_algo_heuristic(self.handle, operation, w, x, y, y, preference);
            result::destroy_matmul_pref(preference)?;
            found?
        };
        Ok(Plan { operation, w, x, y, algorithm: found.algo })
    }
}

static WORKSPACE_BYTES: u64 = WORKSPACE as u64;

impl Drop for Blas {
    fn drop(&mut self) {
        let plans = std::mem::take(self.plans.get_mut().unwrap_or_else(PoisonError::into_inner));
        for plan in plans.into_values() {
            // SAFETY: made by `plan`, destroyed once. A failure leaks; there is nobody to tell.
            unsafe {
                let _ = result::destroy_matmul_desc(plan.operation);
                let _ = result::destroy_matrix_layout(plan.w);
                let _ = result::destroy_matrix_layout(plan.x);
                let _ = result::destroy_matrix_layout(plan.y);
            }
        }
        let _guard = between_captures();
        // SAFETY: made by `new`, destroyed once; work in flight has its own references.
        let _ = unsafe { result::destroy_handle(self.handle) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_must_be_aligned() {
        let p = Product {
            m: 5,
            n: 96,
            k: 64,
            ld_x: 64,
            ld_w: 64,
            ld_y: 96,
            input: Element::Bf16,
            output: Element::F32,
            add: false,
        };
        assert!(p.validate().is_ok());
        assert!(Product { ld_x: 68, ..p }.validate().is_err());
        assert!(Product { ld_x: 68, input: Element::F32, ..p }.validate().is_ok());
        assert!(Product { ld_w: 56, ..p }.validate().is_err());
        assert!(Product { n: 97, ld_y: 97, ..p }.validate().is_err());
        assert!(p.to_string().contains("[5, 64] x [96, 64]^T in Bf16"));
    }
}
