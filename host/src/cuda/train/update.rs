//! What a gradient does to the weights: its norm, clipping, Muon, AdamW, the average.

use cudarc::driver::{CudaSlice, DeviceRepr};

use super::args::{AdamwArgs, JudgeArgs, MuonBeginArgs, MuonEndArgs, MuonScaleArgs, TotalArgs};
use super::kernels::Kernels;
use super::params::{MATRICES, Params, Place};
use super::timeline::Timeline;
use crate::cuda::device::Device;
use crate::cuda::error::CudaError;
use crate::cuda::float::buffer::{Buffer, Element};
use crate::cuda::float::gemm::{Blas, Form, Many, Product};
use crate::cuda::kernels::{Kernel, Launch};
use crate::train::optimizer::{BETA, MUON_COEFFICIENTS, MUON_ITERATIONS, Matrices};

/// Blocks of a sum over everything.
const BLOCKS: usize = 256;
/// Blocks of a sum over one matrix, at most.
const MATRIX_BLOCKS: usize = 64;

/// As `optimizer.cu` has it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub(super) struct OutcomeBits {
    pub(super) nats: f64,
    pub(super) norm: f64,
    factor: f32,
    pub(super) good: i32,
}

// SAFETY: plain numbers in the C layout of the kernel's struct.
unsafe impl DeviceRepr for OutcomeBits {}
// SAFETY: zeros are zeros.
unsafe impl cudarc::driver::ValidAsZeroBits for OutcomeBits {}

/// Everything that a step changes, one array each.
pub(super) struct State {
    pub(super) w: CudaSlice<f32>,
    pub(super) m: CudaSlice<f32>,
    pub(super) v: CudaSlice<f32>,
    pub(super) average: CudaSlice<f32>,
    /// The weights for the products, if these are in bf16.
    pub(super) rounded: Option<CudaSlice<u16>>,
}

/// Room for it.
pub(super) struct Room {
    partial: CudaSlice<f64>,
    nats: CudaSlice<f64>,
    pub(super) outcome: CudaSlice<OutcomeBits>,
    x: CudaSlice<f32>,
    /// Iterates, two of each, and their squares' polynomials.
    iterates: [Buffer; 2],
    gram: Buffer,
    polynomial: Buffer,
}

/// The numbers of one step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Numbers {
    pub(super) mean: f64,
    pub(super) clip: f64,
    pub(super) rate: f64,
    pub(super) decay: f64,
    /// Steps with this one.
    pub(super) step: u64,
    pub(super) share: f32,
}

/// Short and long side.
fn sides(place: &Place) -> (usize, usize) {
    let (rows, columns) = (place.rows(), place.columns);
    (rows.min(columns), rows.max(columns))
}

impl Room {
    pub(super) fn new(device: &Device, params: &Params, element: Element) -> Result<Self, CudaError> {
        let places = MATRICES.map(|tensor| params.place(tensor));
        let largest = places.iter().map(|p| p.size * p.layers).max().unwrap_or(0);
        let gram = places.iter().map(|p| p.layers * sides(p).0.pow(2)).max().unwrap_or(0);
        let layers = params.dims.n_layer;
        let what = "iterations of Muon";
        let typed = |len| Buffer::zeros(device, what, len, element);
        Ok(Self {
            partial: device.zeros(what, BLOCKS.max(layers * MATRIX_BLOCKS))?,
            nats: device.zeros("losses", BLOCKS)?,
            outcome: device.zeros("outcome", 1)?,
            x: device.zeros(what, largest)?,
            iterates: [typed(largest)?, typed(largest)?],
            gram: typed(gram)?,
            polynomial: typed(gram)?,
        })
    }
}

/// What updates.
pub(super) struct Update<'a> {
    pub(super) device: &'a Device,
    pub(super) blas: &'a Blas,
    pub(super) kernels: &'a Kernels,
    pub(super) params: &'a Params,
    pub(super) element: Element,
    pub(super) matrices: Matrices,
    pub(super) timeline: Option<&'a Timeline>,
}

impl Update<'_> {
    /// # Safety
    /// As [`Kernel::launch`].
    unsafe fn launch<P: DeviceRepr>(&self, kernel: &Kernel, launch: Launch, parameters: &P) -> Result<(), CudaError> {
        // SAFETY: as the caller promises.
        unsafe { kernel.launch(self.device.stream(), launch, parameters, &"the parameters")? };
        self.mark(kernel.name())
    }

    fn mark(&self, name: &'static str) -> Result<(), CudaError> {
        self.timeline.map_or(Ok(()), |timeline| timeline.mark(self.device, name))
    }

    fn total(&self, values: u64, n: usize, squares: bool, partial: u64) -> Result<(), CudaError> {
        let args = TotalArgs { values, partial, n: n as i64, squares: i32::from(squares) };
        // SAFETY: `values` has n elements, `partial` BLOCKS.
        unsafe { self.launch(&self.kernels.total, Launch::new((BLOCKS as u32, 1, 1), 256), &args) }
    }

    /// Applies the gradient of the summed loss, of which `nats` has one for each of `rows` positions.
    pub(super) fn apply(
        &self,
        state: &State,
        grad: &CudaSlice<f32>,
        (nats, rows): (&CudaSlice<f32>, usize),
        room: &Room,
        numbers: Numbers,
    ) -> Result<(), CudaError> {
        let device = self.device;
        let [partial, sums] = [&room.partial, &room.nats].map(|slice| device.address(slice));
        self.total(device.address(grad), self.params.len, true, partial)?;
        self.total(device.address(nats), rows, false, sums)?;
        let outcome = device.address(&room.outcome);
        let judge = JudgeArgs { squares: partial, nats: sums, outcome, mean: numbers.mean, limit: numbers.clip };
        // SAFETY: both sums have BLOCKS entries.
        unsafe { self.launch(&self.kernels.judge, Launch::new((1, 1, 1), 256), &judge)? };
        let mut from = 0;
        if self.matrices == Matrices::Muon {
            for tensor in MATRICES {
                self.muon(self.params.place(tensor), state, grad, room, numbers, self.scale(tensor))?;
            }
            from = self.params.matrices;
        }
        let power = i32::try_from(numbers.step).unwrap_or(i32::MAX);
        let [c0, c1] = BETA.map(|b| (1.0 / (1.0 - b.powi(power))) as f32);
        let at = |slice: &CudaSlice<f32>| device.address(slice) + 4 * from as u64;
        let n = self.params.len - from;
        let args = AdamwArgs {
            w: at(&state.w),
            grad: at(grad),
            m: at(&state.m),
            v: at(&state.v),
            average: at(&state.average),
            rounded: state.rounded.as_ref().map_or(0, |slice| device.address(slice) + 2 * from as u64),
            outcome,
            n: n as i64,
            decaying: (self.params.decaying - from) as i64,
            keep: (1.0 - numbers.rate * numbers.decay) as f32,
            rate: numbers.rate as f32,
            c0,
            c1,
            share: numbers.share,
        };
        // SAFETY: all arrays have the parameters' length.
        unsafe { self.launch(&self.kernels.adamw, elements(n), &args) }
    }

    /// What Muon's update of a tensor is multiplied by beside the rate: by its sides without padding.
    fn scale(&self, tensor: &str) -> f64 {
        let dims = &self.params.dims;
        let longest = match tensor {
            "in_proj" => (2 * dims.d_inner).max(dims.d_model),
            "x_proj" => dims.x_proj_rows().max(dims.d_inner),
            "dt_proj" => dims.d_inner.max(dims.dt_rank),
            _ => dims.d_model.max(dims.d_inner),
        };
        0.2 * (longest as f64).sqrt()
    }

    /// Muon over one tensor of all layers.
    fn muon(
        &self,
        place: Place,
        state: &State,
        grad: &CudaSlice<f32>,
        room: &Room,
        numbers: Numbers,
        scale: f64,
    ) -> Result<(), CudaError> {
        let (device, e) = (self.device, self.element);
        let at = |slice: &CudaSlice<f32>| device.address(slice) + 4 * place.at as u64;
        let [outcome, partial, x] =
            [device.address(&room.outcome), device.address(&room.partial), device.address(&room.x)];
        let blocks = place.size.div_ceil(1024).min(MATRIX_BLOCKS) as u32;
        let launch = Launch::new((blocks, place.layers as u32, 1), 256);
        let begin = MuonBeginArgs { grad: at(grad), m: at(&state.m), x, partial, outcome, size: place.size as i64 };
        let [mut from, mut to] = room.iterates.each_ref().map(|buffer| buffer.address(device));
        let scaled = MuonScaleArgs { x, out: from, partial, outcome, size: place.size as i64 };
        // SAFETY: `x` and the iterates have room for the largest tensor, `partial` for every matrix's blocks.
        unsafe {
            self.launch(&self.kernels.muon_begin, launch, &begin)?;
            self.launch(&self.kernels.muon_scale, launch, &scaled)?;
        }
        let [a, b, c] = MUON_COEFFICIENTS.map(|c| c as f32);
        let (rows, columns) = (place.rows(), place.columns);
        let (short, _) = sides(&place);
        let [gram, polynomial] = [&room.gram, &room.polynomial].map(|buffer| buffer.address(device));
        let square = short * short;
        let make = |[m, n, k]: [usize; 3], [ld_x, ld_w]: [usize; 2], form, [x, w, y]: [usize; 3]| Product {
            m,
            n,
            k,
            ld_x,
            ld_w,
            ld_y: n,
            input: e,
            output: e,
            add: false,
            form,
            many: Many { count: place.layers, x, w, y },
        };
        let (size, wide) = (place.size, rows <= columns);
        // Of the short side; the polynomial is symmetric.
        let first = if wide {
            make([rows, rows, columns], [columns, columns], Form::Nt, [size, size, square])
        } else {
            make([columns, columns, rows], [columns, columns], Form::Tn, [size, size, square])
        };
        let second = make([short, short, short], [short, short], Form::Nt, [square, square, square]);
        let third = if wide {
            make([rows, columns, rows], [rows, columns], Form::Nn, [square, size, size])
        } else {
            make([rows, columns, columns], [columns, columns], Form::Nn, [size, square, size])
        };
        for _ in 0..MUON_ITERATIONS {
            // SAFETY: iterates, gram and polynomial have room for all layers of the largest tensor.
            unsafe {
                self.blas.run(device, first, from, from, gram)?;
                self.blas.run_scaled(device, second, [c, b], [gram, gram, gram, polynomial])?;
                let (w, x) = if wide { (from, polynomial) } else { (polynomial, from) };
                self.blas.run_scaled(device, third, [1.0, a], [w, x, from, to])?;
            }
            std::mem::swap(&mut from, &mut to);
        }
        self.mark("products of Muon")?;
        let n = place.size * place.layers;
        let end = MuonEndArgs {
            w: at(&state.w),
            update: from,
            average: at(&state.average),
            rounded: state.rounded.as_ref().map_or(0, |slice| device.address(slice) + 2 * place.at as u64),
            outcome,
            n: n as i64,
            keep: (1.0 - numbers.rate * numbers.decay) as f32,
            scale: (numbers.rate * scale) as f32,
            share: numbers.share,
        };
        // SAFETY: all arrays have the tensor.
        unsafe { self.launch(&self.kernels.muon_end, elements(n), &end) }
    }
}

/// Blocks over n elements.
fn elements(n: usize) -> Launch {
    Launch::new((n.div_ceil(1024).clamp(1, 4096) as u32, 1, 1), 256)
}
