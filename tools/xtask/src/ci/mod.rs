//! Checks of the repository itself.

pub(crate) mod circles;
