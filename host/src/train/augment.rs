//! What is changed in a text before the model reads it, so that it learns to look back instead of by heart.
//!
//! A permutation of the digits leaves what copies earlier lines as it is and takes away what was remembered: in some
//! passages every `3` is a `7`, in what is read and in what is to be said alike. It is drawn once for a passage,
//! however many windows that is.

use mambabyte_core::Rng;
use serde::{Deserialize, Serialize};

/// How often, by passage.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Augment {
    /// Share of the passages whose digits are permuted.
    pub digits: f64,
    /// Share of the passages whose letters are permuted, capitals as small ones.
    pub letters: f64,
    /// Share of the passages that lose some of their lines.
    pub lines: f64,
}

impl Default for Augment {
    fn default() -> Self {
        Self { digits: 0.4, letters: 0.0, lines: 0.0 }
    }
}

/// A line of a passage that loses lines is lost once in this many.
const LOST: u64 = 8;

/// A number from 0 to below 1.
pub(super) fn unit(rng: &mut Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// A number below `n`, which is not 0; for the sizes here as good as even.
pub(super) fn below(rng: &mut Rng, n: u64) -> u64 {
    ((u128::from(rng.next_u64()) * u128::from(n)) >> 64) as u64
}

/// A permutation of `0..N`.
fn permutation<const N: usize>(rng: &mut Rng) -> [u8; N] {
    let mut all = std::array::from_fn(|i| i as u8);
    for i in (1..N).rev() {
        all.swap(i, below(rng, i as u64 + 1) as usize);
    }
    all
}

impl Augment {
    /// Nothing is changed.
    pub const NONE: Self = Self { digits: 0.0, letters: 0.0, lines: 0.0 };

    /// `passage`, changed as `seed` says.
    pub fn apply(&self, passage: &[u8], seed: u64) -> Vec<u8> {
        let mut rng = Rng::new(seed);
        let chosen = [self.digits, self.letters, self.lines].map(|share| unit(&mut rng) < share);
        let mut table: [u8; 256] = std::array::from_fn(|i| i as u8);
        if chosen[0] {
            for (digit, other) in permutation::<10>(&mut rng).into_iter().enumerate() {
                table[usize::from(b'0') + digit] = b'0' + other;
            }
        }
        if chosen[1] {
            for (letter, other) in permutation::<26>(&mut rng).into_iter().enumerate() {
                table[usize::from(b'a') + letter] = b'a' + other;
                table[usize::from(b'A') + letter] = b'A' + other;
            }
        }
        let mut text: Vec<u8> = Vec::with_capacity(passage.len());
        for (number, line) in passage.split_inclusive(|&b| b == b'\n').enumerate() {
            // The first may be part of one; something must be left.
            if chosen[2] && number > 0 && below(&mut rng, LOST) == 0 {
                continue;
            }
            text.extend(line.iter().map(|&b| table[usize::from(b)]));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"$GPGGA,120459,4807.038\nmetar EDDF 301650Z 0123456789\nthird\nfourth\nfifth\nsixth 6\n";

    #[test]
    fn digits_are_permuted_and_nothing_else() {
        let all = Augment { digits: 1.0, ..Augment::NONE };
        let mut different = 0;
        for seed in 0..50 {
            let changed = all.apply(TEXT, seed);
            assert_eq!(changed.len(), TEXT.len());
            let mut to = [None; 256];
            for (&old, &new) in TEXT.iter().zip(&changed) {
                // One letter for one letter, and digits for digits.
                assert_eq!(*to[usize::from(old)].get_or_insert(new), new);
                assert!(if old.is_ascii_digit() { new.is_ascii_digit() } else { new == old });
            }
            let mut digits: Vec<u8> = (b'0'..=b'9').filter_map(|d| to[usize::from(d)]).collect();
            digits.sort_unstable();
            assert_eq!(digits, b"0123456789");
            different += usize::from(changed != TEXT);
            assert_eq!(changed, all.apply(TEXT, seed));
        }
        assert!(different >= 49);
        assert_eq!(Augment::NONE.apply(TEXT, 1), TEXT);
        let some = (0..1000).filter(|&seed| Augment::default().apply(TEXT, seed) != TEXT).count();
        assert!((350..450).contains(&some), "{some}");
    }

    #[test]
    fn letters_keep_their_case_and_lines_are_lost_whole() {
        let changed = Augment { letters: 1.0, ..Augment::NONE }.apply(TEXT, 3);
        assert!(TEXT.iter().zip(&changed).all(|(a, b)| a.is_ascii_lowercase() == b.is_ascii_lowercase()
            && a.is_ascii_uppercase() == b.is_ascii_uppercase()
            && (a.is_ascii_alphabetic() || a == b)));
        assert_ne!(changed, TEXT);
        let lines: Vec<&[u8]> = TEXT.split_inclusive(|&b| b == b'\n').collect();
        let mut lost = 0;
        for seed in 0..200 {
            let left = Augment { lines: 1.0, ..Augment::NONE }.apply(TEXT, seed);
            let mut rest = lines.iter();
            // What is left is a part of the lines, in their order, the first among them.
            assert!(left.split_inclusive(|&b| b == b'\n').all(|line| rest.any(|l| *l == line)));
            assert!(left.starts_with(lines[0]));
            lost += lines.len() - left.split_inclusive(|&b| b == b'\n').count();
        }
        assert!((80..180).contains(&lost), "{lost}");
    }
}
