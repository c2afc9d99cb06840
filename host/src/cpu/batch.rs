//! Many independent streams that step together.

use mambabyte_core::{Logits, Prefill, Run, State, StateError, VOCAB};
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::memory::Weights;
use super::{Cpu, block_positions};

/// The streams of one thread.
struct Group<'w> {
    prefill: Prefill<'w, Vec<i32>>,
    states: Vec<State<Vec<i16>>>,
    logits: Vec<Logits>,
}

/// `B` streams of one model. A step reads one byte of each: a weight is read once for all of them, and the projections
/// become products of matrices.
pub struct BatchDecoder<'w> {
    groups: Vec<Group<'w>>,
    /// Streams of every group but the last.
    width: usize,
    pool: Option<ThreadPool>,
    logits: Vec<Logits>,
}

impl<'w> BatchDecoder<'w> {
    /// `streams` streams at the zero state. Threads divide the streams among themselves.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub fn new(weights: &'w Weights, streams: usize, cpu: Cpu) -> std::io::Result<Self> {
        let blob = weights.blob_for(cpu.backend);
        let width = streams.div_ceil(cpu.threads.max(1)).max(1);
        let positions = width.min(block_positions(blob.dims()));
        let mut groups = Vec::new();
        let mut left = streams;
        while left > 0 {
            let n = left.min(width);
            left -= n;
            // Both memories have just been sized by the functions that are checked.
            let prefill = Prefill::new(blob, positions, vec![0; blob.dims().prefill_len(positions)]);
            let states = (0..n).map(|_| State::new(&blob, vec![0; blob.dims().state_len()]));
            groups.push(Group {
                prefill: prefill.unwrap_or_else(|_: StateError| unreachable!()).with_backend(cpu.backend),
                states: states.map(|s| s.unwrap_or_else(|_| unreachable!())).collect(),
                logits: vec![[0; VOCAB]; n],
            });
        }
        let pool = match groups.len() {
            0 | 1 => None,
            n => Some(ThreadPoolBuilder::new().num_threads(n).build().map_err(std::io::Error::other)?),
        };
        Ok(Self { groups, width, pool, logits: vec![[0; VOCAB]; streams] })
    }

    /// Number of streams.
    pub const fn streams(&self) -> usize {
        self.logits.len()
    }

    /// The state of stream `index`.
    pub fn state(&self, index: usize) -> Option<&State<Vec<i16>>> {
        self.groups.get(index / self.width)?.states.get(index % self.width)
    }

    /// The state of stream `index`, to reset, restore or copy into.
    pub fn state_mut(&mut self, index: usize) -> Option<&mut State<Vec<i16>>> {
        self.groups.get_mut(index / self.width)?.states.get_mut(index % self.width)
    }

    /// Reads `bytes[i]` into stream `i`; the logits of every stream's next byte. Streams without a byte stay as they
    /// are, bytes without a stream are left out.
    pub fn step(&mut self, bytes: &[u8]) -> &[Logits] {
        let groups = &mut self.groups;
        match &self.pool {
            Some(pool) => pool.install(|| {
                groups.par_iter_mut().zip(bytes.par_chunks(self.width)).for_each(|(group, bytes)| group.step(bytes));
            }),
            None => groups.iter_mut().zip(bytes.chunks(self.width)).for_each(|(group, bytes)| group.step(bytes)),
        }
        for (all, group) in self.logits.chunks_mut(self.width).zip(groups) {
            all.copy_from_slice(&group.logits);
        }
        &self.logits
    }
}

impl Group<'_> {
    fn step(&mut self, bytes: &[u8]) {
        let positions = self.prefill.positions();
        let blob = *self.prefill.blob();
        let parts = self.states.chunks_mut(positions).zip(self.logits.chunks_mut(positions));
        for ((states, logits), bytes) in parts.zip(bytes.chunks(positions)) {
            self.prefill.embed(bytes);
            let mut layers: Vec<_> = states.iter_mut().take(bytes.len()).map(|s| s.layers_mut(&blob)).collect();
            for index in 0..blob.dims().n_layer {
                let states = layers.iter_mut().filter_map(Iterator::next);
                let mut runs: Vec<Run<'_>> = states.map(|state| Run { state, positions: 1 }).collect();
                self.prefill.layer(index, &mut runs);
            }
            drop(layers);
            states.iter_mut().take(bytes.len()).for_each(|s| s.count(1));
            for (out, logits) in logits.iter_mut().zip(self.prefill.logits()) {
                *out = *logits;
            }
        }
    }
}
