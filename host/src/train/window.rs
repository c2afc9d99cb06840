//! One row: its window chunk by chunk, forward and back.

use std::ops::Range;
use std::sync::Mutex;

use mambabyte_core::dims::Norm;
use mambabyte_core::{Dims, VOCAB};

use super::chunk::{CHUNK, Starts, chunks};
use super::layer::{Kept, LayerPass, Moment};
use super::math::{exp, sum, vectors};
use super::matrix::{self, Rows};
use super::norm::{self, Normed};
use crate::{Checkpoint, Model};

/// Bytes of activations that a thread keeps from the way forward for the way back. What does not fit is computed again.
const KEEP: usize = 64 << 20;

/// What is read of a row.
pub(crate) struct Stream<'a> {
    pub(crate) symbols: &'a [u16],
    /// As in [`Row`](super::Row).
    pub(crate) starts: &'a [u32],
    /// `[n_layer, layer_state_len]`, as [`Carry`](super::Carry) has it.
    pub(crate) carry: &'a mut [f32],
}

/// Turns the logits of some positions into the gradient of their loss, which it returns.
pub(super) type Objective<'o> = &'o mut dyn FnMut(Range<usize>, &mut [f32]) -> f64;

/// A model with its weights in the order of computation.
pub(super) struct Prepared<'m> {
    c: &'m Checkpoint,
    layers: Vec<LayerPass<'m>>,
}

/// Memory for one row at a time.
struct Scratch {
    dims: Dims,
    vocabulary: usize,
    slots: Vec<Slot>,
    /// `[chunks, state_len]`: the state before each.
    states: Vec<f32>,
    /// `[state_len]`: the gradient of the state.
    dstate: Vec<f32>,
    /// `[_, d_model]`: the gradient of the residual stream.
    dres: Vec<f32>,
    /// `[_, d_model]` and `[_]`: the last norm.
    normed: Vec<f32>,
    inverse: Vec<f32>,
    /// `[_, vocabulary]`.
    logits: Vec<f32>,
    moment: Moment,
}

/// What is kept of one chunk.
#[derive(Default)]
struct Slot {
    /// Which chunk.
    chunk: Option<usize>,
    layers: Vec<Kept>,
    /// `[_, d_model]`: the residual stream after the last layer.
    res: Vec<f32>,
}

/// Memory that no row needs now.
static FREE: Mutex<Vec<Scratch>> = Mutex::new(Vec::new());

impl Scratch {
    /// Memory for a model of this shape: some that is free, or new. What is free of other shapes is given back.
    fn take(dims: &Dims, vocabulary: usize) -> Self {
        let mut free = FREE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        free.retain(|scratch| scratch.dims == *dims && scratch.vocabulary == vocabulary);
        free.pop().unwrap_or_else(|| Self {
            dims: *dims,
            vocabulary,
            slots: Vec::new(),
            states: Vec::new(),
            dstate: Vec::new(),
            dres: Vec::new(),
            normed: Vec::new(),
            inverse: Vec::new(),
            logits: Vec::new(),
            moment: Moment::default(),
        })
    }

    fn give_back(self) {
        FREE.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(self);
    }

    /// Room for a window of so many chunks; nothing in it is of use.
    fn prepare(&mut self, count: usize, keep: usize) {
        let position = self.dims.n_layer * Kept::floats(&self.dims) + self.dims.d_model;
        let slots = (keep / (4 * CHUNK * position)).clamp(1, count.max(1));
        if self.slots.len() < slots {
            self.slots.resize_with(slots, Slot::default);
        }
        for slot in &mut self.slots {
            slot.chunk = None;
        }
    }
}

impl<'m> Prepared<'m> {
    pub(super) fn new(model: &'m Model) -> Self {
        let c = model.checkpoint();
        let layers = c.layers.iter().enumerate();
        let layers = layers.map(|(i, l)| LayerPass::new(&c.dims, l, model.a(i), c.norm_eps)).collect();
        Self { c, layers }
    }

    fn head(&self) -> &'m [f32] {
        self.c.head.as_ref().unwrap_or(&self.c.embedding)
    }

    /// All layers over a chunk; `state` is that before it, then that after it.
    fn chunk(&self, symbols: &[u16], starts: Starts<'_>, state: &mut [f32], slot: &mut Slot, moment: &mut Moment) {
        let d = self.c.dims.d_model;
        slot.res.clear();
        slot.res.extend(symbols.iter().flat_map(|&s| &self.c.embedding[usize::from(s) * d..][..d]));
        slot.layers.resize_with(self.layers.len(), Kept::default);
        let states = state.chunks_exact_mut(self.c.dims.layer_state_len());
        for ((layer, kept), state) in self.layers.iter().zip(&mut slot.layers).zip(states) {
            layer.forward(starts, &mut slot.res, state, kept, moment);
        }
    }

    /// The last norm and the head: `scratch.logits` of the residual stream `res`.
    fn logits(&self, res: &[f32], scratch: &mut Scratch) {
        let (c, d) = (self.c, self.c.dims.d_model);
        let len = res.len() / d;
        scratch.normed.resize(res.len(), 0.0);
        scratch.inverse.resize(len, 0.0);
        scratch.moment.u.resize(res.len(), 0.0);
        scratch.logits.resize(len * scratch.vocabulary, 0.0);
        norm::forward(res, self.centred(), c.norm_eps, &mut scratch.normed, &mut scratch.inverse);
        norm::scale(&scratch.normed, &c.norm_f, &c.norm_f_bias, &mut scratch.moment.u);
        let logits = Rows::whole(&mut *scratch.logits, scratch.vocabulary);
        matrix::forward(self.head(), Rows::whole(&*scratch.moment.u, d), 0.0, logits);
    }

    fn centred(&self) -> bool {
        self.c.dims.norm == Norm::Layer
    }

    /// Memory for a row.
    fn begin(&self, stream: &mut Stream<'_>) -> Scratch {
        assert_eq!(stream.carry.len(), self.c.dims.state_len(), "a state of the model's shape");
        Scratch::take(&self.c.dims, self.c.vocabulary())
    }

    /// After the window: the state is zero if a document ends with it.
    fn end(stream: &mut Stream<'_>) {
        if stream.starts.last().is_some_and(|&s| s as usize >= stream.symbols.len()) {
            stream.carry.fill(0.0);
        }
    }

    /// The loss of a row, no gradient.
    pub(super) fn forward(&self, stream: &mut Stream<'_>, objective: Objective<'_>) -> f64 {
        let mut scratch = self.begin(stream);
        scratch.prepare(1, 0);
        let mut slot = std::mem::take(&mut scratch.slots[0]);
        let mut nats = 0.0;
        for range in chunks(stream.symbols.len()) {
            let starts = Starts::of(stream.starts, &range);
            self.chunk(&stream.symbols[range.clone()], starts, stream.carry, &mut slot, &mut scratch.moment);
            self.logits(&slot.res, &mut scratch);
            nats += objective(range, &mut scratch.logits);
        }
        scratch.slots[0] = slot;
        scratch.give_back();
        Self::end(stream);
        nats
    }

    /// The loss of a row; adds its gradient to `grad`.
    pub(super) fn gradient(&self, stream: &mut Stream<'_>, grad: &mut Checkpoint, objective: Objective<'_>) -> f64 {
        self.gradient_with(stream, grad, objective, KEEP)
    }

    /// The same, with another number of bytes than [`KEEP`].
    pub(super) fn gradient_with(
        &self,
        stream: &mut Stream<'_>,
        grad: &mut Checkpoint,
        objective: Objective<'_>,
        keep: usize,
    ) -> f64 {
        let size = self.c.dims.state_len();
        let ranges = chunks(stream.symbols.len());
        let count = ranges.len();
        let mut scratch = self.begin(stream);
        scratch.prepare(count, keep);
        let slots = scratch.slots.len();
        scratch.states.clear();
        for (index, range) in ranges.enumerate() {
            scratch.states.extend_from_slice(stream.carry);
            let (starts, slot) = (Starts::of(stream.starts, &range), &mut scratch.slots[index % slots]);
            self.chunk(&stream.symbols[range], starts, stream.carry, slot, &mut scratch.moment);
            slot.chunk = Some(index);
        }
        scratch.dstate.clear();
        scratch.dstate.resize(size, 0.0);
        let mut nats = 0.0;
        for (index, range) in chunks(stream.symbols.len()).enumerate().rev() {
            let starts = Starts::of(stream.starts, &range);
            let symbols = &stream.symbols[range.clone()];
            let mut slot = std::mem::take(&mut scratch.slots[index % slots]);
            if slot.chunk != Some(index) {
                let mut state = scratch.states[index * size..][..size].to_vec();
                self.chunk(symbols, starts, &mut state, &mut slot, &mut scratch.moment);
            }
            self.logits(&slot.res, &mut scratch);
            nats += objective(range, &mut scratch.logits);
            self.head_back(&mut scratch, grad);
            let states = &scratch.states[index * size..][..size];
            self.chunk_back(starts, states, &slot, (&mut scratch.dres, &mut scratch.dstate), &mut scratch.moment, grad);
            let d = self.c.dims.d_model;
            for (&symbol, dres) in symbols.iter().zip(scratch.dres.chunks_exact(d)) {
                let row = &mut grad.embedding[usize::from(symbol) * d..][..d];
                row.iter_mut().zip(dres).for_each(|(g, d)| *g += d);
            }
            scratch.slots[index % slots] = slot;
        }
        scratch.give_back();
        Self::end(stream);
        nats
    }

    /// From the gradient of the logits, which `scratch.logits` has, to `scratch.dres`, that after the last layer.
    fn head_back(&self, scratch: &mut Scratch, grad: &mut Checkpoint) {
        let (c, d) = (self.c, self.c.dims.d_model);
        scratch.dres.clear();
        scratch.dres.resize(scratch.normed.len(), 0.0);
        scratch.moment.du.resize(scratch.normed.len(), 0.0);
        let dlogits = Rows::whole(&*scratch.logits, scratch.vocabulary);
        let Moment { u, du, .. } = &mut scratch.moment;
        matrix::to_input(self.head(), dlogits, 0.0, Rows::whole(&mut *du, d));
        matrix::to_weight(grad.head.as_mut().unwrap_or(&mut grad.embedding), dlogits, Rows::whole(&*u, d));
        let norm =
            Normed { normed: &scratch.normed, inverse: &scratch.inverse, weight: &c.norm_f, centred: self.centred() };
        norm::backward(norm, du, &mut scratch.dres, &mut grad.norm_f, &mut grad.norm_f_bias);
    }

    /// All layers of a chunk, backwards.
    fn chunk_back(
        &self,
        starts: Starts<'_>,
        states: &[f32],
        slot: &Slot,
        (dres, dstate): (&mut [f32], &mut [f32]),
        moment: &mut Moment,
        grad: &mut Checkpoint,
    ) {
        let size = self.c.dims.layer_state_len();
        let dstates = dstate.chunks_exact_mut(size).zip(states.chunks_exact(size));
        let layers = self.layers.iter().zip(&slot.layers).zip(&mut grad.layers).zip(dstates);
        for (((layer, kept), grad), (dstate, state)) in layers.rev() {
            layer.backward(starts, (&mut *dres, dstate), state, (kept, &mut *moment), grad);
        }
    }
}

/// The cross entropy of the next symbols, in nats; `logits` become their gradient `softmax - 1[next]`.
pub(super) fn next_symbol(next: &[u16], logits: &mut [f32]) -> f64 {
    if next.is_empty() {
        return 0.0;
    }
    let vocabulary = logits.len() / next.len();
    let mut nats = 0.0;
    vectors(
        #[inline(always)]
        || {
            for (row, &next) in logits.chunks_exact_mut(vocabulary).zip(next) {
                let chosen = row[usize::from(next)];
                let (top, sum) = soften(row);
                row[usize::from(next)] -= 1.0;
                nats += f64::from(sum).ln() + f64::from(top) - f64::from(chosen);
            }
        },
    );
    nats
}

/// Makes `softmax - 1[next]` the gradient of the loss with a share `share` for `targets` `[_, vocabulary]`.
pub(super) fn lean(next: &[u16], targets: &[f32], share: f32, gradient: &mut [f32]) {
    let vocabulary = gradient.len() / next.len().max(1);
    for ((row, targets), &next) in gradient.chunks_exact_mut(vocabulary).zip(targets.chunks_exact(vocabulary)).zip(next)
    {
        row.iter_mut().zip(targets).for_each(|(g, t)| *g -= share * t);
        row[usize::from(next)] += share;
    }
}

/// Softmax of each row of `[_, vocabulary]` logits, in place.
pub(super) fn softmax(logits: &mut [f32], vocabulary: usize) {
    vectors(
        #[inline(always)]
        || {
            for row in logits.chunks_exact_mut(vocabulary) {
                soften(row);
            }
        },
    );
}

/// Natural log-softmax of each row of `[_, 256]` logits, in place.
pub(crate) fn log_softmax(logits: &mut [f32]) {
    vectors(
        #[inline(always)]
        || {
            for row in logits.chunks_exact_mut(VOCAB) {
                let top = top(row);
                let log = top + sum(row, |x| exp(x - top)).ln();
                row.iter_mut().for_each(|x| *x -= log);
            }
        },
    );
}

/// Softmax of one row; its largest value, and the sum of what stands above it, `exp(x - top)`.
#[inline(always)]
fn soften(row: &mut [f32]) -> (f32, f32) {
    let top = top(row);
    row.iter_mut().for_each(|x| *x = exp(*x - top));
    let sum = sum(row, |x| x);
    row.iter_mut().for_each(|x| *x *= 1.0 / sum);
    (top, sum)
}

/// The largest value, in lanes.
#[inline(always)]
fn top(row: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; 16];
    for part in row.chunks(16) {
        for (lane, &x) in lanes.iter_mut().zip(part) {
            *lane = if x > *lane { x } else { *lane };
        }
    }
    lanes.into_iter().fold(f32::NEG_INFINITY, |a, b| if b > a { b } else { a })
}
