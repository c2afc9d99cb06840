//! The table of decays as the loops of Cortex-M4, M7 and M33 read it: zeros follow.

use crate::tables::DECAY;

/// [`DECAY`], and zeros after it.
pub(crate) const fn longer_decays<const N: usize>() -> [i16; N] {
    let mut table = [0; N];
    let mut i = 0;
    while i < DECAY.len() {
        table[i] = DECAY[i];
        i += 1;
    }
    table
}

/// For first decays where the processor has a loop for them: a zero after the last one.
pub(crate) static DECAYS: [i16; DECAY.len() + 1] = longer_decays();
