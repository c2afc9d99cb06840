//! What a model is trained on: texts with their documents, a hold-out cut from each, and streams of windows over the
//! rest.
//!
//! A row of a batch is a *stream*: passages drawn from the texts, one after the other. A passage lies in one
//! document, is read from the zero state and may be many windows long; the state is carried through them. Its first
//! symbol is 0x00, as `eval` reads texts, so that every byte is predicted and none from another document.

use std::ops::Range;
use std::sync::Arc;

use mambabyte_core::Rng;

use super::Window;
use super::augment::{Augment, below, unit};
use crate::subwords::Subwords;

/// A text and the ends of its documents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// What people call it.
    pub name: String,
    /// All of it.
    pub bytes: Vec<u8>,
    /// Where its documents end, ascending; the last is the text's length.
    pub ends: Vec<usize>,
}

/// Of a text this share is hold-out.
const HOLDOUT: usize = 20;
/// At least so many bytes, as far as that is no more than a quarter, and at most these.
const HOLDOUT_BYTES: Range<usize> = 4096..1 << 20;
/// Bytes of each text that the length of symbols is measured on.
const MEASURED: usize = 1 << 16;
/// The cut is moved this far to the end of a line.
const LINE: usize = 4096;

impl Text {
    /// A text that is one document.
    pub fn of(name: String, bytes: Vec<u8>) -> Self {
        let ends = vec![bytes.len()];
        Self { name, bytes, ends }
    }

    /// Divides every document after each `separator`, which stays at the end of what it ends.
    pub fn separate(&mut self, separator: &[u8]) {
        if separator.is_empty() {
            return;
        }
        let mut at = 0;
        while let Some(window) = self.bytes.get(at..at + separator.len()) {
            at += if window == separator { separator.len() } else { 1 };
            if window == separator {
                self.ends.push(at);
            }
        }
        self.ends.sort_unstable();
        self.ends.dedup();
    }

    /// The documents, empty ones left out.
    pub fn documents(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| &self.bytes[start..end]).filter(|document| !document.is_empty())
    }

    /// Cuts the end off as hold-out: a twentieth, where a document or at least a line ends.
    pub fn cut(mut self) -> (Self, Self) {
        let length = self.bytes.len();
        let least = HOLDOUT_BYTES.start.min(length / 4);
        let most = (length / HOLDOUT).clamp(least, HOLDOUT_BYTES.end);
        let early = length - most;
        let document = self.ends.iter().copied().find(|&end| end >= early && end <= length - most / 2);
        let line = || {
            let near = &self.bytes[early..(early + LINE.min(most / 2)).min(length)];
            near.iter().position(|&b| b == b'\n').map(|at| early + at + 1)
        };
        let at = document.or_else(line).unwrap_or(early);
        let rest = self.bytes.split_off(at);
        let mut ends: Vec<usize> = self.ends.iter().filter(|&&end| end > at).map(|end| end - at).collect();
        if ends.is_empty() {
            ends.push(rest.len());
        }
        self.ends.retain(|&end| end < at);
        self.ends.push(at);
        let holdout = Self { name: self.name.clone(), bytes: rest, ends };
        (self, holdout)
    }
}

/// The texts that are read, each with its share of what is read.
#[derive(Clone, Debug)]
pub struct Corpus {
    texts: Vec<Text>,
    /// Sums of the shares up to each text; the last is 1.
    sums: Vec<f64>,
    /// What passages are made into; bytes, if there are none.
    words: Option<Arc<dyn Subwords>>,
}

impl Corpus {
    /// `shares` are in any unit; without them a text counts by its bytes. Empty texts are left out.
    pub fn new(texts: Vec<Text>, shares: Option<&[f64]>) -> Self {
        let size = |(number, text): (usize, &Text)| match shares {
            Some(shares) if !text.bytes.is_empty() => shares.get(number).copied().unwrap_or(0.0),
            _ => text.bytes.len() as f64,
        };
        let sizes: Vec<f64> = texts.iter().enumerate().map(size).collect();
        let total: f64 = sizes.iter().sum();
        let mut sum = 0.0;
        let sums = sizes.iter().map(|size| {
            sum += size / total;
            sum
        });
        Self { sums: sums.collect(), texts, words: None }
    }

    /// The same, read as symbols of `words`. A passage is drawn and changed in bytes, then made into symbols.
    pub fn in_subwords(self, words: Arc<dyn Subwords>) -> Self {
        Self { words: Some(words), ..self }
    }

    /// The symbols that the texts are read as, if these are no bytes.
    pub fn subwords(&self) -> Option<&dyn Subwords> {
        self.words.as_deref()
    }

    /// Bytes that a symbol stands for, on average over the beginning of the texts; 1 if they are read as bytes.
    pub fn bytes_a_symbol(&self) -> f64 {
        let bytes: Vec<u8> = self.texts.iter().flat_map(|text| text.bytes.iter().take(MEASURED).copied()).collect();
        if self.words.is_none() || bytes.is_empty() {
            return 1.0;
        }
        bytes.len() as f64 / self.symbols(&bytes).len() as f64
    }

    /// Symbols of a text.
    pub(super) fn symbols(&self, bytes: &[u8]) -> Vec<u16> {
        symbols(self.subwords(), bytes)
    }

    /// Bytes that symbols stand for.
    pub(super) fn bytes_of(&self, symbols: &[u16]) -> usize {
        match &self.words {
            Some(words) => symbols.iter().map(|&symbol| words.bytes(symbol).len()).sum(),
            None => symbols.len(),
        }
    }

    /// The texts.
    pub fn texts(&self) -> &[Text] {
        &self.texts
    }

    /// Bytes of all texts.
    pub fn bytes(&self) -> usize {
        self.texts.iter().map(|text| text.bytes.len()).sum()
    }

    /// Draws a passage of at most `most` bytes: a whole document if it is no longer, else any part of one.
    fn draw(&self, rng: &mut Rng, most: usize) -> Passage {
        let place = unit(rng);
        let last = self.texts.iter().rposition(|text| !text.bytes.is_empty()).unwrap_or(0);
        let mut text = self.sums.partition_point(|&sum| sum <= place).min(last);
        // Rounding may have led to an empty one.
        while self.texts[text].bytes.is_empty() && text < last {
            text += 1;
        }
        let Text { bytes, ends, .. } = &self.texts[text];
        let at = below(rng, bytes.len().max(1) as u64) as usize;
        let number = ends.partition_point(|&end| end <= at).min(ends.len() - 1);
        let start = if number == 0 { 0 } else { ends[number - 1] };
        let length = ends[number] - start;
        let from = if length <= most { start } else { start + below(rng, (length - most + 1) as u64) as usize };
        Passage { text, from, to: from + length.min(most), seed: rng.next_u64() }
    }
}

/// The symbols of a text: of `words`, or its bytes.
pub(super) fn symbols(words: Option<&dyn Subwords>, bytes: &[u8]) -> Vec<u16> {
    match words {
        Some(words) => words.encode(bytes),
        None => bytes.iter().map(|&byte| u16::from(byte)).collect(),
    }
}

/// The symbol that is read before a text.
pub(super) fn start(words: Option<&dyn Subwords>) -> u16 {
    symbols(words, &[0]).first().copied().unwrap_or(0)
}

/// A part of a document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Passage {
    pub(super) text: usize,
    pub(super) from: usize,
    pub(super) to: usize,
    /// Of what is changed in it.
    pub(super) seed: u64,
}

impl Passage {
    /// Its symbols as the model reads them; `None` if there is no such passage.
    pub(super) fn symbols(&self, corpus: &Corpus, augment: &Augment) -> Option<Vec<u16>> {
        let bytes = corpus.texts.get(self.text)?.bytes.get(self.from..self.to)?;
        Some(corpus.symbols(&augment.apply(bytes, self.seed)))
    }
}

/// A row: where it is in its passage, and its window.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stream {
    pub(super) passage: Passage,
    /// All symbols of the passage.
    text: Vec<u16>,
    /// Those of them that were targets.
    pub(super) at: usize,
    symbols: Vec<u16>,
    next: Vec<u16>,
    starts: Vec<u32>,
}

impl Stream {
    pub(super) const fn at(passage: Passage, text: Vec<u16>, at: usize) -> Self {
        Self { passage, text, at, symbols: Vec::new(), next: Vec::new(), starts: Vec::new() }
    }

    /// Goes on by a window of `window` symbols; passages have at most `passage` bytes.
    pub fn fill(&mut self, corpus: &Corpus, augment: &Augment, rng: &mut Rng, window: usize, passage: usize) {
        self.symbols.clear();
        self.next.clear();
        self.starts.clear();
        let start = start(corpus.subwords());
        while self.next.len() < window {
            if self.at >= self.text.len() {
                self.passage = corpus.draw(rng, passage);
                self.text = self.passage.symbols(corpus, augment).unwrap_or_default();
                self.at = 0;
            }
            if self.at == 0 {
                self.starts.push(self.next.len() as u32);
            }
            let count = (window - self.next.len()).min(self.text.len() - self.at);
            let part = &self.text[self.at..self.at + count];
            self.symbols.push(if self.at == 0 { start } else { self.text[self.at - 1] });
            self.symbols.extend_from_slice(&part[..count - 1]);
            self.next.extend_from_slice(part);
            self.at += count;
        }
    }

    /// The window.
    pub fn window(&self) -> Window<'_> {
        Window { symbols: &self.symbols, next: &self.next, starts: &self.starts }
    }

    /// What is read of the window.
    pub(super) fn symbols(&self) -> &[u16] {
        &self.symbols
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subwords::tests::Words;

    fn text(name: &str, bytes: &[u8], ends: &[usize]) -> Text {
        Text { name: name.into(), bytes: bytes.to_vec(), ends: ends.to_vec() }
    }

    #[test]
    fn separators_end_documents_and_holdouts_are_ends() {
        let mut one = Text::of("a".into(), b"one\n\ntwo\n\n\n\nthree".to_vec());
        one.separate(b"\n\n");
        let documents: Vec<&[u8]> = one.documents().collect();
        assert_eq!(documents, [&b"one\n\n"[..], b"two\n\n", b"\n\n", b"three"]);
        // Lines of ten bytes: the cut is at the end of one.
        let lines: Vec<u8> = b"123456789\n".repeat(20_003);
        let (train, holdout) = Text::of("b".into(), lines.clone()).cut();
        assert_eq!([train.bytes.as_slice(), &holdout.bytes].concat(), lines);
        assert!(train.bytes.ends_with(b"\n") && (9900..=10_010).contains(&holdout.bytes.len()));
        assert_eq!((train.ends, holdout.ends), (vec![train.bytes.len()], vec![holdout.bytes.len()]));
        // A document that ends near is not divided; one that does not, is.
        let (train, holdout) = text("c", &lines, &[100, 192_000, 200_030]).cut();
        assert_eq!((train.ends, holdout.ends), (vec![100, 192_000], vec![8030]));
        let (train, holdout) = text("d", &lines, &[100, 199_000, 200_030]).cut();
        assert_eq!((train.ends[0], train.ends.len(), holdout.ends.len()), (100, 2, 2));
        for length in [1, 2, 3, 4, 5, 100, 4096, 20_000] {
            let bytes = vec![b'x'; length];
            let (train, holdout) = Text::of("e".into(), bytes).cut();
            assert_eq!(train.bytes.len() + holdout.bytes.len(), length);
            assert!(holdout.bytes.len() * 4 <= length + 3 && !train.bytes.is_empty(), "{length}");
            assert_eq!(
                (train.ends.last(), holdout.ends.last()),
                (Some(&train.bytes.len()), Some(&holdout.bytes.len()))
            );
        }
    }

    /// Documents of one letter each: what is read before a target is a zero or the same letter, wherever windows end.
    #[test]
    fn no_document_leaks_into_another() {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for (number, length) in [10, 5, 40, 20, 170, 30, 33].into_iter().enumerate() {
            bytes.extend(std::iter::repeat_n(b'a' + number as u8, length));
            ends.push(bytes.len());
        }
        let corpus = Corpus::new(vec![text("", b"", &[0]), text("a", &bytes, &ends)], None);
        let mut rng = Rng::new(1);
        let mut stream = Stream::default();
        let (mut seen, mut letter) = ([false; 256], 0);
        for _ in 0..2000 {
            stream.fill(&corpus, &Augment::default(), &mut rng, 16, 100);
            let row = stream.window();
            assert_eq!((row.symbols.len(), row.next.len()), (16, 16));
            assert!(row.starts.is_sorted_by(|a, b| a < b));
            for (t, (&symbol, &next)) in row.symbols.iter().zip(row.next).enumerate() {
                if row.starts.contains(&(t as u32)) {
                    assert_eq!(symbol, 0);
                    letter = next;
                }
                assert!(next == letter && (symbol == 0 || symbol == letter));
                assert!(symbol != 0 || row.starts.contains(&(t as u32)));
                seen[usize::from(next)] = true;
            }
        }
        assert_eq!(seen.iter().filter(|&&seen| seen).count(), 7);
    }

    /// Targets are the text, whatever it is cut into; what is read is what came before.
    #[test]
    fn subwords_spell_the_text() {
        let bytes = b"one two two one\xff two ".repeat(9);
        let corpus = Corpus::new(vec![text("a", &bytes, &[bytes.len()])], None);
        let corpus = corpus.in_subwords(Arc::new(Words::new(&["one", " two", " t"])));
        let (mut stream, mut rng, mut read) = (Stream::default(), Rng::new(1), Vec::new());
        while read.len() < bytes.len() {
            stream.fill(&corpus, &Augment::NONE, &mut rng, 16, 1000);
            let row = stream.window();
            assert_eq!((row.symbols.len(), row.next.len()), (16, 16));
            // But where the passage ends and another one begins.
            let pairs = (1..16).filter(|at| !row.starts.contains(&(*at as u32)));
            assert!(pairs.into_iter().all(|at| row.symbols[at] == row.next[at - 1]));
            let words = corpus.subwords().unwrap();
            let found: Vec<u8> = row.next.iter().flat_map(|&symbol| words.bytes(symbol).to_vec()).collect();
            assert_eq!(corpus.bytes_of(row.next), found.len());
            read.extend(found);
        }
        assert!(read.starts_with(&bytes));
        let holdout = crate::train::holdout::Holdout::of(&[&bytes], 1 << 20, corpus.subwords());
        assert_eq!(holdout.bytes(), bytes.len());
    }

    #[test]
    fn texts_are_read_by_their_shares() {
        let corpus = |shares: Option<&[f64]>| {
            Corpus::new(vec![text("a", &[1; 9000], &[9000]), text("b", &[2; 1000], &[500, 1000])], shares)
        };
        for (shares, expected) in [(None, 0.1), (Some(&[1.0, 1.0][..]), 0.5), (Some(&[0.0, 0.2]), 1.0)] {
            let (corpus, mut rng) = (corpus(shares), Rng::new(7));
            let drawn = (0..4000).filter(|_| corpus.draw(&mut rng, 100).text == 1).count();
            assert!((drawn as f64 / 4000.0 - expected).abs() < 0.02, "{shares:?}: {drawn}");
        }
    }
}
