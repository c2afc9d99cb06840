//! JSON as people's tools write it: with a byte order mark, in UTF-16, with Python's `Infinity` and `NaN`.

use serde_json::Value;

/// Parses a JSON document. A byte order mark is skipped and UTF-16 decoded. `Infinity`, `-Infinity` and `NaN`, which
/// Python writes for floats that JSON does not have, become strings of that name, so that a message can show them.
///
/// # Errors
/// Those of `serde_json`, for what no tool writes on purpose.
pub(super) fn parse(bytes: &[u8]) -> Result<Value, serde_json::Error> {
    if let Some(text) = bytes.strip_prefix(b"\xef\xbb\xbf") {
        return serde_json::from_slice(&quoted(text));
    }
    let wide = |big: bool, bytes: &[u8]| {
        let units: Vec<u16> = bytes
            .as_chunks()
            .0
            .iter()
            .map(|&b| if big { u16::from_be_bytes(b) } else { u16::from_le_bytes(b) })
            .collect();
        String::from_utf16_lossy(&units)
    };
    match bytes {
        [0xff, 0xfe, rest @ ..] => serde_json::from_slice(&quoted(wide(false, rest).as_bytes())),
        [0xfe, 0xff, rest @ ..] => serde_json::from_slice(&quoted(wide(true, rest).as_bytes())),
        [0, first, ..] if first.is_ascii() => serde_json::from_slice(&quoted(wide(true, bytes).as_bytes())),
        [first, 0, ..] if first.is_ascii() => serde_json::from_slice(&quoted(wide(false, bytes).as_bytes())),
        _ => serde_json::from_slice(&quoted(bytes)),
    }
}

/// Puts quotation marks around Python's three words for floats that are not finite, outside of strings.
fn quoted(text: &[u8]) -> Vec<u8> {
    const WORDS: [&[u8]; 3] = [b"-Infinity", b"Infinity", b"NaN"];
    let mut out = Vec::with_capacity(text.len());
    let (mut at, mut in_string) = (0, false);
    while let Some(&byte) = text.get(at) {
        let rest = text.get(at..).unwrap_or_default();
        let mut length = 1;
        match byte {
            b'"' => in_string = !in_string,
            b'\\' if in_string => length = 2,
            _ if !in_string => {
                if let Some(word) = WORDS.into_iter().find(|word| rest.starts_with(word)) {
                    out.extend([b"\"", word, b"\""].concat());
                    at += word.len();
                    continue;
                }
            }
            _ => {}
        }
        out.extend(rest.iter().take(length));
        at += length;
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn marks_and_encodings() {
        let text = r#"{"a": "ü", "b": 1}"#;
        let want = json!({ "a": "ü", "b": 1 });
        let units: Vec<u16> = text.encode_utf16().collect();
        let little = |mark: &[u8]| [mark.to_vec(), units.iter().flat_map(|u| u.to_le_bytes()).collect()].concat();
        let big = |mark: &[u8]| [mark.to_vec(), units.iter().flat_map(|u| u.to_be_bytes()).collect()].concat();
        for bytes in [
            text.as_bytes().to_vec(),
            [b"\xef\xbb\xbf", text.as_bytes()].concat(),
            little(b"\xff\xfe"),
            little(b""),
            big(b"\xfe\xff"),
            big(b""),
        ] {
            assert_eq!(parse(&bytes).unwrap(), want);
        }
        assert!(parse(b"\xff\xfe{").is_err() && parse(b"").is_err() && parse(b"{").is_err());
    }

    #[test]
    fn floats_of_python() {
        let text = br#"{"limit": [0.0, Infinity], "low": -Infinity, "eps": NaN, "\"NaN": "NaN \\ Infinity"}"#;
        let want = json!({ "limit": [0.0, "Infinity"], "low": "-Infinity", "eps": "NaN", "\"NaN": "NaN \\ Infinity" });
        assert_eq!(parse(text).unwrap(), want);
    }
}
