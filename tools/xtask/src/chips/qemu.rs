//! Runs a program on an emulated board and returns what it prints; flashes and runs it on a board on the table.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Result, bail};

use super::boards::{AARCH64_USER, Board, ESPTOOL, Flash, PROBE};
use crate::route::Missing;

/// The command that runs `elf` on `board` until the program ends it by semihosting; `words` are its command line.
pub(crate) fn command(board: &Board, elf: &Path, words: &[OsString]) -> Command {
    command_of(board, elf, words, "none", None)
}

/// As [`command`], with the board's flash for snapshots in the file `image`.
pub(crate) fn command_with_flash(board: &Board, elf: &Path, words: &[OsString], image: &Path) -> Command {
    command_of(board, elf, words, "none", Some(image))
}

/// As [`command`], with the board's serial line at `serial`, as QEMU's option of that name takes it, and the flash for
/// snapshots in a file if there is one.
pub(crate) fn command_of(board: &Board, elf: &Path, words: &[OsString], serial: &str, image: Option<&Path>) -> Command {
    let (program, machine) = (board.runner(), &board.machine);
    let mut qemu = Command::new(program);
    if program == AARCH64_USER {
        qemu.arg("-cpu").args(machine);
        if let Some((name, rest)) = words.split_first() {
            qemu.arg("-0").arg(name).arg(elf).args(rest);
        } else {
            qemu.arg(elf);
        }
        return qemu;
    }
    // Words for the program were built into it: there is no argument channel.
    if program == PROBE {
        qemu.args(["run", "--chip"]).args(machine).arg(elf);
        return qemu;
    }
    if program == ESPTOOL {
        qemu.arg("--chip").args(machine).args(["write_flash", "0x0"]).arg(elf.with_extension("bin"));
        return qemu;
    }
    qemu.arg("-M").args(machine);
    qemu.args(["-display", "none", "-monitor", "none", "-serial", serial]);
    let mut semihosting = OsString::from("enable=on,target=native");
    for word in words {
        // A comma is doubled, or it would end the word.
        semihosting.push(",arg=");
        semihosting.push(word.to_string_lossy().replace(',', ",,"));
    }
    qemu.arg("-semihosting-config").arg(semihosting);
    match image {
        None => qemu.arg("-kernel").arg(elf),
        // With a second bank of flash, `-kernel` would start the first one.
        Some(image) if board.flash == Some(Flash::Cfi) => qemu
            .arg("-drive")
            .arg(format!("if=pflash,unit=1,format=raw,file={}", image.display()))
            .arg("-device")
            .arg(format!("loader,file={}", elf.display())),
        Some(image) => qemu
            .args(["-machine", "memory-backend=psram"])
            .arg("-object")
            .arg(format!("memory-backend-file,id=psram,size=16M,share=on,mem-path={}", image.display()))
            .arg("-kernel")
            .arg(elf),
    };
    qemu
}

/// Runs it and returns its output.
///
/// # Errors
/// If the emulator is missing or the program ends with another status than 0.
pub(crate) fn run(board: &Board, elf: &Path) -> Result<String> {
    Ok(printed(&output(board, elf, &[])?))
}

/// Runs it with a command line and returns the bytes that it writes.
///
/// # Errors
/// As [`run`].
pub(crate) fn output(board: &Board, elf: &Path, words: &[OsString]) -> Result<Output> {
    let output = command(board, elf, words).stdin(Stdio::null()).output().map_err(|error| missing(board, &error))?;
    if !output.status.success() {
        bail!("{}: the program ended with {}:\n{}", board.name, output.status, printed(&output));
    }
    Ok(output)
}

/// Runs it with a command line; what it prints appears as it is printed.
///
/// # Errors
/// As [`run`].
pub(crate) fn show(board: &Board, elf: &Path, words: &[OsString]) -> Result<()> {
    let status = command(board, elf, words).stdin(Stdio::null()).status().map_err(|error| missing(board, &error))?;
    if !status.success() {
        bail!("{}: the program ended with {status}", board.name);
    }
    Ok(())
}

/// Runs it with its serial line at `serial`, in place of this process where the system can do that: whoever ends this
/// process then ends the emulator.
///
/// # Errors
/// If the emulator is missing, or ends with another status than 0.
pub(crate) fn become_it(board: &Board, elf: &Path, serial: &str, flash: Option<&Path>) -> Result<()> {
    let mut command = command_of(board, elf, &[], serial, flash);
    command.stdin(Stdio::null());
    #[cfg(unix)]
    return Err(missing(board, &std::os::unix::process::CommandExt::exec(&mut command)).into());
    #[cfg(not(unix))]
    match command.status().map_err(|error| missing(board, &error))? {
        status if status.success() => Ok(()),
        status => bail!("{}: the program ended with {status}", board.name),
    }
}

fn printed(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|s| String::from_utf8_lossy(s)).concat()
}

pub(crate) fn missing(board: &Board, error: &std::io::Error) -> Missing {
    let program = board.runner();
    let remedy = match program {
        PROBE => "cargo install --locked probe-rs-tools, and the board at a probe".to_owned(),
        ESPTOOL => "pip install esptool, and the board at a serial port".to_owned(),
        _ => format!("Debian: apt-get install {}", package(program)),
    };
    Missing(format!("{program}: {error} ({remedy})"))
}

fn package(program: &str) -> &'static str {
    match program {
        "qemu-system-arm" => "qemu-system-arm",
        AARCH64_USER => "qemu-user",
        _ => "qemu-system-misc",
    }
}
