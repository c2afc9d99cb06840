//! One stream of bytes on one or more threads.

use mambabyte_core::{Backend, Blob, Decoder, Logits, Prefill, State, Want};

use super::memory::Weights;
use super::team::Team;
use super::wave::MIN_POSITIONS;
use super::{Cpu, block_positions, wave};

/// Bytes from which on reading them as a block is faster than stepping.
const BLOCK_FROM: usize = 4;

/// A decoder and a prefill over one state. Large models decode on several threads; long texts are read on all.
pub struct Stream<'w> {
    /// For a team.
    weights: Option<&'w Weights>,
    cpu: Cpu,
    decoder: Decoder<'w, Vec<i16>, Vec<i32>>,
    /// One per thread, made when first needed.
    workers: Vec<Prefill<'w, Vec<i32>>>,
    /// Threads that decode; 1 is without a team.
    members: usize,
    team: Option<Team<'w>>,
    /// The newest state is the team's, and how many bytes it has read more.
    ahead: Option<u64>,
}

impl<'w> Stream<'w> {
    /// A stream at the zero state.
    pub fn new(weights: &'w Weights, cpu: Cpu) -> Self {
        let stream = Self::of(weights.blob_for(cpu.backend), cpu.backend);
        let members = cpu.decode_threads(stream.blob().dims());
        Self { weights: Some(weights), cpu, members, ..stream }
    }

    /// A stream on the caller's thread, at the zero state.
    pub fn of(blob: Blob<'w>, backend: Backend) -> Self {
        let decoder = Decoder::owned(blob).with_backend(backend);
        let cpu = Cpu { threads: 1, backend };
        Self { weights: None, cpu, members: 1, decoder, workers: Vec::new(), team: None, ahead: None }
    }

    /// The model.
    pub const fn blob(&self) -> &Blob<'w> {
        self.decoder.blob()
    }

    /// The state after the bytes read so far.
    pub fn state(&mut self) -> &State<Vec<i16>> {
        self.state_mut()
    }

    /// The state, to reset, restore or copy into.
    pub fn state_mut(&mut self) -> &mut State<Vec<i16>> {
        if let (Some(team), Some(bytes)) = (&self.team, self.ahead.take()) {
            team.store(self.decoder.state_mut());
            self.decoder.state_mut().count(bytes);
        }
        self.decoder.state_mut()
    }

    /// Reads one byte; the logits of the next one.
    pub fn step(&mut self, byte: u8) -> &Logits {
        if let (None, Some(weights), true) = (&self.team, self.weights, self.members > 1) {
            self.team = Team::new(weights, self.cpu.backend, self.members).ok();
            // A system that gives no threads is decoded on without them.
            self.members = if self.team.is_some() { self.members } else { 1 };
        }
        let Some(team) = &mut self.team else { return self.decoder.step(byte) };
        if self.ahead.is_none() {
            team.load(self.decoder.state());
        }
        *self.ahead.get_or_insert(0) += 1;
        team.step(byte)
    }

    /// Reads `bytes`. `map(first, logits)` turns the logits after bytes `first`, `first + 1`, ... into a result, on any
    /// of the threads; `see` gets the results in order. Which logits there are is for `want` to say.
    pub fn prefill<R: Send>(
        &mut self,
        bytes: &[u8],
        want: Want,
        map: impl Fn(usize, &[Logits]) -> R + Sync,
        mut see: impl FnMut(R) + Send,
    ) {
        if bytes.len() < BLOCK_FROM {
            for (index, &byte) in bytes.iter().enumerate() {
                let logits = self.step(byte);
                if want == Want::All || want == Want::Last && index + 1 == bytes.len() {
                    see(map(index, std::slice::from_ref(logits)));
                }
            }
            return;
        }
        let blob = *self.decoder.blob();
        let positions = block_positions(blob.dims());
        let workers = self.cpu.threads.min(bytes.len().div_ceil(MIN_POSITIONS)).max(1);
        while self.workers.len() < workers {
            let scratch = vec![0; blob.dims().prefill_len(positions)];
            // The memory has just been sized by the function that `Prefill::new` checks.
            let worker = Prefill::new(blob, positions, scratch).unwrap_or_else(|_| unreachable!());
            self.workers.push(worker.with_backend(self.cpu.backend));
        }
        self.state_mut();
        let workers = self.workers.get_mut(..workers).unwrap_or(&mut []);
        wave::read(workers, self.decoder.state_mut(), bytes, want, &map, &mut see);
    }

    /// Reads `bytes`; the logits after the last one, `None` if there is none.
    pub fn prefill_last(&mut self, bytes: &[u8]) -> Option<Logits> {
        let mut last = None;
        self.prefill(bytes, Want::Last, |_, logits| logits.first().copied(), |logits| last = logits);
        last
    }
}
