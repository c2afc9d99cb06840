//! `cargo xtask firmware forge`: the hostile blobs of the tests on an emulated Arm and an emulated RISC-V chip.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::program::Program;
use super::qemu;
use super::select::What;
use crate::forged;

/// Every blob has the scalar code's bits on every board of the job.
///
/// # Errors
/// If one has others, or the emulator is missing.
pub(crate) fn run(root: &Path, what: What) -> Result<()> {
    let file = root.join("target/forged.bin");
    forged::write(&file)?;
    for (board, model) in what.of_job("forge", &["sensor-pico"])? {
        let elf = Program::new(board, &model, "forge").build(root)?;
        // The blobs come through standard input: no board has them built in.
        let blobs = File::open(&file).with_context(|| file.display().to_string())?;
        let output = qemu::command(board, &elf, &[]).stdin(blobs).output();
        let output = output.map_err(|error| qemu::missing(board, &error))?;
        let said = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text)).concat();
        let all = format!("{} blobs equal", forged::BLOBS);
        ensure!(output.status.success() && said.contains(&all), "{}: {}\n{said}", board.name, output.status);
        println!("{:16} {:11} {all}", board.name, board.core);
    }
    Ok(())
}
