//! The shape of a model: the numbers that size every tensor, the state and the scratch memory.

/// How the residual stream is normalised before each block and before the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Norm {
    /// `x / sqrt(mean(x^2) + eps) * weight`.
    Rms,
    /// `(x - mean(x)) / sqrt(var(x) + eps) * weight + bias`; all official MambaByte weights use it.
    Layer,
}

/// The shape of a Mamba-1 byte model (names as in the paper, arXiv 2312.00752).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Dims {
    /// Width of the residual stream.
    pub d_model: usize,
    /// Number of blocks.
    pub n_layer: usize,
    /// Width inside a block, `expand * d_model`.
    pub d_inner: usize,
    /// States per channel (`N`).
    pub d_state: usize,
    /// Taps of the depthwise causal convolution.
    pub d_conv: usize,
    /// Rank of the delta projection.
    pub dt_rank: usize,
    /// Kind of normalisation.
    pub norm: Norm,
    /// The head is the embedding matrix.
    pub tied_head: bool,
    /// `A[d, n] = (n + 1) * A[d, 0]`: the decays of a channel are powers of one number.
    pub tied_decays: bool,
}

/// Number of byte values; the only vocabulary there is.
pub const VOCAB: usize = 256;
