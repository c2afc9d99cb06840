//! Gradients of the f32 model, for training and for choosing integers.
//!
//! The forward pass computes what the oracle step of `mambabyte-core` does, a layer at a time over a chunk of
//! positions; the way back walks chunks and layers in reverse. The selective scan is differentiated as a linear
//! recurrence:
//!
//! ```text
//! dh[t]       = g[t] C[t] + a[t + 1] dh[t + 1]             a[t] = exp(delta[t] A), g[t] the gradient of y[t]
//! d(delta)    = sum_n dh[t] (h[t - 1] a[t] A + B[t] x[t])
//! ```
//!
//! * `row`: what a batch is made of; `window`: one row, forward and back; `layer`: one layer over a chunk;
//!   `norm`, `conv`, `scan`, `matrix`, `math`: its parts.
//! * `tensors`: a checkpoint as a list of tensors.
//! * `machine`: the processor that computes a run's steps; `teachers`: models that it learns from; `rounding`: to few bits in
//!   the loop.
//! * `trainer`: a run, with its `data`, `augment`, `optimizer`, `schedule`, `average`, `initial` weights and `holdout`;
//!   `state_file`: what it goes on from.
//!
//! `PERFORMANCE.md` beside this file says what it costs.

pub mod augment;
pub mod average;
mod chunk;
mod conv;
pub mod data;
pub mod holdout;
pub mod initial;
mod layer;
pub mod machine;
mod math;
mod matrix;
mod norm;
pub mod optimizer;
pub mod rate;
pub mod rounding;
mod row;
pub mod saved;
mod scan;
pub mod schedule;
pub mod state_file;
pub mod teachers;
mod tensors;
pub mod trainer;
mod window;

pub use row::{Carry, Loss, Row, Window, gradient, losses};
pub use tensors::zeros_like;

pub(crate) use math::{exp, vectors};
pub(crate) use row::{gradient_towards, logits};
pub(crate) use window::{Stream, log_softmax};

#[cfg(test)]
pub(crate) mod tests;
