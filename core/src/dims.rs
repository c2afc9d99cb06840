//! The shape of a model: the numbers that size every tensor, the state and the scratch memory.
//!
//! All sizes are `const fn`s of [`Dims`], so that the converter, a `Vec` on a host and a `static` in firmware cannot
//! disagree. [`Dims::of_blob`] reads them from the bytes of a blob at compile time.

/// Number of byte values; the only vocabulary there is.
pub const VOCAB: usize = 256;

/// One logit per byte value, in log2 units with 16 fractional bits: `p(byte) ~ 2^(logit / 65536)`. Multiply by
/// [`LOGIT_SCALE`](crate::LOGIT_SCALE) for natural logits.
pub type Logits = [i32; VOCAB];

/// How the residual stream is normalised before each layer and before the head.
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
    /// Number of layers.
    pub n_layer: usize,
    /// Width inside a layer, `expand * d_model`.
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

/// Name and inclusive bounds of each dimension, in the order of the blob header.
const BOUNDS: [(&str, usize, usize); 6] = [
    ("d_model", 16, 4096),
    ("n_layer", 1, 1024),
    ("d_inner", 16, 16_384),
    ("d_state", 1, 64),
    ("d_conv", 2, 4),
    ("dt_rank", 1, 4096),
];

impl Dims {
    /// The first dimension outside its bounds as `(name, value, low, high)`.
    pub const fn out_of_bounds(&self) -> Option<(&'static str, usize, usize, usize)> {
        let values = [self.d_model, self.n_layer, self.d_inner, self.d_state, self.d_conv, self.dt_rank];
        let mut i = 0;
        while i < BOUNDS.len() {
            let (name, low, high) = BOUNDS[i];
            if values[i] < low || values[i] > high {
                return Some((name, values[i], low, high));
            }
            i += 1;
        }
        None
    }

    /// i16 elements of one layer's convolution history, `[d_conv - 1, d_inner]`, oldest column first.
    pub const fn conv_state_len(&self) -> usize {
        (self.d_conv - 1) * self.d_inner
    }

    /// i16 elements of one layer's scan state, `[d_state, d_inner]`.
    pub const fn scan_state_len(&self) -> usize {
        self.d_state * self.d_inner
    }

    /// i16 elements of one layer's state.
    pub const fn layer_state_len(&self) -> usize {
        self.conv_state_len() + self.scan_state_len()
    }

    /// i16 elements of the whole state. (The reference keeps `d_conv` columns of history; `d_conv - 1` suffice.)
    pub const fn state_len(&self) -> usize {
        self.n_layer * self.layer_state_len()
    }

    /// Bytes of the whole state.
    pub const fn state_bytes(&self) -> usize {
        2 * self.state_len()
    }

    /// Rows of `x_proj`: dt, B, C.
    pub const fn x_proj_rows(&self) -> usize {
        self.dt_rank + 2 * self.d_state
    }

    /// Refuses to compile a program whose memory for the model, state and scratch, exceeds `ram` bytes.
    ///
    /// ```
    /// # use mambabyte_core::Dims;
    /// const DIMS: Dims = Dims::of_blob(include_bytes!("../../models/sensor-pico/model.mbb"));
    /// const _: () = DIMS.assert_fits(5860);
    /// ```
    ///
    /// One byte less does not compile. The compiler's message has the numbers: `the model does not fit: state 4224 +
    /// scratch 1636 bytes of RAM, 5859 allowed`.
    ///
    /// ```compile_fail
    /// # use mambabyte_core::Dims;
    /// const DIMS: Dims = Dims::of_blob(include_bytes!("../../models/sensor-pico/model.mbb"));
    /// const _: () = DIMS.assert_fits(5859);
    /// ```
    ///
    /// # Panics
    /// If the memory is not enough; in a constant that is the compile error.
    pub const fn assert_fits(&self, ram: usize) {
        let (state, scratch) = (self.state_bytes(), self.scratch_bytes());
        if state + scratch > ram {
            let text = Text::EMPTY.str("the model does not fit: state ").number(state).str(" + scratch ");
            let text = text.number(scratch).str(" bytes of RAM, ").number(ram).str(" allowed");
            panic!("{}", text.as_str());
        }
    }

    /// Rows of `a_log`: one per channel if the decays are tied, else one per state.
    pub const fn a_log_rows(&self) -> usize {
        if self.tied_decays { 1 } else { self.d_state }
    }

    /// Largest magnitude of an element of `C`, so that `sum_n C[n] * h[n]` is exact in i32 for any state.
    pub const fn c_limit(&self) -> i64 {
        // Unsigned, so that the compiler sees `0 <= limit`: the step clamps to it, and a clamp checks its bounds.
        let limit = 65_535 / if self.d_state == 0 { 1 } else { self.d_state as u64 };
        (if limit > 32_767 { 32_767 } else { limit }) as i64
    }
}

/// A message with numbers that is put together in a constant, where `format!` does not work.
struct Text {
    bytes: [u8; 160],
    len: usize,
}

impl Text {
    const EMPTY: Self = Self { bytes: [0; 160], len: 0 };

    const fn push(mut self, byte: u8) -> Self {
        if self.len < self.bytes.len() {
            self.bytes[self.len] = byte;
            self.len += 1;
        }
        self
    }

    const fn str(mut self, s: &str) -> Self {
        let mut rest = s.as_bytes();
        while let Some((&first, tail)) = rest.split_first() {
            self = self.push(first);
            rest = tail;
        }
        self
    }

    const fn number(self, n: usize) -> Self {
        let more = if n < 10 { self } else { self.number(n / 10) };
        more.push(b'0' + (n % 10) as u8)
    }

    const fn as_str(&self) -> &str {
        match self.bytes.split_at_checked(self.len) {
            Some((text, _)) => match core::str::from_utf8(text) {
                Ok(text) => text,
                Err(_) => "",
            },
            None => "",
        }
    }
}

/// Rounds up to an even number, so that i16 arrays end on i32 words.
pub(crate) const fn even(n: usize) -> usize {
    n + n % 2
}
