//! What was said of one bit, kept until it is known: to learn from.

/// What a weight set said.
#[derive(Clone, Copy, Debug)]
pub struct Set {
    /// The row that its context chose, counted through all sets.
    pub(crate) row: u16,
    /// Stretched, Q8.
    pub(crate) dot: i16,
    pub(crate) p: u16,
}

impl Set {
    /// Nothing was said.
    pub(crate) const NONE: Self = Self { row: 0, dot: 0, p: 0 };
}

/// Where a context's bit history is: in a slot of its own, or in one that would be taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    pub(crate) slot: u32,
    pub(crate) check: u8,
    /// 0 if the slot would be taken over.
    pub(crate) state: u8,
}

impl Found {
    /// Nothing was looked up.
    pub(crate) const NONE: Self = Self { slot: 0, check: 0, state: 0 };
}

/// All that was said of one bit, in arrays of a preset's sizes.
pub struct Said<I, S, H> {
    pub(crate) inputs: I,
    pub(crate) sets: S,
    pub(crate) histories: H,
    /// The mixture, stretched, Q8.
    pub(crate) x: i16,
    pub(crate) mixed: u16,
    /// The probability; 0 before anything was said.
    pub(crate) p: u16,
}

impl<I, S, H> Said<I, S, H> {
    /// Nothing was said.
    pub(crate) const fn silent(inputs: I, sets: S, histories: H) -> Self {
        Self { inputs, sets, histories, x: 0, mixed: 0, p: 0 }
    }

    pub(crate) fn forget(&mut self) {
        self.p = 0;
    }
}
