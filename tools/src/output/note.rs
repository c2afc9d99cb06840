//! Lines on standard error. They help people; if nobody takes them, the work goes on and the exit code stays.

use std::fmt::Display;
use std::io::Write;

/// Writes `note: text`.
pub fn note(text: impl Display) {
    say(format_args!("note: {text}"));
}

/// Writes a line. That standard error is full or closed is ignored.
pub fn say(line: impl Display) {
    // One write, so that lines of several threads do not mix.
    let _ = std::io::stderr().lock().write_all(format!("{line}\n").as_bytes());
}
