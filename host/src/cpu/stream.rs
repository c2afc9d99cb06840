//! One stream of bytes on one or more threads.

use mambabyte_core::{Blob, Decoder, Logits, Prefill, State, Want};

use super::memory::{Weights, WeightsError};
use super::team::Team;
use super::{Cpu, block_positions, wave};

/// Bytes from which on reading them as a block is faster than stepping.
const BLOCK_FROM: usize = 4;

/// A decoder and a prefill over one state. Large models decode on several threads; long texts are read on all.
pub struct Stream<'w> {
    weights: &'w Weights,
    cpu: Cpu,
    decoder: Decoder<'w, Vec<i16>, Vec<i32>>,
    /// One per thread, made when first needed.
    workers: Vec<Prefill<'w, Vec<i32>>>,
    team: Option<Team<'w>>,
    /// The newest state is the team's, and how many bytes it has read more.
    ahead: Option<u64>,
}

impl<'w> Stream<'w> {
    /// A stream at the zero state.
    ///
    /// # Errors
    /// As [`Weights::blob`].
    pub fn new(weights: &'w Weights, cpu: Cpu) -> Result<Self, WeightsError> {
        let decoder = Decoder::owned(weights.blob()?).with_backend(cpu.backend);
        Ok(Self { weights, cpu, decoder, workers: Vec::new(), team: None, ahead: None })
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
    ///
    /// # Errors
    /// As [`Weights::blob`], or if no thread can be started: at the first step only.
    pub fn step(&mut self, byte: u8) -> Result<&Logits, WeightsError> {
        let members = self.cpu.decode_threads(self.decoder.blob().dims());
        if members < 2 {
            return Ok(self.decoder.step(byte));
        }
        let team = match self.team.take() {
            Some(team) => team,
            None => Team::new(self.weights, self.cpu.backend, members)?,
        };
        let team = self.team.insert(team);
        if self.ahead.is_none() {
            team.load(self.decoder.state());
        }
        *self.ahead.get_or_insert(0) += 1;
        Ok(team.step(byte))
    }

    /// Reads `bytes`. `map(first, logits)` turns the logits after bytes `first`, `first + 1`, ... into a result, on any
    /// of the threads; `see` gets the results in order. Which logits there are is for `want` to say.
    ///
    /// # Errors
    /// As [`Stream::step`].
    pub fn prefill<R: Send>(
        &mut self,
        bytes: &[u8],
        want: Want,
        map: impl Fn(usize, &[Logits]) -> R + Sync,
        mut see: impl FnMut(R) + Send,
    ) -> Result<(), WeightsError> {
        if bytes.len() < BLOCK_FROM {
            for (index, &byte) in bytes.iter().enumerate() {
                let logits = self.step(byte)?;
                if want == Want::All || want == Want::Last && index + 1 == bytes.len() {
                    see(map(index, std::slice::from_ref(logits)));
                }
            }
            return Ok(());
        }
        let blob = *self.decoder.blob();
        let positions = block_positions(blob.dims());
        let workers = self.cpu.threads.min(bytes.len().div_ceil(positions)).max(1);
        while self.workers.len() < workers {
            let scratch = vec![0; blob.dims().prefill_len(positions)];
            // The memory has just been sized by the function that `Prefill::new` checks.
            let worker = Prefill::new(blob, positions, scratch).unwrap_or_else(|_| unreachable!());
            self.workers.push(worker.with_backend(self.cpu.backend));
        }
        self.state_mut();
        wave::read(&mut self.workers[..workers], self.decoder.state_mut(), bytes, want, &map, &mut see);
        Ok(())
    }

    /// Reads `bytes`; the logits after the last one, `None` if there is none.
    ///
    /// # Errors
    /// As [`Stream::step`].
    pub fn prefill_last(&mut self, bytes: &[u8]) -> Result<Option<Logits>, WeightsError> {
        let mut last = None;
        self.prefill(bytes, Want::Last, |_, logits| logits.first().copied(), |logits| last = logits)?;
        Ok(last)
    }
}
