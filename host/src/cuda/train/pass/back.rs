//! The head with its loss, and back to the gradient of every parameter.

use super::Pass;
use crate::cuda::error::CudaError;
use crate::cuda::float::buffer::Element;
use crate::cuda::float::gemm::Form;
use crate::cuda::kernels::Launch;
use crate::cuda::train::args::{
    CrossEntropyArgs, EmbedBackArgs, EmbedBackWideArgs, SoftenArgs, SumPlanesArgs, TrainNormArgs,
};
use crate::cuda::train::memory::{EMBED_SHARED, Kept, NORM_BLOCKS, embed_segment};
use crate::cuda::train::teachers::Aim;

impl Pass<'_> {
    /// Natural logits of rows `from .. from + rows` to `memory.logits`, after [`Pass::forward`].
    fn logits(&self, from: usize, rows: usize) -> Result<(), CudaError> {
        let (memory, device, d) = (self.memory, self.device, self.params.dims.d_model);
        let (normed, logits) = (memory.normed.address(device), device.address(&memory.logits));
        self.norm(device.address(&memory.res) + 4 * (from * d) as u64, rows, ["norm_f", "norm_f_bias"], 0, normed)?;
        let weight = (self.typed(self.params.head().at), d);
        let (symbols, columns) = (self.params.vocabulary, self.params.columns());
        self.product(Form::Nt, [rows, symbols, d], [(normed, d), weight, (logits, columns)], Element::F32, false)
    }

    /// What teachers expect after rows `from .. from + rows`: the address of `[rows, 256]`.
    fn targets(&self, aim: &Aim<'_>, from: usize, rows: usize) -> Result<u64, CudaError> {
        for (index, teacher) in aim.passes.iter().enumerate() {
            teacher.logits(from, rows)?;
            let args = SoftenArgs {
                logits: self.device.address(&teacher.memory.logits),
                targets: aim.targets,
                rows: rows as i32,
                add: i32::from(index > 0),
                weight: 1.0 / aim.passes.len() as f32,
            };
            let launch = Launch::new((rows.div_ceil(8) as u32, 1, 1), 256);
            // SAFETY: both have HEAD_ROWS rows.
            unsafe { self.launch(&self.kernels.soften, launch, &args)? };
        }
        Ok(aim.targets)
    }

    /// The loss of every position, to `memory.nats`; with `grad`, the address of an array of gradients, also those of the
    /// head, and `memory.dres`, of a loss that is part `aim`'s.
    pub(in super::super) fn head(&self, grad: Option<u64>, aim: Option<&Aim<'_>>) -> Result<(), CudaError> {
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
        let (symbols, columns, most) = (self.params.vocabulary, self.params.columns(), self.params.head_rows());
        let cross_entropy =
            if self.params.of_bytes() { &self.kernels.cross_entropy } else { &self.kernels.cross_entropy_wide };
        for from in (0..self.rows()).step_by(most) {
            let rows = most.min(self.rows() - from);
            self.logits(from, rows)?;
            let args = CrossEntropyArgs {
                logits,
                next: next + 2 * from as u64,
                dlogits,
                nats: nats + 4 * from as u64,
                targets: aim.map_or(Ok(0), |aim| self.targets(aim, from, rows))?,
                rows: rows as i32,
                share: aim.map_or(0.0, |aim| aim.share),
                columns: symbols as i32,
                ld: columns as i32,
            };
            let launch = Launch::new((rows.div_ceil(8) as u32, 1, 1), 256);
            // SAFETY: logits has as many rows, the others one entry for each position; symbols are below the vocabulary.
            unsafe { self.launch(cross_entropy, launch, &args)? };
            let Some(grad) = grad else { continue };
            let weight = (self.typed(head.at), d);
            let back = [(dlogits, columns), weight, (dnormed, d)];
            self.product(Form::Nn, [rows, d, symbols], back, self.element, false)?;
            let to = grad + 4 * head.at as u64;
            self.weight_gradient([symbols, d], [(dlogits, columns), (normed, d)], rows, to, from > 0)?;
            let at = [dres + 4 * (from * d) as u64, rounded + (from * d * self.element.bytes()) as u64];
            let res = res + 4 * (from * d) as u64;
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
    pub(in super::super) fn back(&self, grad: u64) -> Result<(), CudaError> {
        let (memory, device, d) = (self.memory, self.device, self.params.dims.d_model);
        for layer in (0..self.params.dims.n_layer).rev() {
            self.layer_back(layer, memory.layer(layer), grad)?;
        }
        let tied = self.params.head() == self.params.place("embedding");
        if !self.params.of_bytes() {
            return self.embedding_back(grad, tied);
        }
        let rows = self.rows();
        let (embedding, segment) = (self.params.place("embedding"), embed_segment(rows, d));
        let partial = device.address(&memory.partial);
        let args = EmbedBackArgs {
            symbols: device.address(&memory.symbols),
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
        self.sum_rows((partial, 256 * d), (segments, 256 * d), grad + 4 * embedding.at as u64, tied)
    }

    /// The gradient of the embedding of any vocabulary.
    fn embedding_back(&self, grad: u64, tied: bool) -> Result<(), CudaError> {
        let (memory, device, d) = (self.memory, self.device, self.params.dims.d_model);
        let args = EmbedBackWideArgs {
            order: device.address(&memory.order),
            start: device.address(&memory.start),
            dres: device.address(&memory.dres),
            grad: grad + 4 * self.params.place("embedding").at as u64,
            d_model: d as i32,
            add: i32::from(tied),
        };
        let launch = Launch::new((self.params.vocabulary as u32, d.div_ceil(64) as u32, 1), 64);
        // SAFETY: the order has every position once, below the rows of `dres`; the gradient has a row for each symbol.
        unsafe { self.launch(&self.kernels.embed_back_wide, launch, &args) }
    }

    fn layer_back(&self, layer: usize, kept: &Kept, grad: u64) -> Result<(), CudaError> {
        let (dims, memory, device, e) = (&self.params.dims, self.memory, self.device, self.element);
        let (rows, d, di, width, rank) =
            (self.rows(), dims.d_model, dims.d_inner, self.params.x_proj_rows(), self.params.rank());
        let place = |tensor| self.params.place(tensor).of(layer);
        let weight = |tensor| self.typed(place(tensor));
        let to = |tensor| grad + 4 * place(tensor) as u64;
        let [normed, u, dtbc, out] =
            [&kept.normed, &kept.u, &kept.dtbc, &kept.out].map(|buffer| buffer.address(device));
        let [dnormed, rounded, dout, dxz, du, ddelta, ddtbc] = [
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
        self.product(Form::Nn, [rows, d, 2 * di], [(dxz, 2 * di), (weight("in_proj"), d), (dnormed, d)], e, false)?;
        self.weight_gradient([2 * di, d], [(dxz, 2 * di), (normed, d)], rows, to("in_proj"), false)?;
        let at = [device.address(&memory.dres), rounded];
        self.norm_back(res, rows, at, ["norm", "norm_bias"], layer, grad, false)
    }
}
