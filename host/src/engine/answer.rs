//! What an engine answers: [`Answer`].

use std::borrow::Cow;

use mambabyte_core::{LOGIT_SCALE, Logits, VOCAB};

use crate::model::logit_units;

/// What was asked for by [`Want`](super::Want), row after row, in each row by time.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Answer {
    /// Nothing was asked for.
    #[default]
    Nothing,
    /// Of an engine in integers: log2 units, Q16.
    Logits(Vec<Logits>),
    /// Of a float engine: natural logits, as computed.
    FloatLogits(Vec<[f32; VOCAB]>),
    /// Of an engine in integers: bits in Q16, those of [`mambabyte_core::surprise`].
    Surprise(Vec<u32>),
    /// Of a float engine: bits.
    FloatSurprise(Vec<f32>),
}

impl Answer {
    /// Logits in the units of the core, of any engine: those of a float engine are rounded by [`logit_units`]. Empty
    /// for an answer without logits.
    ///
    /// This is what samplers, scorers and coders take.
    pub fn logits(&self) -> Cow<'_, [Logits]> {
        match self {
            Self::Logits(all) => Cow::Borrowed(all),
            Self::FloatLogits(all) => Cow::Owned(all.iter().map(logit_units).collect()),
            _ => Cow::Borrowed(&[]),
        }
    }

    /// Natural logits, of any engine, without loss; empty for an answer without logits.
    pub fn natural_logits(&self) -> Vec<[f64; VOCAB]> {
        match self {
            Self::Logits(all) => all.iter().map(natural).collect(),
            Self::FloatLogits(all) => all.iter().map(|l| l.map(f64::from)).collect(),
            _ => Vec::new(),
        }
    }

    /// Bits that each byte cost, Q16, of any engine; empty for an answer without them.
    pub fn surprise(&self) -> Cow<'_, [u32]> {
        match self {
            Self::Surprise(bits) => Cow::Borrowed(bits),
            // Casts of floats saturate.
            Self::FloatSurprise(bits) => {
                Cow::Owned(bits.iter().map(|&b| (f64::from(b) * 65_536.0).round_ties_even() as u32).collect())
            }
            _ => Cow::Borrowed(&[]),
        }
    }

    /// Bits that each byte cost, of any engine, without loss; empty for an answer without them.
    pub fn bits(&self) -> Vec<f64> {
        match self {
            Self::Surprise(bits) => bits.iter().map(|&b| f64::from(b) / 65_536.0).collect(),
            Self::FloatSurprise(bits) => bits.iter().map(|&b| f64::from(b)).collect(),
            _ => Vec::new(),
        }
    }

    /// Becomes `n` logits in integers, to be filled; memory is reused.
    pub(crate) fn as_logits(&mut self, n: usize) -> &mut [Logits] {
        if !matches!(self, Self::Logits(_)) {
            *self = Self::Logits(Vec::new());
        }
        let Self::Logits(all) = self else { return &mut [] };
        all.resize(n, [0; VOCAB]);
        all
    }

    /// Becomes `n` float logits, to be filled; memory is reused.
    pub(crate) fn as_float_logits(&mut self, n: usize) -> &mut [[f32; VOCAB]] {
        if !matches!(self, Self::FloatLogits(_)) {
            *self = Self::FloatLogits(Vec::new());
        }
        let Self::FloatLogits(all) = self else { return &mut [] };
        all.resize(n, [0.0; VOCAB]);
        all
    }

    /// Becomes `n` surprises in integers, to be filled; memory is reused.
    pub(crate) fn as_surprise(&mut self, n: usize) -> &mut [u32] {
        if !matches!(self, Self::Surprise(_)) {
            *self = Self::Surprise(Vec::new());
        }
        let Self::Surprise(all) = self else { return &mut [] };
        all.resize(n, 0);
        all
    }

    /// Becomes `n` float surprises, to be filled; memory is reused.
    pub(crate) fn as_float_surprise(&mut self, n: usize) -> &mut [f32] {
        if !matches!(self, Self::FloatSurprise(_)) {
            *self = Self::FloatSurprise(Vec::new());
        }
        let Self::FloatSurprise(all) = self else { return &mut [] };
        all.resize(n, 0.0);
        all
    }
}

/// The natural logits that integer ones stand for.
pub fn natural(logits: &Logits) -> [f64; VOCAB] {
    logits.map(|l| f64::from(l) * LOGIT_SCALE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_both_views() {
        let mut integers = [0; VOCAB];
        integers[7] = 3 << 16;
        let answer = Answer::Logits(vec![integers; 2]);
        assert_eq!(*answer.logits(), [integers; 2]);
        assert_eq!(answer.natural_logits()[1][7], 3.0 * std::f64::consts::LN_2);
        let floats = Answer::FloatLogits(vec![natural(&integers).map(|l| l as f32)]);
        assert_eq!(*floats.logits(), [integers], "rounding gives the units back");
        assert!(answer.surprise().is_empty() && answer.bits().is_empty());
        assert_eq!(*Answer::FloatSurprise(vec![1.5]).surprise(), [98_304]);
        assert_eq!(Answer::Surprise(vec![98_304]).bits(), [1.5]);
        assert!(Answer::Surprise(vec![1]).logits().is_empty() && Answer::Nothing.natural_logits().is_empty());
    }

    #[test]
    fn memory_is_used_again() {
        let mut answer = Answer::Nothing;
        let first = answer.as_logits(3).as_ptr();
        assert_eq!(answer.as_logits(2).as_ptr(), first);
        assert_eq!(answer.logits().len(), 2);
        answer.as_surprise(1)[0] = 5;
        assert_eq!(answer, Answer::Surprise(vec![5]));
    }
}
