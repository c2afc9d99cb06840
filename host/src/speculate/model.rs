//! Another model as a drafter: [`ModelDrafter`].

use super::{Ask, Choice, Draft, Drafter};
use crate::engine::{Answer, Engine, EngineError, Want};

/// Bytes that are read at once rather than with the next draft.
const READ_FROM: usize = 256;

/// Drafts what a smaller model would write with the same random numbers.
///
/// A second row of each stream runs ahead. If all of a draft is accepted the first one becomes its copy; if not, it reads
/// what was accepted.
pub struct ModelDrafter<'e, E: Engine> {
    engine: &'e E,
    /// The streams, then those that run ahead.
    rows: E::Rows,
    streams: Vec<Stream>,
    answer: Answer,
}

/// What is known of a stream beside its state.
struct Stream {
    /// Bytes that its row has not read; the last one stays until a draft begins with it.
    unread: Vec<u8>,
    /// What its other row has read beyond its own.
    ahead: Vec<u8>,
}

impl<'e, E: Engine> ModelDrafter<'e, E> {
    /// For `n` streams that begin as texts do: with a 0x00 byte.
    ///
    /// # Errors
    /// Those of [`Engine::rows`].
    pub fn new(engine: &'e E, n: usize) -> Result<Self, EngineError> {
        let streams = (0..n).map(|_| Stream { unread: vec![0], ahead: Vec::new() }).collect();
        Ok(Self { engine, rows: engine.rows(2 * n)?, streams, answer: Answer::Nothing })
    }

    /// Rows read `text`, those that run ahead, too.
    fn all(&mut self, text: &[&[u8]], want: Want<'_>) -> Result<(), EngineError> {
        self.engine.read_into(&mut self.rows, text, want, &mut self.answer)
    }

    /// The streams' rows read what they have not, but for the last byte, where `which` says so.
    fn catch_up(&mut self, which: impl Fn(usize, &Stream) -> bool) -> Result<(), EngineError> {
        let n = self.streams.len();
        let mut heads = vec![Vec::new(); 2 * n];
        for (row, stream) in self.streams.iter_mut().enumerate() {
            if which(row, stream) && stream.unread.len() > 1 {
                let last = stream.unread.len() - 1;
                heads[row] = stream.unread.drain(..last).collect();
                stream.ahead.clear();
            }
        }
        if heads.iter().all(Vec::is_empty) {
            return Ok(());
        }
        let text: Vec<&[u8]> = heads.iter().map(Vec::as_slice).collect();
        self.all(&text, Want::Nothing)
    }
}

impl<E: Engine> Drafter for ModelDrafter<'_, E> {
    fn read(&mut self, text: &[&[u8]]) -> Result<(), EngineError> {
        self.streams.iter_mut().zip(text).for_each(|(stream, text)| stream.unread.extend_from_slice(text));
        self.catch_up(|_, stream| stream.unread.len() > READ_FROM)
    }

    /// A copy of the state, and a step of the drafter for each byte.
    fn draft(&mut self, asks: &[Ask], choice: &Choice, drafts: &mut [Draft]) -> Result<(), EngineError> {
        let n = self.streams.len();
        let wanted = |row: usize| asks.get(row).is_some_and(|ask| ask.most > 0);
        for row in (0..n).filter(|&row| wanted(row)) {
            let Stream { unread, ahead } = &mut self.streams[row];
            if !ahead.is_empty() && unread.len() > ahead.len() && unread.starts_with(ahead) {
                self.engine.fork(&mut self.rows, n + row, row)?;
                unread.drain(..ahead.len());
                ahead.clear();
            }
        }
        self.catch_up(|row, _| wanted(row))?;
        let mut rngs: Vec<_> = asks.iter().map(|ask| ask.rng).collect();
        let mut next: Vec<Vec<u8>> = vec![Vec::new(); 2 * n];
        for row in (0..n).filter(|&row| wanted(row)) {
            self.engine.fork(&mut self.rows, row, n + row)?;
            next[n + row].clone_from(&self.streams[row].unread);
            self.streams[row].ahead.clear();
        }
        while next.iter().any(|next| !next.is_empty()) {
            let text: Vec<&[u8]> = next.iter().map(Vec::as_slice).collect();
            self.engine.read_into(&mut self.rows, &text, Want::Last, &mut self.answer)?;
            let answer = self.answer.logits();
            let mut logits = answer.iter();
            for row in 0..n {
                let next = &mut next[n + row];
                if next.is_empty() {
                    continue;
                }
                self.streams[row].ahead.append(next);
                let (Some(logits), Some(rng)) = (logits.next(), rngs.get_mut(row)) else { continue };
                let byte = drafts[row].choose(logits, choice, rng);
                if drafts[row].bytes.len() < asks[row].most {
                    next.push(byte);
                }
            }
        }
        Ok(())
    }
}
