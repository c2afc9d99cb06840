//! A model that reads bytes, whatever computes it: [`Engine`].
//!
//! Everything that reads a text, scores it, streams it or writes one is written once, for any engine. The engines are
//! [`IntEngine`](crate::cpu::IntEngine) and [`FloatEngine`](crate::cpu::FloatEngine) on processors, `cuda::GpuModel` on
//! GPUs, and [`AnyEngine`], one of these chosen at run time.
//!
//! An engine holds the weights; its *rows* are the states of some streams of bytes, which move together or one at a
//! time. One byte a row is a step, many are prefill.
//!
//! ```
//! use mambabyte_core::{Blob, include_blob, most_probable};
//! use mambabyte_host::cpu::{Cpu, IntEngine};
//! use mambabyte_host::engine::{Engine, Want};
//!
//! let blob = Blob::parse(include_blob!("../../../models/sensor-pico/model.mbb"))?;
//! let engine = IntEngine::of(blob, Cpu::default());
//! let mut rows = engine.rows(2)?;
//! let answer = engine.read(&mut rows, &[b"$GPGGA,12", b""], Want::Last)?;
//! let next = most_probable(&answer.logits()[0]);
//!
//! // The second stream becomes a copy of the first; both get a draft, and each accepts a part of its own.
//! engine.fork(&mut rows, 0, 1)?;
//! let verified = engine.verify(&mut rows, &[&[next, b'0'], b"x"])?;
//! verified.accept(&[1, 0])?;
//! assert_eq!(engine.positions(&rows), [10, 9]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod answer;
mod any;
mod error;
mod precision;
pub(crate) mod propose;
mod verified;

pub use answer::{Answer, natural};
pub use any::{AnyEngine, AnyRows};
pub use error::EngineError;
pub use precision::Precision;
pub use verified::Verified;

use mambabyte_core::{Dims, Rng, SampleOptions, State, sample};

/// Most bytes of a draft.
pub const MAX_DRAFT: usize = 32;

/// What a call returns of the bytes that it reads.
#[derive(Clone, Copy, Debug)]
pub enum Want<'a> {
    /// Nothing: only the state moves.
    Nothing,
    /// The logits after the last byte of each row that has one.
    Last,
    /// The logits after every byte.
    All,
    /// What the byte that follows each byte costs. The following bytes are given, as many as are read: for a text, the
    /// text without its first byte, and any byte at the end.
    Surprise(&'a [&'a [u8]]),
}

/// What keeps an engine busy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Long texts that are read side by side.
    pub rows: usize,
    /// Bytes of a call, of all rows together.
    pub bytes: usize,
    /// Bytes of a verified block, of all rows together, that cost hardly more than one. 1 where every byte costs.
    pub block: usize,
}

/// A model that reads bytes.
///
/// Results do not depend on how a text is cut into calls, nor on what other rows read: every row is what it would be
/// alone. For an engine in integers this holds to the last bit, on every machine; float engines may round differently
/// in prefill and in a step.
///
/// After an error rows are as they were, unless the engine says otherwise.
pub trait Engine {
    /// The states of some streams, with the memory that reading them needs. They belong to one engine.
    type Rows;

    /// The shape.
    fn dims(&self) -> &Dims;

    /// What it computes in.
    fn precision(&self) -> Precision;

    /// Bits per byte above which a text is none that the model knows, Q8; 0 if it does not say, as checkpoints do not.
    fn unknown_text(&self) -> u16 {
        0
    }

    /// How callers with many bytes to read should cut them into rows and calls. The results do not depend on it.
    fn full_load(&self) -> Load;

    /// `n` streams at the zero state.
    ///
    /// # Errors
    /// [`EngineError::NoRows`] if `n` is 0; what the machine says if it has no memory or no threads for that many.
    fn rows(&self, n: usize) -> Result<Self::Rows, EngineError>;

    /// Bytes that each row has read since the zero state; as many numbers as there are rows.
    fn positions<'r>(&self, rows: &'r Self::Rows) -> &'r [u64];

    /// Reads `text[row]` into each row, as many bytes as there are: none is allowed, and rows may have different
    /// numbers. `answer` becomes what `want` asks for; its memory is reused, so that a loop over bytes allocates
    /// nothing.
    ///
    /// # Errors
    /// [`EngineError::Rows`] if there are not as many texts as rows (or as many next bytes as bytes),
    /// [`EngineError::ForeignRows`].
    /// # Cost
    /// One multiply-add per weight and byte. Weights are read once for many bytes, of one row or of several.
    fn read_into(
        &self,
        rows: &mut Self::Rows,
        text: &[&[u8]],
        want: Want<'_>,
        answer: &mut Answer,
    ) -> Result<(), EngineError>;

    /// [`Engine::read_into`] with a new answer.
    ///
    /// # Errors
    /// The same.
    fn read(&self, rows: &mut Self::Rows, text: &[&[u8]], want: Want<'_>) -> Result<Answer, EngineError> {
        let mut answer = Answer::Nothing;
        self.read_into(rows, text, want, &mut answer)?;
        Ok(answer)
    }

    /// Row `to` becomes a copy of row `from`: one copy of a state.
    ///
    /// # Errors
    /// [`EngineError::NoSuchRow`], [`EngineError::ForeignRows`].
    fn fork(&self, rows: &mut Self::Rows, from: usize, to: usize) -> Result<(), EngineError>;

    /// Each row of `which` becomes a copy of the row with its number in `source`, other rows of this engine.
    ///
    /// # Errors
    /// [`EngineError::NoSuchRow`], [`EngineError::ForeignRows`].
    /// # Cost
    /// A copy of each state; on a GPU one of all of them, if all are copied.
    fn copy(&self, source: &mut Self::Rows, rows: &mut Self::Rows, which: &[usize]) -> Result<(), EngineError>;

    /// Row `row` goes back to the zero state.
    ///
    /// # Errors
    /// [`EngineError::NoSuchRow`], [`EngineError::ForeignRows`].
    fn reset(&self, rows: &mut Self::Rows, row: usize) -> Result<(), EngineError>;

    /// A copy of the state of a row.
    ///
    /// # Errors
    /// [`EngineError::NotIntegers`] of a float engine; [`EngineError::NoSuchRow`], [`EngineError::ForeignRows`].
    fn state(&self, rows: &mut Self::Rows, row: usize) -> Result<State<Vec<i16>>, EngineError>;

    /// Row `row` continues at `state`.
    ///
    /// # Errors
    /// As [`Engine::state`]; [`EngineError::State`] if it is of another model.
    fn set_state(&self, rows: &mut Self::Rows, row: usize, state: &State<Vec<i16>>) -> Result<(), EngineError>;

    /// The state of a row as the core saves it: equal on every machine.
    ///
    /// # Errors
    /// As [`Engine::state`].
    fn snapshot(&self, rows: &mut Self::Rows, row: usize) -> Result<Vec<u8>, EngineError> {
        let mut out = vec![0; self.dims().snapshot_bytes()];
        self.state(rows, row)?.snapshot(&mut out)?;
        Ok(out)
    }

    /// Row `row` continues at a snapshot.
    ///
    /// # Errors
    /// As [`Engine::state`]; [`EngineError::State`] for a snapshot that is damaged or of another model.
    fn restore(&self, rows: &mut Self::Rows, row: usize, snapshot: &[u8]) -> Result<(), EngineError> {
        let mut state = self.state(rows, row)?;
        state.restore(snapshot)?;
        self.set_state(rows, row, &state)
    }

    /// Scores drafted bytes as one block, up to [`MAX_DRAFT`] a row, without moving the rows: [`Verified::accept`]
    /// moves them. The logits are those of as many steps, to the last bit.
    ///
    /// # Errors
    /// [`EngineError::LongDraft`]; else as [`Engine::read_into`].
    /// # Cost
    /// One read of the weights, as for a block; float engines on CPUs step.
    fn verify<'s>(&'s self, rows: &'s mut Self::Rows, drafts: &[&[u8]]) -> Result<Verified<'s, Self>, EngineError>
    where
        Self: Sized,
    {
        if let Some(long) = drafts.iter().find(|d| d.len() > MAX_DRAFT) {
            return Err(EngineError::LongDraft { found: long.len() });
        }
        let mut answer = Answer::Nothing;
        self.draft(rows, drafts, &mut answer)?;
        Ok(Verified::new(self, rows, drafts, answer))
    }

    /// Does the work of [`Engine::verify`], which is the one to call: gives all logits of `drafts` and leaves the rows
    /// where they were. The rows remember the drafts until these are accepted or a row moves in another way.
    ///
    /// # Errors
    /// As [`Engine::read_into`].
    fn draft(&self, rows: &mut Self::Rows, drafts: &[&[u8]], answer: &mut Answer) -> Result<(), EngineError>;

    /// Does the work of [`Verified::accept`], which is the one to call: moves each row by the first `counts[row]` bytes
    /// of the draft that it remembers. The state is the one after as many steps, to the last bit.
    ///
    /// # Errors
    /// [`EngineError::NoDraft`] if the rows remember none, [`EngineError::Rows`], [`EngineError::TooManyAccepted`];
    /// nothing is accepted then.
    /// # Cost
    /// A whole draft is a swap of states. A part of one is computed again from what the draft has kept: blobs on CPUs go
    /// through convolution and scan, without a projection; float engines on CPUs read it again.
    fn accept(&self, rows: &mut Self::Rows, counts: &[usize]) -> Result<(), EngineError>;

    /// Writes `count` bytes a row: reads `last`, samples the next byte, reads that, and so on. `last` becomes the last
    /// byte written, which is not read yet.
    ///
    /// The bytes are those of [`mambabyte_core::sample()`] over [`Answer::logits`], unless the engine says otherwise.
    ///
    /// # Errors
    /// [`EngineError::Rows`] if there are not as many of `last` or `rngs` as rows; else as [`Engine::read_into`].
    fn generate(
        &self,
        rows: &mut Self::Rows,
        last: &mut [u8],
        rngs: &mut [Rng],
        options: &SampleOptions,
        count: usize,
    ) -> Result<Vec<Vec<u8>>, EngineError> {
        let n = self.positions(rows).len();
        if let Some(found) = [last.len(), rngs.len()].into_iter().find(|&found| found != n) {
            return Err(EngineError::Rows { expected: n, found });
        }
        let mut written = vec![Vec::with_capacity(count); n];
        let mut answer = Answer::Nothing;
        for _ in 0..count {
            let text: Vec<&[u8]> = last.iter().map(std::slice::from_ref).collect();
            self.read_into(rows, &text, Want::Last, &mut answer)?;
            let logits = answer.logits();
            for (((last, rng), logits), written) in last.iter_mut().zip(&mut *rngs).zip(&*logits).zip(&mut written) {
                *last = sample(logits, options, rng);
                written.push(*last);
            }
        }
        Ok(written)
    }

    /// Writes what [`Engine::generate`] would, and leaves `rows` where they are: `ahead`, as many other rows of this engine,
    /// read it in their place, wherever they were before. `last` and `rngs` are those of the text, and stay.
    ///
    /// # Errors
    /// As [`Engine::generate`] and [`Engine::copy`]; `ahead` is worthless then.
    /// # Cost
    /// Copies of the states, and a step for each byte; on a GPU with a persistent kernel one launch, for at most
    /// [`MAX_DRAFT`] - 1 bytes.
    fn propose(
        &self,
        rows: &mut Self::Rows,
        ahead: &mut Self::Rows,
        (last, rngs): (&[u8], &[Rng]),
        options: &SampleOptions,
        count: usize,
    ) -> Result<Vec<Vec<u8>>, EngineError> {
        propose::propose(self, rows, ahead, (last, rngs), options, count)
    }

    /// Reads what was right of the last proposal: `text[row]` begins what was proposed to the row, `last` before it; it may
    /// be empty. Neither `rows` nor `ahead` have moved since.
    ///
    /// # Errors
    /// As [`Engine::copy`] and [`Engine::read_into`]; engines that keep the proposal also say [`EngineError::NoDraft`] if `rows` have
    /// moved since, and [`EngineError::TooManyAccepted`].
    /// # Cost
    /// A copy of the state if all of it was right, else a step for each byte; after one launch on a GPU what
    /// [`Engine::accept`] costs.
    fn follow(&self, rows: &mut Self::Rows, ahead: &mut Self::Rows, text: &[&[u8]]) -> Result<(), EngineError> {
        propose::follow(self, rows, ahead, text)
    }
}

/// What every engine checks before it reads.
///
/// # Errors
/// [`EngineError::Rows`].
pub(crate) fn check(rows: usize, text: &[&[u8]], want: Want<'_>) -> Result<(), EngineError> {
    if text.len() != rows {
        return Err(EngineError::Rows { expected: rows, found: text.len() });
    }
    if let Want::Surprise(next) = want {
        let same = next.len() == rows && next.iter().zip(text).all(|(next, text)| next.len() == text.len());
        if !same {
            return Err(EngineError::Next);
        }
    }
    Ok(())
}

/// What every engine checks before it accepts `counts` bytes of drafts of `lengths`.
///
/// # Errors
/// [`EngineError::Rows`], [`EngineError::TooManyAccepted`].
pub(crate) fn check_counts(lengths: impl ExactSizeIterator<Item = usize>, counts: &[usize]) -> Result<(), EngineError> {
    if counts.len() != lengths.len() {
        return Err(EngineError::Rows { expected: lengths.len(), found: counts.len() });
    }
    for (row, (&asked, verified)) in counts.iter().zip(lengths).enumerate() {
        if asked > verified {
            return Err(EngineError::TooManyAccepted { row, asked, verified });
        }
    }
    Ok(())
}
