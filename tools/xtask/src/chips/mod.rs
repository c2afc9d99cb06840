//! Programs for chips.

pub(crate) mod bench;
pub(crate) mod boards;
pub(crate) mod faults;
pub(crate) mod footprint;
pub(crate) mod generate;
pub(crate) mod image;
pub(crate) mod instructions;
pub(crate) mod power;
pub(crate) mod proof;
pub(crate) mod qemu;
pub(crate) mod soak;
pub(crate) mod stack;
