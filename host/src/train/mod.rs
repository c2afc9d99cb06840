//! Gradients of the f32 model, for training and for choosing integers.
//!
//! The forward pass computes what the oracle step of `mambabyte-core` does, a layer at a time over a chunk of
//! positions; the way back walks chunks and layers in reverse. The selective scan is differentiated as a linear recurrence:
//!
//! ```text
//! dh[t]       = g[t] C[t] + a[t + 1] dh[t + 1]             a[t] = exp(delta[t] A), g[t] the gradient of y[t]
//! d(delta)    = sum_n dh[t] (h[t - 1] a[t] A + B[t] x[t])
//! ```
//!
//! * `row`: what a batch is made of; `window`: one row, forward and back; `layer`: one layer over a chunk;
//!   `norm`, `conv`, `scan`, `matrix`, `math`: its parts.
//! * `tensors`: a checkpoint as a list of tensors.
//!
//! `PERFORMANCE.md` beside this file says what it costs.

mod chunk;
mod conv;
mod layer;
mod math;
mod matrix;
mod norm;
mod row;
mod scan;
mod tensors;
mod window;

pub use row::{Carry, Loss, Row, gradient, losses};
pub use tensors::zeros_like;

pub(crate) use math::{exp, vectors};
pub(crate) use row::{gradient_towards, logits};
pub(crate) use window::{Stream, log_softmax};

#[cfg(test)]
pub(crate) mod tests;
