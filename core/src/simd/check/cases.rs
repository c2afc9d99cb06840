//! What the comparisons share: values with many extremes, and the report.

use crate::simd::{Kernels, Output};
use crate::span::{Activations, One};
use crate::weights::WeightsView;

/// What was compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The backend.
    pub backend: &'static str,
    /// The function.
    pub kernel: &'static str,
    /// Its number of rows or channels.
    pub rows: usize,
    /// Its number of columns or states.
    pub columns: usize,
    /// The case, in the order of trial.
    pub case: usize,
}

/// Shifts of a matrix, around those at which 32 bits are enough.
pub(super) const BASES: [u8; 12] = [1, 9, 12, 13, 14, 15, 16, 17, 18, 22, 40, 54];

/// A small generator (xorshift); values with many extremes.
pub(super) struct Values(pub(super) u32);

impl Values {
    pub(super) fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }

    pub(super) fn below(&mut self, n: u32) -> u32 {
        self.next() % n
    }

    /// An activation.
    pub(super) fn i16(&mut self, style: u32) -> i16 {
        match style % 4 {
            0 => 32767,
            1 => -32767,
            2 => (self.next() % 65535) as i32 as i16 | 1,
            _ => (self.next() as i16).max(-32767) >> self.below(12),
        }
    }

    pub(super) fn i8(&mut self, style: u32) -> i8 {
        match style % 4 {
            0 => -128,
            1 => 127,
            _ => self.next() as i8,
        }
    }

    pub(super) fn fill(&mut self, x: &mut [i16], style: u32) {
        x.iter_mut().for_each(|x| *x = self.i16(style).max(-32767));
    }
}

/// A matrix times the activations of one position.
pub(super) fn one<K: Kernels, O: Output>(k: K, w: WeightsView<'_>, x: &[i16], out: O, y: &mut [O::T]) {
    k.project(w, Activations::new(x, x.len()), out, &mut One, y);
}
