//! Tables as vectors read them: with entries after the end that a wide load may touch.

use crate::simd::narrow::EXP2_Q10;
use crate::tables::DECAY;

/// [`DECAY`] with the 0 that follows, and one more to be read over.
pub(crate) static DECAYS: [i16; LAST_DECAY as usize + 2] = {
    let mut table = [0; LAST_DECAY as usize + 2];
    let mut i = 0;
    while i < DECAY.len() {
        table[i] = DECAY[i];
        i += 1;
    }
    table
};

/// The largest index of [`DECAYS`]: its decay is 0.
pub(crate) const LAST_DECAY: i16 = DECAY.len() as i16;

/// [`EXP2_Q10`] and an entry to be read over.
pub(super) static EXP2_PADDED: [u16; 1025] = {
    let mut table = [0; 1025];
    let mut i = 0;
    while i < 1024 {
        table[i] = EXP2_Q10[i];
        i += 1;
    }
    table
};

/// What is added to a logarithm of delta so that an eighth of the sum is its index in [`DECAYS`].
pub(super) const fn index_base(a_base: i16) -> i32 {
    a_base as i32 + (15 << 10) + 4
}
