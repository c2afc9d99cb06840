//! What leaves the program: files through one door, text on standard output, notes on standard error.

mod asked;
mod beside;
mod check;
mod door;
mod fault;
mod harmless;
mod note;
mod place;
mod replace;
mod sink;
mod text;

use std::fmt::Write as _;
use std::io::Write as _;

pub(crate) use beside::is_left;
pub use door::{Door, Outputs};
pub use fault::OutputFault;
pub use harmless::Harmless;
pub use note::{heard_by, is_said, note, say};
pub use sink::Sink;
pub use text::{bytes, clean, hex, shown, thousands};

use crate::error::CliError;

/// Prints a JSON value on a line of its own.
///
/// # Errors
/// [`CliError::BrokenPipe`] or [`CliError::Io`].
pub fn print_json(value: &serde_json::Value) -> Result<(), CliError> {
    print(&json_line(value))
}

/// A JSON value as a line that is harmless on a terminal: what [`clean`] would escape is escaped as JSON does it.
pub fn json_line(value: &serde_json::Value) -> String {
    let mut line = String::new();
    // Such characters are in strings only.
    for c in value.to_string().chars() {
        if text::is_harmful(c) {
            let _ = c.encode_utf16(&mut [0; 2]).iter().try_for_each(|unit| write!(line, "\\u{unit:04x}"));
        } else {
            line.push(c);
        }
    }
    line.push('\n');
    line
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
