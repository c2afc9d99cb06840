//! What the persistent kernel reads weights in.

/// Weights of the projections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// bf16, rounded to nearest even.
    Bf16,
    /// i8 with a scale per row.
    I8,
}

impl Form {
    /// Units of one tile of rows with `tiles` k-tiles.
    pub(super) const fn units(self, tiles: usize) -> usize {
        match self {
            Self::Bf16 => tiles,
            Self::I8 => tiles.div_ceil(2),
        }
    }
}
