//! The integer step of a blob on a GPU, byte for byte what `mambabyte_core` computes: logits, states, samples.
//!
//! Every sum of the step is exact, so a GPU may take any order: projections of few tokens are sums of `dp2a`, those of
//! many run on tensor cores (an i16 activation is two planes of 8 bits). The bits are equal. The scan is sequential
//! over time and parallel over rows, channels and states. The functions of single elements are in `kernels/exact.cuh`,
//! which a test compiles as plain C++ and compares with the core over their whole ranges; the tables are the core's
//! own, uploaded.
//!
//! One forward pass launches eight kernels per layer and three more: embedding, last norm and head. Decode replays them
//! as a graph.

mod forward;
pub(crate) mod launch;
mod state;
mod weights;

pub(crate) use launch::{Sample, choice};
pub(crate) use state::ExactState;
pub(crate) use weights::{ExactWeights, table_words};
