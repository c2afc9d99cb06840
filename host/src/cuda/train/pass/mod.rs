//! One pass over a batch: forward, and back to the gradient of every parameter.
//!
//! What is launched, a layer at a time: norm, in_proj, convolution with SiLU, x_proj, dt_proj, scan with gate, out_proj; and
//! back in reverse. Products over rows of a batch are divided into parts whose
//! results are then added in order.

mod back;
mod forward;

use std::fmt::Display;

use cudarc::driver::DeviceRepr;

use super::args::SumRowsArgs;
use super::kernels::Kernels;
use super::memory::{GROUP, Memory, SUMS, parts};
use super::params::Params;
use super::scan::Scan;
use super::timeline::Timeline;
use crate::cuda::device::Device;
use crate::cuda::error::CudaError;
use crate::cuda::float::buffer::Element;
use crate::cuda::float::gemm::{Blas, Form, Many, Product};
use crate::cuda::kernels::{Kernel, Launch};

/// Parameters to compute with: addresses of the array in f32 and in the products' type, and of the scans' decays.
#[derive(Clone, Copy)]
pub(super) struct Weights {
    pub(super) f32: u64,
    pub(super) typed: u64,
    pub(super) a: u64,
}

/// A batch's shape, and what computes it. `forward` and `back` are files of their own.
pub(super) struct Pass<'a> {
    pub(super) device: &'a Device,
    pub(super) blas: &'a Blas,
    pub(super) kernels: &'a Kernels,
    pub(super) scan: &'a Scan,
    pub(super) params: &'a Params,
    pub(super) memory: &'a Memory,
    pub(super) element: Element,
    pub(super) weights: Weights,
    pub(super) batch: usize,
    pub(super) seq_len: usize,
    pub(super) eps: f32,
    pub(super) centred: bool,
    pub(super) timeline: Option<&'a Timeline>,
}

/// Of a batch, for messages.
struct Shape(usize, usize);

impl Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} rows of {}", self.0, self.1)
    }
}

/// A matrix: its address and elements from row to row.
type Matrix = (u64, usize);

impl Pass<'_> {
    const fn rows(&self) -> usize {
        self.batch * self.seq_len
    }

    /// Launches `kernel` with `parameters`.
    ///
    /// # Safety
    /// As [`Kernel::launch`].
    unsafe fn launch<P: DeviceRepr>(&self, kernel: &Kernel, launch: Launch, parameters: &P) -> Result<(), CudaError> {
        let shape = Shape(self.batch, self.seq_len);
        // SAFETY: as the caller promises.
        unsafe { kernel.launch(self.device.stream(), launch, parameters, &shape)? };
        self.mark(kernel.name())
    }

    fn mark(&self, name: &'static str) -> Result<(), CudaError> {
        self.timeline.map_or(Ok(()), |timeline| timeline.mark(self.device, name))
    }

    const fn typed(&self, at: usize) -> u64 {
        self.weights.typed + (at * self.element.bytes()) as u64
    }

    const fn float(&self, at: usize) -> u64 {
        self.weights.f32 + 4 * at as u64
    }

    /// `y[m, n] = x w^T`, or of another form, with everything in the products' type unless `y` is f32.
    fn product(
        &self,
        form: Form,
        [m, n, k]: [usize; 3],
        [x, w, y]: [Matrix; 3],
        output: Element,
        add: bool,
    ) -> Result<(), CudaError> {
        let product = Product {
            m,
            n,
            k,
            ld_x: x.1,
            ld_w: w.1,
            ld_y: y.1,
            input: self.element,
            output,
            add,
            form,
            many: Many::ONE,
        };
        // SAFETY: the matrices lie in `memory` and the parameters, with the shapes that both were made with.
        unsafe { self.blas.run(self.device, product, w.0, x.0, y.0)? };
        self.mark(match form {
            Form::Nt => "products forward",
            Form::Nn | Form::Tn => "products back",
        })
    }

    /// `[m, n] = x^T w` over `rows` rows, to `to` in f32 (added, if `add`).
    fn weight_gradient(
        &self,
        [m, n]: [usize; 2],
        [x, w]: [Matrix; 2],
        rows: usize,
        to: u64,
        add: bool,
    ) -> Result<(), CudaError> {
        let (each, count) = parts(rows, m, n);
        let partial = self.device.address(&self.memory.partial);
        let whole = rows / each;
        let bytes = self.element.bytes();
        let make = |k, many| Product {
            m,
            n,
            k,
            ld_x: x.1,
            ld_w: w.1,
            ld_y: n,
            input: self.element,
            output: Element::F32,
            add: false,
            form: Form::Tn,
            many,
        };
        // SAFETY: as in `product`; `partial` has room for `count` results.
        unsafe {
            if whole > 0 {
                let many = Many { count: whole, x: each * x.1, w: each * w.1, y: m * n };
                self.blas.run(self.device, make(each, many), w.0, x.0, partial)?;
            }
            if whole < count {
                let from = |matrix: Matrix| matrix.0 + (whole * each * matrix.1 * bytes) as u64;
                let y = partial + (whole * m * n * 4) as u64;
                self.blas.run(self.device, make(rows - whole * each, Many::ONE), from(w), from(x), y)?;
            }
        }
        self.mark("products of weights' gradients")?;
        self.sum_rows((partial, m * n), (count, m * n), to, add)
    }

    /// `to[i] (+)= sum_r from[r, i]`.
    fn sum_rows(&self, from: Matrix, (rows, width): (usize, usize), to: u64, add: bool) -> Result<(), CudaError> {
        let run = |(partial, ld): Matrix, out, rows: usize, per_group: usize, add: bool| {
            let args = SumRowsArgs {
                partial,
                out,
                rows: rows as i32,
                width: width as i32,
                ld: ld as i32,
                per_group: per_group as i32,
                add: i32::from(add),
            };
            let grid = (width.div_ceil(32) as u32, rows.div_ceil(per_group) as u32, 1);
            // SAFETY: `partial` has the rows, `out` a row a group.
            unsafe { self.launch(&self.kernels.sum_rows, Launch::new(grid, 256), &args) }
        };
        if rows <= SUMS {
            return run(from, to, rows, rows.max(1), add);
        }
        let groups = self.device.address(&self.memory.groups);
        run(from, groups, rows, GROUP, false)?;
        let rows = rows.div_ceil(GROUP);
        run((groups, width), to, rows, rows, add)
    }
}
