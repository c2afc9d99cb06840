//! The decays as a table that continues on both sides.
//!
//! A channel's index plus four times the byte `a_log` is always inside, so that a lookup needs no comparison.

use crate::tables::DECAY;

/// Entries before index 0 of [`DECAY`]: a byte adds up to `4 * 255`.
const BEFORE: usize = 255 * 4;

/// `DECAY[i - BEFORE]`, clamped at the ends. Channels have indices of `0..=4095`, bytes add `0..=1020`.
pub(crate) static DECAYS: [u16; BEFORE + 4096] = {
    let mut table = [0; BEFORE + 4096];
    let mut i = 0;
    while i < table.len() {
        table[i] = if i < BEFORE {
            DECAY[0] as u16
        } else if i - BEFORE < DECAY.len() {
            DECAY[i - BEFORE] as u16
        } else {
            0
        };
        i += 1;
    }
    table
};

/// What is added to a logarithm of delta so that an eighth of the sum is its index: `l + a_base + 15 * 1024 + 4`, as in
/// [`decay`](crate::nonlinear::decay), shifted by the entries before index 0.
pub(crate) const fn index_base(a_base: i16) -> i32 {
    a_base as i32 + (15 << 10) + 4 + 8 * BEFORE as i32
}
