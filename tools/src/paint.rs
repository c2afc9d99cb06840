//! Lines of a stream for a terminal: a byte's colour is its surprise.

use std::fmt::Write as _;

use mambabyte_core::LineScore;

/// Q16 bits as a number.
pub fn bits(q16: u32) -> f64 {
    f64::from(q16) / 65_536.0
}

/// The 256-colour background of a surprise in Q16 bits: none below 1 bit, then blue to red.
pub const fn color(bits: u32) -> Option<u8> {
    match bits >> 16 {
        0 => None,
        1 => Some(17),
        2 => Some(18),
        3 => Some(54),
        4 | 5 => Some(90),
        6 | 7 => Some(125),
        8..=10 => Some(160),
        _ => Some(196),
    }
}

/// A line, painted: score, flag, bytes with their surprise as background; control bytes as `.`.
pub fn painted(score: &LineScore, line: &[(u8, u32)]) -> String {
    let flag = if score.flagged { "\x1b[1;31m!\x1b[0m" } else { " " };
    let mut out = format!("{:6.3} {flag} ", bits(score.mean()));
    let mut current = None;
    for &(byte, surprise) in line.iter().filter(|(b, _)| !matches!(b, b'\n' | b'\r')) {
        let want = color(surprise);
        if want != current {
            match want {
                Some(c) => _ = write!(out, "\x1b[38;5;231;48;5;{c}m"),
                None => out.push_str("\x1b[0m"),
            }
            current = want;
        }
        out.push(if (b' '..=b'~').contains(&byte) { char::from(byte) } else { '.' });
    }
    out.push_str("\x1b[0m\n");
    out
}
