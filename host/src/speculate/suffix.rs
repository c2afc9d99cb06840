//! What came after the same bytes before: [`Suffix`].

use super::{Ask, Choice, Draft, Drafter};
use crate::engine::EngineError;

/// Bytes that must have occurred before.
const MIN: usize = 4;
/// Bytes that are compared at most.
const LONGEST: usize = 64;
/// Places that are looked at for the longest match.
const PLACES: usize = 32;
/// Bytes of prompt and text that are kept; when they are reached, the newer half stays.
const KEPT: usize = 1 << 20;
/// Values of the hash.
const HASHES: usize = 1 << 16;

/// Drafts what followed where the last bytes occurred before, in the prompt or in what was written: no model, no time,
/// right where text repeats itself. Up to 5.3 MB a stream.
#[derive(Debug)]
pub struct Suffix {
    streams: Vec<History>,
}

impl Suffix {
    /// For `n` streams.
    pub fn new(n: usize) -> Self {
        Self { streams: (0..n).map(|_| History::new()).collect() }
    }
}

/// A text, and where each of its groups of [`MIN`] bytes ended before. Places count from 1; 0 is none.
#[derive(Debug)]
struct History {
    text: Vec<u8>,
    /// For each place the one before with the same hash.
    before: Vec<u32>,
    newest: Vec<u32>,
}

/// Where a match ends, and its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Match {
    end: usize,
    length: usize,
}

impl History {
    fn new() -> Self {
        Self { text: Vec::new(), before: vec![0], newest: vec![0; HASHES] }
    }

    fn push(&mut self, byte: u8) {
        if self.text.len() == KEPT {
            let newer = self.text.split_off(KEPT / 2);
            *self = Self::new();
            newer.into_iter().for_each(|byte| self.push(byte));
        }
        self.text.push(byte);
        let Some(last) = self.text.last_chunk::<MIN>() else {
            self.before.push(0);
            return;
        };
        let hash = u32::from_le_bytes(*last).wrapping_mul(0x9e37_79b1) as usize >> (32 - HASHES.trailing_zeros());
        let newest = &mut self.newest[hash];
        self.before.push(*newest);
        *newest = self.text.len() as u32;
    }

    /// The longest match of the end of the text, the newest of equals.
    fn longest(&self) -> Option<Match> {
        let mut best: Option<Match> = None;
        let mut place = self.before.last().map_or(0, |&place| place as usize);
        for _ in 0..PLACES {
            if place == 0 {
                break;
            }
            let pairs = self.text[..place].iter().rev().zip(self.text.iter().rev()).take(LONGEST);
            let length = pairs.take_while(|(a, b)| a == b).count();
            if length >= MIN && best.is_none_or(|best| length > best.length) {
                best = Some(Match { end: place, length });
                if length == LONGEST {
                    break;
                }
            }
            place = self.before[place] as usize;
        }
        best
    }
}

impl Drafter for Suffix {
    fn read(&mut self, text: &[&[u8]]) -> Result<(), EngineError> {
        for (history, text) in self.streams.iter_mut().zip(text) {
            text.iter().for_each(|&byte| history.push(byte));
        }
        Ok(())
    }

    /// Not more bytes than match: a short match promises little.
    fn draft(&mut self, asks: &[Ask], choice: &Choice, drafts: &mut [Draft]) -> Result<(), EngineError> {
        for ((history, ask), draft) in self.streams.iter().zip(asks).zip(drafts) {
            if ask.most == 0 {
                continue;
            }
            let Some(Match { end, length }) = history.longest() else { continue };
            for at in end..end + ask.most.min(length) {
                // Beyond the end of the text what is drafted goes on: a period repeats.
                let byte = match history.text.get(at) {
                    Some(&byte) => byte,
                    None => draft.bytes[at - history.text.len()],
                };
                draft.push(byte, choice);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use mambabyte_core::{Rng, SampleOptions};

    use super::*;

    fn drafted(texts: &[&[u8]], most: usize) -> Vec<Vec<u8>> {
        let mut suffix = Suffix::new(texts.len());
        suffix.read(texts).unwrap();
        let choice = Choice { options: SampleOptions::GREEDY, distributions: true };
        let mut drafts = vec![Draft::default(); texts.len()];
        suffix.draft(&vec![Ask { most, rng: Rng::new(0) }; texts.len()], &choice, &mut drafts).unwrap();
        assert!(drafts.iter().all(|draft| draft.distributions.len() == draft.bytes.len()));
        drafts.into_iter().map(|draft| draft.bytes).collect()
    }

    #[test]
    fn the_longest_match_goes_on() {
        let texts: [&[u8]; 5] = [
            b"say one two three. one two four; x one two",
            b"12 one two three, 34 no one two three, 12 one two",
            b"abcabcabc",
            b"abc",
            b"nothing twice",
        ];
        let found = drafted(&texts, 6);
        // Equal lengths: the newest.
        assert_eq!(found[0], b" four;");
        assert_eq!(found[1], b" three");
        assert_eq!(found[2], b"abcabc");
        assert_eq!((&*found[3], &*found[4]), (&b""[..], &b""[..]));
        assert_eq!(drafted(&[b"a longer one, a longer one"], 31)[0].len(), 12);
        assert_eq!(drafted(&texts, 0), vec![vec![]; 5]);
    }

    #[test]
    fn memory_is_bounded_and_the_newer_half_stays() {
        let mut history = History::new();
        let mut rng = Rng::new(3);
        let bytes: Vec<u8> = (0..KEPT + 100).map(|_| rng.next_u64() as u8).collect();
        bytes.iter().for_each(|&byte| history.push(byte));
        assert_eq!(history.text.len(), KEPT / 2 + 100);
        assert_eq!(history.before.len(), history.text.len() + 1);
        for (&byte, what) in [(&bytes[KEPT - 40..KEPT], true), (&bytes[..40], false)].iter().map(|(b, w)| (b, *w)) {
            byte.iter().for_each(|&byte| history.push(byte));
            assert_eq!(history.longest().is_some_and(|found| found.length == 40), what);
        }
    }
}
