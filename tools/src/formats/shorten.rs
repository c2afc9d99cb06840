//! Names from hostile files, for messages.

use crate::output::clean;

/// Keeps a hostile name from filling the screen, or from doing anything else to it.
pub(super) fn shorten(text: &str) -> String {
    const LONGEST: usize = 80;
    let mut short = clean(&text.chars().take(LONGEST).collect::<String>());
    if text.chars().nth(LONGEST).is_some() {
        short.push_str("...");
    }
    short
}
