//! `cargo xtask firmware bench`: instructions per byte for people.

use std::path::Path;

use anyhow::Result;

use super::boards::Board;
use super::counting::{COLUMNS, Counts, count};
use super::select::What;

/// Counts and prints for every board and model.
///
/// # Errors
/// If something cannot be counted.
pub(crate) fn run(root: &Path, what: What) -> Result<()> {
    for (board, model) in what.of_job("bench", &["sensor-nano"])? {
        print(board, &model, &count(root, board, &model)?);
    }
    Ok(())
}

/// Prints it for people.
fn print(board: &Board, model: &str, counts: &Counts) {
    println!("{} ({}), {model}: {:.0} instructions per byte", board.name, board.core, counts.per_byte);
    for stage in COLUMNS {
        let n = counts.stage(stage);
        println!("  {stage:10} {n:10.0}  {:5.1} %", 100.0 * n / counts.per_byte);
    }
    if let Some(per_mac) = counts.per_mac() {
        println!("  {per_mac:.3} per multiply-add of projections with rows of 64 and more");
    }
    println!("  {:.2} per element of the scan", counts.per_element());
}
