//! Parts of an adapter that can be switched off, to measure what each is worth: the feature `ablation`. Not for use: a
//! switch is read for every bit, and is the whole program's.

use core::sync::atomic::{AtomicU32, Ordering};

use super::design::Design;

/// A part of every adapter of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The model's share.
    Net,
    /// A run predictor, by its index in [`Design::runs`].
    Run(u8),
    /// A bit history, by its index in [`Design::histories`].
    History(u8),
    /// The match.
    Match,
    /// The column.
    Column,
    /// The number.
    Number,
    /// The probabilities without a context.
    Order0,
    /// A weight set, by its index in [`Design::sets`].
    Set(u8),
    /// The correction at the end.
    Correction,
}

static OFF: AtomicU32 = AtomicU32::new(0);

impl Part {
    const fn bit(self) -> u32 {
        1 << match self {
            Self::Net => 0,
            Self::Match => 1,
            Self::Column => 2,
            Self::Number => 3,
            Self::Order0 => 4,
            Self::Correction => 5,
            Self::Set(index) => 8 + (index & 7),
            Self::Run(index) => 16 + (index & 7),
            Self::History(index) => 24 + (index & 7),
        }
    }
}

/// Switches these parts off, and all others on.
pub fn without(parts: &[Part]) {
    OFF.store(parts.iter().fold(0, |off, part| off | part.bit()), Ordering::Relaxed);
}

/// Whether a part is off.
pub(super) fn off(part: Part) -> bool {
    OFF.load(Ordering::Relaxed) & part.bit() != 0
}

/// Zeros what the parts that are off say.
pub(super) fn silence(design: &Design, inputs: &mut [i16]) {
    let mut next = 1;
    let mut input = |part, count: usize| {
        if off(part) {
            inputs.iter_mut().skip(next).take(count).for_each(|x| *x = 0);
        }
        next += count;
    };
    input(Part::Net, 1);
    (0..design.runs.len()).for_each(|index| input(Part::Run(index as u8), 1));
    (0..design.histories.len()).for_each(|index| input(Part::History(index as u8), 2));
    input(Part::Match, 1);
    input(Part::Column, 1);
    input(Part::Number, (design.numbers > 0) as usize);
    input(Part::Order0, 1);
}
