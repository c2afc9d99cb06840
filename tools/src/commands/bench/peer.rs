//! A peer in the same run: a Python program that prints `NAME | FIGURE` lines.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::output::shown;

/// Gives `script` to `python` with `arguments`, and shows its figures by name. `needs` are the packages that it imports.
///
/// # Errors
/// One line that says why it did not come to its end; the figures until then are shown.
pub(super) fn run(
    python: &Path,
    (script, arguments): (&[u8], &[String]),
    needs: &str,
    mut show: impl FnMut(&str, f64),
) -> Result<(), String> {
    let failed = |e: &dyn std::fmt::Display| format!("--peer {}: {e}", shown(python));
    let mut command = Command::new(python);
    command.arg("-").args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|e| failed(&e))?;
    if let Some(mut stdin) = child.stdin.take() {
        // If it has ended already, its exit status says so.
        let _ = stdin.write_all(script);
    }
    let output = child.wait_with_output().map_err(|e| failed(&e))?;
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        if let Some((name, figure)) = line.split_once(" | ")
            && let Ok(figure) = figure.trim().parse()
        {
            show(name, figure);
        }
    }
    if output.status.success() {
        return Ok(());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    let last = errors.lines().last().unwrap_or("it has failed").to_owned();
    Err(failed(&format!("{last} (pip install {needs})")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_is_not_there_is_said_in_one_line() {
        let reason = run(Path::new("no/such/python"), (b"", &[]), "torch", |_, _| ()).unwrap_err();
        assert!(reason.starts_with("--peer no/such/python: ") && !reason.contains('\n'), "{reason}");
    }
}
