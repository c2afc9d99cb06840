//! The layers of a model, once: over one position or many, over all channels or those of a shard.
//!
//! A driver (`drive`) owns the memory and says which positions belong to which state; [`run`] takes one layer through
//! its phases. A kind of layer is a variant of [`BlockView`] and a file beside [`mamba1`] with its phases.

mod buffers;
mod kept;
pub(crate) mod mamba1;
mod share;
mod team;

pub use buffers::Run;
pub(crate) use buffers::{Buffers, Shape};
pub use share::Share;
pub use team::Exchange;
pub(crate) use team::{Alone, Sharing, Team};

use crate::blob::BlockView;
use crate::dims::Dims;
use crate::simd::Kernels;
use crate::span::Span;
use crate::stage::Stage;

/// Takes the state of one layer to position `count` of a block that it kept, from the state before that block.
///
/// * `powers`: `[d_inner]`, `y`: `[count, d_inner]`, contents irrelevant.
#[inline(always)]
pub(crate) fn replay<K: Kernels, P: Span>(
    k: K,
    dims: &Dims,
    layer: &BlockView<'_>,
    state: &mut [i16],
    kept: &[i16],
    count: usize,
    memory: (&mut [i16], &mut [i32]),
) {
    match layer {
        BlockView::Mamba1(layer) => {
            let layer = mamba1::Mamba1::new(layer, dims, None);
            mamba1::replay::<K, P>(k, dims, &layer, state, kept, count, memory);
        }
    }
}

/// Takes the positions in `buffers` through one layer; `done` hears the end of each stage.
///
/// `None` if another shard of the team is gone, which never happens to a pass that is [`Alone`].
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "the layer, the memory, and who takes part")]
pub(crate) fn run<'t, K: Kernels, P: Span, T: Team<'t>>(
    k: K,
    span: &mut P,
    shape: Shape<'_>,
    layer: &BlockView<'_>,
    buffers: &mut Buffers<'_>,
    runs: &mut [Run<'_>],
    team: &mut T,
    done: &mut impl FnMut(Stage),
) -> Option<()> {
    match layer {
        BlockView::Mamba1(layer) => {
            let layer = mamba1::Mamba1::new(layer, shape.dims, team.share());
            mamba1::run(k, span, shape, &layer, buffers, runs, team, done)
        }
    }
}
