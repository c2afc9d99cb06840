//! Which boards and which models a job is for.

use std::path::Path;

use anyhow::Result;
use clap::Args;

use super::boards::{self, Board};
use super::sizes;

/// The options of most jobs.
#[derive(Args, Clone)]
pub(crate) struct What {
    /// Board; may be repeated. Default: those of the job in firmware/boards.toml, for test and kernels all
    #[arg(long, value_parser = Board::named)]
    pub(crate) board: Vec<&'static Board>,
    /// Shipped model, or one with -tied at the end of its name for one that is only counted; may be repeated. Default:
    /// sensor-pico, for test the three sensor models
    #[arg(long)]
    pub(crate) model: Vec<String>,
}

impl What {
    /// Boards, those of `job` if none is named, each with every model.
    ///
    /// # Errors
    /// If no board has the job.
    pub(crate) fn of_job(self, job: &str, models: &[&str]) -> Result<Vec<(&'static Board, String)>> {
        let boards = if self.board.is_empty() { boards::of_job(job)? } else { Vec::new() };
        Ok(self.pairs(&boards, models))
    }

    /// Boards, `boards` if none is named, each with every model.
    pub(crate) fn pairs(self, boards: &[&'static Board], models: &[&str]) -> Vec<(&'static Board, String)> {
        let boards = if self.board.is_empty() { boards.to_vec() } else { self.board };
        let models = if self.model.is_empty() { models.iter().map(|&m| m.to_owned()).collect() } else { self.model };
        boards.iter().flat_map(|&b| models.iter().map(move |m| (b, m.clone()))).collect()
    }
}

/// Of boards, the first of each family of kernels that has room for the model.
///
/// # Errors
/// If a memory map or the model cannot be read.
pub(crate) fn one_of_each_family(root: &Path, all: &[&'static Board], model: &str) -> Result<Vec<&'static Board>> {
    let mut chosen: Vec<&'static Board> = Vec::new();
    for &board in all {
        if chosen.iter().all(|b| b.kernels != board.kernels) && sizes::fits(root, board, model)? {
            chosen.push(board);
        }
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_board_of_each_family_that_has_room() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let all = boards::emulated().unwrap();
        let families = |model: &str| -> Vec<String> {
            let chosen = one_of_each_family(&root, &all, model).unwrap();
            chosen.iter().map(|b| b.kernels.clone()).collect()
        };
        assert_eq!(families("sensor-micro"), ["plain32", "cortex_m_dsp", "riscv32", "neon"]);
        assert_eq!(families("sensor-pico"), ["thumb1", "plain32", "cortex_m_dsp", "helium", "riscv32", "neon"]);
    }
}
