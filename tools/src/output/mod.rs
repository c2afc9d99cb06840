//! What leaves the program: files through one door, text on standard output, notes on standard error.

mod door;
mod note;
mod place;
mod replace;
mod text;

use std::io::Write;

pub use door::{Door, OutputFault, Outputs};
pub use note::{note, say};
pub use text::{bytes, clean, hex, shown, thousands};

use crate::error::CliError;

/// Prints a JSON value on a line of its own.
///
/// # Errors
/// [`CliError::BrokenPipe`] or [`CliError::Io`].
pub fn print_json(value: &serde_json::Value) -> Result<(), CliError> {
    print(&format!("{value}\n"))
}

/// Prints text.
///
/// # Errors
/// [`CliError::BrokenPipe`] or [`CliError::Io`].
pub fn print(text: &str) -> Result<(), CliError> {
    print_bytes(text.as_bytes())
}

/// Prints bytes as they are.
fn print_bytes(bytes: &[u8]) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(CliError::stdout)
}
