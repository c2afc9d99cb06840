//! `monitor --qemu`: the program `stream` on an emulated board, built and started by this repository's own command.

use std::io::{self, ErrorKind};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::connection::{Process, Source};
use super::port::WAIT;
use crate::error::CliError;
use crate::shipped;

/// The source folder that the current folder is in.
fn checkout() -> io::Result<PathBuf> {
    shipped::checkout(&std::env::current_dir()?).ok_or_else(|| {
        io::Error::new(
            ErrorKind::NotFound,
            "--qemu builds the firmware, so it runs in this program's source folder only",
        )
    })
}

/// Builds and starts `stream` for `board` with the shipped `model`, and connects to its serial line.
///
/// # Errors
/// [`CliError::Io`] names the board.
pub(super) fn start(board: &str, model: &str) -> Result<Source, CliError> {
    let begin = || -> io::Result<Source> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let serial = format!("tcp:{},nodelay=on", listener.local_addr()?);
        let mut command = Command::new("cargo");
        command.args(["xtask", "firmware", "run", "--bin", "stream", "--board", board, "--model", model]);
        command.args(["--serial", &serial]).current_dir(checkout()?).stdin(Stdio::null()).stdout(Stdio::null());
        let mut process = Process(command.spawn()?);
        listener.set_nonblocking(true)?;
        let link = loop {
            match listener.accept() {
                Ok((link, _)) => break link,
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                Err(e) => return Err(e),
            }
            if let Some(status) = process.0.try_wait()? {
                return Err(io::Error::other(format!("the emulated board could not be started ({status})")));
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        link.set_nonblocking(false)?;
        link.set_nodelay(true)?;
        link.set_read_timeout(Some(WAIT))?;
        link.set_write_timeout(Some(WAIT))?;
        Ok(Source::Emulator { board: board.to_owned(), link, _process: process })
    };
    begin().map_err(|e| CliError::io(board, e))
}
