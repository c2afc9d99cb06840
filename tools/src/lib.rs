//! Library half of the `mambabyte` tool: what it reads, apart from how it is asked.

pub mod formats;
