//! One pass through all layers, and the head: launches in order, on memory that the caller lays out.

use cudarc::driver::CudaSlice;
use mambabyte_core::VOCAB;

use super::FloatModel;
use super::buffer::Element;
use super::gemm::{Form, Many, Product};
use super::scan::{ScanArgs, ScanShape};
use super::small::{ConvArgs, EmbedArgs, NormArgs};
use super::state::Memory;
use crate::cuda::device::Device;
use crate::cuda::error::CudaError;

/// Where the activations of a layer lie; `m` is rows times steps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slots {
    /// `[m, 2 inner]`: x, z.
    pub(super) xz: u64,
    /// `[m, inner]`, after the convolution.
    pub(super) u: u64,
    /// `[m, selection]`: B, C, dt.
    pub(super) selection: u64,
    /// `[m, inner]`, before softplus.
    pub(super) delta: u64,
    /// `[m, inner]`, what the scan gives; may be `u`.
    pub(super) y: u64,
}

/// `rows` x `steps` bytes; addresses of the GPU.
pub(super) struct Pass<'a> {
    /// The device to whose stream the launches go.
    pub(super) device: &'a Device,
    pub(super) rows: usize,
    pub(super) steps: usize,
    /// u8 `[m]`.
    pub(super) bytes: u64,
    /// i32 `[rows]`: steps of each row.
    pub(super) len: u64,
    /// f32 `[m, model]`.
    pub(super) residual: u64,
    /// `[m, model]`.
    pub(super) normed: u64,
    /// Of [`ScanShape::workspace`].
    pub(super) segments: (u64, u64),
    pub(super) slots: &'a dyn Fn(usize) -> Slots,
    pub(super) memory: &'a Memory,
}

impl FloatModel {
    pub(super) const fn scan_shape(&self, batch: usize, seq_len: usize) -> ScanShape {
        let dims = &self.weights.dims;
        ScanShape {
            batch,
            seq_len,
            d_inner: self.weights.widths.inner,
            d_state: dims.d_state,
            tied: dims.tied_decays,
            element: self.weights.element,
        }
    }

    /// A product of the layers, of `m` rows.
    const fn product(&self, m: usize, n: usize, k: usize, ld_x: usize, ld_y: usize) -> Product {
        let e = self.weights.element;
        Product { m, n, k, ld_x, ld_w: k, ld_y, input: e, output: e, add: false, form: Form::Nt, many: Many::ONE }
    }

    /// Launches embedding and all layers; the states of `pass.memory` move.
    ///
    /// # Errors
    /// The driver's and cuBLASLt's.
    ///
    /// # Safety
    /// Every address of `pass` is of a buffer of the shape that its field says, alive until the launches have been
    /// made, and a multiple of 16 bytes.
    pub(super) unsafe fn forward(&self, pass: &Pass<'_>) -> Result<(), CudaError> {
        let (device, w, m) = (pass.device, self.weights.widths, pass.rows * pass.steps);
        let in_proj = self.product(m, 2 * w.inner, w.model, w.model, 2 * w.inner);
        let x_proj = self.product(m, w.selection(), w.inner, w.inner, w.selection());
        let dt_proj = self.product(m, w.inner, w.rank, w.selection(), w.inner);
        let out_proj =
            Product { output: Element::F32, add: true, ..self.product(m, w.model, w.inner, w.inner, w.model) };
        let embed = EmbedArgs {
            bytes: pass.bytes,
            embedding: device.address(&self.weights.embedding),
            residual: pass.residual,
            rows: m as i32,
            ld: w.model as i32,
        };
        // SAFETY: weights have the shapes of `LayerWeights`, all widths are multiples of 8; the rest as the caller
        // promises.
        unsafe {
            self.small.embed(device, &embed)?;
            for (index, layer) in self.weights.layers.iter().enumerate() {
                let at = (pass.slots)(index);
                let norm = self.norm_args(pass.residual, pass.normed, &layer.norm, layer.norm_bias.as_ref(), m);
                self.small.norm(device, &norm)?;
                self.blas.run(device, in_proj, layer.in_proj.address(device), pass.normed, at.xz)?;
                self.conv(pass, index, at.xz, at.u)?;
                self.blas.run(device, x_proj, layer.x_proj.address(device), at.u, at.selection)?;
                self.blas.run(
                    device,
                    dt_proj,
                    layer.dt_proj.address(device),
                    at.selection + self.offset(2 * w.state),
                    at.delta,
                )?;
                self.scan(pass, index, at)?;
                self.blas.run(device, out_proj, layer.out_proj.address(device), at.y, pass.residual)?;
            }
        }
        Ok(())
    }

    /// Launches only what moves the states, on activations that are there; overwrites `y`.
    ///
    /// # Errors
    /// The driver's.
    ///
    /// # Safety
    /// As [`FloatModel::forward`]; `y` is not `u`.
    pub(super) unsafe fn replay(&self, pass: &Pass<'_>) -> Result<(), CudaError> {
        for index in 0..self.weights.layers.len() {
            let at = (pass.slots)(index);
            // SAFETY: as the caller promises.
            unsafe {
                self.conv(pass, index, at.xz, at.y)?;
                self.scan(pass, index, at)?;
            }
        }
        Ok(())
    }

    /// Bytes of `elements` activations.
    const fn offset(&self, elements: usize) -> u64 {
        (elements * self.weights.element.bytes()) as u64
    }

    unsafe fn conv(&self, pass: &Pass<'_>, index: usize, x: u64, out: u64) -> Result<(), CudaError> {
        let (device, w, layer) = (pass.device, self.weights.widths, &self.weights.layers[index]);
        let args = ConvArgs {
            x,
            out,
            w: device.address(&layer.conv),
            bias: device.address(&layer.conv_bias),
            history: pass.memory.layer(device, index).1,
            len: pass.len,
            ld_x: 2 * w.inner as i32,
            ld_out: w.inner as i32,
            d_inner: w.inner as i32,
            seq_len: pass.steps as i32,
        };
        // SAFETY: as the callers' callers promise.
        unsafe { self.small.conv(device, pass.rows, &args) }
    }

    unsafe fn scan(&self, pass: &Pass<'_>, index: usize, at: Slots) -> Result<(), CudaError> {
        let (device, w, layer) = (pass.device, self.weights.widths, &self.weights.layers[index]);
        let shape = self.scan_shape(pass.rows, pass.steps);
        let args = ScanArgs {
            u: at.u,
            delta: at.delta,
            z: at.xz + self.offset(w.inner),
            b: at.selection,
            c: at.selection + self.offset(w.state),
            out: at.y, // if it is `u`: each output is written by the thread that has read its input
            a: device.address(&layer.a),
            d_skip: device.address(&layer.d_skip),
            delta_bias: device.address(&layer.dt_bias),
            h: pass.memory.layer(device, index).0,
            len: pass.len,
            seg_h: pass.segments.0,
            seg_delta: pass.segments.1,
            ld_u: w.inner as i32,
            ld_delta: w.inner as i32,
            ld_z: 2 * w.inner as i32,
            ld_bc: w.selection() as i32,
            ld_out: w.inner as i32,
            ..ScanArgs::default()
        };
        // SAFETY: as the callers' callers promise.
        unsafe { self.scan.dispatch(device, &shape, &shape.plan(), args) }
    }

    fn norm_args(
        &self,
        residual: u64,
        normed: u64,
        weight: &CudaSlice<f32>,
        bias: Option<&CudaSlice<f32>>,
        rows: usize,
    ) -> NormArgs {
        NormArgs {
            x: residual,
            weight: self.device.address(weight),
            bias: bias.map_or(0, |b| self.device.address(b)),
            out: normed,
            len: 0,
            eps: self.weights.norm_eps,
            rows: rows as i32,
            ld: self.weights.widths.model as i32,
            d_model: self.weights.dims.d_model as i32,
            seq_len: 1,
        }
    }

    /// Launches the last norm and the head over all `m` bytes: logits f32 `[m, 256]`.
    ///
    /// # Errors
    /// The driver's and cuBLASLt's.
    ///
    /// # Safety
    /// As [`FloatModel::forward`].
    pub(super) unsafe fn head(&self, pass: &Pass<'_>, logits: u64) -> Result<(), CudaError> {
        let m = pass.rows * pass.steps;
        let norm =
            self.norm_args(pass.residual, pass.normed, &self.weights.norm_f, self.weights.norm_f_bias.as_ref(), m);
        // SAFETY: as the caller promises.
        unsafe { self.head_of(pass.device, &norm, logits) }
    }

    /// [`FloatModel::head`] over the last byte of each row: logits `[rows, 256]`.
    ///
    /// # Errors
    /// The driver's and cuBLASLt's.
    ///
    /// # Safety
    /// As [`FloatModel::forward`].
    pub(super) unsafe fn last_head(&self, pass: &Pass<'_>, logits: u64) -> Result<(), CudaError> {
        let bias = self.weights.norm_f_bias.as_ref();
        let norm = NormArgs {
            len: pass.len,
            seq_len: pass.steps as i32,
            ..self.norm_args(pass.residual, pass.normed, &self.weights.norm_f, bias, pass.rows)
        };
        // SAFETY: as the caller promises.
        unsafe { self.head_of(pass.device, &norm, logits) }
    }

    unsafe fn head_of(&self, device: &Device, norm: &NormArgs, logits: u64) -> Result<(), CudaError> {
        let model = self.weights.widths.model;
        let product = Product { output: Element::F32, ..self.product(norm.rows as usize, VOCAB, model, model, VOCAB) };
        // SAFETY: as the callers promise.
        unsafe {
            self.small.norm(device, norm)?;
            self.blas.run(device, product, self.weights.head.address(device), norm.out, logits)
        }
    }
}
