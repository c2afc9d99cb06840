//! The integers of a blob on one or more threads: [`IntEngine`].

use mambabyte_core::{Blob, Decoder, Dims, Prefill, State, StateError};
use rayon::prelude::*;

use super::blocks::{self, Job, Worker};
use super::kept::{Going, Keep, Kept};
use super::memory::Weights;
use super::out::Out;
use super::pipeline::{self, MIN_POSITIONS};
use super::pool::Pool;
use super::team::Team;
use super::{Cpu, block_positions};
use crate::engine::{Answer, Engine, EngineError, Load, Precision, Want, check, check_counts};

/// From this many bytes on, reading them as a block is faster than stepping.
const BLOCK_FROM: usize = 4;
/// Elements of `h`, times bytes, that keep a thread busy with a replay for longer than it takes to wake it.
const REPLAYED_PER_THREAD: usize = 1 << 19;
/// Blocks of one call for each thread: enough that the beginning and the end of a pipeline cost little.
const BLOCKS: usize = 16;

/// A blob on a workstation's processors: all results have the bits of [`mambabyte_core::Decoder`], on any backend.
///
/// One row steps on several threads if its layers are worth it, and reads long texts as a pipeline of blocks on all of
/// them. Many rows are divided among the threads; those of a thread share blocks of positions.
pub struct IntEngine<'w> {
    blob: Blob<'w>,
    /// For the threads of a team.
    weights: Option<&'w Weights>,
    cpu: Cpu,
    pool: Pool,
}

/// The states of some streams of an [`IntEngine`], and the memory of its threads.
pub struct IntRows<'w> {
    /// The states, with what a step needs.
    streams: Vec<Decoder<'w, Vec<i16>, Vec<i32>>>,
    positions: Vec<u64>,
    /// One per thread, made when first needed.
    workers: Vec<Worker<'w>>,
    /// Threads that step; 1: without a team.
    shards: usize,
    team: Option<Team<'w>>,
    /// The row whose newest state is the team's.
    ahead: Option<usize>,
    /// The states after the drafts that were verified last, made when first needed.
    drafted: Vec<State<Vec<i16>>>,
    /// What was kept of each draft for going to a byte within it.
    kept: Vec<Kept>,
    /// The lengths of these drafts; none if the rows have moved since.
    drafts: Option<Vec<usize>>,
}

impl<'w> IntEngine<'w> {
    /// Weights in memory that suits them: the copy for `cpu.backend`, if there is one.
    pub fn new(weights: &'w Weights, cpu: Cpu) -> Self {
        Self { weights: Some(weights), ..Self::of(weights.blob_for(cpu.backend), cpu) }
    }

    /// A blob wherever it lies. Its steps run on the caller's thread; everything else is as in [`IntEngine::new`].
    pub fn of(blob: Blob<'w>, cpu: Cpu) -> Self {
        Self { blob, weights: None, cpu, pool: Pool::default() }
    }

    /// The model.
    pub const fn blob(&self) -> &Blob<'w> {
        &self.blob
    }

    /// Whether `rows` are of this model.
    fn check_rows(&self, rows: &IntRows<'w>) -> Result<(), EngineError> {
        let theirs = rows.streams.first().map(|stream| stream.blob().fingerprint());
        if theirs == Some(self.blob.fingerprint()) { Ok(()) } else { Err(EngineError::ForeignRows) }
    }

    /// The newest state of a row.
    fn settled<'r>(&self, rows: &'r mut IntRows<'w>, row: usize) -> Result<&'r mut State<Vec<i16>>, EngineError> {
        self.check_rows(rows)?;
        rows.settle();
        let count = rows.streams.len();
        match rows.streams.get_mut(row) {
            Some(stream) => Ok(stream.state_mut()),
            None => Err(EngineError::NoSuchRow { row, rows: count }),
        }
    }

    /// Steps through a few bytes of one row, on the caller's thread or on its team.
    fn step(&self, rows: &mut IntRows<'w>, row: usize, text: &[u8], mut out: Out<'_, i32>) {
        if rows.team.as_ref().is_some_and(Team::is_elsewhere) {
            // Forked: the state is here, the threads are not.
            rows.settle();
            rows.team = None;
        }
        for (index, &byte) in text.iter().enumerate() {
            let part = out.take(1, index + 1 == text.len());
            part.write(std::slice::from_ref(rows.step(self, row, byte)));
        }
    }

    /// Reads all bytes of all jobs, on as many threads as they are worth.
    ///
    /// # Errors
    /// [`EngineError::Threads`]; nothing is read then.
    fn work(&self, workers: &mut Vec<Worker<'w>>, mut jobs: Vec<Job<'_>>) -> Result<(), EngineError> {
        let longest = jobs.iter().map(|job| job.text.len()).max().unwrap_or(0);
        let several = jobs.len() >= self.cpu.threads || longest < MIN_POSITIONS;
        match self.cpu.threads {
            0 | 1 => self.workers(workers, 1).iter_mut().for_each(|worker| blocks::read(worker, &mut jobs)),
            threads if jobs.len() > 1 && several => {
                let pool = self.pool.start(threads)?;
                let groups = groups(jobs, threads);
                let pairs = self.workers(workers, groups.len()).par_iter_mut().zip(groups);
                pool.install(|| pairs.for_each(|(worker, mut jobs)| blocks::read(worker, &mut jobs)));
            }
            threads => {
                for mut job in jobs {
                    let threads = threads.min(job.text.len().div_ceil(MIN_POSITIONS));
                    match self.workers(workers, threads) {
                        [worker] => blocks::read(worker, std::slice::from_mut(&mut job)),
                        workers => pipeline::read(workers, &mut job),
                    }
                }
            }
        }
        Ok(())
    }

    /// Takes layers to their accepted bytes, `count` of all rows together, on as many threads as that is worth and the
    /// system gives.
    fn replay(&self, workers: &mut Vec<Worker<'w>>, mut layers: Vec<Going<'_>>, count: usize) {
        let go = |layer: Going<'_>, worker: &mut Worker<'w>| {
            let dims = *worker.blob().dims();
            layer.run(&dims, |layer, state, kept, count| worker.replay(layer, state, kept, count));
        };
        let dims = self.blob.dims();
        let work = count * dims.n_layer * dims.d_inner * dims.d_state;
        let threads = self.cpu.threads.min(layers.len()).min(work / REPLAYED_PER_THREAD).max(1);
        let pool = if threads > 1 { self.pool.start(self.cpu.threads).ok() } else { None };
        let workers = self.workers(workers, threads);
        match (pool, workers) {
            (None, [worker, ..]) => layers.into_iter().for_each(|layer| go(layer, worker)),
            (None, []) => {}
            (Some(pool), workers) => {
                let each = layers.len().div_ceil(threads);
                let parts: Vec<Vec<Going<'_>>> =
                    workers.iter().map(|_| layers.drain(..each.min(layers.len())).collect()).collect();
                let pairs = workers.par_iter_mut().zip(parts);
                pool.install(|| pairs.for_each(|(worker, part)| part.into_iter().for_each(|layer| go(layer, worker))));
            }
        }
    }

    /// The first `n` workers.
    fn workers<'a>(&self, workers: &'a mut Vec<Worker<'w>>, n: usize) -> &'a mut [Worker<'w>] {
        let positions = block_positions(self.blob.dims());
        while workers.len() < n {
            let scratch = vec![0; self.blob.dims().prefill_len(positions)];
            // The memory has just been sized by the function that `Prefill::new` checks.
            let worker = Prefill::new(self.blob, positions, scratch).unwrap_or_else(|_: StateError| unreachable!());
            workers.push(worker.with_backend(self.cpu.backend));
        }
        workers.get_mut(..n).unwrap_or(&mut [])
    }

    fn zero_state(&self) -> State<Vec<i16>> {
        let state = State::new(&self.blob, vec![0; self.blob.dims().state_len()]);
        // The memory has just been sized by the function that `State::new` checks.
        state.unwrap_or_else(|_| unreachable!())
    }
}

/// At most `n` groups of consecutive jobs, of about as many bytes each.
fn groups(jobs: Vec<Job<'_>>, n: usize) -> Vec<Vec<Job<'_>>> {
    let total: usize = jobs.iter().map(|job| job.text.len()).sum();
    let (mut groups, mut before) = (Vec::<(usize, Vec<Job<'_>>)>::new(), 0);
    for job in jobs {
        // The group that the middle of this job falls into.
        let group = (2 * before + job.text.len()) * n / (2 * total).max(1);
        before += job.text.len();
        match groups.last_mut() {
            Some((last, jobs)) if *last == group => jobs.push(job),
            _ => groups.push((group, vec![job])),
        }
    }
    groups.into_iter().map(|(_, jobs)| jobs).collect()
}

impl<'w> IntRows<'w> {
    /// Reads one byte into `row`; the logits of the next one.
    fn step(&mut self, engine: &IntEngine<'w>, row: usize, byte: u8) -> &mambabyte_core::Logits {
        if let (None, Some(weights), true) = (&self.team, engine.weights, self.shards > 1) {
            self.team = Team::new(weights, engine.cpu.backend, self.shards).ok();
            // If the system gives no threads, decode runs without them.
            self.shards = if self.team.is_some() { self.shards } else { 1 };
        }
        if self.team.is_some() && self.ahead != Some(row) {
            self.settle();
        }
        self.positions[row] = self.positions[row].wrapping_add(1);
        let stream = &mut self.streams[row];
        let Some(team) = &mut self.team else { return stream.step(byte) };
        if self.ahead.is_none() {
            team.load(stream.state());
            self.ahead = Some(row);
        }
        team.step(byte)
    }

    /// Copies the newest state of a row from the team to its place.
    fn settle(&mut self) {
        if let (Some(team), Some(row)) = (&self.team, self.ahead.take()) {
            let state = self.streams[row].state_mut();
            team.store(state);
            state.count(self.positions[row].wrapping_sub(state.position()));
        }
    }
}

impl<'w> Engine for IntEngine<'w> {
    type Rows = IntRows<'w>;

    fn dims(&self) -> &Dims {
        self.blob.dims()
    }

    fn precision(&self) -> Precision {
        Precision::Exact
    }

    fn unknown_text(&self) -> u16 {
        self.blob.unknown_text()
    }

    fn full_load(&self) -> Load {
        let bytes = self.cpu.threads * BLOCKS * block_positions(self.blob.dims());
        Load { rows: self.cpu.threads, bytes, block: 1 }
    }

    fn rows(&self, n: usize) -> Result<IntRows<'w>, EngineError> {
        if n == 0 {
            return Err(EngineError::NoRows);
        }
        Ok(IntRows {
            streams: (0..n).map(|_| Decoder::owned(self.blob).with_backend(self.cpu.backend)).collect(),
            positions: vec![0; n],
            workers: Vec::new(),
            shards: if self.weights.is_some() { self.cpu.decode_threads(self.blob.dims()) } else { 1 },
            team: None,
            ahead: None,
            drafted: Vec::new(),
            kept: Vec::new(),
            drafts: None,
        })
    }

    fn positions<'r>(&self, rows: &'r IntRows<'w>) -> &'r [u64] {
        &rows.positions
    }

    fn read_into(
        &self,
        rows: &mut IntRows<'w>,
        text: &[&[u8]],
        want: Want<'_>,
        answer: &mut Answer,
    ) -> Result<(), EngineError> {
        check(rows.streams.len(), text, want)?;
        self.check_rows(rows)?;
        rows.drafts = None;
        let mut with_text = text.iter().enumerate().filter(|(_, text)| !text.is_empty());
        if let (Some((row, bytes)), None) = (with_text.next(), with_text.next())
            && bytes.len() < BLOCK_FROM
        {
            let out = Out::one(answer, row, bytes, want);
            self.step(rows, row, bytes, out);
            return Ok(());
        }
        rows.settle();
        let outs = Out::all(answer, text, want);
        let streams = rows.streams.iter_mut().zip(text).filter(|(_, text)| !text.is_empty());
        let jobs = streams.zip(outs).map(|((stream, text), out)| Job {
            state: stream.state_mut(),
            text,
            out,
            keep: Keep::nothing(),
        });
        self.work(&mut rows.workers, jobs.collect())?;
        rows.positions.iter_mut().zip(text).for_each(|(p, text)| *p = p.wrapping_add(text.len() as u64));
        Ok(())
    }

    fn fork(&self, rows: &mut IntRows<'w>, from: usize, to: usize) -> Result<(), EngineError> {
        self.settled(rows, from)?;
        self.settled(rows, to)?;
        if let Ok([from, to]) = rows.streams.get_disjoint_mut([from, to]) {
            to.state_mut().clone_from(from.state())?;
        }
        rows.positions[to] = rows.positions[from];
        rows.drafts = None;
        Ok(())
    }

    fn copy(&self, source: &mut IntRows<'w>, rows: &mut IntRows<'w>, which: &[usize]) -> Result<(), EngineError> {
        for &row in which {
            let state = self.settled(source, row)?;
            self.settled(rows, row)?.clone_from(state)?;
            rows.positions[row] = source.positions[row];
        }
        rows.drafts = None;
        Ok(())
    }

    fn reset(&self, rows: &mut IntRows<'w>, row: usize) -> Result<(), EngineError> {
        self.settled(rows, row)?.reset();
        rows.positions[row] = 0;
        rows.drafts = None;
        Ok(())
    }

    fn state(&self, rows: &mut IntRows<'w>, row: usize) -> Result<State<Vec<i16>>, EngineError> {
        let mut copy = self.zero_state();
        copy.clone_from(self.settled(rows, row)?)?;
        Ok(copy)
    }

    fn set_state(&self, rows: &mut IntRows<'w>, row: usize, state: &State<Vec<i16>>) -> Result<(), EngineError> {
        self.settled(rows, row)?.clone_from(state)?;
        rows.positions[row] = state.position();
        rows.drafts = None;
        Ok(())
    }

    fn draft(&self, rows: &mut IntRows<'w>, drafts: &[&[u8]], answer: &mut Answer) -> Result<(), EngineError> {
        check(rows.streams.len(), drafts, Want::All)?;
        self.check_rows(rows)?;
        rows.settle();
        rows.drafts = None;
        while rows.drafted.len() < rows.streams.len() {
            rows.drafted.push(self.zero_state());
        }
        rows.kept.resize_with(rows.streams.len(), Kept::default);
        let outs = Out::all(answer, drafts, Want::All);
        let mut jobs = Vec::with_capacity(outs.len());
        let streams = rows.streams.iter().zip(&mut rows.drafted).zip(&mut rows.kept).zip(drafts);
        for ((((stream, state), kept), text), out) in streams.filter(|(_, draft)| !draft.is_empty()).zip(outs) {
            state.clone_from(stream.state())?;
            jobs.push(Job { state, text, out, keep: kept.begin(self.blob.dims(), text.len()) });
        }
        self.work(&mut rows.workers, jobs)?;
        rows.drafts = Some(drafts.iter().map(|draft| draft.len()).collect());
        Ok(())
    }

    fn accept(&self, rows: &mut IntRows<'w>, counts: &[usize]) -> Result<(), EngineError> {
        self.check_rows(rows)?;
        let Some(drafts) = &rows.drafts else { return Err(EngineError::NoDraft) };
        check_counts(drafts.iter().copied(), counts)?;
        let mut layers = Vec::new();
        let parts = drafts.iter().zip(counts);
        let streams = rows.streams.iter_mut().zip(&mut rows.drafted).zip(&rows.kept);
        for (((stream, after), kept), (&all, &count)) in streams.zip(parts) {
            if all > 0 && count == all {
                std::mem::swap(stream.state_mut(), after);
            } else if count > 0 {
                layers.extend(kept.go(&self.blob, stream.state_mut(), count));
            }
        }
        self.replay(&mut rows.workers, layers, counts.iter().sum());
        rows.positions.iter_mut().zip(counts).for_each(|(p, &count)| *p = p.wrapping_add(count as u64));
        rows.drafts = None;
        Ok(())
    }
}
