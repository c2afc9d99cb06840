//! Memory maps: the regions of a linker script of `firmware/memory`.

use std::path::Path;

use anyhow::{Context, Result};

use super::boards::Board;

/// Bytes of the region `name` of a board's memory map.
///
/// # Errors
/// If there is no such map or region.
pub(crate) fn region(root: &Path, board: &Board, name: &str) -> Result<u64> {
    let file = format!("firmware/memory/{}.x", board.name);
    let map = std::fs::read_to_string(root.join(&file)).with_context(|| file.clone())?;
    let found = lengths::region(&map, name);
    found.with_context(|| format!("{file}: no line `{name} : ORIGIN = .., LENGTH = ..`"))
}

/// The parser, which the firmware's `build.rs` has too.
#[path = "../../../../firmware/lengths.rs"]
mod lengths;
