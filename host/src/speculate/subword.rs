//! A model of subwords as a drafter of bytes: [`SubwordDrafter`].

use mambabyte_core::{LOGIT_SCALE, Logits, VOCAB};

use super::{Ask, Choice, Draft, Drafter};
use crate::engine::EngineError;
use crate::model::{Model, ModelError, Symbols};
use crate::subwords::{Beginning, Spelling, Subwords, Weights};

/// Symbols of the text's end that can still be read otherwise.
const OPEN: usize = 6;
/// Bytes that are read at once rather than with the next draft.
const READ_FROM: usize = 256;

/// Drafts what a model over subwords expects, byte by byte.
///
/// The share of a byte is that of all subwords that go on with it, so a byte is chosen as any model's bytes are, with the
/// same random number as the model that verifies. A subword ends where ending is more probable than going on.
///
/// # Two vocabularies
///
/// The last bytes of the text are made into symbols anew for every draft, as more bytes can make other symbols of them. Of
/// the last six symbols the states are kept: what is read as before is not read again. The last of them is open:
/// the draft begins with its bytes, which may be the beginning of a longer one. Text that is no UTF-8 has its bytes for
/// symbols.
///
/// # Cost
/// A step of the drafter for each subword, and its softmax.
pub struct SubwordDrafter<'m> {
    words: &'m dyn Subwords,
    spelling: Spelling,
    session: Symbols<'m>,
    weights: Weights,
    streams: Vec<Stream>,
}

/// Where a stream is.
struct Stream {
    /// The text's last bytes: those after the first point.
    tail: Vec<u8>,
    /// The first has read all before the tail, each other one a symbol more.
    path: Vec<Point>,
}

/// A place between two symbols.
#[derive(Clone, Debug)]
struct Point {
    /// What was read last.
    symbol: u16,
    state: Vec<f32>,
    /// What comes next.
    logits: Vec<f32>,
}

impl<'m> SubwordDrafter<'m> {
    /// For `n` streams that begin as texts do: with a 0x00 byte.
    ///
    /// # Errors
    /// [`ModelError::Dimension`] if the model has not as many symbols as `words`.
    pub fn new(model: &'m Model, words: &'m dyn Subwords, n: usize) -> Result<Self, ModelError> {
        let found = model.checkpoint().vocabulary();
        if found != words.count() {
            return Err(ModelError::Dimension { name: "vocabulary", found, low: words.count(), high: words.count() });
        }
        let session = model.symbols()?;
        let start = Point {
            symbol: words.encode(&[0]).first().copied().unwrap_or(0),
            state: session.state().to_vec(),
            logits: Vec::new(),
        };
        let streams = (0..n).map(|_| Stream { tail: Vec::new(), path: vec![start.clone()] }).collect();
        Ok(Self { words, spelling: Spelling::new(words), session, weights: Weights::default(), streams })
    }

    /// Reads what the tail of a stream has become, all but its last symbol; that one's bytes.
    fn catch_up(&mut self, row: usize) -> Result<Vec<u8>, EngineError> {
        let Self { words, session, streams, .. } = self;
        let Stream { tail, path } = &mut streams[row];
        if path[0].logits.is_empty() {
            // The beginning of the text.
            path[0] = step(session, row, &path[0], path[0].symbol)?;
        }
        let symbols = words.encode(tail);
        let (open, closed) = symbols.split_last().map_or((None, &[][..]), |(&open, closed)| (Some(open), closed));
        let same = path[1..].iter().zip(closed).take_while(|(point, symbol)| point.symbol == **symbol).count();
        path.truncate(1 + same);
        let mut settled = 0;
        for &symbol in &closed[same..] {
            path.push(step(session, row, &path[path.len() - 1], symbol)?);
            settled += settle(*words, path);
        }
        settled += settle(*words, path);
        tail.drain(..settled.min(tail.len()));
        Ok(open.map_or_else(Vec::new, |open| words.bytes(open).to_vec()))
    }
}

/// A step from a point.
fn step(session: &mut Symbols<'_>, row: usize, from: &Point, symbol: u16) -> Result<Point, EngineError> {
    session.set_state(&from.state);
    let logits = session.step(symbol).map_err(|place| EngineError::NotFinite { row, position: 0, place })?.to_vec();
    Ok(Point { symbol, state: session.state().to_vec(), logits })
}

/// Lets go of the points before the last [`OPEN`] ones; the bytes that the new first one has read and the old one has not.
fn settle(words: &dyn Subwords, path: &mut Vec<Point>) -> usize {
    let gone = path.len().saturating_sub(1 + OPEN);
    let read = path[1..=gone].iter().map(|point| words.bytes(point.symbol).len()).sum();
    path.drain(..gone);
    read
}

impl Drafter for SubwordDrafter<'_> {
    fn read(&mut self, text: &[&[u8]]) -> Result<(), EngineError> {
        for (row, text) in text.iter().enumerate() {
            self.streams[row].tail.extend_from_slice(text);
            if self.streams[row].tail.len() > READ_FROM {
                self.catch_up(row)?;
            }
        }
        Ok(())
    }

    fn draft(&mut self, asks: &[Ask], choice: &Choice, drafts: &mut [Draft]) -> Result<(), EngineError> {
        for (row, (ask, draft)) in asks.iter().zip(drafts).enumerate() {
            if ask.most == 0 {
                continue;
            }
            let open = self.catch_up(row)?;
            let Self { spelling, session, weights, streams, .. } = self;
            let path = &mut streams[row].path;
            let begin = |weights: &mut Weights, point: &Point| {
                spelling.weigh(&point.logits, weights);
                spelling.start()
            };
            let mut at = begin(weights, &path[path.len() - 1]);
            for &byte in &open {
                at = spelling.go_on(&at, byte);
            }
            let mut rng = ask.rng;
            while draft.bytes.len() < ask.most {
                let (all, whole) = (spelling.weight(&at, weights), spelling.weight_of_whole(&at, weights));
                if let Some(symbol) = spelling.whole(&at).filter(|_| 2.0 * whole >= all) {
                    path.push(step(session, row, &path[path.len() - 1], symbol)?);
                    at = begin(weights, &path[path.len() - 1]);
                    continue;
                }
                if all <= 0.0 {
                    // Nothing that this model has ever seen begins so.
                    break;
                }
                let byte = draft.choose(&logits(spelling, &at, weights, all), choice, &mut rng);
                at = spelling.go_on(&at, byte);
            }
        }
        Ok(())
    }
}

/// The shares of all bytes that go on from `at`, where `all` is the weight of what begins so.
fn logits(spelling: &Spelling, at: &Beginning, weights: &Weights, all: f64) -> Logits {
    let mut found = [i32::MIN; VOCAB];
    for (byte, logit) in found.iter_mut().enumerate() {
        let weight = spelling.weight(&spelling.go_on(at, byte as u8), weights);
        if weight > 0.0 {
            // A share of f64 is above e^-745.
            *logit = ((weight / all).ln() / LOGIT_SCALE).round_ties_even() as i32;
        }
    }
    found
}
