//! A stream that is scored line by line: [`Reader`].

use mambabyte_core::snapshot::{Section, Sections, Snapshot};
use mambabyte_core::{LineScore, LineScorer, Threshold};

use super::Passage;
use crate::engine::{Engine, EngineError};

/// A model that reads a stream and scores its lines.
pub struct Reader<'e, E: Engine> {
    passage: Passage<'e, E>,
    scorer: LineScorer,
}

impl<'e, E: Engine> Reader<'e, E> {
    /// At the zero state; a 0x00 byte is pending, as in training windows.
    ///
    /// # Errors
    /// Those of [`Engine::rows`].
    pub fn new(engine: &'e E, threshold: Threshold) -> Result<Self, EngineError> {
        Ok(Self { passage: Passage::new(engine)?, scorer: LineScorer::new(threshold, 0) })
    }

    /// Reads a byte: its surprise in Q16 bits, and the score of the line that it ends.
    ///
    /// # Errors
    /// Those of [`Engine::read_into`].
    pub fn read(&mut self, byte: u8) -> Result<(u32, Option<LineScore>), EngineError> {
        let bits = self.passage.surprise(&[byte])?.first().copied().unwrap_or(0);
        Ok((bits, self.scorer.push(byte, bits)))
    }

    /// Reads `bytes` as blocks, which is faster than one by one; `see(byte, surprise, score)` is called for each. If it
    /// fails, the bytes after that one have not been read.
    ///
    /// # Errors
    /// What `see` returns, and those of [`Engine::read_into`].
    pub fn read_all<F: From<EngineError>>(
        &mut self,
        bytes: &[u8],
        mut see: impl FnMut(u8, u32, Option<LineScore>) -> Result<(), F>,
    ) -> Result<(), F> {
        let costs = self.passage.surprise(bytes)?;
        let mut seen = Ok(());
        let mut count = 0;
        for (&byte, &bits) in bytes.iter().zip(&*costs) {
            let score = self.scorer.push(byte, bits);
            count += 1;
            seen = see(byte, bits, score);
            if seen.is_err() {
                break;
            }
        }
        if seen.is_err() {
            self.passage.keep(count)?;
        }
        seen
    }

    /// Ends the line that is open at the end of the stream.
    pub fn finish(&mut self) -> Option<LineScore> {
        self.scorer.finish()
    }

    /// A snapshot of the stream: state, pending byte, line scorer.
    ///
    /// # Errors
    /// [`EngineError::NotIntegers`] of a float engine.
    pub fn save(&mut self) -> Result<Vec<u8>, EngineError> {
        let mut out = vec![0; Sections::STREAM.snapshot_bytes(self.passage.engine().dims())];
        let mut beside = [Section::Pending(self.passage.pending()), Section::Lines(&self.scorer)];
        self.passage.state()?.snapshot_with(&mut beside, &mut out)?;
        Ok(out)
    }

    /// Continues where [`Reader::save`] stopped.
    ///
    /// # Errors
    /// [`EngineError::State`] for anything but a whole, undamaged save of the same model, [`EngineError::NotIntegers`];
    /// nothing has changed then.
    pub fn load(&mut self, saved: &[u8], threshold: Threshold) -> Result<(), EngineError> {
        let saved = Snapshot::parse(saved, Sections::STREAM)?;
        let (pending, scorer) = (saved.pending()?, LineScorer::load(threshold, saved.lines()?));
        let mut state = self.passage.state()?;
        state.load(&saved)?;
        self.passage.resume(&state, pending)?;
        self.scorer = scorer;
        Ok(())
    }
}
