//! Bytes on their way to a terminal.

use super::text::is_harmful;

/// Makes what passes harmless for a terminal, piece by piece: what it would obey is escaped as `\u{1b}`, what is no UTF-8
/// as `\xff`. Line ends and tabs stay.
#[derive(Clone, Debug, Default)]
pub struct Harmless {
    /// The beginning of a character.
    begun: Vec<u8>,
}

impl Harmless {
    /// The next bytes.
    pub fn pass(&mut self, bytes: &[u8]) -> String {
        let mut all = std::mem::take(&mut self.begun);
        all.extend_from_slice(bytes);
        let mut out = String::with_capacity(all.len());
        let mut rest = all.as_slice();
        while !rest.is_empty() {
            let (good, bad) = match std::str::from_utf8(rest) {
                Ok(text) => (text, None),
                Err(e) => {
                    let (good, _) = rest.split_at(e.valid_up_to());
                    (std::str::from_utf8(good).unwrap_or_default(), Some(e.error_len()))
                }
            };
            for c in good.chars() {
                if is_harmful(c) && !matches!(c, '\n' | '\t') && c != '\r' {
                    out.extend(c.escape_unicode());
                } else if c != '\r' {
                    out.push(c);
                }
            }
            rest = &rest[good.len()..];
            match bad {
                None => {}
                Some(None) => {
                    self.begun = rest.to_vec();
                    return out;
                }
                Some(Some(length)) => {
                    rest[..length].iter().for_each(|byte| out.push_str(&format!("\\x{byte:02x}")));
                    rest = &rest[length..];
                }
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_any_length_are_harmless() {
        let input = "a\u{1b}]52;c\u{7}\u{9b}b\r\n\tä🦀".as_bytes();
        let input = [input, b"\xff\xc3("].concat();
        for size in 1..=input.len() {
            let mut harmless = Harmless::default();
            let out: String = input.chunks(size).map(|piece| harmless.pass(piece)).collect();
            assert_eq!(out, "a\\u{1b}]52;c\\u{7}\\u{9b}b\n\tä🦀\\xff\\xc3(", "{size}");
        }
    }
}
