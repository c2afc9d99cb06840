//! What a preset is: which contexts there are, how many of everything, what chooses weights.

/// What a run predictor or a bit history looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    /// The last `n` bytes, at most 8.
    Last(u8),
    /// The field's text so far, whatever the line, and the last byte of the field before.
    Word,
    /// The field's number in its line, by the line's type, and its text so far; in the first field, the types of the
    /// last two lines instead of the type.
    Field,
    /// The two bytes above, whether the field has been equal to the one above so far, and the last byte.
    Above,
    /// The line's type, the field's number, the position in the field, the byte above.
    Place,
    /// The field's text so far and the whole text of the field before.
    Pair,
    /// The position in the line, the byte above, the last byte.
    Column,
}

/// What chooses a row of a weight set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowBy {
    /// The match (none, short, long) and the column (none, the field differs from the one above, equal so far). Always
    /// first: the last layer's weights have these rows too.
    MatchColumn,
    /// The bit's number, and whether a match, only a column or none predicts.
    BitWho,
    /// The field's number modulo 16.
    Field,
    /// The same and the half of the byte.
    FieldHalf,
    /// The class of the byte before (digit, point, sign, capital, small letter, newline, blank, other), and whether the
    /// field has been equal so far.
    PreviousClass,
    /// The bits of the byte that are known: all four, or the last four of them.
    PartialByte,
    /// The byte before.
    PreviousByte,
}

impl RowBy {
    /// How many rows.
    pub const fn rows(self) -> usize {
        match self {
            Self::MatchColumn => 12,
            Self::BitWho => 24,
            Self::Field | Self::PreviousClass => 16,
            Self::FieldHalf | Self::PartialByte => 32,
            Self::PreviousByte => 256,
        }
    }
}

/// Points of a curve of the correction.
pub(crate) const POINTS: usize = 23;

/// The tables that correct the mixture at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Correction {
    /// None.
    None,
    /// A curve for each bit of a byte.
    ByBit,
    /// And one for each node: all bits of the byte that are known.
    ByNode,
}

impl Correction {
    /// Points of all curves.
    pub(crate) const fn points(self) -> usize {
        match self {
            Self::None => 0,
            Self::ByBit => 8 * POINTS,
            Self::ByNode => (8 + 256) * POINTS,
        }
    }
}

/// The design of a preset: all that the code is compiled for.
#[derive(Clone, Copy, Debug)]
pub struct Design {
    /// Its name, as options spell it.
    pub name: &'static str,
    /// Its number in files: never used for another one.
    pub id: u8,
    /// Bytes of the ring, a power of two.
    pub ring: usize,
    /// Entries of the match model.
    pub matches: usize,
    /// The run predictors.
    pub runs: &'static [Context],
    /// Slots that the run predictors share.
    pub slots: usize,
    /// A slot holds two bytes, the second of what came instead.
    pub two: bool,
    /// Confidences of the column model, a power of two.
    pub columns: usize,
    /// Anchors of the column model, a power of two.
    pub anchors: usize,
    /// Numbers that are remembered; 0 for none.
    pub numbers: usize,
    /// The bit histories.
    pub histories: &'static [Context],
    /// Slots of the bit histories; 0 for none.
    pub bits: usize,
    /// The weight sets, [`RowBy::MatchColumn`] first.
    pub sets: &'static [RowBy],
    /// What corrects the mixture at the end.
    pub sse: Correction,
}

impl Design {
    /// Inputs of the mixer: bias, net, runs, bit histories with two each, match, column, number, order 0.
    pub const fn inputs(&self) -> usize {
        2 + self.runs.len() + 2 * self.histories.len() + 2 + (self.numbers > 0) as usize + 1
    }

    /// Rows of all weight sets.
    pub const fn rows(&self) -> usize {
        let (mut rows, mut set) = (0, 0);
        while set < self.sets.len() {
            rows += self.sets[set].rows();
            set += 1;
        }
        rows
    }

    /// Confidences of one run predictor: by state and half of the byte.
    pub const fn confidences(&self) -> usize {
        if self.two { 64 } else { 16 }
    }

    /// Confidences of the numbers.
    pub const fn number_confidences(&self) -> usize {
        if self.numbers > 0 { 64 } else { 0 }
    }
}
