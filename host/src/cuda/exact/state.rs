//! The integer states of a batch of streams, and the calls that move them.

use cudarc::driver::CudaSlice;
use mambabyte_core::{Rng, SampleOptions, State};

use super::forward::{Pass, Workspace};
use super::launch::Sample;
use super::weights::ExactWeights;
use crate::cuda::device::{Device, Graph};
use crate::cuda::error::CudaError;
use crate::cuda::kernels::Launch;
use crate::cuda::{Answer, Batch, Want};

/// Tokens that are read at once; longer texts are read in blocks.
const BLOCK: usize = 8192;

/// States `[rows, state_len]`, each a snapshot's payload, with the memory of the calls made so far.
pub(crate) struct ExactState {
    memory: CudaSlice<i16>,
    rows: usize,
    work: Option<Workspace>,
    draft: Option<Draft>,
    decode: Option<Decode>,
}

/// The pass that was verified last.
struct Draft {
    work: Workspace,
    pass: Pass,
}

/// Decode: a graph of one byte's launches.
struct Decode {
    work: Workspace,
    /// Up to the logits.
    step: Graph,
    sampler: Option<Sampler>,
}

/// Decode with a choice of the next byte.
struct Sampler {
    options: SampleOptions,
    count: usize,
    graph: Graph,
    rng: CudaSlice<u64>,
    out: CudaSlice<u8>,
    step: CudaSlice<u32>,
}

impl ExactState {
    pub(crate) fn new(device: &Device, weights: &ExactWeights, rows: usize) -> Result<Self, CudaError> {
        let memory = device.zeros("the state", rows * weights.dims.state_len())?;
        Ok(Self { memory, rows, work: None, draft: None, decode: None })
    }

    /// The state of row `row`, which has read `position` bytes.
    pub(crate) fn read_row(
        &self,
        device: &Device,
        weights: &ExactWeights,
        row: usize,
        position: u64,
    ) -> Result<State<Vec<i16>>, CudaError> {
        let len = weights.dims.state_len();
        let elements = device.stream().clone_dtoh(&self.memory.slice(row * len..(row + 1) * len))?;
        device.synchronize()?;
        Ok(State::from_parts(weights.model, elements, position)?)
    }

    /// Sets row `row`; `state` is of this model.
    pub(crate) fn write_row(
        &mut self,
        device: &Device,
        weights: &ExactWeights,
        row: usize,
        state: &State<Vec<i16>>,
    ) -> Result<(), CudaError> {
        let len = weights.dims.state_len();
        device.stream().memcpy_htod(state.as_slice(), &mut self.memory.slice_mut(row * len..(row + 1) * len))?;
        device.synchronize()
    }

    /// Row `to` becomes a copy of row `from`.
    pub(crate) fn copy_row(
        &mut self,
        device: &Device,
        weights: &ExactWeights,
        from: usize,
        to: usize,
    ) -> Result<(), CudaError> {
        let len = weights.dims.state_len();
        device.copy_within(&mut self.memory, from * len, to * len, len)
    }

    /// The rows `which` become copies of those of `source`.
    pub(crate) fn copy_rows(
        &mut self,
        device: &Device,
        weights: &ExactWeights,
        source: &Self,
        which: &[usize],
    ) -> Result<(), CudaError> {
        let len = weights.dims.state_len();
        for range in which.iter().map(|row| row * len..(row + 1) * len) {
            device.stream().memcpy_dtod(&source.memory.slice(range.clone()), &mut self.memory.slice_mut(range))?;
        }
        Ok(())
    }

    /// Row `row` becomes zero.
    pub(crate) fn zero_row(&mut self, device: &Device, weights: &ExactWeights, row: usize) -> Result<(), CudaError> {
        let len = weights.dims.state_len();
        Ok(device.stream().memset_zeros(&mut self.memory.slice_mut(row * len..(row + 1) * len))?)
    }

    fn pass(&self, device: &Device, m: usize, commit: bool) -> Pass {
        Pass { m, rows: self.rows, state: device.address(&self.memory), commit }
    }

    pub(crate) fn prefill(
        &mut self,
        device: &Device,
        weights: &ExactWeights,
        rows: &[&[u8]],
        want: Want<'_>,
    ) -> Result<Answer, CudaError> {
        let longest = rows.iter().map(|r| r.len()).max().unwrap_or(0);
        let each = (BLOCK / rows.len().max(1)).max(1);
        let largest = rows.iter().map(|r| r.len().min(each)).sum::<usize>();
        let mut work = match self.work.take() {
            Some(work) if work.tokens >= largest => work,
            _ => Workspace::new(device, &weights.dims, largest.next_power_of_two(), self.rows, 1)?,
        };
        let mut logits = vec![Vec::new(); rows.len()];
        let mut bits = vec![Vec::new(); rows.len()];
        for from in (0..longest).step_by(each) {
            let part = |row: &&[u8]| from.min(row.len())..(from + each).min(row.len());
            let parts: Vec<&[u8]> = rows.iter().map(|row| &row[part(row)]).collect();
            let batch = Batch::new(&parts);
            let pass = self.pass(device, batch.len(), true);
            work.put(device, &batch)?;
            work.forward(device, weights, pass)?;
            match want {
                Want::Nothing => {}
                Want::Last => {
                    // Rows that have bytes in this block; later blocks overwrite them.
                    let picked = Pass { m: batch.last.len(), ..pass };
                    work.head(device, weights, picked, true)?;
                    let present = (0..rows.len()).filter(|&row| !parts[row].is_empty());
                    for (row, last) in present.zip(work.read_logits(device, picked.m)?) {
                        logits[row] = vec![last];
                    }
                }
                Want::All => {
                    work.head(device, weights, pass, false)?;
                    spread(&parts, work.read_logits(device, pass.m)?, &mut logits);
                }
                Want::Surprise(next) => {
                    work.head(device, weights, pass, false)?;
                    let next: Vec<u8> =
                        next.iter().zip(rows).flat_map(|(next, row)| &next[part(row)]).copied().collect();
                    spread(&parts, work.surprise(device, weights, pass, &next)?, &mut bits);
                }
            }
        }
        self.work = Some(work);
        device.synchronize()?;
        Ok(match want {
            Want::Nothing => Answer::Nothing,
            Want::Last | Want::All => Answer::Logits(logits.concat()),
            Want::Surprise(_) => Answer::Surprise(bits.concat()),
        })
    }

    pub(crate) fn verify(
        &mut self,
        device: &Device,
        weights: &ExactWeights,
        batch: &Batch,
    ) -> Result<Answer, CudaError> {
        let pass = self.pass(device, batch.len(), false);
        let mut work = match self.draft.take() {
            Some(draft) if draft.work.tokens >= pass.m => draft.work,
            _ => {
                let tokens = pass.m.next_power_of_two();
                // At least two: with one, nothing is kept for each layer.
                Workspace::new(device, &weights.dims, tokens, self.rows, weights.dims.n_layer.max(2))?
            }
        };
        work.put(device, batch)?;
        work.forward(device, weights, pass)?;
        work.head(device, weights, pass, false)?;
        let logits = work.read_logits(device, pass.m)?;
        self.draft = Some(Draft { work, pass });
        Ok(Answer::Logits(logits))
    }

    pub(crate) fn accept(
        &mut self,
        device: &Device,
        weights: &ExactWeights,
        counts: &[usize],
    ) -> Result<(), CudaError> {
        let Some(draft) = &self.draft else { return Err(CudaError::ForeignState) };
        if counts.iter().all(|&c| c == 0) {
            return Ok(());
        }
        let counts: Vec<i32> = counts.iter().map(|&c| c as i32).collect();
        let counts = device.upload("accepted counts", &counts)?;
        draft.work.replay(device, weights, draft.pass, &counts)?;
        device.synchronize()
    }

    /// The graph of one byte per row, made at the first call.
    fn decoder(&mut self, device: &Device, weights: &ExactWeights) -> Result<&mut Decode, CudaError> {
        if self.decode.is_none() {
            let mut work = Workspace::new(device, &weights.dims, self.rows, self.rows, 1)?;
            work.put(device, &Batch::new(&vec![&[0u8][..]; self.rows]))?;
            device.synchronize()?;
            let pass = self.pass(device, self.rows, true);
            let step = device.capture(|capturing| {
                work.forward(capturing, weights, pass)?;
                work.head(capturing, weights, pass, false)
            })?;
            self.decode = Some(Decode { work, step, sampler: None });
        }
        self.decode.as_mut().ok_or(CudaError::ForeignState)
    }

    pub(crate) fn step(&mut self, device: &Device, weights: &ExactWeights, bytes: &[u8]) -> Result<Answer, CudaError> {
        let decode = self.decoder(device, weights)?;
        device.stream().memcpy_htod(bytes, &mut decode.work.token)?;
        decode.step.launch(device)?;
        Ok(Answer::Logits(decode.work.read_logits(device, bytes.len())?))
    }

    pub(crate) fn decode(
        &mut self,
        device: &Device,
        weights: &ExactWeights,
        count: usize,
        last: &mut [u8],
        rngs: &mut [Rng],
        options: &SampleOptions,
    ) -> Result<Vec<Vec<u8>>, CudaError> {
        if count == 0 {
            return Ok(vec![Vec::new(); self.rows]);
        }
        let rows = self.rows;
        let pass = self.pass(device, rows, true);
        let decode = self.decoder(device, weights)?;
        let usable = |s: &Sampler| s.options == *options && s.count >= count;
        let mut sampler = match decode.sampler.take() {
            Some(sampler) if usable(&sampler) => sampler,
            _ => Sampler::new(device, weights, &decode.work, pass, options, count)?,
        };
        let stream = device.stream();
        stream.memcpy_htod(last, &mut decode.work.token)?;
        stream.memcpy_htod(&rngs.iter().map(Rng::state).collect::<Vec<u64>>(), &mut sampler.rng)?;
        stream.memset_zeros(&mut sampler.step)?;
        for _ in 0..count {
            sampler.graph.launch(device)?;
        }
        let out = stream.clone_dtoh(&sampler.out.slice(..count * rows))?;
        let states = stream.clone_dtoh(&sampler.rng)?;
        device.synchronize()?;
        for (rng, state) in rngs.iter_mut().zip(states) {
            *rng = Rng::new(state);
        }
        last.copy_from_slice(&out[(count - 1) * rows..]);
        decode.sampler = Some(sampler);
        Ok((0..rows).map(|row| out.iter().skip(row).step_by(rows).copied().collect()).collect())
    }
}

impl Sampler {
    fn new(
        device: &Device,
        weights: &ExactWeights,
        work: &Workspace,
        pass: Pass,
        options: &SampleOptions,
        count: usize,
    ) -> Result<Self, CudaError> {
        let (what, rows) = ("decoded bytes", pass.rows);
        let count = count.next_power_of_two();
        let rng = device.zeros(what, rows)?;
        let out = device.zeros(what, rows * count)?;
        let step = device.zeros(what, rows)?;
        let parameters = Sample {
            logits: device.address(&work.logits),
            tables: device.address(&weights.tables),
            rng: device.address(&rng),
            tokens: device.address(&work.token),
            out: device.address(&out),
            step: device.address(&step),
            rows: rows as u32,
            ..Sample::of(options)
        };
        device.synchronize()?;
        let graph = device.capture(|capturing| {
            work.forward(capturing, weights, pass)?;
            work.head(capturing, weights, pass, false)?;
            let launch = Launch::new((rows as u32, 1, 1), 32);
            // SAFETY: a warp per row; `out` has room for as many launches as `decode` makes.
            unsafe { weights.kernels.sample.launch(capturing.stream(), launch, &parameters, &pass) }
        })?;
        Ok(Self { options: *options, count, graph, rng, out, step })
    }
}

/// Gives each row its part of what was computed for all tokens.
fn spread<T>(parts: &[&[u8]], all: Vec<T>, rows: &mut [Vec<T>]) {
    let mut all = all.into_iter();
    for (part, row) in parts.iter().zip(rows) {
        row.extend(all.by_ref().take(part.len()));
    }
}
