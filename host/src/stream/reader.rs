//! A stream that is scored line by line: [`Reader`].

use mambabyte_core::lines::SAVED;
use mambabyte_core::{LineScore, LineScorer, StateError, Threshold};

use super::Passage;
use crate::engine::{Engine, EngineError};

/// A model that reads a stream and scores its lines.
pub struct Reader<'e, E: Engine> {
    passage: Passage<'e, E>,
    scorer: LineScorer,
}

/// Bytes after the snapshot in a saved stream: the pending byte, the line scorer, CRC-32 of both.
const TRAILER: usize = 1 + SAVED + 4;

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

    /// Reads `bytes` as blocks, which is faster than one by one; `see(byte, surprise, score)` hears of each. If it fails,
    /// the bytes after that one have not been read.
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

    /// State, pending byte and line history.
    ///
    /// # Errors
    /// [`EngineError::NotIntegers`] of a float engine.
    pub fn save(&mut self) -> Result<Vec<u8>, EngineError> {
        let mut out = vec![0; self.passage.engine().dims().snapshot_bytes()];
        self.passage.state()?.snapshot(&mut out)?;
        let mut scorer = [0; SAVED];
        self.scorer.save(&mut scorer);
        let mut trailer = vec![self.passage.pending()];
        trailer.extend_from_slice(&scorer);
        trailer.extend_from_slice(&crc32fast::hash(&trailer).to_le_bytes());
        out.extend(trailer);
        Ok(out)
    }

    /// Continues where [`Reader::save`] stopped.
    ///
    /// # Errors
    /// [`EngineError::State`] for anything but a whole, undamaged save of the same model, [`EngineError::NotIntegers`];
    /// nothing has changed then.
    pub fn load(&mut self, saved: &[u8], threshold: Threshold) -> Result<(), EngineError> {
        let snapshot = self.passage.engine().dims().snapshot_bytes();
        // A wrong magic or model is a better answer than a wrong length, so the snapshot part is judged first.
        let head = saved.get(..snapshot).unwrap_or(saved);
        let mut state = self.passage.state()?;
        state.restore(head)?;
        let length = StateError::Length { expected: snapshot + TRAILER, found: saved.len() };
        let Some(trailer) = saved.get(snapshot..).filter(|t| t.len() == TRAILER) else { return Err(length.into()) };
        let (body, crc) = trailer.split_at(TRAILER - 4);
        let stored = u32::from_le_bytes([crc[0], crc[1], crc[2], crc[3]]);
        let computed = crc32fast::hash(body);
        if stored != computed {
            return Err(StateError::Checksum { stored, computed }.into());
        }
        let Some((&pending, Ok(scorer))) = body.split_first().map(|(p, s)| (p, s.try_into())) else {
            return Err(length.into());
        };
        self.passage.resume(&state, pending)?;
        self.scorer = LineScorer::load(threshold, scorer);
        Ok(())
    }
}
