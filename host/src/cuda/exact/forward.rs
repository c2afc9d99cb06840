//! One forward pass: its memory, and its launches in order.

use cudarc::driver::CudaSlice;
use mambabyte_core::{Dims, VOCAB};

use super::launch::{Conv, Embed, Mode, Narrow, Norm, Project, Scan, Surprise, THREADS};
use super::weights::{ExactWeights, Layer, Matrix, padded};
use crate::cuda::Batch;
use crate::cuda::device::Device;
use crate::cuda::error::CudaError;
use crate::cuda::kernels::Launch;

/// Activations of up to `tokens` tokens.
///
/// The inputs of the recurrence (`xz`, `x`, `log_delta`, `bc`) may be kept for every layer: a verified draft is
/// accepted by replaying it from them.
pub(super) struct Workspace {
    pub(super) tokens: usize,
    layers: usize,
    pub(super) token: CudaSlice<u8>,
    next: CudaSlice<u8>,
    row_of: CudaSlice<i32>,
    starts: CudaSlice<i32>,
    pick: CudaSlice<i32>,
    residual: CudaSlice<i32>,
    u: CudaSlice<i16>,
    xz: CudaSlice<i16>,
    x: CudaSlice<i16>,
    dt: CudaSlice<i16>,
    bc: CudaSlice<i16>,
    log_delta: CudaSlice<i16>,
    g: CudaSlice<i32>,
    g16: CudaSlice<i16>,
    down: CudaSlice<u8>,
    pub(super) logits: CudaSlice<i32>,
    bits: CudaSlice<u32>,
}

/// i16 per token of what may be kept for every layer.
struct Widths {
    xz: usize,
    x: usize,
    log_delta: usize,
    bc: usize,
}

impl Widths {
    const fn new(dims: &Dims) -> Self {
        Self { xz: 2 * dims.d_inner, x: padded(dims.d_inner), log_delta: dims.d_inner, bc: 2 * dims.d_state }
    }
}

/// What a pass works on: `m` tokens in `rows` rows, whose states begin at the address `state`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pass {
    pub(super) m: usize,
    pub(super) rows: usize,
    pub(super) state: u64,
    /// Whether the states move.
    pub(super) commit: bool,
}

impl std::fmt::Display for Pass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} tokens in {} rows", self.m, self.rows)
    }
}

impl Workspace {
    /// Memory for `tokens` tokens of `rows` rows; the recurrence's inputs are kept for `layers` layers.
    pub(super) fn new(
        device: &Device,
        dims: &Dims,
        tokens: usize,
        rows: usize,
        layers: usize,
    ) -> Result<Self, CudaError> {
        let what = "activations";
        let widths = Widths::new(dims);
        let kept = tokens * layers;
        Ok(Self {
            tokens,
            layers,
            token: device.zeros(what, tokens)?,
            next: device.zeros(what, tokens)?,
            row_of: device.zeros(what, tokens)?,
            starts: device.zeros(what, rows + 1)?,
            pick: device.zeros(what, rows)?,
            residual: device.zeros(what, tokens * dims.d_model)?,
            u: device.zeros(what, tokens * padded(dims.d_model))?,
            xz: device.zeros(what, kept * widths.xz)?,
            x: device.zeros(what, kept * widths.x)?,
            dt: device.zeros(what, tokens * padded(dims.dt_rank))?,
            bc: device.zeros(what, kept * widths.bc)?,
            log_delta: device.zeros(what, kept * widths.log_delta)?,
            g: device.zeros(what, tokens * dims.d_inner)?,
            g16: device.zeros(what, tokens * padded(dims.d_inner))?,
            down: device.zeros(what, tokens)?,
            logits: device.zeros(what, tokens * VOCAB)?,
            bits: device.zeros(what, tokens)?,
        })
    }

    /// Uploads the bytes of a call.
    pub(super) fn put(&mut self, device: &Device, batch: &Batch) -> Result<(), CudaError> {
        let stream = device.stream();
        stream.memcpy_htod(&batch.starts, &mut self.starts)?;
        if batch.len() > 0 {
            stream.memcpy_htod(&batch.tokens, &mut self.token)?;
            stream.memcpy_htod(&batch.row_of, &mut self.row_of)?;
            stream.memcpy_htod(&batch.last, &mut self.pick)?;
        }
        Ok(())
    }

    /// All of a step but the head.
    pub(super) fn forward(&self, device: &Device, weights: &ExactWeights, pass: Pass) -> Result<(), CudaError> {
        if pass.m == 0 {
            return Ok(());
        }
        debug_assert!(pass.m <= self.tokens);
        let dims = &weights.dims;
        let embed = Embed {
            tokens: device.address(&self.token),
            code: device.address(&weights.embedding.code),
            rows: device.address(&weights.embedding.w),
            tables: device.address(&weights.tables),
            residual: device.address(&self.residual),
            d_model: dims.d_model as u32,
            stride: weights.embedding.columns as u32,
            shift: weights.embedding_shift.into(),
            pad: 0,
        };
        let tokens = Launch::new((pass.m as u32, 1, 1), THREADS);
        // SAFETY: a block per token; the buffers hold `self.tokens >= m` tokens, the embedding a row per byte value.
        unsafe { weights.kernels.embed.launch(device.stream(), tokens, &embed, &pass) }?;
        for (index, layer) in weights.layers.iter().enumerate() {
            self.layer(device, weights, pass, index, layer)?;
        }
        Ok(())
    }

    /// Address of layer `index` in a buffer that may be kept for every layer.
    fn kept(&self, device: &Device, buffer: &CudaSlice<i16>, width: usize, index: usize) -> u64 {
        let layer = if self.layers > 1 { index } else { 0 };
        device.address(buffer) + 2 * (layer * self.tokens * width) as u64
    }

    fn layer(
        &self,
        device: &Device,
        weights: &ExactWeights,
        pass: Pass,
        index: usize,
        layer: &Layer,
    ) -> Result<(), CudaError> {
        let (dims, p, stream) = (&weights.dims, &layer.params, device.stream());
        let widths = Widths::new(dims);
        let xz = self.kept(device, &self.xz, widths.xz, index);
        let x = self.kept(device, &self.x, widths.x, index);
        let bc = self.kept(device, &self.bc, widths.bc, index);
        let log_delta = self.kept(device, &self.log_delta, widths.log_delta, index);
        let tables = device.address(&weights.tables);
        let state = pass.state + 2 * (index * dims.layer_state_len()) as u64;
        let bias = layer.norm_bias.as_ref();
        self.norm(device, weights, pass, (&layer.norm_weight, bias, p.norm_shift), false)?;
        let (u, dt, g16) = (device.address(&self.u), device.address(&self.dt), device.address(&self.g16));
        let x_stride = padded(dims.d_inner);
        let project = Project {
            w: 0,
            code: 0,
            x: 0,
            y: 0,
            bc,
            bias: device.address(&layer.dt_bias),
            down: device.address(&self.down),
            tables,
            m: pass.m as u32,
            rows: 0,
            columns: 0,
            x_stride: 0,
            y_stride: 0,
            shift: 0,
            mode: 0,
            dt_rank: dims.dt_rank as u32,
            d_state: dims.d_state as u32,
            c_limit: dims.c_limit() as u32,
        };
        let run = |matrix: &Matrix, mode: Mode, shift: u8, x: u64, y: u64, y_stride: usize| {
            self.project(device, weights, project, matrix, (mode, shift), x, (y, y_stride), &pass)
        };
        run(&layer.in_proj, Mode::Activation, p.in_proj_shift, u, xz, 2 * dims.d_inner)?;
        let conv = Conv {
            xz,
            history: state,
            row_of: device.address(&self.row_of),
            starts: device.address(&self.starts),
            w: device.address(&layer.conv),
            code: device.address(&layer.conv_code),
            bias: device.address(&layer.conv_bias),
            tables,
            x,
            state_stride: dims.state_len() as u64,
            d_inner: dims.d_inner as u32,
            d_conv: dims.d_conv as u32,
            x_stride: x_stride as u32,
            shift: p.conv_shift.into(),
            frac: p.x_frac.into(),
            pad: 0,
        };
        let grid = (pass.m as u32, (dims.d_inner as u32).div_ceil(THREADS), 1);
        // SAFETY: a thread per token and channel; `row_of` is below the number of rows, of which the state has as many.
        unsafe { weights.kernels.conv.launch(stream, Launch::new(grid, THREADS), &conv, &pass) }?;
        run(&layer.x_proj, Mode::XProj, p.x_proj_shift, x, dt, padded(dims.dt_rank))?;
        run(&layer.dt_proj, Mode::LogDelta, p.dt_proj_shift, dt, log_delta, dims.d_inner)?;
        let (scan, launch, lanes) = weights.kernels.scan(dims, pass.rows, 1);
        let parameters = Scan {
            xz,
            x,
            log_delta,
            bc,
            a_log: device.address(&layer.a_log),
            state_code: device.address(&layer.state_code),
            d_skip: device.address(&layer.d_skip),
            state,
            state_out: if pass.commit { state } else { 0 },
            g: device.address(&self.g),
            a_base: p.a_base.into(),
            dx_base: p.dx_base,
            y_shift: p.y_shift.into(),
            d_shift: p.d_shift.into(),
            gate_shift: p.gate_shift.into(),
            z_frac: p.z_frac.into(),
            ..self.scan(device, weights, lanes)
        };
        // SAFETY: blocks cover rows and channels, lanes all states; `starts` bounds the tokens.
        unsafe { scan.launch(stream, launch, &parameters, &pass) }?;
        let narrow = Narrow {
            g: parameters.g,
            g16,
            down: device.address(&self.down),
            d_inner: dims.d_inner as u32,
            stride: x_stride as u32,
        };
        // SAFETY: a block per token.
        unsafe { weights.kernels.narrow.launch(stream, Launch::new((pass.m as u32, 1, 1), THREADS), &narrow, &pass) }?;
        run(&layer.out_proj, Mode::Residual, p.out_proj_shift, g16, device.address(&self.residual), dims.d_model)
    }

    /// The parameters of a scan that do not depend on the layer.
    fn scan(&self, device: &Device, weights: &ExactWeights, lanes: u32) -> Scan {
        let dims = &weights.dims;
        Scan {
            xz: 0,
            x: 0,
            log_delta: 0,
            bc: 0,
            starts: device.address(&self.starts),
            a_log: 0,
            state_code: 0,
            d_skip: 0,
            tables: device.address(&weights.tables),
            state: 0,
            state_out: 0,
            g: 0,
            counts: 0,
            state_stride: dims.state_len() as u64,
            layer_state: 0,
            layer_xz: 0,
            layer_x: 0,
            layer_log_delta: 0,
            layer_bc: 0,
            layers: 0,
            a_base: 0,
            dx_base: 0,
            d_inner: dims.d_inner as u32,
            d_conv: dims.d_conv as u32,
            d_state: dims.d_state as u32,
            x_stride: padded(dims.d_inner) as u32,
            tied: dims.tied_decays.into(),
            lanes,
            y_shift: 1,
            d_shift: 1,
            gate_shift: 1,
            z_frac: 4,
        }
    }

    /// Moves the states of all layers by the first `counts[row]` tokens of the last pass, from its kept inputs.
    pub(super) fn replay(
        &self,
        device: &Device,
        weights: &ExactWeights,
        pass: Pass,
        counts: &CudaSlice<i32>,
    ) -> Result<(), CudaError> {
        let dims = &weights.dims;
        let widths = Widths::new(dims);
        let (scan, launch, lanes) = weights.kernels.scan(dims, pass.rows, dims.n_layer);
        let stride = |width: usize| (self.tokens * width) as u64;
        let parameters = Scan {
            xz: device.address(&self.xz),
            x: device.address(&self.x),
            log_delta: device.address(&self.log_delta),
            bc: device.address(&self.bc),
            state: pass.state,
            state_out: pass.state,
            counts: device.address(counts),
            layer_state: dims.layer_state_len() as u64,
            layer_xz: stride(widths.xz),
            layer_x: stride(widths.x),
            layer_log_delta: stride(widths.log_delta),
            layer_bc: stride(widths.bc),
            layers: device.address(&weights.scan_layers),
            ..self.scan(device, weights, lanes)
        };
        // SAFETY: as in `layer`, for all layers: this workspace keeps the inputs of each, `counts` are at most as many
        // tokens as the row had.
        unsafe { scan.launch(device.stream(), launch, &parameters, &pass) }
    }

    /// A norm of the residual stream, with `picked` of the tokens in `pick` only.
    fn norm(
        &self,
        device: &Device,
        weights: &ExactWeights,
        pass: Pass,
        (weight, bias, shift): (&CudaSlice<i16>, Option<&CudaSlice<i16>>, u8),
        picked: bool,
    ) -> Result<(), CudaError> {
        let norm = Norm {
            residual: device.address(&self.residual),
            weight: device.address(weight),
            bias: bias.map_or(0, |bias| device.address(bias)),
            tables: device.address(&weights.tables),
            pick: if picked { device.address(&self.pick) } else { 0 },
            u: device.address(&self.u),
            eps: weights.norm_eps,
            d_model: weights.dims.d_model as u32,
            stride: padded(weights.dims.d_model) as u32,
            shift: shift.into(),
            pad: 0,
        };
        // SAFETY: a block per token; picked ones are tokens of the pass.
        unsafe {
            weights.kernels.norm.launch(device.stream(), Launch::new((pass.m as u32, 1, 1), THREADS), &norm, &pass)
        }
    }

    #[allow(clippy::too_many_arguments, reason = "the operands of one product")]
    fn project(
        &self,
        device: &Device,
        weights: &ExactWeights,
        common: Project,
        matrix: &Matrix,
        (mode, shift): (Mode, u8),
        x: u64,
        (y, y_stride): (u64, usize),
        pass: &Pass,
    ) -> Result<(), CudaError> {
        let (kernel, launch) = weights.kernels.project(pass.m, matrix.rows);
        let parameters = Project {
            w: device.address(&matrix.w),
            code: device.address(&matrix.code),
            x,
            y,
            rows: matrix.rows as u32,
            columns: matrix.columns as u32,
            x_stride: matrix.columns as u32,
            y_stride: y_stride as u32,
            shift: shift.into(),
            mode: mode as u32,
            ..common
        };
        // SAFETY: the matrix is padded to whole tiles, `x` and `y` hold `m` tokens of these strides; results outside
        // of rows and tokens are not written.
        unsafe { kernel.launch(device.stream(), launch, &parameters, &format_args!("{pass}, {mode:?}")) }
    }

    /// The last norm and the head, of all `m` tokens or of the `m` tokens in `pick`: the first `m` rows of `logits`.
    pub(super) fn head(
        &self,
        device: &Device,
        weights: &ExactWeights,
        pass: Pass,
        picked: bool,
    ) -> Result<(), CudaError> {
        if pass.m == 0 {
            return Ok(());
        }
        let bias = weights.norm_f_bias.as_ref();
        self.norm(device, weights, pass, (&weights.norm_f, bias, weights.norm_f_shift), picked)?;
        let common = Project {
            w: 0,
            code: 0,
            x: 0,
            y: 0,
            bc: 0,
            bias: 0,
            down: 0,
            tables: device.address(&weights.tables),
            m: pass.m as u32,
            rows: 0,
            columns: 0,
            x_stride: 0,
            y_stride: 0,
            shift: 0,
            mode: 0,
            dt_rank: 0,
            d_state: 0,
            c_limit: 0,
        };
        let head = weights.head.as_ref().unwrap_or(&weights.embedding);
        let (u, logits) = (device.address(&self.u), device.address(&self.logits));
        let what = (Mode::Logits, weights.head_shift);
        self.project(device, weights, common, head, what, u, (logits, VOCAB), &pass)
    }

    /// What the bytes `next` cost after each of the pass's tokens, whose logits have been made.
    pub(super) fn surprise(
        &mut self,
        device: &Device,
        weights: &ExactWeights,
        pass: Pass,
        next: &[u8],
    ) -> Result<Vec<u32>, CudaError> {
        device.stream().memcpy_htod(next, &mut self.next)?;
        let parameters = Surprise {
            logits: device.address(&self.logits),
            next: device.address(&self.next),
            tables: device.address(&weights.tables),
            bits: device.address(&self.bits),
        };
        let launch = Launch::new((pass.m as u32, 1, 1), THREADS);
        // SAFETY: a block per token.
        unsafe { weights.kernels.surprise.launch(device.stream(), launch, &parameters, &pass) }?;
        let bits = device.stream().clone_dtoh(&self.bits.slice(..pass.m))?;
        device.synchronize()?;
        Ok(bits)
    }

    /// The first `m` rows of the logits.
    pub(super) fn read_logits(&self, device: &Device, m: usize) -> Result<Vec<mambabyte_core::Logits>, CudaError> {
        if m == 0 {
            return Ok(Vec::new());
        }
        let flat = device.stream().clone_dtoh(&self.logits.slice(..m * VOCAB))?;
        device.synchronize()?;
        Ok(flat.as_chunks::<VOCAB>().0.to_vec())
    }
}
