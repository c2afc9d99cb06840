//! Numbers, fingerprints and names from files, as people read them.

use std::fmt::Write;
use std::path::Path;

/// `12,345,678`.
pub fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// Bytes as people read them: `4.1 KiB`.
pub fn bytes(n: u64) -> String {
    match n {
        0..1024 => format!("{n} B"),
        1024..1_048_576 => format!("{:.1} KiB", n as f64 / 1024.0),
        _ => format!("{:.2} MiB", n as f64 / 1_048_576.0),
    }
}

/// A fingerprint as people write it.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// A name from a file, harmless on a terminal: control characters, and those that turn the direction of writing, are
/// escaped as `\u{1b}`.
pub fn clean(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for c in name.chars() {
        if is_harmful(c) {
            let _ = write!(out, "{}", c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// A path for people, [`clean`].
pub fn shown(path: &Path) -> String {
    clean(&path.to_string_lossy())
}

/// Whether a terminal obeys `c` instead of showing it.
pub(super) fn is_harmful(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_escaped_and_nothing_else() {
        assert_eq!(clean("a\u{1b}]52;c\u{7}\u{9b}\u{202e}z\n"), "a\\u{1b}]52;c\\u{7}\\u{9b}\\u{202e}z\\u{a}");
        assert_eq!(clean("Träne, 日本, 🦀 <b>"), "Träne, 日本, 🦀 <b>");
    }
}
