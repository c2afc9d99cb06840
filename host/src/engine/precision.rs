//! What an engine computes in: [`Precision`].

/// What weights and activations are computed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// The integers of a blob: the same bits on every CPU, GPU and chip.
    Exact,
    /// All of it in f32.
    F32,
    /// Weights and activations in bf16; sums and the state in f32. GPUs only.
    Bf16,
    /// Weights in i8 with a scale for each row (prefill rounds their products to bf16), activations in bf16; sums and
    /// the state in f32. GPUs only.
    I8,
}

impl Precision {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Exact, Self::F32, Self::Bf16, Self::I8];

    /// Its name in options.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::I8 => "i8",
        }
    }

    /// Its name in reports: what kind of numbers they are.
    pub const fn arithmetic(self) -> &'static str {
        match self {
            Self::Exact => "int",
            _ => self.name(),
        }
    }

    /// One line about it.
    pub const fn about(self) -> &'static str {
        match self {
            Self::Exact => "A blob's integers, equal on every machine",
            Self::F32 => "32-bit floats",
            Self::Bf16 => "bf16 weights and activations, f32 sums and state; GPUs only",
            Self::I8 => "i8 weights, bf16 activations, f32 sums and state; GPUs only",
        }
    }
}

impl std::fmt::Display for Precision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
