//! Rust source as a list of tokens, without comments, strings and everything that is compiled for tests only.

/// A token: a name, or one character of anything else; `::` is one token.
pub(super) type Token<'s> = &'s str;

/// The tokens of `source`. Comments, strings, characters, numbers' insides and lifetimes are left out; so is every item
/// under `#[cfg(test)]`.
pub(super) fn tokens(source: &str) -> Vec<Token<'_>> {
    let mut rest = source;
    let mut all = Vec::new();
    while let Some(first) = rest.chars().next() {
        let length = skipped(rest);
        if length > 0 {
            rest = rest.get(length..).unwrap_or_default();
            continue;
        }
        let length = match first {
            c if c.is_alphanumeric() || c == '_' => rest.find(|c| !is_name(c)).unwrap_or(rest.len()),
            ':' if rest.starts_with("::") => 2,
            c => c.len_utf8(),
        };
        let (token, after) = rest.split_at(length);
        if !first.is_whitespace() {
            all.push(token);
        }
        rest = after;
    }
    without_tests(&all)
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Bytes of the comment, string, character or lifetime that `text` begins with; 0 if it begins with none.
fn skipped(text: &str) -> usize {
    if text.starts_with("//") {
        return text.find('\n').unwrap_or(text.len());
    }
    if text.starts_with("/*") {
        return block_comment(text);
    }
    let head = text.trim_start_matches(['b', 'c']);
    let prefix = text.len() - head.len();
    if prefix <= 1 {
        let hashes = head.strip_prefix('r').map(|raw| raw.len() - raw.trim_start_matches('#').len());
        if let Some(hashes) = hashes
            && head.get(1 + hashes..).is_some_and(|s| s.starts_with('"'))
        {
            let end = format!("\"{}", "#".repeat(hashes));
            let body = head.get(2 + hashes..).unwrap_or_default();
            return body.find(&end).map_or(text.len(), |at| prefix + 2 + hashes + at + end.len());
        }
        if head.starts_with('"') {
            return prefix + quoted(head, '"');
        }
    }
    if text.starts_with('\'') {
        // A lifetime has no quote after its first character.
        let mut characters = text.chars().skip(1);
        let first = characters.next();
        if first == Some('\\') || characters.next() == Some('\'') {
            return quoted(text, '\'');
        }
        return 1 + text.get(1..).and_then(|t| t.find(|c| !is_name(c))).unwrap_or(text.len() - 1);
    }
    0
}

/// Bytes of a comment, which may hold others.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let step = match rest {
            r if r.starts_with("/*") => {
                depth += 1;
                2
            }
            r if r.starts_with("*/") => {
                depth -= 1;
                2
            }
            r => r.chars().next().map_or(1, char::len_utf8),
        };
        at += step;
        if depth == 0 {
            break;
        }
    }
    at
}

/// Bytes to the end of what begins with `quote`.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The tokens without the items that follow `#[cfg(test)]`.
fn without_tests<'s>(tokens: &[Token<'s>]) -> Vec<Token<'s>> {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let (mut kept, mut at) = (Vec::new(), 0);
    while let Some(&token) = tokens.get(at) {
        if tokens.get(at..).is_some_and(|rest| rest.starts_with(&MARK)) {
            at = item_end(tokens, at + MARK.len());
        } else {
            kept.push(token);
            at += 1;
        }
    }
    kept
}

/// Where the item that begins at `at` has ended: after its `;`, or after its braces.
fn item_end(tokens: &[Token<'_>], mut at: usize) -> usize {
    let mut depth = 0_i32;
    while let Some(&token) = tokens.get(at) {
        at += 1;
        match token {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => {
                depth -= 1;
                if depth == 0 && token == "}" {
                    break;
                }
            }
            ";" if depth == 0 => break,
            _ => {}
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::tokens;

    #[test]
    fn what_is_no_code_is_left_out() {
        let source = "/* a /* b */ c */ use crate::x; // crate::y\n let s = \"crate::\\\"z\"; let r = r#\"crate::\"w\"#; \
                      let c = '\"'; let q = '\\''; fn f<'a>(x: &'a u8) {} br\"x\" b'c'";
        let expected = "use crate :: x ; let s = ; let r = ; let c = ; let q = ; fn f < > ( x : & u8 ) { } b";
        assert_eq!(tokens(source).join(" "), expected);
    }

    #[test]
    fn tests_are_left_out() {
        let source = "use a; #[cfg(test)] mod tests { use super::*; fn f() { g(); } } fn h() {} #[cfg(test)] use b; c";
        assert_eq!(tokens(source).join(" "), "use a ; fn h ( ) { } c");
    }
}
