//! Lines on standard error. They help people; if nobody takes them, the work goes on and the exit code stays.

use std::fmt::Display;
use std::io::Write;
use std::sync::OnceLock;

/// Who hears lines instead of standard error.
static EAR: OnceLock<fn(&str)> = OnceLock::new();

/// From now on lines go to `ear`, and bars are not drawn: for a program that has this one in it. The first ear stays. It is
/// called on any thread.
pub fn heard_by(ear: fn(&str)) {
    // A second one is not an error: it is the same program.
    let _ = EAR.set(ear);
}

/// Whether lines go to standard error.
pub fn is_said() -> bool {
    EAR.get().is_none()
}

/// Writes `note: text`.
pub fn note(text: impl Display) {
    say(format_args!("note: {text}"));
}

/// Writes a line. That standard error is full or closed is ignored.
pub fn say(line: impl Display) {
    if let Some(ear) = EAR.get() {
        return ear(&line.to_string());
    }
    // One write, so that lines of several threads do not mix.
    let _ = std::io::stderr().lock().write_all(format!("{line}\n").as_bytes());
}
