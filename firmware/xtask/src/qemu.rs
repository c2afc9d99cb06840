//! Runs a program on an emulated board and returns what it prints.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::boards::{AARCH64_USER, Board};
use crate::route::Missing;

/// The command that runs `elf` on `board` until the program ends it by semihosting.
pub(crate) fn command(board: &Board, elf: &Path) -> Command {
    let (program, machine) = board.emulator;
    let mut qemu = Command::new(program);
    if program == AARCH64_USER {
        qemu.arg("-cpu").args(machine).arg(elf);
        return qemu;
    }
    qemu.arg("-M").args(machine);
    qemu.args(["-display", "none", "-monitor", "none", "-serial", "none"]);
    qemu.args(["-semihosting-config", "enable=on,target=native", "-kernel"]).arg(elf);
    qemu
}

/// Runs it and returns its output.
///
/// # Errors
/// If the emulator is missing or the program ends with another status than 0.
pub(crate) fn run(board: &Board, elf: &Path) -> Result<String> {
    let program = board.emulator.0;
    let output = command(board, elf)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Missing(format!("{program}: {error} (Debian: apt-get install {})", package(program))))?;
    let printed = [output.stdout, output.stderr].map(|s| String::from_utf8_lossy(&s).into_owned()).concat();
    if !output.status.success() {
        bail!("{}: the program ended with {}:\n{printed}", board.name, output.status);
    }
    Ok(printed)
}

fn package(program: &str) -> &'static str {
    match program {
        "qemu-system-arm" => "qemu-system-arm",
        AARCH64_USER => "qemu-user",
        _ => "qemu-system-misc",
    }
}
