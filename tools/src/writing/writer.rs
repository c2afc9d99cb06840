//! Who writes: [`Writer`].

use mambabyte_core::{Rng, SampleOptions, sample};
use mambabyte_host::adapt::{AnyAdapter, Preset};
use mambabyte_host::engine::{AnyEngine, AnyRows, Engine, EngineError, Want};
use mambabyte_host::speculate::{Drafter, Exact, Length, Nobody, Rule, Speculation, Start, Stats};
use mambabyte_host::stream::{Bookmark, Mixture};

/// Bytes of a prompt that an adapter alone reads at once.
const PART: usize = 4096;

/// A model with drafts.
pub type Drafted<'e, 'm> = Speculation<'e, AnyEngine<'m>, Box<dyn Drafter + Send + 'e>, Box<dyn Rule + Send>>;

/// How a text is written.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// Of the adapter that bytes are chosen with.
    pub preset: Option<Preset>,
    /// Equal seeds give equal text.
    pub seed: u64,
    /// How bytes are chosen.
    pub options: SampleOptions,
}

/// Who writes. The last byte that is known is read when the next one is sampled.
pub enum Writer<'e, 'm> {
    /// The model alone, on the engine's own way.
    Net {
        /// What computes.
        engine: &'e AnyEngine<'m>,
        /// One state.
        rows: AnyRows<'m>,
        /// Of the next byte.
        rng: Rng,
        /// The byte that is not read yet.
        last: u8,
        /// How bytes are chosen.
        options: SampleOptions,
    },
    /// An adapter alone.
    Adapter(Box<Mixture<'e, AnyEngine<'m>>>, Rng, SampleOptions),
    /// The model with drafts, or with an adapter, or with both.
    Drafted(Box<Drafted<'e, 'm>>),
}

impl<'e, 'm> Writer<'e, 'm> {
    /// Without drafts. A text begins at `begin`, which has what `way` asks for, and reads `prompt`.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn plain(
        engine: Option<&'e AnyEngine<'m>>,
        way: Way,
        begin: Option<Bookmark>,
        prompt: &[u8],
    ) -> Result<Self, EngineError> {
        let Way { preset, seed, options } = way;
        let rng = Rng::new(seed);
        match (engine, preset) {
            (Some(engine), None) => {
                let (mut rows, mut last) = (engine.rows(1)?, 0);
                if let Some(Bookmark { state: Some(state), pending, .. }) = &begin {
                    engine.set_state(&mut rows, 0, state)?;
                    last = *pending;
                }
                if let Some((&newest, head)) = prompt.split_last() {
                    engine.read(&mut rows, &[&[&[last], head].concat()], Want::Nothing)?;
                    last = newest;
                }
                Ok(Self::Net { engine, rows, rng, last, options })
            }
            (Some(engine), Some(_)) => Self::alone(engine, way, begin, prompt),
            (None, _) => {
                let adapter = preset.map(|preset| AnyAdapter::new(preset, false));
                let mut mixture = Mixture::new(None, adapter)?;
                begin.map_or(Ok(()), |begin| mixture.resume(begin))?;
                for part in prompt.chunks(PART) {
                    mixture.read(part, |_, _| Ok::<_, EngineError>(()))?;
                }
                Ok(Self::Adapter(Box::new(mixture), rng, options))
            }
        }
    }

    /// The loop of drafts without drafts, as [`Writer::plain`].
    ///
    /// # Errors
    /// Those of the engine.
    pub fn alone(
        engine: &'e AnyEngine<'m>,
        way: Way,
        begin: Option<Bookmark>,
        prompt: &[u8],
    ) -> Result<Self, EngineError> {
        Self::drafted(engine, way, begin, prompt, Box::new(Nobody), Box::new(Exact), Length::Fixed(0))
    }

    /// With drafts, as [`Writer::plain`].
    ///
    /// # Errors
    /// Those of the engine, and of the drafter.
    pub fn drafted(
        engine: &'e AnyEngine<'m>,
        way: Way,
        begin: Option<Bookmark>,
        prompt: &[u8],
        drafter: Box<dyn Drafter + Send + 'e>,
        rule: Box<dyn Rule + Send>,
        length: Length,
    ) -> Result<Self, EngineError> {
        let (place, adapter) = match begin {
            Some(begin) => (begin.state.map(|state| (state, begin.pending)), begin.adapter),
            None => (None, way.preset.map(|preset| AnyAdapter::new(preset, true))),
        };
        let start = Start { rng: Rng::new(way.seed), adapter };
        let mut text = Speculation::new(engine, vec![start], drafter, rule, way.options, length)?;
        if let Some((state, pending)) = &place {
            text.resume(0, state, *pending)?;
        }
        text.read(&[prompt])?;
        Ok(Self::Drafted(Box::new(text)))
    }

    /// The same; what is written with drafts is measured.
    pub fn measuring(self, measures: bool) -> Self {
        match self {
            Self::Drafted(text) if measures => Self::Drafted(Box::new(text.measuring())),
            other => other,
        }
    }

    /// The next `count` bytes.
    ///
    /// # Errors
    /// Those of the engine, and of the drafter.
    pub fn write(&mut self, count: usize) -> Result<Vec<u8>, EngineError> {
        match self {
            Self::Net { engine, rows, rng, last, options } => {
                let (mut lasts, mut rngs) = ([*last], [*rng]);
                let text = engine.generate(rows, &mut lasts, &mut rngs, options, count)?.concat();
                ([*last], [*rng]) = (lasts, rngs);
                Ok(text)
            }
            Self::Adapter(mixture, rng, options) => {
                (0..count).map(|_| mixture.write(|logits| sample(logits, options, rng))).collect()
            }
            Self::Drafted(text) => Ok(text.write(count)?.concat()),
        }
    }

    /// Where the text is.
    ///
    /// # Errors
    /// [`EngineError::NotIntegers`] of a float engine.
    pub fn bookmark(&mut self) -> Result<Bookmark, EngineError> {
        match self {
            Self::Net { engine, rows, last, .. } => {
                Ok(Bookmark { state: Some(engine.state(rows, 0)?), pending: *last, adapter: None })
            }
            Self::Adapter(mixture, ..) => mixture.bookmark(),
            Self::Drafted(text) => text.bookmark(0),
        }
    }

    /// What drafts did, if there are any.
    pub const fn stats(&self) -> Option<&Stats> {
        match self {
            Self::Drafted(text) => Some(text.stats()),
            _ => None,
        }
    }
}
