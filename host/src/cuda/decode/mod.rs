//! Decode and verify in bf16 or i8 weights: one persistent kernel for all layers (`kernels/decode.cu`).
//!
//! At batch 1 a byte costs one pass over all weights, so memory bandwidth is the limit as long as nothing else takes
//! longer than the weights. Two things would: kernel launches (hence one launch for many bytes) and grid barriers
//! (hence none: blocks exchange words that carry their own number). A ring of copies in shared memory keeps the weights
//! coming meanwhile, and a layer's vectors come a layer ahead.
//!
//! Verifying `K` drafted bytes reads the weights once for all of them and gives, bit for bit, the logits of `K` times
//! decoding one: a column's arithmetic does not depend on how many there are. Nothing of the state is written until
//! [`Verified::accept`], which replays the accepted bytes from their cached inputs.

use std::ops::Range;
use std::sync::Arc;

use cudarc::driver::CudaSlice;
use cudarc::driver::sys::CUdevice_attribute;
use mambabyte_core::{Dims, Norm, VOCAB};

use super::device::Device;
use super::error::CudaError;
use super::kernels::{DECODE, Kernel, Launch};
use crate::Checkpoint;

mod pack;
mod params;
mod plan;

pub use pack::Form;
pub use plan::MAX_COLUMNS;

use pack::Packed;
use params::Params;
use plan::{Plan, TILE, WARPS};

/// Bytes per stream that one launch decodes at most.
const MAX_COUNT: usize = 1 << 16;

/// Recurrent state of several streams in f32 on the device.
#[derive(Debug)]
pub struct FloatState {
    dims: Dims,
    streams: usize,
    /// `[streams, n_layer, d_conv - 1, d_inner]`, oldest column first.
    pub(crate) history: CudaSlice<f32>,
    /// `[streams, n_layer, d_inner, d_state]`.
    pub(crate) h: CudaSlice<f32>,
}

/// How the next byte is chosen on the device.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sampling {
    /// 0: the most probable byte. Else logits are divided by it and one byte is drawn.
    pub temperature: f32,
    /// Seed of the draws.
    pub seed: u64,
    /// Number of the first draw.
    pub position: u64,
}

/// A model's weights on the device in the order in which the kernel reads them, and its exchange buffers.
pub struct Decoder {
    device: Arc<Device>,
    kernels: Kernels,
    dims: Dims,
    plan: Plan,
    /// Constant fields of a launch's parameters.
    base: Params,
    /// Number of the last exchange.
    epoch: u32,
    weight_bytes: usize,
    /// What `base` points to: weights and vectors.
    _constants: (CudaSlice<u8>, CudaSlice<u64>, CudaSlice<u8>, Vec<CudaSlice<f32>>),
    exchange: Vec<CudaSlice<u64>>,
    columns: CudaSlice<i32>,
    input: CudaSlice<u8>,
    /// Inputs of drafted bytes, for [`Verified::accept`]; and their logits. Made at the first verification.
    kept: Option<[CudaSlice<f32>; 5]>,
}

/// A launch's columns: which stream each belongs to, where this stream's columns start, and the bytes.
#[derive(Default)]
struct Columns {
    stream_of: Vec<i32>,
    first_of: Vec<i32>,
    bytes: Vec<u8>,
}

impl Decoder {
    /// Packs and uploads a model.
    ///
    /// # Errors
    /// [`CudaError`]: an older GPU than compute capability 9.0, a shape whose block does not fit a multiprocessor, too
    /// little memory.
    /// # Cost
    /// One pass over the weights on all cores. On the device: the weights, and 40 MB of vectors at 1024 x 53; the first
    /// [`Decoder::verify`] takes 42 MB more.
    pub fn load(device: &Arc<Device>, model: &Checkpoint, form: Form) -> Result<Self, CudaError> {
        let (major, minor) = device.context().compute_capability()?;
        if major < 9 {
            return Err(CudaError::OldDevice { name: device.name().to_owned(), major, minor, needed: 9 });
        }
        let dims = model.dims;
        let attribute = CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN;
        let limit = device.context().attribute(attribute)? as usize;
        let plan = Plan::new(&dims, form, device.sms() as usize, limit);
        let kernels = Kernels::load(device, &plan, form, dims.d_state, limit)?;
        let packed = Packed::new(model, &plan, form);
        let (side_residual, side_projection) = plan.side_parts(form, dims.d_state);
        let mut base = Params {
            d_model: dims.d_model as i32,
            d_inner: dims.d_inner as i32,
            d_state: dims.d_state as i32,
            d_conv: dims.d_conv as i32,
            n_layer: dims.n_layer as i32,
            km: plan.km as i32,
            ki: plan.ki as i32,
            kd: plan.kd as i32,
            kbc: plan.kbc as i32,
            layer_norm: (dims.norm == Norm::Layer) as i32,
            eps: model.norm_eps,
            chunk: plan.chunk as i32,
            side_bytes: plan.side_bytes(form, dims.d_state) as i32,
            side_channel: plan.side_channel(form, dims.d_state) as i32,
            side_residual: side_residual as i32,
            side_projection: side_projection as i32,
            ..Params::default()
        };
        let mut vectors = Vec::new();
        for (to, values) in [
            (&mut base.embedding, &packed.embedding),
            (&mut base.norm, &packed.norm),
            (&mut base.head_scale, &packed.head_scale),
            (&mut base.head_sum, &packed.head_sum),
            (&mut base.head_bias, &packed.head_bias),
            (&mut base.a, &packed.a),
        ] {
            let slice = device.upload("vectors of decode", values)?;
            *to = device.address(&slice);
            vectors.push(slice);
        }
        let operand = |tiles: usize| tiles * TILE / 2 * MAX_COLUMNS;
        let mut exchange = Vec::new();
        for (to, words) in [
            (&mut base.res, operand(plan.km)),
            (&mut base.sums, 2 * plan.km * MAX_COLUMNS),
            (&mut base.u, operand(plan.ki)),
            (&mut base.dt, operand(plan.kd)),
            (&mut base.bc, 2 * dims.d_state * MAX_COLUMNS),
            (&mut base.g, operand(plan.ki)),
            (&mut base.logits, VOCAB * MAX_COLUMNS),
        ] {
            let slice = device.zeros("exchange buffers of decode", words)?;
            *to = device.address(&slice);
            exchange.push(slice);
        }
        let stream = device.upload("weights for decode", &packed.stream)?;
        let stream_at = device.upload("weights for decode", &packed.stream_at)?;
        base.stream = device.address(&stream);
        base.stream_at = device.address(&stream_at);
        let side = device.upload("vectors for decode", &packed.side)?;
        base.side = device.address(&side);
        Ok(Self {
            kernels,
            dims,
            plan,
            base,
            epoch: 0,
            weight_bytes: packed.stream.len() + packed.side.len(),
            _constants: (stream, stream_at, side, vectors),
            exchange,
            columns: device.zeros("columns", 3 * MAX_COLUMNS)?,
            input: device.zeros("input bytes", MAX_COLUMNS)?,
            kept: None,
            device: device.clone(),
        })
    }

    /// Bytes of weights that one pass reads.
    pub const fn weight_bytes(&self) -> usize {
        self.weight_bytes
    }

    /// Zero states of `streams` streams.
    ///
    /// # Errors
    /// Too little memory.
    pub fn state(&self, streams: usize) -> Result<FloatState, CudaError> {
        let (conv, layer) = (self.dims.conv_state_len(), self.dims.layer_state_len());
        Ok(FloatState {
            dims: self.dims,
            streams,
            history: self.device.zeros("convolution state", streams * self.dims.n_layer * conv)?,
            h: self.device.zeros("scan state", streams * self.dims.n_layer * (layer - conv))?,
        })
    }

    /// Feeds `bytes[stream]`, chooses each stream's next byte, feeds it, `count` times in one launch per 32 streams.
    ///
    /// Returns the chosen bytes, `[count, streams]`, and if asked the logits, `[count, streams, 256]`. The last chosen
    /// bytes have not been fed: give them to the next call.
    ///
    /// # Errors
    /// [`CudaError::Rows`] if there are more bytes than streams, [`CudaError::Shape`] for a `count` above 65,536,
    /// [`CudaError::ForeignState`]; the driver's.
    pub fn decode(
        &mut self,
        state: &mut FloatState,
        bytes: &[u8],
        count: usize,
        sampling: Sampling,
        want_logits: bool,
    ) -> Result<(Vec<u8>, Vec<f32>), CudaError> {
        let streams = bytes.len();
        self.check(state)?;
        if count > MAX_COUNT {
            return Err(CudaError::Shape { name: "bytes to decode in one launch", found: count, limit: MAX_COUNT });
        }
        if streams > state.streams {
            return Err(CudaError::Rows { expected: state.streams, found: streams });
        }
        let mut chosen = vec![0; count * streams];
        let mut logits = vec![0.0; if want_logits { count * streams * VOCAB } else { 0 }];
        if count == 0 {
            return Ok((chosen, logits));
        }
        for group in groups(streams) {
            let n = group.len();
            let columns = Columns {
                stream_of: group.clone().map(|s| s as i32).collect(),
                first_of: (0..n as i32).collect(),
                bytes: bytes[group.clone()].to_vec(),
            };
            let out_bytes = self.device.zeros("output bytes", count * n)?;
            let out_logits = self.device.zeros("logits", if want_logits { count * n * VOCAB } else { 0 })?;
            let params = Params {
                passes: count as i32,
                commit: 1,
                temperature: sampling.temperature,
                // Each group of streams has draws of its own.
                seed: sampling.seed.wrapping_add((group.start as u64).wrapping_mul(0xd134_2543_de82_ef95)),
                position: sampling.position,
                out_bytes: self.device.address(&out_bytes),
                out_logits: if want_logits { self.device.address(&out_logits) } else { 0 },
                ..self.base
            };
            self.launch(state, &columns, params)?;
            let some = self.device.stream().clone_dtoh(&out_bytes)?;
            for (to, from) in chosen.chunks_exact_mut(streams).zip(some.chunks_exact(n)) {
                to[group.clone()].copy_from_slice(from);
            }
            if want_logits {
                let some = self.device.stream().clone_dtoh(&out_logits)?;
                for (to, from) in logits.chunks_exact_mut(streams * VOCAB).zip(some.chunks_exact(n * VOCAB)) {
                    to[group.start * VOCAB..group.end * VOCAB].copy_from_slice(from);
                }
            }
        }
        Ok((chosen, logits))
    }

    /// Scores drafted bytes, `drafts[stream]`, at most 32 in all, without moving the state.
    ///
    /// # Errors
    /// [`CudaError::Rows`] if there are more drafts than streams, [`CudaError::Shape`] if there are more bytes than 32,
    /// [`CudaError::ForeignState`]; the driver's.
    pub fn verify<'a>(&'a mut self, state: &'a mut FloatState, drafts: &[&[u8]]) -> Result<Verified<'a>, CudaError> {
        self.check(state)?;
        if drafts.len() > state.streams {
            return Err(CudaError::Rows { expected: state.streams, found: drafts.len() });
        }
        let total = drafts.iter().map(|d| d.len()).sum();
        if total > MAX_COLUMNS {
            return Err(CudaError::Shape { name: "bytes drafted at once", found: total, limit: MAX_COLUMNS });
        }
        let mut columns = Columns::default();
        let mut starts = vec![0];
        for (index, draft) in drafts.iter().enumerate() {
            let first = columns.bytes.len() as i32;
            columns.bytes.extend_from_slice(draft);
            columns.stream_of.resize(columns.bytes.len(), index as i32);
            columns.first_of.resize(columns.bytes.len(), first);
            starts.push(columns.bytes.len());
        }
        let mut logits = vec![0.0; total * VOCAB];
        let mut params = Params { passes: 1, ..self.base };
        if total > 0 {
            let kept = match self.kept.take() {
                Some(kept) => kept,
                None => self.make_kept()?,
            };
            let addresses = std::array::from_fn(|i| self.device.address(&kept[i]));
            [params.kept_x, params.kept_u, params.kept_delta, params.kept_b, params.out_logits] = addresses;
            self.kept = Some(kept);
            params = self.launch(state, &columns, params)?;
            if let Some([.., out]) = &self.kept {
                self.device.stream().memcpy_dtoh(&out.slice(..total * VOCAB), &mut logits)?;
            }
        }
        Ok(Verified { decoder: self, _state: state, params, starts, logits })
    }

    /// The kernel indexes a state by this model's shape.
    fn check(&self, state: &FloatState) -> Result<(), CudaError> {
        if state.dims == self.dims { Ok(()) } else { Err(CudaError::ForeignState) }
    }

    /// Memory for the inputs and the logits of drafted bytes.
    fn make_kept(&self) -> Result<[CudaSlice<f32>; 5], CudaError> {
        let make = |len: usize| self.device.zeros("inputs of drafted bytes", MAX_COLUMNS * len);
        let (n_layer, width) = (self.dims.n_layer, self.plan.ki * TILE);
        let channels = n_layer * width;
        Ok([make(channels)?, make(channels)?, make(channels)?, make(n_layer * self.dims.d_state)?, make(VOCAB)?])
    }

    fn launch(&mut self, state: &FloatState, columns: &Columns, params: Params) -> Result<Params, CudaError> {
        let n = columns.bytes.len();
        let numbers = params.passes as u32 * (self.dims.n_layer as u32 + 1);
        let stream = self.device.stream().clone();
        if self.epoch.checked_add(numbers).is_none() {
            // Old words must not look new: start again.
            for words in &mut self.exchange {
                stream.memset_zeros(words)?;
            }
            self.epoch = 0;
        }
        let indices: Vec<i32> = columns.stream_of.iter().chain(&columns.first_of).copied().collect();
        stream.memcpy_htod(&indices, &mut self.columns.slice_mut(..2 * n))?;
        stream.memcpy_htod(&columns.bytes, &mut self.input.slice_mut(..n))?;
        let (conv, layer) = (self.dims.conv_state_len() as u64, self.dims.layer_state_len() as u64);
        let n_layer = self.dims.n_layer as u64;
        let start = self.device.address(&self.columns);
        let Variant { kernel, slots, shared, .. } = self.kernels.of(n);
        let params = Params {
            columns: n as i32,
            slots: *slots as i32,
            epoch: self.epoch,
            stream_of: start,
            first_of: start + 4 * n as u64,
            bytes: self.device.address(&self.input),
            history: self.device.address(&state.history),
            h: self.device.address(&state.h),
            history_stream: n_layer * conv,
            history_layer: conv,
            h_stream: n_layer * (layer - conv),
            h_layer: layer - conv,
            ..params
        };
        self.epoch += numbers;
        let launch = Launch {
            grid: (self.plan.grid as u32, 1, 1),
            block: WARPS as u32 * 32,
            shared: *shared as u32,
            // No block may wait for one that cannot start.
            cooperative: true,
        };
        let shape = format!("{} x {}, {n} columns, {} passes", self.dims.d_model, self.dims.n_layer, params.passes);
        // SAFETY: `Params` is the kernel's struct. Every address in it is of a live buffer of the size that the kernel
        // indexes (`load`, `state`, `kept`, outputs sized by columns and passes); `n` is at most the kernel's width.
        #[allow(unsafe_code, reason = "a kernel launch")]
        unsafe { kernel.launch(&stream, launch, &params, &shape) }?;
        Ok(params)
    }
}

/// Drafted bytes that the model has scored. Dropping it rejects the draft.
#[must_use = "an unaccepted verification leaves the state where it was"]
pub struct Verified<'a> {
    decoder: &'a mut Decoder,
    _state: &'a mut FloatState,
    params: Params,
    /// First column of each stream, and the end.
    starts: Vec<usize>,
    logits: Vec<f32>,
}

impl Verified<'_> {
    /// Logits after each drafted byte of `stream`, `[K, 256]`.
    pub fn logits(&self, stream: usize) -> &[f32] {
        match (self.starts.get(stream), self.starts.get(stream + 1)) {
            (Some(&from), Some(&to)) => &self.logits[from * VOCAB..to * VOCAB],
            _ => &[],
        }
    }

    /// Moves each stream's state past the first `accepted[stream]` bytes of its draft.
    ///
    /// # Errors
    /// [`CudaError::Rows`], [`CudaError::TooManyAccepted`]: no state is moved then; the driver's.
    pub fn accept(self, accepted: &[usize]) -> Result<(), CudaError> {
        if accepted.len() + 1 != self.starts.len() {
            return Err(CudaError::Rows { expected: self.starts.len() - 1, found: accepted.len() });
        }
        let n = self.params.columns as usize;
        let mut counts = vec![0i32; n];
        for (row, (&asked, range)) in accepted.iter().zip(self.starts.windows(2)).enumerate() {
            let verified = range[1] - range[0];
            if asked > verified {
                return Err(CudaError::TooManyAccepted { row, asked, verified });
            }
            if asked > 0 {
                counts[range[0]] = asked as i32;
            }
        }
        if counts.iter().all(|&c| c == 0) {
            return Ok(());
        }
        let Decoder { device, kernels, dims, .. } = self.decoder;
        let counts = device.upload("accepted bytes", &counts)?;
        let params = Params { accepted: device.address(&counts), ..self.params };
        let launch = Launch::new((dims.d_inner.div_ceil(128) as u32, dims.n_layer as u32, n as u32), 128);
        // SAFETY: the parameters are those of the verification, whose buffers the decoder holds, and as many
        // counts as columns, none larger than its draft.
        #[allow(unsafe_code, reason = "a kernel launch")]
        unsafe { kernels.accept.launch(device.stream(), launch, &params, &format_args!("{n} columns")) }?;
        device.synchronize()
    }
}

/// A kernel for up to `columns` columns.
struct Variant {
    columns: usize,
    kernel: Kernel,
    /// Chunks of a warp's ring, and bytes of shared memory.
    slots: usize,
    shared: usize,
}

/// The kernels, by the number of columns.
struct Kernels {
    by_columns: [Variant; 3],
    accept: Kernel,
}

impl Kernels {
    fn load(device: &Device, plan: &Plan, form: Form, d_state: usize, limit: usize) -> Result<Self, CudaError> {
        let load = |columns: usize, [bf16, bf16_wide, i8, i8_wide]: [&'static str; 4]| {
            let name = match (form, d_state > 16) {
                (Form::Bf16, false) => bf16,
                (Form::Bf16, true) => bf16_wide,
                (Form::I8, false) => i8,
                (Form::I8, true) => i8_wide,
            };
            let kernel = device.kernel(&DECODE, name)?;
            let (slots, shared) = plan.shared(columns, form, d_state, limit).map_err(|found| CudaError::Shape {
                name: "shared memory of a block of decode",
                found,
                limit,
            })?;
            kernel.allow_shared(shared)?;
            Ok::<_, CudaError>(Variant { columns, kernel, slots, shared })
        };
        Ok(Self {
            by_columns: [
                load(8, ["decode_bf16_8", "decode_bf16_8_wide", "decode_i8_8", "decode_i8_8_wide"])?,
                load(16, ["decode_bf16_16", "decode_bf16_16_wide", "decode_i8_16", "decode_i8_16_wide"])?,
                load(32, ["decode_bf16_32", "decode_bf16_32_wide", "decode_i8_32", "decode_i8_32_wide"])?,
            ],
            accept: device.kernel(&DECODE, "decode_accept")?,
        })
    }

    /// The narrowest kernel for `columns` columns.
    fn of(&self, columns: usize) -> &Variant {
        let [narrow, middle, wide] = &self.by_columns;
        [narrow, middle].into_iter().find(|v| columns <= v.columns).unwrap_or(wide)
    }
}

/// Streams by launches.
fn groups(streams: usize) -> impl ExactSizeIterator<Item = Range<usize>> {
    (0..streams.div_ceil(MAX_COLUMNS)).map(move |g| g * MAX_COLUMNS..((g + 1) * MAX_COLUMNS).min(streams))
}
