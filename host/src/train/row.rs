//! Rows of a batch, shared out over threads.

use std::ops::Range;

use mambabyte_core::Dims;
use rayon::prelude::*;

use super::tensors::zeros_like;
use super::window::{Objective, Prepared, Stream, lean, next_symbol};
use crate::{Checkpoint, Model};

/// What the model carries from one window of a row to the next: for each layer the convolution's columns
/// `[d_conv - 1, d_inner]`, oldest first, then `h` `[d_inner, d_state]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Carry {
    values: Vec<f32>,
}

impl Carry {
    /// The zero state of a model of this shape: the beginning of a document.
    pub fn zero(dims: &Dims) -> Self {
        Self::zeros(dims.state_len())
    }

    /// So many zeros: what a machine's rows carry may be more than one model's state.
    pub(crate) fn zeros(len: usize) -> Self {
        Self::of(vec![0.0; len])
    }

    pub(crate) const fn of(values: Vec<f32>) -> Self {
        Self { values }
    }

    /// All values, in the order above.
    pub fn as_slice(&self) -> &[f32] {
        &self.values
    }

    /// The same, to be filled from a file.
    pub fn as_mut_slice(&mut self) -> &mut [f32] {
        &mut self.values
    }
}

/// What one row of a batch reads in a step.
#[derive(Clone, Copy, Debug)]
pub struct Window<'a> {
    /// Symbols that are read, each below the vocabulary (256 for bytes).
    pub symbols: &'a [u16],
    /// The symbol after each, as many: the targets.
    pub next: &'a [u16],
    /// Positions in `symbols`, ascending, before which a document ends: the state is zero there.
    pub starts: &'a [u32],
}

impl<'a> Window<'a> {
    /// With what the row carries.
    pub const fn row(self, carry: &'a mut Carry) -> Row<'a> {
        let Self { symbols, next, starts } = self;
        Row { symbols, next, starts, carry }
    }
}

/// A window, from the state that the row has.
#[derive(Debug)]
pub struct Row<'a> {
    /// Symbols that are read, each below the vocabulary (256 for bytes).
    pub symbols: &'a [u16],
    /// The symbol after each, as many: the targets.
    pub next: &'a [u16],
    /// Positions in `symbols`, ascending, before which a document ends: the state is zero there.
    pub starts: &'a [u32],
    /// From the window before; that of the next one afterwards. No gradient flows through it (truncated
    /// backpropagation).
    pub carry: &'a mut Carry,
}

/// Natural loss, summed over symbols, and how many.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Loss {
    /// Sum of `-ln p` of the targets.
    pub nats: f64,
    /// Targets.
    pub symbols: usize,
}

/// Groups of rows with sums of their own: what threads share out. One number for every machine, as the order of sums
/// follows from it.
const GROUPS: usize = 32;

/// Forward and back over every row; ADDS the gradient of the SUMMED loss to `grad`. Rows are shared out over rayon's
/// current pool; the sums have one order, so that the result depends neither on threads nor on how rows are shared
/// out. NaN comes out as it is: the caller checks.
///
/// Where decays are tied, the first `A_log` of a channel takes the gradient of all its states; the others have none.
/// [`Checkpoint::tie_decays`] moves them along after an update.
///
/// # Panics
/// If a symbol is outside the vocabulary, there are more or less targets than symbols, or a carry or `grad` is of
/// another shape.
///
/// # Cost
/// Three times the multiply-adds of the forward pass, and up to once more for a part of the window that does not fit
/// 64 MiB for each thread. Memory: these, twice the state for each 128 symbols of a row, and the size of the model for
/// each row or, of more, each of 32 groups of them.
pub fn gradient(model: &Model, rows: &mut [Row<'_>], grad: &mut Checkpoint) -> Loss {
    let mut streams: Vec<(Stream<'_>, &[u16])> = rows.iter_mut().map(Row::split).collect();
    let objective = |next: &&[u16], range: Range<usize>, logits: &mut [f32]| next_symbol(&next[range], logits);
    gradient_towards(model, &mut streams, grad, &objective)
}

/// What comes next, and what teachers expect.
type Aimed<'a> = (&'a [u16], &'a [f32]);

/// As [`gradient`], with a share of the loss for `targets`, `[window, vocabulary]` distributions for each row; what comes
/// back is the loss of the next symbols all the same.
pub(super) fn gradient_leaning(
    model: &Model,
    rows: &mut [Row<'_>],
    (targets, share): (&[Vec<f32>], f32),
    grad: &mut Checkpoint,
) -> Loss {
    let vocabulary = model.checkpoint().vocabulary();
    let mut streams: Vec<(Stream<'_>, Aimed<'_>)> = Vec::with_capacity(rows.len());
    for (row, targets) in rows.iter_mut().zip(targets) {
        let (stream, next) = row.split();
        streams.push((stream, (next, targets)));
    }
    let objective = |(next, targets): &Aimed<'_>, range: Range<usize>, logits: &mut [f32]| {
        let next = &next[range.clone()];
        let nats = next_symbol(next, logits);
        lean(next, &targets[range.start * vocabulary..range.end * vocabulary], share, logits);
        nats
    };
    gradient_towards(model, &mut streams, grad, &objective)
}

impl<'a> Row<'a> {
    /// Without what it carries.
    pub const fn window(&self) -> Window<'a> {
        Window { symbols: self.symbols, next: self.next, starts: self.starts }
    }

    /// What is read, and what comes after.
    fn split(&mut self) -> (Stream<'_>, &'a [u16]) {
        assert_eq!(self.symbols.len(), self.next.len(), "a target for each symbol");
        let carry = &mut *self.carry.values;
        (Stream { symbols: self.symbols, starts: self.starts, carry }, self.next)
    }
}

/// As [`gradient`], for any loss: `objective` is shown what belongs to a row, positions of it and their logits
/// `[_, vocabulary]`, which it turns into the loss's gradient; it returns the loss.
pub(crate) fn gradient_towards<T: Send + Sync>(
    model: &Model,
    rows: &mut [(Stream<'_>, T)],
    grad: &mut Checkpoint,
    objective: &(impl Fn(&T, Range<usize>, &mut [f32]) -> f64 + Sync),
) -> Loss {
    let prepared = Prepared::new(model);
    let group = |rows: &mut [(Stream<'_>, T)]| {
        let mut grad = zeros_like(model.checkpoint());
        let mut loss = Loss::default();
        for (stream, what) in rows {
            let objective: Objective<'_> = &mut |range, logits| objective(what, range, logits);
            loss.nats += prepared.gradient(stream, &mut grad, objective);
            loss.symbols += stream.symbols.len();
        }
        (loss, grad)
    };
    let size = rows.len().div_ceil(GROUPS).max(1);
    let groups: Vec<(Loss, Checkpoint)> = rows.par_chunks_mut(size).map(group).collect();
    let mut total = Loss::default();
    for (loss, mut add) in groups {
        total.nats += loss.nats;
        total.symbols += loss.symbols;
        for ((.., sum), (.., add)) in grad.tensors_mut().into_iter().zip(add.tensors_mut()) {
            assert_eq!(sum.len(), add.len(), "gradients of the model's shape");
            sum.iter_mut().zip(add).for_each(|(s, a)| *s += *a);
        }
    }
    total
}

/// The loss of every row alone, no gradient.
///
/// # Panics
/// As [`gradient`].
///
/// # Cost
/// The forward pass; memory for 128 symbols of a row and thread.
pub fn losses(model: &Model, rows: &mut [Row<'_>]) -> Vec<Loss> {
    let prepared = Prepared::new(model);
    let one = |row: &mut Row<'_>| {
        let (mut stream, next) = row.split();
        let nats = prepared.forward(&mut stream, &mut |range, logits| next_symbol(&next[range], logits));
        Loss { nats, symbols: next.len() }
    };
    rows.par_iter_mut().map(one).collect()
}

/// Natural logits `[_, vocabulary]` of each text from the zero state, made into something else by `map`.
pub(crate) fn logits<T: Send>(model: &Model, texts: &[&[u8]], map: impl Fn(usize, Vec<f32>) -> T + Sync) -> Vec<T> {
    let prepared = Prepared::new(model);
    let one = |(index, text): (usize, &&[u8])| {
        let symbols: Vec<u16> = text.iter().map(|&b| b.into()).collect();
        let mut carry = Carry::zero(model.dims());
        let mut all = Vec::new();
        let mut stream = Stream { symbols: &symbols, starts: &[], carry: &mut carry.values };
        prepared.forward(&mut stream, &mut |_, logits| {
            all.extend_from_slice(logits);
            0.0
        });
        map(index, all)
    };
    texts.par_iter().enumerate().map(one).collect()
}
