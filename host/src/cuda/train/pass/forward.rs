//! Forward: the residual stream after the last layer, and what the way back needs.

use super::Pass;
use crate::cuda::error::CudaError;
use crate::cuda::float::buffer::Element;
use crate::cuda::float::gemm::{Form, Many, Product};
use crate::cuda::float::small::{NormArgs, norm_launch};
use crate::cuda::kernels::Launch;
use crate::cuda::train::args::{DecaysArgs, EmbedSymbolsArgs, TrainConvArgs, TrainScanArgs};
use crate::cuda::train::memory::{CONV_STEPS, Kept};

impl Pass<'_> {
    /// The scans' decays of the weights.
    fn decays(&self) -> Result<(), CudaError> {
        let place = self.params.place("a_log");
        let n = place.size * place.layers;
        let args = DecaysArgs { a_log: self.float(place.at), a: self.weights.a, n: n as i64 };
        // SAFETY: both arrays have n elements.
        unsafe { self.launch(&self.kernels.decays, Launch::new((n.div_ceil(256) as u32, 1, 1), 256), &args) }
    }

    /// Norm of rows `rows` of `res`, with weight and bias at `weight` and `bias`, to `out`.
    pub(super) fn norm(
        &self,
        res: u64,
        rows: usize,
        tensors: [&'static str; 2],
        layer: usize,
        out: u64,
    ) -> Result<(), CudaError> {
        let d = self.params.dims.d_model;
        let [weight, bias] = tensors.map(|tensor| self.params.place(tensor));
        let args = NormArgs {
            x: res,
            weight: self.float(weight.of(layer)),
            bias: if self.centred { self.float(bias.of(layer)) } else { 0 },
            out,
            len: 0,
            eps: self.eps,
            rows: rows as i32,
            ld: d as i32,
            d_model: d as i32,
            seq_len: 0,
        };
        // SAFETY: `res` has `rows` rows, `out` as many.
        unsafe { self.launch(&self.kernels.norm, norm_launch(rows, d).0, &args) }
    }

    /// The residual stream after the last layer; `memory.after` is the state then.
    pub(in super::super) fn forward(&self) -> Result<(), CudaError> {
        let (dims, memory, device) = (&self.params.dims, self.memory, self.device);
        let (rows, d, di, width, rank) =
            (self.rows(), dims.d_model, dims.d_inner, self.params.x_proj_rows(), self.params.rank());
        self.decays()?;
        let first = if dims.n_layer > 0 { &memory.layer(0).res } else { &memory.res };
        let args = EmbedSymbolsArgs {
            symbols: device.address(&memory.symbols),
            embedding: self.float(self.params.place("embedding").at),
            residual: device.address(first),
            rows: rows as i32,
            ld: d as i32,
        };
        // SAFETY: symbols are below the vocabulary; the stream has `rows` rows.
        unsafe {
            self.launch(&self.kernels.embed, Launch::new(((rows * d / 4).div_ceil(256) as u32, 1, 1), 256), &args)?
        };
        for layer in 0..dims.n_layer {
            let kept = memory.layer(layer);
            let res = device.address(&kept.res);
            let after = if layer + 1 < dims.n_layer { &memory.layer(layer + 1).res } else { &memory.res };
            let after = device.address(after);
            let [normed, xz, u, dtbc, delta, out] =
                [&kept.normed, &kept.xz, &kept.u, &kept.dtbc, &kept.delta, &kept.out]
                    .map(|buffer| buffer.address(device));
            let weight = |tensor| self.typed(self.params.place(tensor).of(layer));
            let e = self.element;
            self.norm(res, rows, ["norm", "norm_bias"], layer, normed)?;
            self.product(Form::Nt, [rows, 2 * di, d], [(normed, d), (weight("in_proj"), d), (xz, 2 * di)], e, false)?;
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
            // SAFETY: as in `product`; the stream is read before the layer and written after it, maybe in place.
            unsafe { self.blas.run_scaled(device, product, [1.0, 1.0], [weight("out_proj"), out, res, after])? };
            self.mark("products forward")?;
        }
        Ok(())
    }

    pub(super) fn conv_args(&self, layer: usize, kept: &Kept) -> TrainConvArgs {
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
    pub(super) const fn conv_launch(&self) -> (usize, Launch) {
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

    pub(super) fn scan_args(&self, layer: usize, kept: &Kept) -> TrainScanArgs {
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
}
