//! What cannot happen: loud in debug builds, harmless in release builds.
//!
//! No panic can be reached from the step, which linking proves. So code still uses `get` on a slice that is always long
//! enough, and needs an answer for the case that it is not. In a debug build that case is a mistake in this crate and
//! panics here; in a release build it is the harmless value that the caller names.
//!
//! ```text
//! let Some(row) = rows.get(i) else { return never("a row of the matrix", ()) };
//! let row = rows.get(i).unwrap_or_else(|| never("a row of the matrix", &[]));
//! ```

/// Panics in debug builds, saying `what` was thought to hold; returns `instead` in release builds.
#[inline(always)]
#[track_caller]
pub(crate) fn never<T>(what: &str, instead: T) -> T {
    debug_assert!(false, "this cannot happen: {what}");
    // Without debug assertions nothing reads it.
    let _ = what;
    instead
}

#[cfg(test)]
mod tests {
    use super::never;

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "this cannot happen: a row of the matrix")]
    fn debug_builds_say_what_was_thought_to_hold() {
        never("a row of the matrix", ());
    }

    #[test]
    #[cfg(not(debug_assertions))]
    fn release_builds_take_the_harmless_value() {
        assert_eq!(never("a row of the matrix", 7), 7);
    }
}
