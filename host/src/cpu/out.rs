//! Where the logits of a row's bytes go: [`Out`].

use mambabyte_core::{Logits, VOCAB, surprise};

use crate::bpb::surprise_bits;
use crate::engine::{Answer, Want};

/// An element of logits: integers or f32.
pub(super) trait Logit: Copy + Send {
    /// What a byte costs.
    type Bits: Send;
    /// Makes `answer` hold `n` logits.
    fn logits(answer: &mut Answer, n: usize) -> &mut [[Self; VOCAB]];
    /// Makes `answer` hold `n` surprises.
    fn surprises(answer: &mut Answer, n: usize) -> &mut [Self::Bits];
    /// What `next` costs.
    fn surprise(logits: &[Self; VOCAB], next: u8) -> Self::Bits;
}

impl Logit for i32 {
    type Bits = u32;

    fn logits(answer: &mut Answer, n: usize) -> &mut [Logits] {
        answer.as_logits(n)
    }

    fn surprises(answer: &mut Answer, n: usize) -> &mut [u32] {
        answer.as_surprise(n)
    }

    fn surprise(logits: &Logits, next: u8) -> u32 {
        surprise(logits, next)
    }
}

impl Logit for f32 {
    type Bits = f32;

    fn logits(answer: &mut Answer, n: usize) -> &mut [[f32; VOCAB]] {
        answer.as_float_logits(n)
    }

    fn surprises(answer: &mut Answer, n: usize) -> &mut [f32] {
        answer.as_float_surprise(n)
    }

    fn surprise(logits: &[f32; VOCAB], next: u8) -> f32 {
        surprise_bits(&logits.map(f64::from), next) as f32
    }
}

/// What is wanted of some consecutive bytes of a row, and the place in the answer for it.
pub(super) enum Out<'a, L: Logit> {
    Nothing,
    /// After the last byte.
    Last(&'a mut [L; VOCAB]),
    /// After every byte.
    All(&'a mut [[L; VOCAB]]),
    /// What each following byte costs.
    Surprise {
        next: &'a [u8],
        bits: &'a mut [L::Bits],
    },
}

impl<'a, L: Logit> Out<'a, L> {
    /// The places of all rows that have bytes, in their order, in an answer made to hold them.
    pub(super) fn all(answer: &'a mut Answer, text: &[&[u8]], want: Want<'a>) -> Vec<Self> {
        let lengths = text.iter().map(|t| t.len()).filter(|&n| n > 0);
        let total = text.iter().map(|t| t.len()).sum();
        match want {
            Want::Nothing => {
                *answer = Answer::Nothing;
                lengths.map(|_| Self::Nothing).collect()
            }
            Want::Last => L::logits(answer, lengths.count()).iter_mut().map(Self::Last).collect(),
            Want::All => {
                let mut rest = L::logits(answer, total);
                lengths.filter_map(|n| Some(Self::All(rest.split_off_mut(..n)?))).collect()
            }
            Want::Surprise(next) => {
                let mut rest = L::surprises(answer, total);
                let next = next.iter().filter(|next| !next.is_empty());
                next.filter_map(|next| Some(Self::Surprise { next, bits: rest.split_off_mut(..next.len())? })).collect()
            }
        }
    }

    /// The place of the only row that has bytes: [`Out::all`] without an allocation.
    pub(super) fn one(answer: &'a mut Answer, row: usize, text: &[u8], want: Want<'a>) -> Self {
        match want {
            Want::Nothing => {
                *answer = Answer::Nothing;
                Self::Nothing
            }
            Want::Last => L::logits(answer, 1).first_mut().map_or(Self::Nothing, Self::Last),
            Want::All => Self::All(L::logits(answer, text.len())),
            Want::Surprise(next) => {
                Self::Surprise { next: next.get(row).copied().unwrap_or(&[]), bits: L::surprises(answer, text.len()) }
            }
        }
    }

    /// The part of the next `n` bytes; `last` says whether they are the row's last ones.
    pub(super) fn take(&mut self, n: usize, last: bool) -> Self {
        match self {
            Self::Last(_) if last => std::mem::replace(self, Self::Nothing),
            Self::Nothing | Self::Last(_) => Self::Nothing,
            Self::All(all) => all.split_off_mut(..n).map_or(Self::Nothing, Self::All),
            Self::Surprise { next, bits } => match (next.split_off(..n), bits.split_off_mut(..n)) {
                (Some(next), Some(bits)) => Self::Surprise { next, bits },
                _ => Self::Nothing,
            },
        }
    }

    pub(super) const fn is_nothing(&self) -> bool {
        matches!(self, Self::Nothing)
    }

    pub(super) const fn is_last(&self) -> bool {
        matches!(self, Self::Last(_))
    }

    /// Takes the logits after every byte of the part.
    pub(super) fn write(self, logits: &[[L; VOCAB]]) {
        match self {
            Self::Nothing => {}
            Self::Last(out) => {
                if let Some(last) = logits.last() {
                    *out = *last;
                }
            }
            Self::All(out) => out.copy_from_slice(logits),
            Self::Surprise { next, bits } => {
                for ((bits, logits), &next) in bits.iter_mut().zip(logits).zip(next) {
                    *bits = L::surprise(logits, next);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_ragged_rows_are_the_answer() {
        let logits: Vec<Logits> = (0..5).map(|i| [i; VOCAB]).collect();
        let text: [&[u8]; 4] = [b"ab", b"", b"cde", b""];
        let parts = |answer: &mut Answer, want: Want<'_>| {
            let mut outs = Out::<i32>::all(answer, &text, want);
            assert_eq!(outs.len(), 2);
            outs[0].take(2, true).write(&logits[..2]);
            outs[1].take(2, false).write(&logits[2..4]);
            outs[1].take(1, true).write(&logits[4..]);
        };
        let mut answer = Answer::Nothing;
        parts(&mut answer, Want::All);
        assert_eq!(*answer.logits(), *logits);
        parts(&mut answer, Want::Last);
        assert_eq!(*answer.logits(), [logits[1], logits[4]]);
        parts(&mut answer, Want::Surprise(&[b"xy", b"", b"zzz", b""]));
        assert_eq!(*answer.surprise(), [8 << 16; 5], "256 equal bytes are 8 bits each");
        parts(&mut answer, Want::Nothing);
        assert_eq!(answer, Answer::Nothing);
    }
}
