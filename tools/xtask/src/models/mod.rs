//! The shipped models.

pub(crate) mod tied;
