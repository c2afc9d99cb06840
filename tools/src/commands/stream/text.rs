//! Escape sequences of terminals, and UTF-16.

/// A longer escape sequence is none.
const LONGEST: usize = 4096;

/// Where in an escape sequence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Escape {
    #[default]
    None,
    Begun,
    /// `ESC [`.
    Control,
    /// `ESC ]` and its like, to a bell or `ESC \`.
    Text,
    /// After an escape in one.
    TextEnd,
    /// `ESC (` and its like: one more.
    One,
}

/// Finds escape sequences.
#[derive(Debug, Default)]
pub(super) struct Escapes {
    place: Escape,
    bytes: usize,
}

impl Escapes {
    /// Whether the next byte is part of one. A line end is not.
    pub(super) fn takes(&mut self, byte: u8) -> bool {
        self.bytes += 1;
        if self.bytes > LONGEST || byte == b'\n' {
            self.place = Escape::None;
        }
        let (next, part) = match (self.place, byte) {
            (Escape::Text, 0x1b) => (Escape::TextEnd, true),
            (_, 0x1b) => (Escape::Begun, true),
            (Escape::None, _) => (Escape::None, false),
            (Escape::Begun, b'[') => (Escape::Control, true),
            (Escape::Begun, b']' | b'P' | b'X' | b'^' | b'_') => (Escape::Text, true),
            (Escape::Begun, b' '..=b'/') => (Escape::One, true),
            (Escape::Begun | Escape::One | Escape::TextEnd, _) => (Escape::None, true),
            (Escape::Control, b'@'..=b'~') => (Escape::None, true),
            (Escape::Control, _) => (Escape::Control, true),
            (Escape::Text, 7) => (Escape::None, true),
            (Escape::Text, _) => (Escape::Text, true),
        };
        self.place = next;
        if !part {
            self.bytes = 0;
        }
        part
    }
}

/// Reads code units of UTF-16.
#[derive(Debug)]
pub(super) struct Units {
    /// The first byte is the high one.
    big: bool,
    /// A byte order mark may say otherwise.
    asks: bool,
    at_start: bool,
    /// Half a code unit, and half a surrogate pair.
    half: Option<u8>,
    high: Option<u16>,
}

impl Units {
    pub(super) const fn new(big: bool, asks: bool) -> Self {
        Self { big, asks, at_start: true, half: None, high: None }
    }

    /// The characters that the next byte finishes: two, if one before it was broken.
    pub(super) fn take(&mut self, byte: u8) -> [Option<char>; 2] {
        let mut found = [None; 2];
        if let Some(unit) = self.unit(byte) {
            let broken = Some(char::REPLACEMENT_CHARACTER);
            let pair = self.high.take().map(|high| char::decode_utf16([high, unit]).next());
            let c = match pair {
                Some(Some(Ok(c))) if c.len_utf16() == 2 => Some(c),
                high => {
                    found[0] = high.and(broken);
                    match char::decode_utf16([unit]).next() {
                        Some(Ok(c)) => Some(c),
                        _ if (0xd800..0xdc00).contains(&unit) => {
                            self.high = Some(unit);
                            None
                        }
                        _ => broken,
                    }
                }
            };
            found[1] = c;
        }
        found
    }

    fn unit(&mut self, byte: u8) -> Option<u16> {
        let Some(first) = self.half.take() else {
            self.half = Some(byte);
            return None;
        };
        let unit = if self.big { u16::from_be_bytes([first, byte]) } else { u16::from_le_bytes([first, byte]) };
        if std::mem::take(&mut self.at_start) {
            match unit {
                0xfeff => return None,
                0xfffe if self.asks => {
                    self.big = true;
                    return None;
                }
                _ => {}
            }
        }
        Some(unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_pairs_are_replaced() {
        let text = |units: &[u16]| -> String {
            let mut read = Units::new(false, true);
            units.iter().flat_map(|unit| unit.to_le_bytes()).flat_map(|byte| read.take(byte)).flatten().collect()
        };
        assert_eq!(text(&[0x61, 0xd83e, 0xdd80, 0x62]), "a🦀b");
        assert_eq!(text(&[0xd83e, 0x62, 0xdd80, 0x63]), "\u{fffd}b\u{fffd}c");
        assert_eq!(text(&[0xd83e, 0xd83e, 0xdd80]), "\u{fffd}🦀");
    }
}
