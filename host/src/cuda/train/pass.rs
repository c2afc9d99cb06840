//! One pass over a batch: forward, and back to the gradient of every parameter.
//!
//! What is launched, a layer at a time: norm, in_proj, convolution with SiLU, x_proj, dt_proj, scan with gate, out_proj; and
//! back in reverse, where norm's output is computed again. Products over rows of a batch are divided into parts whose
//! results are then added in order.

use std::fmt::Display;

use cudarc::driver::DeviceRepr;

use super::args::{
    CrossEntropyArgs, DecaysArgs, EmbedBackArgs, SumPlanesArgs, SumRowsArgs, TrainConvArgs, TrainNormArgs,
    TrainScanArgs,
};
use super::kernels::Kernels;
use super::memory::{CONV_STEPS, GROUP, HEAD_ROWS, Kept, Memory, NORM_BLOCKS, SUMS, embed_segment, parts};
use super::params::Params;
use super::scan::Scan;
use super::timeline::Timeline;
use crate::cuda::device::Device;
use crate::cuda::error::CudaError;
use crate::cuda::float::buffer::Element;
use crate::cuda::float::gemm::{Blas, Form, Many, Product};
use crate::cuda::float::small::{EmbedArgs, NormArgs, norm_launch};
use crate::cuda::kernels::{Kernel, Launch};

/// Parameters to compute with: addresses of the array in f32 and in the products' type, and of the scans' decays.
#[derive(Clone, Copy)]
pub(super) struct Weights {
    pub(super) f32: u64,
    pub(super) typed: u64,
    pub(super) a: u64,
}

/// A batch's shape, and what computes it.
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

    /// The scans' decays of the weights.
    pub(super) fn decays(&self) -> Result<(), CudaError> {
        let place = self.params.place("a_log");
        let n = place.size * place.layers;
        let args = DecaysArgs { a_log: self.float(place.at), a: self.weights.a, n: n as i64 };
        // SAFETY: both arrays have n elements.
        unsafe { self.launch(&self.kernels.decays, Launch::new((n.div_ceil(256) as u32, 1, 1), 256), &args) }
    }

    /// Norm of rows `rows` of `res`, with weight and bias at `weight` and `bias`, to `memory.normed` from its start.
    fn norm(&self, res: u64, rows: usize, tensors: [&'static str; 2], layer: usize) -> Result<(), CudaError> {
        let d = self.params.dims.d_model;
        let [weight, bias] = tensors.map(|tensor| self.params.place(tensor));
        let args = NormArgs {
            x: res,
            weight: self.float(weight.of(layer)),
            bias: if self.centred { self.float(bias.of(layer)) } else { 0 },
            out: self.memory.normed.address(self.device),
            len: 0,
            eps: self.eps,
            rows: rows as i32,
            ld: d as i32,
            d_model: d as i32,
            seq_len: 0,
        };
        // SAFETY: `res` has `rows` rows, `normed` as many.
        unsafe { self.launch(&self.kernels.norm, norm_launch(rows, d).0, &args) }
    }

    /// The residual stream after the last layer; `memory.after` is the state then.
    pub(super) fn forward(&self) -> Result<(), CudaError> {
        let (dims, memory, device) = (&self.params.dims, self.memory, self.device);
        let (rows, d, di, width, rank) =
            (self.rows(), dims.d_model, dims.d_inner, self.params.x_proj_rows(), self.params.rank());
        self.decays()?;
        let first = memory.kept.first().map_or(&memory.res, |kept| &kept.res);
        let args = EmbedArgs {
            bytes: device.address(&memory.bytes),
            embedding: self.float(self.params.place("embedding").at),
            residual: device.address(first),
            rows: rows as i32,
            ld: d as i32,
        };
        // SAFETY: bytes are below 256; the stream has `rows` rows.
        unsafe {
            self.launch(&self.kernels.embed, Launch::new(((rows * d / 4).div_ceil(256) as u32, 1, 1), 256), &args)?
        };
        for (layer, kept) in memory.kept.iter().enumerate() {
            let res = device.address(&kept.res);
            let after = device.address(memory.kept.get(layer + 1).map_or(&memory.res, |next| &next.res));
            let [xz, u, dtbc, delta, out] =
                [&kept.xz, &kept.u, &kept.dtbc, &kept.delta, &kept.out].map(|buffer| buffer.address(device));
            let weight = |tensor| self.typed(self.params.place(tensor).of(layer));
            let e = self.element;
            self.norm(res, rows, ["norm", "norm_bias"], layer)?;
            let normed = (memory.normed.address(device), d);
            self.product(Form::Nt, [rows, 2 * di, d], [normed, (weight("in_proj"), d), (xz, 2 * di)], e, false)?;
            self.conv_forward(layer, kept)?;
            self.product(Form::Nt, [rows, width, di], [(u, di), (weight("x_proj"), di), (dtbc, width)], e, false)?;
            self.product(
                Form::Nt,
                [rows, di, rank],
                [(dtbc, width), (weight("dt_proj"), rank), (delta, di)],
                e,
                false,
            )?;
            let (kernel, launch) = self.scan.forward();
            // SAFETY: the arrays have the shapes that the scan was made with.
            unsafe { self.launch(kernel, launch, &self.scan_args(layer, kept))? };
            let product = Product {
                m: rows,
                n: d,
                k: di,
                ld_x: di,
                ld_w: di,
                ld_y: d,
                input: e,
                output: Element::F32,
                add: false,
                form: Form::Nt,
                many: Many::ONE,
            };
            // SAFETY: as in `product`; the stream is read before the layer and written after it.
            unsafe { self.blas.run_scaled(device, product, [1.0, 1.0], [weight("out_proj"), out, res, after])? };
            self.mark("products forward")?;
        }
        Ok(())
    }

    fn conv_args(&self, layer: usize, kept: &Kept) -> TrainConvArgs {
        let (dims, memory, device) = (&self.params.dims, self.memory, self.device);
        let di = dims.d_inner as i32;
        let state = (layer * dims.layer_state_len() * 4) as u64;
        TrainConvArgs {
            x: kept.xz.address(device),
            out: kept.u.address(device),
            dout: memory.du.address(device),
            dx: memory.dxz.address(device),
            w: self.float(self.params.place("conv1d").of(layer)),
            bias: self.float(self.params.place("conv_bias").of(layer)),
            history: device.address(&memory.before) + state,
            history_after: device.address(&memory.after) + state,
            age: device.address(&memory.age),
            partial: device.address(&memory.partial),
            ld_x: 2 * di,
            ld_out: di,
            ld_dout: di,
            ld_dx: 2 * di,
            d_inner: di,
            seq_len: self.seq_len as i32,
            batch: self.batch as i32,
            history_stride: dims.state_len() as i32,
        }
    }

    /// Segments of the convolution, and its grid.
    const fn conv_launch(&self) -> (usize, Launch) {
        let segments = self.batch * self.seq_len.div_ceil(CONV_STEPS);
        let threads = segments * self.params.dims.d_inner / 4;
        (segments, Launch::new((threads.div_ceil(128) as u32, 1, 1), 128))
    }

    fn conv_forward(&self, layer: usize, kept: &Kept) -> Result<(), CudaError> {
        let (dims, args) = (&self.params.dims, self.conv_args(layer, kept));
        let samples = self.batch * dims.conv_state_len();
        let history = Launch::new((samples.div_ceil(128) as u32, 1, 1), 128);
        // SAFETY: the arrays have the batch's shape; states have a history for each layer.
        unsafe {
            self.launch(&self.kernels.conv, self.conv_launch().1, &args)?;
            self.launch(&self.kernels.conv_history, history, &args)
        }
    }

    fn scan_args(&self, layer: usize, kept: &Kept) -> TrainScanArgs {
        let (dims, memory, device, bytes) = (&self.params.dims, self.memory, self.device, self.element.bytes());
        let di = dims.d_inner;
        let state = ((layer * dims.layer_state_len() + dims.conv_state_len()) * 4) as u64;
        let z = (di * bytes) as u64;
        TrainScanArgs {
            u: kept.u.address(device),
            delta_raw: kept.delta.address(device),
            z: kept.xz.address(device) + z,
            bc: kept.dtbc.address(device) + (self.params.rank() * bytes) as u64,
            y: kept.y.address(device),
            out: kept.out.address(device),
            dout: memory.dout.address(device),
            du: memory.du.address(device),
            ddelta: memory.ddelta.address(device),
            dz: memory.dxz.address(device) + z,
            a: self.weights.a + 4 * (layer * self.params.place("a_log").size) as u64,
            delta_bias: self.float(self.params.place("dt_bias").of(layer)),
            d_skip: self.float(self.params.place("d_skip").of(layer)),
            h_before: device.address(&memory.before) + state,
            h_after: device.address(&memory.after) + state,
            checkpoints: device.address(&kept.checkpoints),
            age: device.address(&memory.age),
            dbc: device.address(&memory.dbc),
            da_log: device.address(&memory.da_log),
            dd_skip: device.address(&memory.dd_skip),
            ddelta_bias: device.address(&memory.ddelta_bias),
            ld_u: di as i32,
            ld_delta: di as i32,
            ld_z: 2 * di as i32,
            ld_bc: self.params.x_proj_rows() as i32,
            ld_out: di as i32,
            d_inner: di as i32,
            n_state: dims.d_state as i32,
            n_pad: self.params.states() as i32,
            seq_len: self.seq_len as i32,
            h_stride: dims.state_len() as i32,
        }
    }

    /// The loss of every position, to `memory.nats`; with `grad`, the address of an array of gradients, also those of the
    /// head, and `memory.dres`.
    pub(super) fn head(&self, grad: Option<u64>) -> Result<(), CudaError> {
        let (memory, device, d) = (self.memory, self.device, self.params.dims.d_model);
        let head = self.params.head();
        let [logits, nats, res, dres, next] = [
            device.address(&memory.logits),
            device.address(&memory.nats),
            device.address(&memory.res),
            device.address(&memory.dres),
            device.address(&memory.next),
        ];
        let [normed, dnormed, dlogits, rounded] =
            [&memory.normed, &memory.dnormed, &memory.dlogits, &memory.dres_rounded]
                .map(|buffer| buffer.address(device));
        for from in (0..self.rows()).step_by(HEAD_ROWS) {
            let rows = HEAD_ROWS.min(self.rows() - from);
            let res = res + 4 * (from * d) as u64;
            self.norm(res, rows, ["norm_f", "norm_f_bias"], 0)?;
            let weight = (self.typed(head.at), d);
            self.product(Form::Nt, [rows, 256, d], [(normed, d), weight, (logits, 256)], Element::F32, false)?;
            let args = CrossEntropyArgs {
                logits,
                next: next + from as u64,
                dlogits,
                nats: nats + 4 * from as u64,
                rows: rows as i32,
            };
            let launch = Launch::new((rows.div_ceil(8) as u32, 1, 1), 256);
            // SAFETY: logits has HEAD_ROWS rows, the others one entry for each position.
            unsafe { self.launch(&self.kernels.cross_entropy, launch, &args)? };
            let Some(grad) = grad else { continue };
            self.product(Form::Nn, [rows, d, 256], [(dlogits, 256), weight, (dnormed, d)], self.element, false)?;
            let to = grad + 4 * head.at as u64;
            self.weight_gradient([256, d], [(dlogits, 256), (normed, d)], rows, to, from > 0)?;
            let at = [dres + 4 * (from * d) as u64, rounded + (from * d * self.element.bytes()) as u64];
            self.norm_back(res, rows, at, ["norm_f", "norm_f_bias"], 0, grad, from > 0)?;
        }
        Ok(())
    }

    /// Adds to the gradient of the residual stream what comes through a norm from `memory.dnormed`, and rounds it; the
    /// gradients of weight and bias.
    #[allow(clippy::too_many_arguments, reason = "a norm of the head and of a layer, of all rows and of some")]
    fn norm_back(
        &self,
        res: u64,
        rows: usize,
        [dres, rounded]: [u64; 2],
        tensors: [&'static str; 2],
        layer: usize,
        grad: u64,
        add: bool,
    ) -> Result<(), CudaError> {
        let d = self.params.dims.d_model;
        let [weight, bias] = tensors.map(|tensor| self.params.place(tensor).of(layer));
        let partial = self.device.address(&self.memory.partial);
        let per_block = if d > 1024 { 1 } else { 4 };
        let blocks = rows.div_ceil(per_block).min(NORM_BLOCKS);
        let args = TrainNormArgs {
            x: res,
            weight: self.float(weight),
            dout: self.memory.dnormed.address(self.device),
            dres,
            rounded,
            partial,
            eps: self.eps,
            rows: rows as i32,
            d_model: d as i32,
            centred: i32::from(self.centred),
        };
        // SAFETY: the arrays have `rows` rows; `partial` has room for the blocks' sums.
        unsafe { self.launch(&self.kernels.norm_back, Launch::new((blocks as u32, 1, 1), 128), &args)? };
        self.sum_rows((partial, 2 * d), (blocks, d), grad + 4 * weight as u64, add)?;
        if self.centred {
            self.sum_rows((partial + 4 * d as u64, 2 * d), (blocks, d), grad + 4 * bias as u64, add)?;
        }
        Ok(())
    }

    /// From `memory.dres` after the last layer to the gradient of every parameter, in the array at `grad`; that of the head
    /// is there already.
    pub(super) fn back(&self, grad: u64) -> Result<(), CudaError> {
        let (memory, device, d) = (self.memory, self.device, self.params.dims.d_model);
        for (layer, kept) in memory.kept.iter().enumerate().rev() {
            self.layer_back(layer, kept, grad)?;
        }
        let rows = self.rows();
        let (embedding, segment) = (self.params.place("embedding"), embed_segment(rows, d));
        let partial = device.address(&memory.partial);
        let args = EmbedBackArgs {
            bytes: device.address(&memory.bytes),
            dres: device.address(&memory.dres),
            partial,
            rows: rows as i32,
            d_model: d as i32,
            segment: segment as i32,
        };
        let segments = rows.div_ceil(segment);
        let grid = (segments as u32, d.div_ceil(64) as u32, 1);
        let launch = Launch { shared: EMBED_SHARED as u32, ..Launch::new(grid, 64) };
        // SAFETY: `partial` has room for the segments' sums.
        unsafe { self.launch(&self.kernels.embed_back, launch, &args)? };
        let tied = self.params.head() == embedding;
        self.sum_rows((partial, 256 * d), (segments, 256 * d), grad + 4 * embedding.at as u64, tied)
    }

    fn layer_back(&self, layer: usize, kept: &Kept, grad: u64) -> Result<(), CudaError> {
        let (dims, memory, device, e) = (&self.params.dims, self.memory, self.device, self.element);
        let (rows, d, di, width, rank) =
            (self.rows(), dims.d_model, dims.d_inner, self.params.x_proj_rows(), self.params.rank());
        let place = |tensor| self.params.place(tensor).of(layer);
        let weight = |tensor| self.typed(place(tensor));
        let to = |tensor| grad + 4 * place(tensor) as u64;
        let [u, dtbc, out] = [&kept.u, &kept.dtbc, &kept.out].map(|buffer| buffer.address(device));
        let [normed, dnormed, rounded, dout, dxz, du, ddelta, ddtbc] = [
            &memory.normed,
            &memory.dnormed,
            &memory.dres_rounded,
            &memory.dout,
            &memory.dxz,
            &memory.du,
            &memory.ddelta,
            &memory.ddtbc,
        ]
        .map(|buffer| buffer.address(device));

        self.product(Form::Nn, [rows, di, d], [(rounded, d), (weight("out_proj"), di), (dout, di)], e, false)?;
        self.weight_gradient([d, di], [(rounded, d), (out, di)], rows, to("out_proj"), false)?;

        let (kernel, launch) = self.scan.back();
        // SAFETY: the arrays have the shapes that the scan was made with.
        unsafe { self.launch(kernel, launch, &self.scan_args(layer, kept))? };
        let sizes = self.scan.sizes(self.seq_len);
        let states = self.params.states();
        let planes = SumPlanesArgs {
            dbc: device.address(&memory.dbc),
            out: ddtbc + (rank * e.bytes()) as u64,
            planes: sizes.planes as i32,
            rows: rows as i32,
            np: sizes.padded as i32,
            n_pad: states as i32,
            ld: width as i32,
        };
        let launch = Launch::new(((rows * 2 * states).div_ceil(256) as u32, 1, 1), 256);
        // SAFETY: dbc has the planes, ddtbc a row for each position.
        unsafe { self.launch(&self.kernels.sum_planes, launch, &planes)? };
        let a_log = self.params.place("a_log").size;
        let rows_of = |buffer| device.address(buffer);
        self.sum_rows((rows_of(&memory.da_log), a_log), (self.batch, a_log), to("a_log"), false)?;
        self.sum_rows((rows_of(&memory.dd_skip), di), (self.batch, di), to("d_skip"), false)?;
        self.sum_rows((rows_of(&memory.ddelta_bias), di), (self.batch, di), to("dt_bias"), false)?;

        self.product(Form::Nn, [rows, rank, di], [(ddelta, di), (weight("dt_proj"), rank), (ddtbc, width)], e, false)?;
        self.weight_gradient([di, rank], [(ddelta, di), (dtbc, width)], rows, to("dt_proj"), false)?;
        self.product(Form::Nn, [rows, di, width], [(ddtbc, width), (weight("x_proj"), di), (du, di)], e, true)?;
        self.weight_gradient([width, di], [(ddtbc, width), (u, di)], rows, to("x_proj"), false)?;

        let (segments, launch) = self.conv_launch();
        // SAFETY: `partial` has room for the segments' sums.
        unsafe { self.launch(&self.kernels.conv_back, launch, &self.conv_args(layer, kept))? };
        let (partial, taps) = (device.address(&memory.partial), dims.d_conv * di);
        self.sum_rows((partial, taps + di), (segments, taps), to("conv1d"), false)?;
        self.sum_rows((partial + 4 * taps as u64, taps + di), (segments, di), to("conv_bias"), false)?;

        let res = device.address(&kept.res);
        self.norm(res, rows, ["norm", "norm_bias"], layer)?;
        self.product(Form::Nn, [rows, d, 2 * di], [(dxz, 2 * di), (weight("in_proj"), d), (dnormed, d)], e, false)?;
        self.weight_gradient([2 * di, d], [(dxz, 2 * di), (normed, d)], rows, to("in_proj"), false)?;
        let at = [device.address(&memory.dres), rounded];
        self.norm_back(res, rows, at, ["norm", "norm_bias"], layer, grad, false)
    }
}

/// Bytes of shared memory of `embed_back`: 256 rows of 64 columns.
pub(super) const EMBED_SHARED: usize = 256 * 64 * 4;
