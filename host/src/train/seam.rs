//! Windows of streams, forward and back. A plain form: every part of a window between two starts is read from the zero
//! state.

use super::{Pass, log_softmax, zeros_like};
use crate::{Checkpoint, Model};
use mambabyte_core::VOCAB;
use rayon::prelude::*;

/// What the model carries from one window of a row to the next: `h` and the convolution's columns of every layer, f32.
#[derive(Clone, Debug, PartialEq)]
pub struct Carry(Vec<f32>);

impl Carry {
    /// Where every document begins.
    pub fn zero(like: &Checkpoint) -> Self {
        Self(vec![0.0; like.dims.state_len()])
    }

    /// All numbers.
    pub fn as_slice(&self) -> &[f32] {
        &self.0
    }

    /// All numbers, to be restored.
    pub fn as_mut_slice(&mut self) -> &mut [f32] {
        &mut self.0
    }
}

/// One row of a batch: a window of a stream.
pub struct Row<'a> {
    /// Symbols that are read, each below the vocabulary (256 for bytes).
    pub symbols: &'a [u16],
    /// The symbol after each, as many: the targets.
    pub next: &'a [u16],
    /// Positions in `symbols`, ascending, before which a document ends: the state is zero there.
    pub starts: &'a [u32],
    /// From the window before; that of the next one afterwards.
    pub carry: &'a mut Carry,
}

/// Natural loss, summed over symbols, and how many.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Loss {
    /// The sum.
    pub nats: f64,
    /// How many.
    pub symbols: usize,
}

fn one(model: &Model, row: &Row<'_>, grad: Option<&mut Checkpoint>) -> Loss {
    let mut edges: Vec<usize> = row.starts.iter().map(|&s| s as usize).collect();
    edges.extend([0, row.symbols.len()]);
    edges.sort_unstable();
    edges.dedup();
    let (mut loss, mut grad) = (Loss::default(), grad);
    for pair in edges.windows(2) {
        let bytes: Vec<u8> = row.symbols[pair[0]..pair[1]].iter().map(|&s| s as u8).collect();
        let next = &row.next[pair[0]..pair[1]];
        let pass = Pass::forward(model, &bytes);
        let mut logits = pass.logits.clone();
        log_softmax(&mut logits);
        for (row, &n) in logits.chunks_exact_mut(VOCAB).zip(next) {
            loss.nats -= f64::from(row[usize::from(n)]);
            row.iter_mut().for_each(|l| *l = l.exp());
            row[usize::from(n)] -= 1.0;
        }
        loss.symbols += bytes.len();
        if let Some(grad) = &mut grad {
            pass.backward(&logits, grad);
        }
    }
    loss
}

/// Forward and back over every row; adds the gradient of the summed loss to `grad`.
pub fn gradient(model: &Model, rows: &mut [Row<'_>], grad: &mut Checkpoint) -> Loss {
    let all: Vec<(Loss, Checkpoint)> = rows
        .par_iter_mut()
        .map(|row| {
            let mut grad = zeros_like(model.checkpoint());
            (one(model, row, Some(&mut grad)), grad)
        })
        .collect();
    let mut sum = Loss::default();
    for (loss, mut add) in all {
        sum.nats += loss.nats;
        sum.symbols += loss.symbols;
        for ((.., to), (.., from)) in grad.tensors_mut().into_iter().zip(add.tensors_mut()) {
            to.iter_mut().zip(from).for_each(|(t, f)| *t += *f);
        }
    }
    sum
}

/// The loss of every row alone, no gradient.
pub fn losses(model: &Model, rows: &mut [Row<'_>]) -> Vec<Loss> {
    rows.par_iter_mut().map(|row| one(model, row, None)).collect()
}
