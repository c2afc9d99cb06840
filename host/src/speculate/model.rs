//! Another model as a drafter: [`ModelDrafter`].

use super::{Ask, Choice, Draft, Drafter};
use crate::engine::{Answer, Engine, EngineError, Want};

/// Bytes that are read at once rather than with the next draft.
const READ_FROM: usize = 256;

/// Drafts what a smaller model would write with the same random numbers.
///
/// A second row of each stream runs ahead; the first one then follows as far as the draft became the text.
pub struct ModelDrafter<'e, E: Engine> {
    engine: &'e E,
    rows: E::Rows,
    /// Those that run ahead.
    ahead: E::Rows,
    streams: Vec<Stream>,
    answer: Answer,
}

/// What is known of a stream beside its state.
struct Stream {
    /// Bytes that its row has not read; the last one stays until a draft begins with it.
    unread: Vec<u8>,
    /// What its other row was asked to read beyond its own: the byte before the draft, and the draft.
    ahead: Vec<u8>,
}

impl Stream {
    /// How much of what its other row has read has become the text, but for the text's last byte.
    fn followed(&self) -> usize {
        let (read, text) = (&self.ahead, self.unread.split_last().map_or(&[][..], |(_, text)| text));
        text.iter().zip(read).take_while(|(a, b)| a == b).count()
    }
}

impl<'e, E: Engine> ModelDrafter<'e, E> {
    /// For `n` streams that begin as texts do: with a 0x00 byte.
    ///
    /// # Errors
    /// Those of [`Engine::rows`].
    pub fn new(engine: &'e E, n: usize) -> Result<Self, EngineError> {
        let streams = (0..n).map(|_| Stream { unread: vec![0], ahead: Vec::new() }).collect();
        Ok(Self { engine, rows: engine.rows(n)?, ahead: engine.rows(n)?, streams, answer: Answer::Nothing })
    }

    /// The streams' rows follow the other ones as far as these were right.
    fn follow(&mut self) -> Result<(), EngineError> {
        let followed: Vec<usize> = self.streams.iter().map(Stream::followed).collect();
        if followed.iter().any(|&bytes| bytes > 0) {
            let text: Vec<&[u8]> = self.streams.iter().zip(&followed).map(|(s, &bytes)| &s.unread[..bytes]).collect();
            self.engine.follow(&mut self.rows, &mut self.ahead, &text)?;
        }
        for (stream, bytes) in self.streams.iter_mut().zip(followed) {
            stream.unread.drain(..bytes);
            stream.ahead.clear();
        }
        Ok(())
    }

    /// The streams' rows read what they have not, but for the last byte, where `which` says so.
    fn catch_up(&mut self, which: impl Fn(usize, &Stream) -> bool) -> Result<(), EngineError> {
        let mut heads = vec![Vec::new(); self.streams.len()];
        for (row, stream) in self.streams.iter_mut().enumerate() {
            if which(row, stream) && stream.unread.len() > 1 {
                let last = stream.unread.len() - 1;
                heads[row] = stream.unread.drain(..last).collect();
            }
        }
        if heads.iter().all(Vec::is_empty) {
            return Ok(());
        }
        let text: Vec<&[u8]> = heads.iter().map(Vec::as_slice).collect();
        self.engine.read_into(&mut self.rows, &text, Want::Nothing, &mut self.answer)
    }

    /// Drafts that are the engine's own text: on a GPU one launch. All rows write as many bytes as the longest draft has.
    fn write(&mut self, asks: &[Ask], choice: &Choice, drafts: &mut [Draft]) -> Result<(), EngineError> {
        let count = asks.iter().map(|ask| ask.most).max().unwrap_or(0);
        let last: Vec<u8> = self.streams.iter().map(|stream| stream.unread.last().copied().unwrap_or(0)).collect();
        let rngs: Vec<_> = asks.iter().map(|ask| ask.rng).collect();
        let from = (last.as_slice(), rngs.as_slice());
        let written = self.engine.propose(&mut self.rows, &mut self.ahead, from, &choice.options, count)?;
        for (((stream, ask), draft), written) in self.streams.iter_mut().zip(asks).zip(drafts).zip(written) {
            if ask.most > 0 {
                stream.ahead = [&stream.unread, written.as_slice()].concat();
                draft.bytes.extend(&written[..ask.most]);
            }
        }
        Ok(())
    }

    /// The same byte by byte, with the distributions.
    fn step(&mut self, asks: &[Ask], choice: &Choice, drafts: &mut [Draft]) -> Result<(), EngineError> {
        let drafting: Vec<usize> = (0..asks.len()).filter(|&row| asks[row].most > 0).collect();
        self.engine.copy(&mut self.rows, &mut self.ahead, &drafting)?;
        let mut rngs: Vec<_> = asks.iter().map(|ask| ask.rng).collect();
        let unread = |(stream, ask): (&Stream, &Ask)| if ask.most > 0 { stream.unread.clone() } else { Vec::new() };
        let mut next: Vec<Vec<u8>> = self.streams.iter().zip(asks).map(unread).collect();
        while next.iter().any(|next| !next.is_empty()) {
            let text: Vec<&[u8]> = next.iter().map(Vec::as_slice).collect();
            self.engine.read_into(&mut self.ahead, &text, Want::Last, &mut self.answer)?;
            let answer = self.answer.logits();
            let mut logits = answer.iter();
            for (row, next) in next.iter_mut().enumerate().filter(|(_, next)| !next.is_empty()) {
                self.streams[row].ahead.append(next);
                let Some(logits) = logits.next() else { continue };
                let byte = drafts[row].choose(logits, choice, &mut rngs[row]);
                if drafts[row].bytes.len() < asks[row].most {
                    next.push(byte);
                }
            }
        }
        Ok(())
    }
}

impl<E: Engine> Drafter for ModelDrafter<'_, E> {
    fn read(&mut self, text: &[&[u8]]) -> Result<(), EngineError> {
        self.streams.iter_mut().zip(text).for_each(|(stream, text)| stream.unread.extend_from_slice(text));
        if self.streams.iter().all(|stream| stream.unread.len() <= READ_FROM) {
            return Ok(());
        }
        self.follow()?;
        self.catch_up(|_, stream| stream.unread.len() > READ_FROM)
    }

    /// What [`Engine::follow`] and [`Engine::propose`] cost; for a rule that asks for distributions a copy of the state, and a
    /// step for each byte.
    fn draft(&mut self, asks: &[Ask], choice: &Choice, drafts: &mut [Draft]) -> Result<(), EngineError> {
        self.follow()?;
        self.catch_up(|row, _| asks.get(row).is_some_and(|ask| ask.most > 0))?;
        if choice.distributions { self.step(asks, choice, drafts) } else { self.write(asks, choice, drafts) }
    }
}
