//! What the user may insist on.

/// What the user insists on against what the files say.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct Options {
    /// Load a checkpoint even if config.json promises more layers, a head or another architecture than its tensors have.
    #[arg(long)]
    pub trust_tensors: bool,
    /// The row of a checkpoint's vocabulary that is byte 0 (3 for ByT5). Default: what its files say.
    #[arg(long, value_name = "N")]
    pub byte_offset: Option<usize>,
}
