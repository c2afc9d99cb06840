//! Symbols that stand for several bytes: [`Subwords`], and how a text is spelled with them: [`Spelling`].

use std::fmt;
use std::ops::Range;

/// A vocabulary of byte strings. Every byte is one of them, so that every text has symbols, UTF-8 or not.
pub trait Subwords: fmt::Debug + Send + Sync {
    /// Symbols, 256 to 65,536.
    fn count(&self) -> usize;

    /// The bytes that `symbol` stands for; none if there is no such symbol, or if it stands for no text.
    fn bytes(&self, symbol: u16) -> &[u8];

    /// The symbols of a text; their bytes one after the other are the text.
    fn encode(&self, text: &[u8]) -> Vec<u16>;
}

/// All symbols that stand for bytes, in the order of these: those with a common beginning lie together.
#[derive(Clone, Debug)]
pub struct Spelling {
    sorted: Vec<(Vec<u8>, u16)>,
}

/// A beginning of a symbol: those that have it, and its length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beginning {
    range: Range<usize>,
    length: usize,
}

/// How much each symbol weighs, in sums over [`Spelling`]'s order.
#[derive(Clone, Debug, Default)]
pub struct Weights {
    sums: Vec<f64>,
}

impl Spelling {
    /// Of a vocabulary.
    pub fn new(words: &dyn Subwords) -> Self {
        let all = (0..words.count()).map(|symbol| symbol as u16).map(|symbol| (words.bytes(symbol).to_vec(), symbol));
        let mut sorted: Vec<_> = all.filter(|(bytes, _)| !bytes.is_empty()).collect();
        sorted.sort();
        Self { sorted }
    }

    /// The beginning of no bytes: all symbols.
    pub fn start(&self) -> Beginning {
        Beginning { range: 0..self.sorted.len(), length: 0 }
    }

    /// The symbols that begin as `from` does, and go on with `byte`.
    pub fn go_on(&self, from: &Beginning, byte: u8) -> Beginning {
        let Beginning { range, length } = from;
        let part = &self.sorted[range.clone()];
        // What is whole comes first, and is less than any byte.
        let low = part.partition_point(|(bytes, _)| bytes.get(*length).is_none_or(|&next| next < byte));
        let high = part.partition_point(|(bytes, _)| bytes.get(*length).is_none_or(|&next| next <= byte));
        Beginning { range: range.start + low..range.start + high, length: length + 1 }
    }

    /// The symbol that is whole with these bytes.
    pub fn whole(&self, at: &Beginning) -> Option<u16> {
        let (bytes, symbol) = self.sorted.get(at.range.clone())?.first()?;
        (at.length > 0 && bytes.len() == at.length).then_some(*symbol)
    }

    /// Weights of a distribution, `exp(logit)` of each symbol up to a factor.
    pub fn weigh(&self, logits: &[f32], weights: &mut Weights) {
        let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        weights.sums.clear();
        weights.sums.push(0.0);
        let mut sum = 0.0;
        weights.sums.extend(self.sorted.iter().map(|&(_, symbol)| {
            let logit = logits.get(usize::from(symbol)).copied().unwrap_or(f32::NEG_INFINITY);
            sum += f64::from(logit - top).exp();
            sum
        }));
    }

    /// What all symbols weigh that have a beginning.
    pub fn weight(&self, at: &Beginning, weights: &Weights) -> f64 {
        let sum = |index: usize| weights.sums.get(index).copied().unwrap_or(0.0);
        sum(at.range.end) - sum(at.range.start)
    }

    /// What the symbol weighs that is whole at `at`; 0 if there is none.
    pub fn weight_of_whole(&self, at: &Beginning, weights: &Weights) -> f64 {
        let one = Beginning { range: at.range.start..at.range.start + 1, ..at.clone() };
        self.whole(at).map_or(0.0, |_| self.weight(&one, weights))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// All bytes, and some words.
    #[derive(Debug)]
    pub(crate) struct Words(Vec<Vec<u8>>);

    impl Words {
        pub(crate) fn new(words: &[&str]) -> Self {
            let bytes = (0..=255).map(|byte| vec![byte]);
            Self(bytes.chain(words.iter().map(|word| word.as_bytes().to_vec())).collect())
        }
    }

    impl Subwords for Words {
        fn count(&self) -> usize {
            self.0.len()
        }

        fn bytes(&self, symbol: u16) -> &[u8] {
            self.0.get(usize::from(symbol)).map_or(&[], Vec::as_slice)
        }

        /// The longest first.
        fn encode(&self, mut text: &[u8]) -> Vec<u16> {
            let mut symbols = Vec::new();
            while !text.is_empty() {
                let fits = self.0.iter().enumerate().filter(|(_, word)| text.starts_with(word));
                let (symbol, word) = fits.max_by_key(|(_, word)| word.len()).unwrap();
                symbols.push(symbol as u16);
                text = &text[word.len()..];
            }
            symbols
        }
    }

    #[test]
    fn beginnings_narrow_down_to_words() {
        let words = Words::new(&["the", "then", "they", "to"]);
        let spelling = Spelling::new(&words);
        let mut logits = vec![0.0f32; words.count()];
        logits[usize::from(b't')] = 2f32.ln();
        logits[256] = 3f32.ln();
        let mut weights = Weights::default();
        spelling.weigh(&logits, &mut weights);
        let follow = |text: &str| text.bytes().fold(spelling.start(), |at, byte| spelling.go_on(&at, byte));
        let share = |weight: f64| (weight / spelling.weight(&follow("to"), &weights)).round() as usize;
        assert_eq!(share(spelling.weight(&spelling.start(), &weights)), 255 + 2 + 3 + 3);
        for (text, all, whole) in
            [("t", 8, 2), ("th", 5, 0), ("the", 5, 3), ("then", 1, 1), ("to", 1, 1), ("x", 1, 1), ("xx", 0, 0)]
        {
            let at = follow(text);
            assert_eq!(share(spelling.weight(&at, &weights)), all, "{text}");
            assert_eq!(share(spelling.weight_of_whole(&at, &weights)), whole, "{text}");
            let found = spelling.whole(&at).map(|symbol| words.bytes(symbol).to_vec());
            assert_eq!(found, (whole > 0).then(|| text.as_bytes().to_vec()));
        }
        assert_eq!(spelling.whole(&spelling.start()), None);
    }
}
