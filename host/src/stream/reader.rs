//! A stream that is scored line by line: [`Reader`].

use mambabyte_core::detect::{Detector, Rate, Verdict};
use mambabyte_core::snapshot::{Section, Sections, Snapshot};
use mambabyte_core::{LineScore, LineScorer, State, StateError, Threshold, surprise};

use super::{Cost, Mixture};
use crate::adapt::AnyAdapter;
use crate::engine::{Engine, EngineError};

/// The scores of a finished line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineScores {
    /// By what was asked for: mixed with an adapter, else the net's. It is what flags.
    pub line: LineScore,
    /// Of the net alone, where an adapter hears it.
    pub net: Option<LineScore>,
    /// What the detector says, if there is one. Then `line.flagged` is its alarm.
    pub verdict: Option<Verdict>,
}

/// A stream that a [`Reader`] does not read at the moment: see [`Reader::exchange`].
#[derive(Debug)]
pub struct Parked {
    /// The net's; `None` at the beginning.
    state: Option<State<Vec<i16>>>,
    pending: u8,
    adapter: Option<AnyAdapter>,
    scorer: LineScorer,
    net: Option<LineScorer>,
    detector: Option<Detector>,
}

/// A net, an adapter or both that read a stream and score its lines.
pub struct Reader<'e, E: Engine> {
    mixture: Mixture<'e, E>,
    scorer: LineScorer,
    /// Beside it, where net and adapter are heard; it flags nothing.
    net: Option<LineScorer>,
    /// It decides which lines alarm, if it is there.
    detector: Option<Detector>,
}

impl<'e, E: Engine> Reader<'e, E> {
    /// A net alone, at the zero state; a 0x00 byte is pending, as in training windows.
    ///
    /// # Errors
    /// Those of [`Engine::rows`].
    pub fn new(engine: &'e E, threshold: Threshold) -> Result<Self, EngineError> {
        Self::of(Some(engine), None, threshold)
    }

    /// A net at the zero state, an adapter, which may have read other streams, or both.
    ///
    /// # Errors
    /// Those of [`Engine::rows`].
    pub fn of(engine: Option<&'e E>, adapter: Option<AnyAdapter>, threshold: Threshold) -> Result<Self, EngineError> {
        let net = (engine.is_some() && adapter.is_some()).then(|| LineScorer::new(SILENT, 0));
        let scorer = LineScorer::new(threshold, 0);
        Ok(Self { mixture: Mixture::new(engine, adapter)?, scorer, net, detector: None })
    }

    /// Like [`Reader::of`], with a [`Detector`] instead of a threshold: about a share `rate` of quiet lines alarms.
    ///
    /// # Errors
    /// Those of [`Engine::rows`].
    pub fn detecting(engine: Option<&'e E>, adapter: Option<AnyAdapter>, rate: Rate) -> Result<Self, EngineError> {
        let mut detector = Detector::new(rate);
        detector.set_unknown_text(engine.map_or(0, Engine::unknown_text));
        Ok(Self { detector: Some(detector), ..Self::of(engine, adapter, SILENT)? })
    }

    /// The detector, if there is one.
    pub const fn detector(&self) -> Option<&Detector> {
        self.detector.as_ref()
    }

    /// Changes the share of false alarms for the lines to come, of a reader that has a detector.
    pub const fn set_rate(&mut self, rate: Rate) {
        if let Some(detector) = &mut self.detector {
            detector.set_rate(rate);
        }
    }

    /// Remembers this place for [`Reader::likeliest`].
    ///
    /// # Errors
    /// As [`Mixture::mark`].
    pub fn mark(&mut self) -> Result<(), EngineError> {
        self.mixture.mark()
    }

    /// The three bytes other than `came` that were likeliest after `text`, which begins at the mark, and what each would
    /// have cost, Q16 bits, likeliest first. None with an adapter that is not marked.
    ///
    /// # Errors
    /// As [`Mixture::replay`].
    pub fn likeliest(&mut self, text: &[u8], came: u8) -> Result<Vec<(u8, u32)>, EngineError> {
        if !self.mixture.marks() {
            return Ok(Vec::new());
        }
        let logits = self.mixture.replay(text)?;
        let mut order: Vec<u8> = (0..=u8::MAX).filter(|&byte| byte != came).collect();
        order.sort_by_key(|&byte| std::cmp::Reverse(logits[usize::from(byte)]));
        Ok(order.into_iter().take(3).map(|byte| (byte, surprise(&logits, byte))).collect())
    }

    /// Goes on with another stream of the same kind of reader; `other` becomes this one's, to go on with it later.
    ///
    /// # Errors
    /// [`EngineError::NotIntegers`] of a float engine; nothing has changed then.
    /// # Cost
    /// Two copies of the net's state.
    pub fn exchange(&mut self, other: &mut Parked) -> Result<(), EngineError> {
        let pending = self.mixture.pending();
        let (net, _) = self.mixture.parts();
        if let Some(net) = net {
            let here = net.state()?;
            match &other.state {
                Some(state) => net.resume(state, other.pending)?,
                None => net.reset()?,
            }
            other.state = Some(here);
        }
        self.mixture.set_pending(other.pending);
        other.pending = pending;
        self.mixture.exchange_adapter(&mut other.adapter);
        std::mem::swap(&mut self.scorer, &mut other.scorer);
        std::mem::swap(&mut self.net, &mut other.net);
        std::mem::swap(&mut self.detector, &mut other.detector);
        Ok(())
    }

    /// Another stream of the same kind at its beginning; the adapter may have read others.
    pub fn beginning(&self, adapter: Option<AnyAdapter>, threshold: Threshold) -> Parked {
        Parked {
            state: None,
            pending: 0,
            adapter,
            scorer: LineScorer::new(if self.detector.is_some() { SILENT } else { threshold }, 0),
            net: self.net.as_ref().map(|_| LineScorer::new(SILENT, 0)),
            detector: self.detector.as_ref().map(|detector| Detector::new(detector.rate())),
        }
    }

    /// What reads.
    pub fn mixture(&mut self) -> &mut Mixture<'e, E> {
        &mut self.mixture
    }

    /// Reads a byte: what it cost, and the scores of the line that it ends.
    ///
    /// # Errors
    /// Those of [`Engine::read_into`].
    pub fn read(&mut self, byte: u8) -> Result<(Cost, Option<LineScores>), EngineError> {
        let mut read = (Cost { net: None, mixed: None }, None);
        self.read_all(&[byte], |_, cost, scores| {
            read = (cost, scores);
            Ok::<_, EngineError>(())
        })?;
        Ok(read)
    }

    /// Reads `bytes` as blocks, which is faster than one by one; `see(byte, cost, scores)` is called for each. If it
    /// fails, the bytes after that one have not been read.
    ///
    /// # Errors
    /// What `see` returns, and those of [`Engine::read_into`].
    pub fn read_all<F: From<EngineError>>(
        &mut self,
        bytes: &[u8],
        mut see: impl FnMut(u8, Cost, Option<LineScores>) -> Result<(), F>,
    ) -> Result<(), F> {
        let Self { mixture, scorer, net, detector } = self;
        mixture.read(bytes, |byte, cost| {
            let line = scorer.push(byte, cost.asked());
            let net = net.as_mut().and_then(|net| net.push(byte, cost.net.unwrap_or(0)));
            let verdict = detector.as_mut().and_then(|detector| detector.push(byte, cost.asked(), cost.net));
            see(byte, cost, line.map(|line| scores(line, net, verdict)))
        })
    }

    /// Ends the line that is open at the end of the stream.
    pub fn finish(&mut self) -> Option<LineScores> {
        let net = self.net.as_mut().and_then(LineScorer::finish);
        let verdict = self.detector.as_mut().and_then(Detector::finish);
        self.scorer.finish().map(|line| scores(line, net, verdict))
    }

    /// What its snapshots hold: state, pending byte and line scorer, and with an adapter that too, and the net's own line
    /// scorer, and the detector if there is one.
    fn sections(&self) -> Sections {
        let sections = match self.mixture.adapter() {
            Some(adapter) => Sections::STREAM.with_adapter(&adapter.preset().design()),
            None => Sections::STREAM,
        };
        let sections = if self.net.is_some() { sections.with_net_lines() } else { sections };
        if self.detector.is_some() { sections.with_detector() } else { sections }
    }

    /// A snapshot of the stream.
    ///
    /// # Errors
    /// [`EngineError::NotIntegers`] of a float engine.
    pub fn save(&mut self) -> Result<Vec<u8>, EngineError> {
        let (sections, pending) = (self.sections(), self.mixture.pending());
        let (net, adapter) = self.mixture.parts();
        let mut beside = vec![Section::Pending(pending), Section::Lines(&self.scorer)];
        beside.extend(adapter.map(|adapter| Section::Adapter(adapter)));
        beside.extend(self.net.as_ref().map(Section::NetLines));
        beside.extend(self.detector.as_mut().map(Section::Detector));
        let mut out = match &net {
            Some(net) => vec![0; sections.snapshot_bytes(net.engine().dims())],
            None => vec![0; sections.bytes_without_model()],
        };
        match net {
            Some(net) => net.state()?.snapshot_with(&mut beside, &mut out)?,
            None => State::without_model().snapshot_with(&mut beside, &mut out)?,
        };
        Ok(out)
    }

    /// Continues where [`Reader::save`] stopped; a detector with the share of false alarms that it had.
    ///
    /// # Errors
    /// [`EngineError::State`] for anything but a whole, undamaged save of the same model and the same preset,
    /// [`EngineError::NotIntegers`]; nothing has changed then.
    pub fn load(&mut self, saved: &[u8], threshold: Threshold) -> Result<(), EngineError> {
        let saved = Snapshot::parse(saved, self.sections())?;
        let (pending, scorer) = (saved.pending()?, LineScorer::load(threshold, saved.lines()?));
        let net_scorer = match &self.net {
            Some(_) => Some(LineScorer::load(SILENT, saved.net_lines()?)),
            None => None,
        };
        let mut detector = match &self.detector {
            Some(_) => Some(Detector::load(saved.detector()?).map_err(StateError::Detector)?),
            None => None,
        };
        if let Some(detector) = &mut detector {
            // It belongs to the net, and is not in the snapshot.
            detector.set_unknown_text(self.mixture.net().map_or(0, |net| net.engine().unknown_text()));
        }
        let (mut net, adapter) = self.mixture.parts();
        let state = match &mut net {
            Some(net) => {
                let mut state = net.state()?;
                state.load(&saved)?;
                Some(state)
            }
            None => {
                State::without_model().load(&saved)?;
                None
            }
        };
        if let (Some(net), Some(state)) = (net, &state) {
            net.resume(state, pending)?;
        }
        if let Some(adapter) = adapter {
            // The snapshot was asked for this preset: it was checked.
            adapter.load(saved.adapter()?).map_err(StateError::Adapter)?;
        }
        self.mixture.set_pending(pending);
        (self.scorer, self.net, self.detector) = (scorer, net_scorer, detector);
        Ok(())
    }
}

/// The scores of a line; the verdict of a detector decides whether it is flagged.
fn scores(line: LineScore, net: Option<LineScore>, verdict: Option<Verdict>) -> LineScores {
    let flagged = verdict.map_or(line.flagged, |verdict| verdict.alarm);
    LineScores { line: LineScore { flagged, ..line }, net, verdict }
}

/// Of a scorer that flags nothing.
const SILENT: Threshold = Threshold::Fixed(u32::MAX);
