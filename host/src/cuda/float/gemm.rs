//! Matrix products by cuBLASLt: `y = x w^T` or `y += x w^T`, for training also `x w` and `x^T w`, all row-major, one or
//! many of a shape.
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

/// How x and w lie in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Form {
    /// `x w^T`: x `[m, k]`, w `[n, k]`.
    #[default]
    Nt,
    /// `x w`: x `[m, k]`, w `[k, n]`.
    Nn,
    /// `x^T w`: x `[k, m]`, w `[k, n]`.
    Tn,
}

/// Products of one shape, at a distance from each other in elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Many {
    pub(crate) count: usize,
    pub(crate) x: usize,
    pub(crate) w: usize,
    pub(crate) y: usize,
}

impl Many {
    pub(crate) const ONE: Self = Self { count: 1, x: 0, w: 0, y: 0 };
}

/// `y[m, n] = x[m, k] w[n, k]^T` or one of the other forms, with leading dimensions.
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
    pub(crate) form: Form,
    pub(crate) many: Many,
}

impl std::fmt::Display for Product {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { m, n, k, input, form, many, .. } = self;
        match form {
            Form::Nt => write!(f, "[{m}, {k}] x [{n}, {k}]^T in {input:?}")?,
            Form::Nn => write!(f, "[{m}, {k}] x [{k}, {n}] in {input:?}")?,
            Form::Tn => write!(f, "[{k}, {m}]^T x [{k}, {n}] in {input:?}")?,
        }
        if many.count > 1 { write!(f, ", {} of them", many.count) } else { Ok(()) }
    }
}

impl Product {
    /// Whether the leading dimensions hold the rows and every row starts at a multiple of 16 bytes, as the fast
    /// algorithms need.
    pub(crate) fn validate(&self) -> Result<(), CudaError> {
        let (x, w) = match self.form {
            Form::Nt => (self.k, self.k),
            Form::Nn => (self.k, self.n),
            Form::Tn => (self.m, self.n),
        };
        let rows = [(self.ld_x, x, self.input), (self.ld_w, w, self.input), (self.ld_y, self.n, self.output)];
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
        // SAFETY: as the caller promises.
        unsafe { self.run_scaled(device, p, [1.0, if p.add { 1.0 } else { 0.0 }], [w, x, y, y]) }
    }

    /// `y = alpha x w^T + beta c` (or the product's other form): `c` is of y's shape, and may be y.
    ///
    /// # Errors
    /// As [`Blas::run`].
    ///
    /// # Safety
    /// As [`Blas::run`], for w, x, c and y.
    pub(crate) unsafe fn run_scaled(
        &self,
        device: &Device,
        p: Product,
        [alpha, beta]: [f32; 2],
        [w, x, c, y]: [u64; 4],
    ) -> Result<(), CudaError> {
        if p.m == 0 || p.many.count == 0 {
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
                c as *const _,
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

    /// The library is column-major: it computes `y^T = w x^T` from what `w^T` and `x^T` are to it: rows are its columns.
    fn plan(&self, p: &Product) -> Result<Plan, CublasError> {
        let (input, output) = (data_type(p.input), data_type(p.output));
        let operation =
            result::create_matmul_desc(sys::cublasComputeType_t::CUBLAS_COMPUTE_32F, sys::cudaDataType::CUDA_R_32F)?;
        let transposed = [
            (sys::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_TRANSA, p.form == Form::Nt),
            (sys::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_TRANSB, p.form == Form::Tn),
        ];
        for (attribute, transpose) in transposed {
            let transpose = i32::from(transpose); // CUBLAS_OP_N, CUBLAS_OP_T
            // SAFETY: the descriptor was made above; the attribute is an enum of 32 bits.
            unsafe {
                result::set_matmul_desc_attribute(
                    operation,
                    attribute,
                    (&raw const transpose).cast(),
                    size_of_val(&transpose),
                )?;
            }
        }
        let (w_rows, w_columns) = if p.form == Form::Nt { (p.k, p.n) } else { (p.n, p.k) };
        let (x_rows, x_columns) = if p.form == Form::Tn { (p.m, p.k) } else { (p.k, p.m) };
        let w = layout(input, w_rows, w_columns, p.ld_w, p.many.count, p.many.w)?;
        let x = layout(input, x_rows, x_columns, p.ld_x, p.many.count, p.many.x)?;
        let y = layout(output, p.n, p.m, p.ld_y, p.many.count, p.many.y)?;
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

/// A matrix in the library's words, or `count` of them at `distance`.
fn layout(
    element: sys::cudaDataType,
    rows: usize,
    columns: usize,
    ld: usize,
    count: usize,
    distance: usize,
) -> Result<sys::cublasLtMatrixLayout_t, CublasError> {
    let layout = result::create_matrix_layout(element, rows as u64, columns as u64, ld as i64)?;
    if count > 1 {
        let (count, distance) = (count as i32, distance as i64);
        // SAFETY: the layout was made above; the attributes are of 32 and 64 bits, as the library documents.
        unsafe {
            result::set_matrix_layout_attribute(
                layout,
                sys::cublasLtMatrixLayoutAttribute_t::CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT,
                (&raw const count).cast(),
                size_of_val(&count),
            )?;
            result::set_matrix_layout_attribute(
                layout,
                sys::cublasLtMatrixLayoutAttribute_t::CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET,
                (&raw const distance).cast(),
                size_of_val(&distance),
            )?;
        }
    }
    Ok(layout)
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

    /// Every form, alone and three at a time, into y and added to it, against f64.
    #[test]
    #[ignore = "needs an NVIDIA GPU"]
    fn gpu_products_of_every_form() {
        let device = Device::open(0).unwrap();
        let blas = Blas::new(&device).unwrap();
        let sizes = [(512, 40, 24), (300, 40, 24), (512, 24, 40), (64, 8, 1000), (256, 64, 64), (1000, 256, 8)];
        for (m, n, k) in sizes {
            for form in [Form::Nt, Form::Nn, Form::Tn] {
                for (count, add) in [(1, false), (1, true), (3, false), (3, true)] {
                    let (x_row, w_row) = match form {
                        Form::Nt => (k, k),
                        Form::Nn => (k, n),
                        Form::Tn => (m, n),
                    };
                    let values = |len: usize, by: usize| -> Vec<f32> {
                        (0..len).map(|i| (i * by % 97) as f32 / 48.5 - 1.0).collect()
                    };
                    let (x, w, y) = (values(count * m * k, 31), values(count * n * k, 57), values(count * m * n, 11));
                    let [on_x, on_w, on_y] = [&x, &w, &y].map(|v| device.upload("product", v).unwrap());
                    let many = Many { count, x: m * k, w: n * k, y: m * n };
                    let e = Element::F32;
                    let product =
                        Product { m, n, k, ld_x: x_row, ld_w: w_row, ld_y: n, input: e, output: e, add, form, many };
                    let [ax, aw, ay] = [&on_x, &on_w, &on_y].map(|v| device.address(v));
                    // SAFETY: the three buffers are of the product's sizes.
                    unsafe { blas.run(&device, product, aw, ax, ay) }.unwrap();
                    let found = device.stream().clone_dtoh(&on_y).unwrap();
                    for (index, found) in found.iter().enumerate() {
                        let (one, row, column) = (index / (m * n), index / n % m, index % n);
                        let term = |i: usize| {
                            let x = if form == Form::Tn {
                                x[one * m * k + i * m + row]
                            } else {
                                x[one * m * k + row * k + i]
                            };
                            let w = if form == Form::Nt {
                                w[one * n * k + column * k + i]
                            } else {
                                w[one * n * k + i * n + column]
                            };
                            f64::from(x) * f64::from(w)
                        };
                        let expected = (0..k).map(term).sum::<f64>() + if add { f64::from(y[index]) } else { 0.0 };
                        let apart = (f64::from(*found) - expected).abs();
                        assert!(apart < 1e-4, "{product}, added: {add}: {row}, {column} is {found}, not {expected}");
                    }
                }
            }
        }
    }

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
            form: Form::Nt,
            many: Many::ONE,
        };
        assert!(p.validate().is_ok());
        assert!(Product { ld_x: 68, ..p }.validate().is_err());
        assert!(Product { ld_x: 68, input: Element::F32, ..p }.validate().is_ok());
        assert!(Product { ld_w: 56, ..p }.validate().is_err());
        assert!(Product { n: 97, ld_y: 97, ..p }.validate().is_err());
        assert_eq!(p.to_string(), "[5, 64] x [96, 64]^T in Bf16");
        // x^T is read in rows of m, w in rows of n.
        let turned = Product { form: Form::Tn, m: 8, ld_x: 8, ld_w: 96, many: Many { count: 3, ..Many::ONE }, ..p };
        assert!(turned.validate().is_ok());
        assert!(Product { ld_w: 64, ..turned }.validate().is_err());
        assert!(Product { form: Form::Nn, ..turned }.validate().is_err());
        assert_eq!(turned.to_string(), "[64, 8]^T x [64, 96] in Bf16, 3 of them");
    }
}
