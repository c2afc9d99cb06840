//! A stream of bytes, and what an engine predicts of each: [`Passage`].

use std::borrow::Cow;

use mambabyte_core::{Logits, State, VOCAB};

use crate::engine::{Answer, Engine, EngineError, Want};

/// The row of the stream.
const STREAM: usize = 0;
/// The row that keeps the state before the last block.
const BEFORE: usize = 1;
/// The row that keeps the state at the mark.
const MARK: usize = 2;
/// Bytes of one block of [`Passage::replay`].
const REPLAY: usize = 128;

/// A stream that an engine reads. The state has read all bytes but the last one, which is pending: the byte after it is
/// predicted when that byte has come. At the beginning a 0x00 byte is pending, as in training windows.
pub struct Passage<'e, E: Engine> {
    engine: &'e E,
    rows: E::Rows,
    pending: u8,
    /// What was read in the last block: the byte that was pending before, and all of the block but its last byte.
    block: Vec<u8>,
    answer: Answer,
    /// The byte that was pending at the mark.
    mark: u8,
}

impl<'e, E: Engine> Passage<'e, E> {
    /// A stream at the zero state.
    ///
    /// # Errors
    /// Those of [`Engine::rows`].
    pub fn new(engine: &'e E) -> Result<Self, EngineError> {
        let rows = engine.rows(3)?;
        Ok(Self { engine, rows, pending: 0, block: Vec::new(), answer: Answer::Nothing, mark: 0 })
    }

    /// The engine.
    pub const fn engine(&self) -> &'e E {
        self.engine
    }

    /// The last byte, which the state has not read.
    pub const fn pending(&self) -> u8 {
        self.pending
    }

    /// Takes the next bytes of the stream; the logits that each was predicted with.
    ///
    /// # Errors
    /// Those of [`Engine::read_into`].
    pub fn logits(&mut self, bytes: &[u8]) -> Result<Cow<'_, [Logits]>, EngineError> {
        self.read(bytes, Want::All)?;
        Ok(self.answer.logits())
    }

    /// Takes the next bytes of the stream; the bits that each cost, Q16. They are computed on the engine's threads.
    ///
    /// # Errors
    /// Those of [`Engine::read_into`].
    pub fn surprise(&mut self, bytes: &[u8]) -> Result<Cow<'_, [u32]>, EngineError> {
        self.read(bytes, Want::Surprise(&[bytes, b"", b""]))?;
        Ok(self.answer.surprise())
    }

    /// Writes the next byte of the stream: what `choose` makes of its logits.
    ///
    /// # Errors
    /// Those of [`Engine::read_into`].
    pub fn write(&mut self, choose: impl FnOnce(&Logits) -> u8) -> Result<u8, EngineError> {
        self.block.clear();
        self.block.push(self.pending);
        self.engine.read_into(&mut self.rows, &[&self.block, b"", b""], Want::Last, &mut self.answer)?;
        let logits = self.answer.logits();
        self.pending = choose(logits.first().unwrap_or(&[0; VOCAB]));
        Ok(self.pending)
    }

    fn read(&mut self, bytes: &[u8], want: Want<'_>) -> Result<(), EngineError> {
        self.block.clear();
        let Some((&last, head)) = bytes.split_last() else {
            self.answer = Answer::Nothing;
            return Ok(());
        };
        // Of a block of one byte there is no smaller part to keep.
        if !head.is_empty() {
            self.engine.fork(&mut self.rows, STREAM, BEFORE)?;
        }
        self.block.push(self.pending);
        self.block.extend_from_slice(head);
        self.engine.read_into(&mut self.rows, &[&self.block, b"", b""], want, &mut self.answer)?;
        self.pending = last;
        Ok(())
    }

    /// Goes back within the last block: only its first `count` bytes, at least one, count as read.
    ///
    /// # Errors
    /// Those of [`Engine::read_into`]; [`EngineError::TooManyAccepted`] if `count` is 0 or more than the block.
    pub fn keep(&mut self, count: usize) -> Result<(), EngineError> {
        if count == 0 || count > self.block.len() {
            return Err(EngineError::TooManyAccepted { row: STREAM, asked: count, verified: self.block.len() });
        }
        if count < self.block.len() {
            self.engine.fork(&mut self.rows, BEFORE, STREAM)?;
            let text = self.block.get(..count).unwrap_or(&[]);
            self.engine.read_into(&mut self.rows, &[text, b"", b""], Want::Nothing, &mut self.answer)?;
            self.pending = self.block.get(count).copied().unwrap_or(self.pending);
            self.block.truncate(count);
        }
        Ok(())
    }

    /// The logits of the byte that comes next; the stream stays where it is. [`Passage::keep`] is not possible before the next
    /// block.
    ///
    /// # Errors
    /// Those of [`Engine::read_into`].
    /// # Cost
    /// A copy of the state, and a step.
    pub fn peek(&mut self) -> Result<Cow<'_, [Logits]>, EngineError> {
        self.block.clear();
        self.engine.fork(&mut self.rows, STREAM, BEFORE)?;
        self.engine.read_into(&mut self.rows, &[b"", &[self.pending], b""], Want::Last, &mut self.answer)?;
        Ok(self.answer.logits())
    }

    /// Remembers this place of the stream, for [`Passage::replay`]; at first that is its beginning.
    ///
    /// # Errors
    /// Those of [`Engine::fork`].
    /// # Cost
    /// A copy of the state.
    pub fn mark(&mut self) -> Result<(), EngineError> {
        self.engine.fork(&mut self.rows, STREAM, MARK)?;
        self.mark = self.pending;
        Ok(())
    }

    /// Reads `text` once more from the mark on, beside the stream, which stays where it is: `see` gets the logits of each
    /// byte of it, and of the byte after it. [`Passage::keep`] is not possible before the next block.
    ///
    /// # Errors
    /// Those of [`Engine::read_into`].
    pub fn replay(&mut self, text: &[u8], mut see: impl FnMut(usize, &Logits)) -> Result<(), EngineError> {
        self.block.clear();
        self.engine.fork(&mut self.rows, MARK, BEFORE)?;
        let input: Vec<u8> = std::iter::once(self.mark).chain(text.iter().copied()).collect();
        for (part, bytes) in input.chunks(REPLAY).enumerate() {
            self.engine.read_into(&mut self.rows, &[b"", bytes, b""], Want::All, &mut self.answer)?;
            self.answer.logits().iter().enumerate().for_each(|(at, logits)| see(part * REPLAY + at, logits));
        }
        Ok(())
    }

    /// Back to the zero state, as at the beginning of a stream.
    ///
    /// # Errors
    /// Those of [`Engine::reset`].
    pub fn reset(&mut self) -> Result<(), EngineError> {
        self.engine.reset(&mut self.rows, STREAM)?;
        self.block.clear();
        self.pending = 0;
        Ok(())
    }

    /// A copy of the state.
    ///
    /// # Errors
    /// [`EngineError::NotIntegers`] of a float engine.
    pub fn state(&mut self) -> Result<State<Vec<i16>>, EngineError> {
        self.engine.state(&mut self.rows, STREAM)
    }

    /// Continues at `state` with `pending`.
    ///
    /// # Errors
    /// Those of [`Engine::set_state`]; nothing has changed then.
    pub fn resume(&mut self, state: &State<Vec<i16>>, pending: u8) -> Result<(), EngineError> {
        self.engine.set_state(&mut self.rows, STREAM, state)?;
        self.block.clear();
        self.pending = pending;
        Ok(())
    }
}
