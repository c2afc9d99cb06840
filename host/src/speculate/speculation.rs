//! The loop: draft, verify, decide, accept: [`Speculation`].

use std::time::Instant;

use mambabyte_core::{Logits, Rng, SampleOptions, State, VOCAB, surprise};

use super::length::Pace;
use super::{Ask, Choice, Draft, Drafted, Drafter, Length, Rule, Stats};
use crate::adapt::AnyAdapter;
use crate::engine::{Answer, Engine, EngineError, Want};
use crate::stream::Bookmark;

/// Bytes that are written alone at most where no boundary comes.
const ALONE: usize = 32;

/// How a stream begins.
#[derive(Debug)]
pub struct Start {
    /// What its bytes are chosen with: a draw for each, none if greedy.
    pub rng: Rng,
    /// An adapter beside the model: bytes are chosen from the mixed distribution then.
    pub adapter: Option<AnyAdapter>,
}

/// A stream beside its row of the engine.
struct Stream {
    rng: Rng,
    adapter: Option<AnyAdapter>,
    /// The last byte of the text, which the row has not read; 0x00 at the beginning.
    pending: u8,
    pace: Pace,
    /// Bytes that are still written without drafts, at most.
    alone: usize,
}

impl Stream {
    /// Reads a byte of a prompt.
    fn see(&mut self, logits: Option<&Logits>, byte: u8) {
        if let Some(adapter) = &mut self.adapter {
            adapter.read(logits, byte);
        }
    }

    /// Decides the next byte, and reads it; `see` is shown what it was decided from.
    fn decide(
        &mut self,
        logits: &Logits,
        rule: &impl Rule,
        options: &SampleOptions,
        drafted: Option<Drafted<'_>>,
        see: impl FnOnce(&Logits, u8),
    ) -> u8 {
        let byte = if let Some(adapter) = &mut self.adapter {
            let mut mixed = [0; VOCAB];
            adapter.distribution(Some(logits), &mut mixed);
            let byte = rule.decide(&mixed, options, &mut self.rng, drafted);
            adapter.read(Some(logits), byte);
            see(&mixed, byte);
            byte
        } else {
            let byte = rule.decide(logits, options, &mut self.rng, drafted);
            see(logits, byte);
            byte
        };
        let missed = drafted.is_some_and(|drafted| drafted.byte != byte);
        let left = if missed { ALONE } else { self.alone.saturating_sub(1) };
        self.alone = if rule.is_boundary(byte) { 0 } else { left };
        byte
    }
}

/// Streams that a model writes, with drafts.
///
/// ```
/// use mambabyte_core::{Blob, Rng, SampleOptions, include_blob};
/// use mambabyte_host::cpu::{Cpu, IntEngine};
/// use mambabyte_host::engine::{Engine, Want};
/// use mambabyte_host::speculate::{Exact, Length, Speculation, Start, Suffix};
///
/// let blob = Blob::parse(include_blob!("../../../models/sensor-pico/model.mbb"))?;
/// let engine = IntEngine::of(blob, Cpu::default());
/// let (prompt, options) = (b"$GPGGA,", SampleOptions::default());
/// let start = Start { rng: Rng::new(7), adapter: None };
/// let mut text = Speculation::new(&engine, vec![start], Suffix::new(1), Exact, options, Length::Auto)?;
/// text.read(&[prompt])?;
/// let written = text.write(60)?.concat();
///
/// // The engine alone, one byte after the other.
/// let mut rows = engine.rows(1)?;
/// engine.read(&mut rows, &[b"\0$GPGGA"], Want::Nothing)?;
/// let plain = engine.generate(&mut rows, &mut [b','], &mut [Rng::new(7)], &options, 60)?;
/// assert_eq!(plain.concat(), written);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// After an error the streams are lost.
pub struct Speculation<'e, E: Engine, D, R> {
    engine: &'e E,
    rows: E::Rows,
    streams: Vec<Stream>,
    drafter: D,
    rule: R,
    options: SampleOptions,
    drafts: Vec<Draft>,
    answer: Answer,
    stats: Stats,
    measures: bool,
}

impl<'e, E: Engine, D: Drafter, R: Rule> Speculation<'e, E, D, R> {
    /// Streams at the beginning of a text. `drafter` must be for as many.
    ///
    /// # Errors
    /// Those of [`Engine::rows`].
    pub fn new(
        engine: &'e E,
        starts: Vec<Start>,
        drafter: D,
        rule: R,
        options: SampleOptions,
        length: Length,
    ) -> Result<Self, EngineError> {
        let pace = Pace::new(length, engine.full_load().block / starts.len().max(1));
        let stream = |start: Start| Stream { rng: start.rng, adapter: start.adapter, pending: 0, pace, alone: 0 };
        Ok(Self {
            engine,
            rows: engine.rows(starts.len())?,
            drafts: vec![Draft::default(); starts.len()],
            streams: starts.into_iter().map(stream).collect(),
            drafter,
            rule,
            options,
            answer: Answer::Nothing,
            stats: Stats::default(),
            measures: false,
        })
    }

    /// The same, and what is written is measured: [`Stats::bits`], at 256 exponentials a byte.
    pub fn measuring(self) -> Self {
        Self { measures: true, ..self }
    }

    /// What happened so far.
    pub const fn stats(&self) -> &Stats {
        &self.stats
    }

    /// The drafter.
    pub const fn drafter_mut(&mut self) -> &mut D {
        &mut self.drafter
    }

    /// Stream `row` continues where another text stopped: at a state that has read all of it but `pending`. The drafter
    /// knows nothing of it but what is read to it.
    ///
    /// # Errors
    /// Those of [`Engine::set_state`].
    pub fn resume(&mut self, row: usize, state: &State<Vec<i16>>, pending: u8) -> Result<(), EngineError> {
        self.engine.set_state(&mut self.rows, row, state)?;
        // `set_state` knows the row.
        let stream = &mut self.streams[row];
        (stream.pending, stream.alone) = (pending, 0);
        Ok(())
    }

    /// Where the text of stream `row` is.
    ///
    /// # Errors
    /// Those of [`Engine::state`].
    /// # Cost
    /// A copy of the state and of the adapter.
    pub fn bookmark(&mut self, row: usize) -> Result<Bookmark, EngineError> {
        let state = Some(self.engine.state(&mut self.rows, row)?);
        // `state` knows the row.
        let stream = &self.streams[row];
        Ok(Bookmark { state, pending: stream.pending, adapter: stream.adapter.as_ref().map(AnyAdapter::copy) })
    }

    /// Reads the next bytes of each text, of a prompt for example: into model, adapter and drafter.
    ///
    /// # Errors
    /// [`EngineError::Rows`] if there are not as many texts as streams; else those of [`Engine::read_into`].
    pub fn read(&mut self, text: &[&[u8]]) -> Result<(), EngineError> {
        if text.len() != self.streams.len() {
            return Err(EngineError::Rows { expected: self.streams.len(), found: text.len() });
        }
        self.drafter.read(text)?;
        let adapts = self.streams.iter().any(|stream| stream.adapter.is_some());
        let part = if adapts { (self.engine.full_load().bytes / text.len()).max(1) } else { usize::MAX };
        let want = if adapts { Want::All } else { Want::Nothing };
        let mut text = text.to_vec();
        while text.iter().any(|text| !text.is_empty()) {
            let parts: Vec<&[u8]> = text.iter_mut().filter_map(|text| text.split_off(..text.len().min(part))).collect();
            let blocks: Vec<Vec<u8>> = self
                .streams
                .iter_mut()
                .zip(&parts)
                .map(|(stream, part)| {
                    let Some((&last, head)) = part.split_last() else { return Vec::new() };
                    [&[std::mem::replace(&mut stream.pending, last)], head].concat()
                })
                .collect();
            self.engine.read_into(&mut self.rows, &slices(&blocks), want, &mut self.answer)?;
            let logits = self.answer.logits();
            let mut logits = logits.iter();
            for (stream, part) in self.streams.iter_mut().zip(parts) {
                part.iter().for_each(|&byte| stream.see(logits.next(), byte));
            }
        }
        Ok(())
    }

    /// Writes `count` bytes of each text.
    ///
    /// # Errors
    /// Those of [`Speculation::round`].
    pub fn write(&mut self, count: usize) -> Result<Vec<Vec<u8>>, EngineError> {
        let mut written = vec![Vec::with_capacity(count); self.streams.len()];
        loop {
            let left: Vec<usize> = written.iter().map(|written| count - written.len()).collect();
            if left.iter().all(|&left| left == 0) {
                return Ok(written);
            }
            let round = self.round(&left)?;
            written.iter_mut().zip(round).for_each(|(written, bytes)| written.extend(bytes));
        }
    }

    /// One round: at least one byte of each text, at most `most[row]`, none if that is 0.
    ///
    /// # Errors
    /// [`EngineError::Rows`] if there are not as many numbers as streams; else those of [`Engine::verify`].
    /// # Cost
    /// The drafts; one block of the pending byte and the draft, of all streams together; if not all of a draft is
    /// accepted, what [`Engine::accept`] says.
    pub fn round(&mut self, most: &[usize]) -> Result<Vec<Vec<u8>>, EngineError> {
        if most.len() != self.streams.len() {
            return Err(EngineError::Rows { expected: self.streams.len(), found: most.len() });
        }
        let began = Instant::now();
        self.draft(most)?;
        let blocks: Vec<Vec<u8>> = (self.streams.iter().zip(&self.drafts).zip(most))
            .map(
                |((stream, draft), &most)| if most == 0 { vec![] } else { [&[stream.pending], &*draft.bytes].concat() },
            )
            .collect();
        let drafted = Instant::now();
        let blocks = slices(&blocks);
        let Self { engine, rows, streams, drafter, rule, options, drafts, answer, stats, measures } = self;
        // Of all rows: what reads several bytes, or not in every row, may have other bits than steps.
        let is_step = blocks.iter().all(|block| block.len() == 1);
        let verified = if is_step {
            engine.read_into(rows, &blocks, Want::Last, answer)?;
            None
        } else {
            Some(engine.verify(rows, &blocks)?)
        };
        let scored = Instant::now();
        let logits = verified.as_ref().map_or(&*answer, |verified| verified.answer()).logits();
        let (mut at, mut written) = (0, vec![Vec::new(); streams.len()]);
        for (((stream, draft), block), written) in streams.iter_mut().zip(&*drafts).zip(&blocks).zip(&mut written) {
            for (index, logits) in logits.iter().skip(at).take(block.len()).enumerate() {
                let byte = draft.bytes.get(index).copied();
                let from = draft.distributions.get(index);
                let drafted = byte.map(|byte| Drafted { byte, from });
                let found = stream.decide(logits, rule, options, drafted, |logits, byte| {
                    stats.bits += if *measures { u64::from(surprise(logits, byte)) } else { 0 };
                });
                written.push(found);
                stream.pending = found;
                if byte != Some(found) {
                    break;
                }
            }
            at += block.len();
            let accepted =
                draft.bytes.iter().zip(&*written).take_while(|(drafted, written)| drafted == written).count();
            stream.pace.heard(draft.bytes.len(), accepted);
            stats.rounds += u64::from(!block.is_empty());
            stats.drafted += draft.bytes.len() as u64;
            stats.accepted += accepted as u64;
            stats.judged += written.len().min(draft.bytes.len()) as u64;
            stats.written += written.len() as u64;
        }
        let decided = Instant::now();
        if let Some(verified) = verified {
            // As many bytes of a block are read as were written: the pending one instead of the last.
            verified.accept(&written.iter().map(Vec::len).collect::<Vec<_>>())?;
        }
        let accepted = Instant::now();
        drafter.read(&slices(&written))?;
        stats.draft += (drafted - began) + accepted.elapsed();
        stats.verify += scored - drafted;
        stats.choose += decided - scored;
        stats.replay += accepted - decided;
        Ok(written)
    }

    /// New drafts, which leave room for the byte after them.
    fn draft(&mut self, most: &[usize]) -> Result<(), EngineError> {
        self.drafts.iter_mut().for_each(Draft::clear);
        let ask = |(stream, &most): (&Stream, &usize)| Ask {
            most: if stream.alone > 0 { 0 } else { stream.pace.now().min(most.saturating_sub(1)) },
            rng: stream.rng,
        };
        let asks: Vec<Ask> = self.streams.iter().zip(most).map(ask).collect();
        if asks.iter().all(|ask| ask.most == 0) {
            return Ok(());
        }
        let choice = Choice { options: self.options, distributions: self.rule.distributions() };
        self.drafter.draft(&asks, &choice, &mut self.drafts)?;
        for (draft, ask) in self.drafts.iter_mut().zip(asks) {
            draft.bytes.truncate(ask.most);
        }
        Ok(())
    }
}

fn slices(rows: &[Vec<u8>]) -> Vec<&[u8]> {
    rows.iter().map(Vec::as_slice).collect()
}
