//! Rows that share blocks of positions, on one thread.
//!
//! The bytes of all rows form one sequence, row after row, which is cut into blocks: a block may hold the end of one
//! row, some whole ones and the beginning of another. So a weight is read once for many positions, whether these are
//! many bytes of one row or one byte of many.

use mambabyte_core::{Logits, Prefill, Run, State};

use super::kept::{Keep, layers};
use super::out::Out;

/// A thread's memory.
pub(super) type Worker<'w> = Prefill<'w, Vec<i32>>;

/// The bytes that a row is to read.
pub(super) struct Job<'a> {
    pub(super) state: &'a mut State<Vec<i16>>,
    pub(super) text: &'a [u8],
    pub(super) out: Out<'a, i32>,
    pub(super) keep: Keep<'a>,
}

/// Consecutive bytes of one row in a block.
struct Part<'j, 'a> {
    state: &'j mut State<Vec<i16>>,
    text: &'a [u8],
    out: Out<'a, i32>,
    keep: &'a mut [i16],
}

/// Reads all bytes of all jobs; no job is empty.
pub(super) fn read(worker: &mut Worker<'_>, jobs: &mut [Job<'_>]) {
    let mut first = 0;
    while let Some(rest) = jobs.get_mut(first..).filter(|rest| !rest.is_empty()) {
        let (mut room, mut done) = (worker.positions(), 0);
        let mut parts = Vec::new();
        for job in rest {
            if room == 0 {
                break;
            }
            let (text, left) = job.text.split_at(job.text.len().min(room));
            job.text = left;
            room -= text.len();
            done += usize::from(left.is_empty());
            let (out, keep) = (job.out.take(text.len(), left.is_empty()), job.keep.take(text.len()));
            parts.push(Part { state: &mut *job.state, text, out, keep });
        }
        block(worker, parts);
        first += done;
    }
}

/// Reads one block.
fn block(worker: &mut Worker<'_>, mut parts: Vec<Part<'_, '_>>) {
    let blob = *worker.blob();
    match &*parts {
        [only] => worker.embed(only.text),
        several => worker.embed(&several.iter().flat_map(|part| part.text).copied().collect::<Vec<u8>>()),
    }
    let dims = blob.dims();
    let mut streams: Vec<_> = parts
        .iter_mut()
        .map(|Part { state, text, keep, .. }| (state.layers_mut(&blob), layers(dims, keep, text.len()), text.len()))
        .collect();
    for index in 0..dims.n_layer {
        let mut runs: Vec<Run<'_>> = streams
            .iter_mut()
            .filter_map(|(states, kept, positions)| {
                Some(Run { state: states.next()?, keep: kept.next()?, positions: *positions })
            })
            .collect();
        worker.layer(index, &mut runs);
    }
    drop(streams);
    let mut outs = Vec::with_capacity(parts.len());
    for part in parts {
        part.state.count(part.text.len() as u64);
        outs.push((part.text.len(), part.out));
    }
    show(worker, outs);
}

/// Writes the logits of a block where they are wanted; `outs` has the length of each of its parts.
pub(super) fn show(worker: &mut Worker<'_>, mut outs: Vec<(usize, Out<'_, i32>)>) {
    // The head is computed for as few positions as possible.
    let newest = outs.pop_if(|(_, out)| out.is_last());
    if outs.iter().all(|(_, out)| out.is_nothing()) {
        if let Some((_, newest)) = newest {
            newest.write(std::slice::from_ref(worker.last_logits()));
        }
        return;
    }
    outs.extend(newest);
    let mut logits: &[Logits] = worker.logits();
    for (positions, out) in outs {
        let (mine, rest) = logits.split_at(positions.min(logits.len()));
        logits = rest;
        out.write(mine);
    }
}
