//! MambaByte in integers: one byte in, 256 logits out, the same bits on every machine.
//!
//! A byte-level Mamba model ([MambaByte](https://arxiv.org/abs/2401.13660), [Mamba](https://arxiv.org/abs/2312.00752))
//! reads a stream byte by byte. It keeps a *state* of fixed size and gives after each byte a probability for each value
//! of the next one. This crate computes that step for a trained model that was quantised to a flat file, the *blob*. It
//! is `no_std` and does not allocate. Only the loops for particular processors have `unsafe`. The model lies in flash
//! or in a memory map, the state and the scratch memory belong to the caller.
//!
//! ```
//! use mambabyte_core::{Blob, Decoder, Dims, include_blob, most_probable, surprise};
//! use std::sync::Mutex;
//!
//! // `include_bytes!` may put the bytes at any address. `include_blob!` puts them at a multiple of 16.
//! const MODEL: &[u8] = include_blob!("../../models/sensor-pico/model.mbb");
//! const DIMS: Dims = Dims::of_blob(MODEL); // read at compile time
//! const _: () = DIMS.assert_fits(8 * 1024); // a model that needs more RAM does not compile
//! // Memory of the right size at compile time. A chip has `static_cell::StaticCell` instead of `Mutex`.
//! static STATE: Mutex<[i16; DIMS.state_len()]> = Mutex::new([0; DIMS.state_len()]);
//! static SCRATCH: Mutex<[i32; DIMS.scratch_len()]> = Mutex::new([0; DIMS.scratch_len()]);
//!
//! let (mut state, mut scratch) = (STATE.lock()?, SCRATCH.lock()?);
//! let mut decoder = Decoder::new(Blob::parse(MODEL)?, &mut state[..], &mut scratch[..])?;
//! decoder.step(b'\n');
//! let logits = decoder.step(b'$');
//! assert_eq!(most_probable(logits), b'G'); // "$GP...", "$GN..." are NMEA sentences of receivers
//! assert_eq!(surprise(logits, b'G'), 53_621); // 0.8 bits, Q16: this number on every machine
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # One byte's way
//!
//! Each part shows the equation of the paper, then the integers that are computed. Three rules are used everywhere;
//! [`fixed`] holds them:
//!
//! ```text
//! round(v, s)      = (v + 2^(s-1)) >> s                        floor of v / 2^s + 1/2; v is i64
//! requant(v, c, s) = round(v * M[c mod 32], s + c / 32)        M[k] = round(2^(15 - (k+1)/32)), an i16
//! mul_q15(a, b)    = (a * b + 2^14) >> 15                      i16 times i16 to i16
//! ```
//!
//! `sat16` clamps a value to `-32767..=32767`, `sat32` to the range of i32. "Qn" is an integer with n fractional bits.
//! Each row `r` of a matrix has a code `c[r]` of 8 bits (its scale, in steps of `2^(-1/32)`), each matrix a shift `s`.
//! The shifts and codes are in the blob. The converter chose them, so that no scale is computed here.
//!
//! **1. Embedding** ([`step`]). The residual stream starts as the byte's row.
//!
//! ```text
//! res    = E[byte]
//! res[i] = sat32(requant(E[byte, i], c[byte], embedding_shift))        E i8; res i32, Q(residual_frac)
//! ```
//!
//! Then 2 to 9 happen in each layer.
//!
//! **2. Norm** ([`norm`]). RMSNorm (mean and bias 0) or LayerNorm. `weight` includes `sqrt(d_model)` and the
//! scale of `u`; `eps` includes `d_model` and the scale of the residual.
//!
//! ```text
//! u    = (res - mean) / sqrt(mean((res - mean)^2) + eps) * weight + bias
//! q    = round(res - mean, down)                                       |q| <= 2^23; down = 0 leaves it as it is
//! r, e = rsqrt(sum q^2 + (eps >> 2 down))                              r * 2^-(23+e); the sum is u64, exact
//! n    = round(q * r << 12, 11 + e)                                    Q24, at most 1
//! u    = sat16(round(n * weight, norm_shift) + bias)                   weight, bias, u i16
//! ```
//!
//! **3. Input projection** ([`linear`]). `x` goes through the layer, `z` is the gate. The accumulator is exact: i32
//! over 512 columns, i64 over all.
//!
//! ```text
//! x, z = split(W_in u)
//! x[r] = sat16(requant(sum_j W_in[r, j] * u[j], c[r], in_proj_shift))  W_in i8; x, z i16, z in Q(z_frac)
//! ```
//!
//! **4. Convolution** ([`conv1d`]). Over this byte's `x` and the `d_conv - 1` columns before it, which are state.
//!
//! ```text
//! x    = silu(conv_bias + sum_k w[k] * x[t - (d_conv-1) + k])          silu(v) = v / (1 + e^-v)
//! v[d] = sat16(requant(sum_k w[k, d] * x[.., d], c[d], conv_shift) + conv_bias[d])     i16, Q(x_frac)
//! x[d] = (v[d] * sigmoid(v[d]) + 2^14) >> 15                           sigmoid Q15 from a table
//! ```
//!
//! **5. What the byte selects** ([`linear`]). `dt`, `B` and `C` depend on the input; that is the selection of Mamba.
//!
//! ```text
//! dt, B, C = split(W_x x)
//! each     = sat16(requant(sum_j W_x[r, j] * x[j], c[r], x_proj_shift))
//! C        = clamp(C, -c_limit, c_limit)                               c_limit = min(32767, 65535 / d_state)
//! ```
//!
//! **6. Step size** ([`nonlinear`]). Delta is kept as its logarithm, so that small and large ones are equally precise.
//!
//! ```text
//! delta = softplus(W_dt dt + dt_bias)                                  softplus(v) = ln(1 + e^v)
//! v     = clamp(requant(sum_j W_dt[d, j] * dt[j], c[d], dt_proj_shift) + dt_bias[d], -2^20, 2^20)      Q10
//! l     = sat16(log2(softplus(v)))                                     octaves, Q10: -32 to 10 octaves
//! ```
//!
//! **7. Selective scan** ([`selective_scan`]; Mamba, eq. 2a and 2b, B discretised as in the reference code).
//!
//! ```text
//! h[n]  = exp(delta * A[n]) * h[n] + (delta * x) * B[n]                A[n] = -exp(A_log[n])
//! y     = sum_n C[n] * h[n]
//! a[n]  = 2^-(2^((l + a_base + 32 * a_log[n]) / 1024))                 Q15, 0..=32767, one lookup
//! dx    = sat16(x * 2^((l + dx_base + 32 * state_code) / 1024))        see selective_scan::delta_x
//! h[n]  = clamp(mul_q15(a[n], h[n]) + mul_q15(dx, B[n]), -32768, 32767)        i16, a scale for each channel
//! y     = sum_n C[n] * h[n]                                            i32, exact because of c_limit
//! ```
//!
//! `a_log` is one byte for each state, in 1/32 octave. If the decays are tied, there is one for each channel:
//! `a[0]` is looked up, `a[n+1] = mul_q15(a[n], a[0])`.
//!
//! **8. Skip and gate** ([`step`]).
//!
//! ```text
//! g    = (y + D * x) * silu(z)
//! s    = sat32(requant(y, state_code, y_shift) + round(D * x, d_shift))        D i16
//! g    = sat32(round(s * silu(z), gate_shift))                         i32
//! g16  = sat16(round(g, down))                                         down: 0..=17, the least that fits all channels
//! ```
//!
//! **9. Output projection** ([`linear`]). `down` is the only scale that depends on the byte; it is undone here.
//!
//! ```text
//! res    = res + W_out g
//! res[r] = sat32(res[r] + sat32(requant(sum_j W_out[r, j] * g16[j], c[r], out_proj_shift - down)))
//! ```
//!
//! **10. Logits** ([`step`]). The head is the embedding matrix if it is tied. Logits are in log2 units: the change of
//! base is in the weights of the last norm.
//!
//! ```text
//! logits  = W_head norm_f(res)
//! logit   = sat32(requant(sum_j W_head[r, j] * u[j], c[r], head_shift))        i32, log2 units, Q16
//! ```
//!
//! **11. Surprise** ([`score`]). The bits that an ideal coder would spend on a byte.
//!
//! ```text
//! surprise(b) = -log2 p(b) = log2(sum_j 2^logit[j]) - logit[b]
//! w[j]        = 2^-(largest - logit[j])                                Q31, so 2^31 for the largest
//! surprise(b) = (largest - logit[b]) + log2(sum_j w[j])                u32, Q16
//! ```
//!
//! [`lines`] adds up the surprises of a line and flags odd lines.
//!
//! **12. Sampling** ([`sample`](mod@sample)). `2^((logit[j] - largest) / temperature)` in Q24, cut by `top_k` and
//! `top_p`; then each byte has an exponential variate, which one draw of a seeded 64-bit generator gives, and the least
//! beside its weight wins. Temperature is Q16.
//!
//! # The bit contract
//!
//! Equal blobs, states and bytes give equal states, logits, surprises and (with equal seeds) samples: on every CPU,
//! with every compiler and every optimisation.
//!
//! * **No float.** Everything above is i8 to i64 (i128 in sampling). Floats are in the module `oracle` (feature `f32`)
//!   and in the constant [`LOGIT_SCALE`], which nothing here reads.
//! * **Sums are exact.** No accumulator can overflow, whatever a blob says. So the order of a sum is free, and a SIMD
//!   or GPU version has the same bits.
//! * **One rounding rule.** Wherever an activation is scaled, and between the entries of a table: to nearest, halves
//!   up. Only these cut off: `eps >> 2 down` in the norm, the mantissas of the arguments of rsqrt (16 bits) and log2
//!   (24 bits), weights and shares in scores and sampling.
//! * **What saturates, and where.** Activations at +-32767 (never -32768); `h` at -32768 and 32767; residual, gated
//!   output and logits at the range of i32; the argument of softplus at +-1024, its logarithm at -32 octaves; `C` at
//!   `c_limit`; `delta * x` as [`delta_x`](selective_scan::delta_x) says. Nothing wraps.
//! * **Tables are data.** [`tables`] is generated once and checked in.
//! * **Little-endian.** A big-endian target does not compile.
//!
//! [`Blob::parse`] checks every shift and every length once. After that no step can fail.
//!
//! # Modules
//!
//! | module | what it does |
//! |---|---|
//! | [`blob`] | the model file: parse once, then trust |
//! | [`dims`] | the shape, and all sizes as `const fn` |
//! | [`state`] | what is carried from byte to byte |
//! | [`adapt`] | the adapter: learns the stream that a model reads |
//! | [`archive`] | archives, and the coder; adapters that have read a text |
//! | [`snapshot`] | a stream saved as bytes: the state, and what a scored stream adds, in sections |
//! | `block` | the phases of a layer, once: over one position or many, all channels or a shard's |
//! | [`step`] | one byte through all layers: [`Decoder`] |
//! | [`shard`] | one byte on several threads: [`Shard`] |
//! | [`prefill`] | many known bytes, or bytes of many streams, at once: [`Prefill`] |
//! | [`stage`] | the names of a step's parts |
//! | [`fixed`] | the rules of rounding and saturation |
//! | [`linear`] | i8 matrix times i16 vector |
//! | [`norm`] | RMSNorm and LayerNorm |
//! | [`conv1d`] | causal convolution and SiLU |
//! | [`selective_scan`] | the recurrence |
//! | [`nonlinear`] | exp2, log2, softplus, decay, sigmoid, SiLU, 1 / sqrt |
//! | [`tables`] | the tables of those |
//! | [`score`] | probability and surprise |
//! | [`sample`](mod@sample) | choosing the next byte |
//! | [`lines`] | line scores with a learned threshold |
//! | [`detect`] | which lines are odd: a rarity for each, and a promised share of false alarms |
//! | `simd` | the inner loops, one trait of them (`Kernels`); those for particular processors have the same bits |
//! | `weights` | what a projection kernel gets of a matrix |
//! | `tiles` | the order of weights that wide vectors read, feature `std` |
//! | `oracle` | the step in f32, feature `f32` |
//! | `record` | what a device sends of a stream that it scores, feature `record` |
//! | `flash` | snapshots in flash that survive power cuts, feature `flash` |
//!
//! # Features
//!
//! None is on by default, none changes a bit of the integer path.
//!
//! * `std`: links the standard library. The [`Backend`] is chosen by what the processor has, instead of what the target
//!   was built for. Adds `Decoder::owned` (memory in `Vec`s); the oracle takes the platform's `exp`.
//! * `f32`: the module `oracle`, the f32 step that the integer path is compared with. Without `std` through `libm`.
//! * `record`: the module `record`, the messages of a device that scores a stream.
//! * `flash`: the module `flash`, snapshots through the traits of `embedded-storage`.
//! * `defmt`: `defmt::Format` for errors, shapes and scores.
//!
//! # Words
//!
//! | word | meaning |
//! |---|---|
//! | position | a place in a text that a pass reads; a step has one, prefill a block of them |
//! | block | consecutive positions that go through the layers together |
//! | run | consecutive positions of a block that belong to one stream |
//! | shard | the part of every layer that one thread of a team computes |
//! | row | of a matrix: one output; in `mambabyte-host` also one stream of several |
//! | column | of a matrix: one input |
//! | tile | 16 rows by 4 columns of a matrix, 64 bytes in one place |
//! | panel | tiles of up to 64 rows; or the activations of 16 or 32 positions, arranged for products with them |
//! | code | the scale of a row or a channel, one byte in steps of `2^(-1/32)` |
//!
//! # Where to read next: five files
//!
//! 1. `firmware/src/bin/selftest.rs`: a whole program for a chip.
//! 2. `core/src/drive/step.rs`: one byte, from the embedding to the logits.
//! 3. `core/src/block/mamba1.rs`: the phases of a layer.
//! 4. `core/src/simd/mod.rs`: the kernels, in scalar code.
//! 5. `core/src/fixed.rs`: the arithmetic, 60 lines.
#![no_std]
#[cfg(any(feature = "std", test, doctest))]
extern crate std;

#[cfg(target_endian = "big")]
compile_error!("blobs, states and snapshots are little-endian views; big-endian targets are not supported");

pub mod adapt;
pub mod archive;
pub mod blob;
mod block;
mod cannot;
pub mod conv1d;
#[cfg(mambabyte_dsp)]
mod decays;
pub mod detect;
pub mod dims;
mod drive;
pub mod fixed;
#[cfg(feature = "flash")]
pub mod flash;
pub mod linear;
pub mod lines;
pub mod nonlinear;
pub mod norm;
#[cfg(feature = "f32")]
pub mod oracle;
#[cfg(feature = "record")]
pub mod record;
pub mod sample;
pub mod score;
pub mod selective_scan;
#[cfg(feature = "kernel-check")]
#[doc(hidden)]
pub mod simd;
#[cfg(not(feature = "kernel-check"))]
mod simd;
pub mod snapshot;
mod sort;
mod span;
pub mod stage;
pub mod state;
pub mod tables;
#[cfg(mambabyte_tiles)]
pub mod tiles;
mod weights;

pub use blob::{Blob, BlobError, Fingerprint};
pub use block::{Exchange, Run, Share};
pub use dims::{Dims, Logits, Norm, VOCAB};
pub use drive::prefill::{self, Prefill, Show};
pub use drive::shard::{self, Shard};
pub use drive::step::{self, Decoder, LOGIT_SCALE};
pub use lines::{LineScore, LineScorer, Threshold};
pub use sample::{Candidates, Rng, SampleOptions, sample};
pub use score::{most_probable, probability, surprise};
pub use simd::{Backend, UnknownBackend};
pub use snapshot::Snapshot;
pub use stage::Stage;
pub use state::{ModelId, State, StateError};

/// Bytes aligned as a blob must be, by [`include_blob!`].
#[repr(C, align(16))]
pub struct Aligned<T: ?Sized>(
    /// The bytes.
    pub T,
);

/// `include_bytes!` at an address that [`Blob::parse`] accepts: `&'static [u8]`, usable in constants.
#[macro_export]
macro_rules! include_blob {
    ($path:expr) => {{
        static BLOB: &$crate::Aligned<[u8]> = &$crate::Aligned(*include_bytes!($path));
        &BLOB.0
    }};
}
