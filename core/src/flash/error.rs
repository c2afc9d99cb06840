//! Why flash does not give or take a snapshot.

use crate::state::StateError;

/// Why a snapshot could not be written, or not be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum FlashError<E> {
    /// The flash's driver.
    Driver(E),
    /// The flash holds a snapshot of another model, or of another version of the format. Nothing is written over it
    /// unless the caller continues regardless; [`Slots::clear`](super::Slots::clear) makes room.
    State(StateError),
    /// The flash cannot hold two slots.
    Geometry {
        /// What is wrong with it.
        what: &'static str,
        /// Bytes needed.
        need: usize,
        /// Bytes there are.
        have: usize,
    },
    /// What was read back is not what was written.
    Worn {
        /// Where.
        at: u32,
    },
}

impl<E: core::fmt::Debug> core::fmt::Display for FlashError<E> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Driver(error) => write!(f, "flash: {error:?}"),
            Self::State(error) => write!(f, "snapshot in flash: {error}"),
            Self::Geometry { what, need, have } => write!(f, "flash: {what}: {need} needed, {have} given"),
            Self::Worn { at } => write!(f, "flash: at {at:#x} there is not what was written"),
        }
    }
}

impl<E: core::fmt::Debug> core::error::Error for FlashError<E> {}
