//! Instructions of the detector: of a byte, and of the end of a line.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::chains::Chains;
use super::stages::last_part;
use crate::chips::program::Program;

/// Where it is.
const FOLDER: &str = "core/src/detect/";
/// The functions that end a line, by their last names.
const ENDS: [&str; 1] = ["finish"];

/// Instructions.
#[derive(Debug)]
pub(crate) struct Detector {
    /// Per byte: the end of fields and of lines apart from it as far as it is no function of its own.
    pub(crate) byte: f64,
    /// Per line, at its end.
    pub(crate) line: f64,
    /// Bytes of a line, on average.
    pub(crate) bytes_of_line: f64,
}

/// Builds and runs `detect` and counts.
///
/// # Errors
/// If it cannot be built or run, or no instruction of either kind is found.
pub(crate) fn detector(root: &Path, program: &Program<'_>) -> Result<Detector> {
    let (elf, bytes, printed, text) = super::run_and_hear(root, program)?;
    let lines = printed.lines().find_map(|l| l.strip_prefix("lines ")).and_then(|n| n.trim().parse::<f64>().ok());
    let lines = lines.context("detect did not say how many lines it read")?;
    let (mut of_bytes, mut of_lines) = (0.0, 0.0);
    Chains::new(&elf)?.each(&text, |chain, times| {
        let ends = |name: &str, file: &str| file.contains(FOLDER) && ENDS.contains(&last_part(name));
        match chain.iter().any(|frame| ends(&frame.name, &frame.file)) {
            true => of_lines += times,
            false => of_bytes += times,
        }
    })?;
    ensure!(
        of_bytes > 0.0 && of_lines > 0.0,
        "{of_bytes:.0} instructions of bytes and {of_lines:.0} of lines were seen"
    );
    Ok(Detector { byte: of_bytes / bytes, line: of_lines / lines, bytes_of_line: bytes / lines })
}
