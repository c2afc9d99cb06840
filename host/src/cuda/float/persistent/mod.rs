//! Decode and verify in bf16 or i8 weights: one persistent kernel for all layers (`kernels/decode.cu`).
//!
//! At batch 1 a byte costs one pass over all weights, so memory bandwidth is the limit as long as nothing else takes
//! longer than the weights. Two things would: kernel launches (hence one launch for many bytes) and grid barriers
//! (hence none: blocks exchange words that carry their own number). A ring of copies in shared memory keeps the weights
//! coming meanwhile, and a layer's vectors come a layer ahead.
//!
//! Verifying `K` drafted bytes reads the weights once for all of them and gives, bit for bit, the logits of `K` times
//! decoding one: a column's arithmetic does not depend on how many there are. Nothing of the state is written until
//! [`Decoder::accept`], which replays the accepted bytes from their cached inputs. A draft that the model writes itself
//! ([`Decoder::propose`]) leaves the same inputs.
//!
//! A launch is short where models are small, so nothing is copied for it: columns and generators are among its
//! parameters, and results are written to the host's memory.

use std::ops::Range;
use std::sync::Arc;

use cudarc::driver::CudaSlice;
use cudarc::driver::sys::CUdevice_attribute;
use mambabyte_core::{Dims, Norm, Rng, SampleOptions, VOCAB};

use super::{Memory, Widths};
use crate::Checkpoint;
use crate::cuda::device::Device;
use crate::cuda::error::CudaError;
use crate::cuda::exact::{choice, table_words};
use crate::cuda::kernels::Launch;
use crate::dequantize::RowSteps;

mod columns;
mod form;
mod kept;
mod mapped;
mod pack;
mod params;
mod plan;
mod report;
mod variants;

pub(crate) use kept::{Draft, Proposal};
pub(crate) use params::Params;

use columns::{Columns, column, groups, whole_drafts};
use form::Form;
use kept::{Group, Kept};
use mapped::Mapped;
use pack::Packed;
use plan::{MAX_COLUMNS, Plan, TILE, WARPS};
use report::{PATIENCE, Report};
use variants::{Kernels, Variant};

/// A model's weights on the device in the order in which the kernel reads them, and its exchange buffers.
pub(crate) struct Decoder {
    device: Arc<Device>,
    kernels: Kernels,
    dims: Dims,
    plan: Plan,
    /// Constant fields of a launch's parameters.
    base: Params,
    /// Number of the last exchange.
    epoch: u32,
    weight_bytes: usize,
    /// What `base` points to: weights and vectors, the sampler's tables.
    _constants: Constants,
    exchange: Vec<CudaSlice<u64>>,
    /// What launches write: logits `[columns, 256]`, bytes `[passes, columns]`.
    logits: Mapped<f32>,
    chosen: Mapped<u8>,
    report: Report,
}

/// The weights' bytes and where each warp's begin, vectors by layer and of the whole model, the sampler's tables.
type Constants = ([CudaSlice<u8>; 2], CudaSlice<u64>, Vec<CudaSlice<f32>>, CudaSlice<u16>);

impl Decoder {
    /// Packs and uploads a model: in i8 if the steps of its rows are given, else in bf16.
    ///
    /// # Errors
    /// [`CudaError::OldDevice`] before compute capability 9.0, [`CudaError::Shape`] if a block does not fit a
    /// multiprocessor, [`CudaError::OutOfMemory`].
    /// # Cost
    /// One pass over the weights on all cores. On the device: the weights, and 40 MB of vectors at 1024 x 53.
    pub(crate) fn load(device: &Arc<Device>, model: &Checkpoint, steps: Option<&RowSteps>) -> Result<Self, CudaError> {
        let (major, minor) = device.context().compute_capability()?;
        if major < 9 {
            return Err(CudaError::OldDevice { name: device.name().to_owned(), major, minor, needed: 9 });
        }
        let dims = model.dims;
        let form = if steps.is_some() { Form::I8 } else { Form::Bf16 };
        let attribute = CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN;
        let limit = device.context().attribute(attribute)? as usize;
        let plan = Plan::new(&dims, form, device.sms() as usize, limit);
        let kernels = Kernels::load(device, &plan, form, dims.d_state, limit)?;
        let packed = Packed::new(model, steps, &plan);
        let (side_residual, side_projection) = plan.side_parts(form, dims.d_state);
        let mut base = Params {
            d_model: dims.d_model as i32,
            // As the state pads it: padding channels have zero weights and stay zero.
            d_inner: Widths::of(&dims).inner as i32,
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
        let tables = device.upload("tables of the sampler", &table_words())?;
        base.tables = device.address(&tables);
        let report = Report::new(device)?;
        (base.report, base.patience) = (report.address(), PATIENCE);
        Ok(Self {
            kernels,
            dims,
            plan,
            base,
            epoch: 0,
            weight_bytes: packed.stream.len() + packed.side.len(),
            _constants: ([stream, side], stream_at, vectors, tables),
            exchange,
            logits: Mapped::zeros(device, MAX_COLUMNS * VOCAB)?,
            chosen: Mapped::zeros(device, 1024)?,
            report,
            device: device.clone(),
        })
    }

    /// Bytes of weights that one pass reads.
    pub(crate) const fn weight_bytes(&self) -> usize {
        self.weight_bytes
    }

    /// Feeds `bytes[stream]`, chooses each stream's next byte as [`mambabyte_core::sample()`] does with the stream's
    /// own generator, feeds it, `count` times, in one launch for every 32 streams. Returns the chosen bytes of each
    /// stream, the last of which have not been fed, and the logits that these were chosen by, `[streams, 256]`. `rngs`
    /// move by as many draws.
    ///
    /// # Errors
    /// [`CudaError::OutOfMemory`], [`CudaError::Launch`], [`CudaError::GaveUp`], the driver's.
    pub(crate) fn decode(
        &mut self,
        state: &Memory,
        bytes: &[u8],
        count: usize,
        (rngs, options): (&mut [Rng], &SampleOptions),
    ) -> Result<(Vec<Vec<u8>>, Vec<f32>), CudaError> {
        self.reserve(bytes.len(), count)?;
        for group in groups(bytes.len()) {
            let columns = Columns::of_streams(group.clone(), bytes);
            let params = Params { passes: count as i32, commit: 1, ..self.base };
            self.launch(state, &columns, self.choosing(params, group, count, (rngs, options)))?;
        }
        self.finish()?;
        let text = self.texts(bytes.len(), count, count);
        if options.temperature != 0 {
            for rng in rngs {
                (0..count).for_each(|_| _ = rng.next_u64());
            }
        }
        // SAFETY: `finish` has waited for the launches.
        let logits = unsafe { self.logits.first(bytes.len() * VOCAB) };
        Ok((text, logits.to_vec()))
    }

    /// Room for the logits of so many columns, and for so many bytes of each.
    fn reserve(&mut self, columns: usize, passes: usize) -> Result<(), CudaError> {
        self.logits.reserve(&self.device, columns * VOCAB)?;
        self.chosen.reserve(&self.device, columns * passes)
    }

    /// The parameters of a launch that chooses bytes for the streams of `group`, in each of `passes` passes.
    fn choosing(
        &self,
        params: Params,
        group: Range<usize>,
        passes: usize,
        (rngs, options): (&[Rng], &SampleOptions),
    ) -> Params {
        let (inverse, top_k, top_p) = choice(options);
        let mut rng = [0; MAX_COLUMNS];
        rng.iter_mut().zip(&rngs[group.clone()]).for_each(|(to, rng)| *to = rng.state());
        let (out_logits, out_bytes) =
            (self.logits.address(group.start * VOCAB), self.chosen.address(group.start * passes));
        Params { inverse, top_k, top_p, rng, out_logits, out_bytes, ..params }
    }

    /// The first `count` bytes that each of so many streams chose in `passes` passes; launches have been waited for.
    fn texts(&self, streams: usize, passes: usize, count: usize) -> Vec<Vec<u8>> {
        // SAFETY: as said.
        let chosen = unsafe { self.chosen.first(streams * passes) };
        let of = |group: Range<usize>| {
            let (own, n) = (&chosen[group.start * passes..group.end * passes], group.len());
            (0..n).map(move |stream| own.iter().skip(stream).step_by(n).take(count).copied().collect())
        };
        groups(streams).flat_map(of).collect()
    }

    /// Feeds `bytes[stream]`: logits `[streams, 256]`.
    ///
    /// # Errors
    /// As [`Decoder::decode`].
    pub(crate) fn step(&mut self, state: &Memory, bytes: &[u8]) -> Result<Vec<f32>, CudaError> {
        self.reserve(bytes.len(), 0)?;
        for group in groups(bytes.len()) {
            let out_logits = self.logits.address(group.start * VOCAB);
            let columns = Columns::of_streams(group, bytes);
            let params = Params { passes: 1, commit: 1, out_logits, ..self.base };
            self.launch(state, &columns, params)?;
        }
        self.finish()?;
        // SAFETY: `finish` has waited for the launches.
        Ok(unsafe { self.logits.first(bytes.len() * VOCAB) }.to_vec())
    }

    /// Waits for all launches; an error if one of them gave up.
    fn finish(&mut self) -> Result<(), CudaError> {
        self.device.synchronize()?;
        let Some(given_up) = self.report.take() else { return Ok(()) };
        let kernel = self.kernels.by_columns.iter().find(|v| v.columns == given_up.width);
        Err(CudaError::GaveUp {
            kernel: kernel.map_or("of decode", |v| v.kernel.name()),
            shape: format!("{} x {}", self.dims.d_model, self.dims.n_layer),
            block: given_up.block,
            waited: given_up.waited,
        })
    }

    /// How many polls a wait has from now on, for tests of waits that are given up.
    #[cfg(test)]
    pub(crate) const fn be_patient(&mut self, polls: Option<u32>) {
        self.base.patience = match polls {
            Some(polls) => polls,
            None => PATIENCE,
        };
    }

    /// Scores drafted bytes, at most 32 of each stream, without moving the states: logits of each byte, draft after
    /// draft. Launches follow each other without waiting. `old` is a draft of the same state whose memory is reused.
    ///
    /// # Errors
    /// As [`Decoder::decode`].
    pub(crate) fn verify(
        &mut self,
        state: &Memory,
        drafts: &[&[u8]],
        old: Option<Draft>,
    ) -> Result<(Draft, Vec<f32>), CudaError> {
        let total = drafts.iter().map(|draft| draft.len()).sum();
        self.reserve(total, 0)?;
        let mut old = old.into_iter().flat_map(|old| old.groups);
        let (mut groups, mut at) = (Vec::new(), 0);
        for streams in whole_drafts(drafts) {
            let own = &drafts[streams.clone()];
            let columns = Columns::of_drafts(streams.start, own);
            let kept = self.kept(old.next(), columns.len)?;
            if columns.len > 0 {
                let params = Params { passes: 1, out_logits: self.logits.address(at * VOCAB), ..self.base };
                self.launch(state, &columns, kept.of(&self.device, params))?;
            }
            at += columns.len;
            groups.push(Group { streams, len: own.iter().map(|d| d.len()).collect(), kept });
        }
        self.finish()?;
        // SAFETY: `finish` has waited for the launches.
        let logits = unsafe { self.logits.first(total * VOCAB) }.to_vec();
        Ok((Draft { groups }, logits))
    }

    /// Writes `count` bytes of each stream as [`Decoder::decode`] does, and reads the last one, too; moves `ahead`, a copy of
    /// the streams' states. [`Decoder::accept`] then moves these by as many of the bytes read as are wanted: that of `bytes`,
    /// and what was written.
    ///
    /// # Errors
    /// As [`Decoder::decode`].
    pub(crate) fn propose(
        &mut self,
        ahead: &Memory,
        bytes: &[u8],
        count: usize,
        rngs_and_options: (&[Rng], &SampleOptions),
        old: Option<Draft>,
    ) -> Result<Proposal, CudaError> {
        let passes = count + 1;
        self.reserve(bytes.len(), passes)?;
        let (mut old, mut all) = (old.into_iter().flat_map(|old| old.groups), Vec::new());
        for streams in groups(bytes.len()) {
            let columns = Columns::of_streams(streams.clone(), bytes);
            let kept = self.kept(old.next(), columns.len * passes)?;
            let params = Params { passes: passes as i32, commit: 1, ..self.base };
            let params = self.choosing(params, streams.clone(), passes, rngs_and_options);
            self.launch(ahead, &columns, kept.of(&self.device, params))?;
            all.push(Group { len: vec![passes; streams.len()], streams, kept });
        }
        self.finish()?;
        let text = self.texts(bytes.len(), passes, count);
        // SAFETY: `finish` has waited for the launches.
        let logits = unsafe { self.logits.first(bytes.len() * VOCAB) }.to_vec();
        Ok(Proposal { draft: Draft { groups: all }, text, logits })
    }

    /// Room for the inputs of `columns` bytes: that of an old draft, if it is enough.
    fn kept(&self, old: Option<Group>, columns: usize) -> Result<Kept, CudaError> {
        match old {
            Some(group) if group.kept.columns >= columns => Ok(group.kept),
            _ => Kept::new(&self.device, &self.dims, &self.plan, columns),
        }
    }

    /// Moves each stream's state past the first `counts[stream]` bytes of its draft; no count is larger than the draft. Does
    /// not wait.
    ///
    /// # Errors
    /// [`CudaError::Launch`], the driver's.
    pub(crate) fn accept(&self, draft: &Draft, state: &Memory, counts: &[usize]) -> Result<(), CudaError> {
        for Group { streams, len, kept } in &draft.groups {
            let mut first = 0;
            let accepted = streams.clone().zip(len).filter_map(|(stream, len)| {
                first += len;
                (counts[stream] > 0).then(|| column(stream, first - len, counts[stream] as u8))
            });
            let accepted: Vec<u32> = accepted.collect();
            for words in accepted.chunks(MAX_COLUMNS) {
                let mut params = self.on(state, kept.of(&self.device, self.base));
                params.column[..words.len()].copy_from_slice(words);
                let (channels, n_layer) = (Widths::of(&self.dims).inner.div_ceil(128) as u32, self.dims.n_layer as u32);
                let launch = Launch::new((channels, n_layer, words.len() as u32), 128);
                let shape = format_args!("{} drafts", words.len());
                // SAFETY: state and inputs are of this model and alive; each word is a stream of the state, with
                // kept columns of a launch, which is before this one in the stream of all work.
                unsafe { self.kernels.accept.launch(self.device.stream(), launch, &params, &shape) }?;
            }
        }
        Ok(())
    }

    /// The same launch with the states of `state`.
    fn on(&self, state: &Memory, params: Params) -> Params {
        let first = state.layer(&self.device, 0);
        let second = state.layer(&self.device, 1);
        let (h_row, history_row) = state.row_len();
        let elements = |from: u64, to: u64| (to - from) / size_of::<f32>() as u64;
        Params {
            h: first.0,
            history: first.1,
            h_stream: h_row as u64,
            history_stream: history_row as u64,
            h_layer: elements(first.0, second.0),
            history_layer: elements(first.1, second.1),
            ..params
        }
    }

    /// Launches all passes over `columns`.
    fn launch(&mut self, state: &Memory, columns: &Columns, params: Params) -> Result<(), CudaError> {
        let n = columns.len;
        let numbers = params.passes as u32 * (self.dims.n_layer as u32 + 1);
        let stream = self.device.stream().clone();
        if self.epoch.checked_add(numbers).is_none() {
            // Old words must not look new: start again.
            for words in &mut self.exchange {
                stream.memset_zeros(words)?;
            }
            self.epoch = 0;
        }
        let Variant { kernel, slots, shared, .. } = self.kernels.of(n);
        let params = Params {
            columns: n as i32,
            slots: *slots as i32,
            epoch: self.epoch,
            column: columns.words,
            ..self.on(state, params)
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
        // indexes (`load`, `Memory`, `Kept`, outputs sized by columns and passes); `n` is at most the kernel's width.
        unsafe { kernel.launch(&stream, launch, &params, &shape) }
    }
}
