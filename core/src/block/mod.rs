//! The layers of a model, once: over one position or many, over all channels or those of a shard.
//!
//! A driver (`drive`) owns the memory and says which positions belong to which state; [`run`] takes one layer through
//! its phases. A kind of layer is a variant of [`BlockView`] and a file beside [`mamba1`] with its phases.

mod buffers;
pub(crate) mod mamba1;
mod share;
mod team;

pub use buffers::Run;
pub(crate) use buffers::{Buffers, Shape};
pub use share::Share;
pub use team::Exchange;
pub(crate) use team::{Alone, Sharing, Team};

use crate::blob::BlockView;
use crate::simd::Kernels;
use crate::span::Span;
use crate::stage::Stage;

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
