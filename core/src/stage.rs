//! The names of a step's parts, for clocks and tables.

/// A part of a step's work: see [`Prefill::layer_timed`](crate::Prefill::layer_timed) and
/// [`Decoder::step_timed`](crate::Decoder::step_timed).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The row of the embedding.
    Embed,
    /// A norm.
    Norm,
    /// The input projection.
    InProj,
    /// Convolution and SiLU.
    Conv,
    /// The projection to dt, B, C.
    XProj,
    /// `log2(softplus(dt_proj dt + dt_bias))`.
    DtProj,
    /// `delta * x`, decays and the scan.
    Scan,
    /// Skip and gate.
    Gate,
    /// The output projection.
    OutProj,
    /// The head.
    Head,
}

impl Stage {
    /// All, in the order of a step.
    pub const ALL: [Stage; 10] = {
        use Stage::*;
        [Embed, Norm, InProj, Conv, XProj, DtProj, Scan, Gate, OutProj, Head]
    };

    /// Name for tables.
    pub const fn name(self) -> &'static str {
        match self {
            Stage::Embed => "embed",
            Stage::Norm => "norm",
            Stage::InProj => "in_proj",
            Stage::Conv => "conv",
            Stage::XProj => "x_proj",
            Stage::DtProj => "dt_proj",
            Stage::Scan => "scan",
            Stage::Gate => "gate",
            Stage::OutProj => "out_proj",
            Stage::Head => "head",
        }
    }
}

/// Nobody hears of the stages. A function and no closure, so that a step is compiled once.
pub(crate) const fn untimed(_: Stage) {}
