//! Which rows of an embedding are the 256 bytes.
//!
//! Most byte models have them first. ByT5's tokenizer and Perceiver's put three and six special ids in front; a model of
//! theirs read from row 0 would run, and say nonsense about everything.

use mambabyte_core::VOCAB;
use serde_json::Value;

use super::config::Config;
use super::error::FormatError;

/// Which rows of a vocabulary are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Symbols {
    /// Those of the 256 bytes.
    Bytes,
    /// All of them.
    All,
}

/// 256 bytes, special ids and padding; beyond that the ids are not bytes.
const MAX_ROWS: usize = 512;
/// Tokenizers of bytes with special ids in front, by the start of their class name: where byte 0 is.
const TOKENIZERS: [(&str, usize); 2] = [("ByT5", 3), ("Perceiver", 6)];
/// Tokenizers of subwords: however few they are, their ids are no bytes.
const SUBWORDS: [&str; 1] = ["GPT2"];
/// Rows of a vocabulary of ByT5 without and with its 125 sentinels.
const BYT5_ROWS: [u64; 2] = [259, 384];
/// Special ids that a config or a tokenizer's config may name.
const SPECIAL: [&str; 7] =
    ["pad_token_id", "bos_token_id", "eos_token_id", "unk_token_id", "sep_token_id", "mask_token_id", "cls_token_id"];

/// Where the bytes are in the vocabulary, and why.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bytes {
    /// Row of byte 0.
    pub(super) offset: usize,
    /// What to tell the user.
    pub(super) note: Option<String>,
}

/// Finds the bytes among `rows`; `insisted` is what the user said.
///
/// # Errors
/// [`FormatError::Vocabulary`] if there are too few or too many rows, [`FormatError::ByteOffset`] if nothing says where
/// the bytes are.
pub(super) fn find(
    rows: usize,
    config: &Config,
    tokenizer: &Value,
    insisted: Option<usize>,
) -> Result<Bytes, FormatError> {
    if !(VOCAB..=MAX_ROWS).contains(&rows) {
        return Err(FormatError::Vocabulary { found: rows, max: MAX_ROWS });
    }
    let place = |offset: usize, because: String| {
        if offset > rows - VOCAB {
            return Err(FormatError::ByteOffset {
                rows,
                why: format!("256 bytes from row {offset} on do not fit{because}"),
            });
        }
        let note = (rows > VOCAB).then(|| format!("{}{because}", taken(offset, rows)));
        Ok(Bytes { offset, note })
    };
    if let Some(offset) = insisted {
        return place(offset, ", as --byte-offset says".to_owned());
    }
    let class = tokenizer.get("tokenizer_class").and_then(Value::as_str).unwrap_or_default();
    if let Some(name) = SUBWORDS.into_iter().find(|name| class.starts_with(name)) {
        return Err(FormatError::ByteOffset {
            rows,
            why: format!("the tokenizer is {name}'s, whose ids are subwords"),
        });
    }
    if rows == VOCAB {
        return place(0, String::new());
    }
    if let Some((name, offset)) = TOKENIZERS.into_iter().find(|(name, _)| class.starts_with(name)) {
        return place(offset, format!(": the tokenizer is {name}'s, whose ids are byte + {offset}"));
    }
    let size = config.vocab_size();
    let special = special_ids(config, tokenizer);
    let in_front = special.contains(&0) && special.contains(&1);
    // ByT5 has its sentinels, if it has any, behind the bytes that begin at 3.
    let after = special.iter().any(|&id| id >= VOCAB as u64);
    let right_after = special.iter().any(|id| (VOCAB as u64..VOCAB as u64 + 3).contains(id));
    let byt5 = BYT5_ROWS.contains(&size.unwrap_or(rows as u64));
    match size {
        _ if in_front && byt5 && !right_after => {
            place(3, ": the special ids 0 to 2 come before them, as ByT5 has it".to_owned())
        }
        _ if in_front && size.is_none_or(|size| size > VOCAB as u64) => Err(FormatError::ByteOffset {
            rows,
            why: "special ids are among the first rows, and it is no vocabulary of ByT5's".to_owned(),
        }),
        _ if after => place(0, ": the special ids come after them".to_owned()),
        Some(size) if size <= VOCAB as u64 => place(0, " (padding)".to_owned()),
        Some(size @ 257..=258) => place(0, format!(": ids 256..{size} are special ids")),
        None if rows <= 258 => place(0, format!(": ids 256..{rows} are special ids")),
        _ => Err(FormatError::ByteOffset {
            rows,
            why: "neither a tokenizer_config.json nor special ids say where the bytes are".to_owned(),
        }),
    }
}

fn taken(offset: usize, rows: usize) -> String {
    let end = offset + VOCAB;
    let dropped = match (offset, rows - end.min(rows)) {
        (0, _) => format!("rows {end}..{rows} dropped"),
        (_, 0) => format!("rows 0..{offset} dropped"),
        _ => format!("rows 0..{offset} and {end}..{rows} dropped"),
    };
    format!("vocabulary rows {offset}..{end} are the bytes, {dropped}")
}

fn special_ids(config: &Config, tokenizer: &Value) -> Vec<u64> {
    let of = |key: &&str| {
        [config.get(key), tokenizer.get(key)].into_iter().flatten().filter_map(Value::as_u64).collect::<Vec<_>>()
    };
    let added = tokenizer.get("added_tokens_decoder").and_then(Value::as_object);
    let added = added.into_iter().flat_map(|map| map.keys()).filter_map(|id| id.parse().ok());
    SPECIAL.iter().flat_map(of).chain(added).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn offset(rows: usize, config: Value, tokenizer: Value) -> Option<usize> {
        let config = Config::parse(config.to_string().as_bytes()).unwrap();
        find(rows, &config, &tokenizer, None).ok().map(|bytes| bytes.offset)
    }

    #[test]
    fn where_the_bytes_are() {
        let none = || json!({});
        for (rows, config, tokenizer, want) in [
            (256, none(), none(), Some(0)),
            (256, none(), json!({ "tokenizer_class": "ByT5Tokenizer" }), Some(0)),
            (259, json!({ "vocab_size": 259 }), json!({ "tokenizer_class": "ByT5Tokenizer" }), Some(3)),
            (384, json!({ "vocab_size": 384 }), json!({ "tokenizer_class": "ByT5Tokenizer" }), Some(3)),
            (262, json!({ "vocab_size": 262 }), json!({ "tokenizer_class": "PerceiverTokenizer" }), Some(6)),
            (259, json!({ "vocab_size": 259, "pad_token_id": 0, "eos_token_id": 1 }), none(), Some(3)),
            (264, json!({ "vocab_size": 259, "pad_token_id": 0, "eos_token_id": 1 }), none(), Some(3)),
            (259, json!({ "vocab_size": 259, "pad_token_id": 256, "eos_token_id": 257 }), none(), Some(0)),
            (259, json!({ "vocab_size": 259 }), json!({ "added_tokens_decoder": { "258": {} } }), Some(0)),
            (259, json!({ "vocab_size": 259, "pad_token_id": 0, "eos_token_id": 0, "bos_token_id": 0 }), none(), None),
            (259, json!({ "vocab_size": 259 }), none(), None),
            (384, json!({ "vocab_size": 384 }), none(), None),
            (259, none(), none(), None),
            (384, none(), none(), None),
            (300, json!({ "vocab_size": 300 }), json!({ "tokenizer_class": "GPT2Tokenizer" }), None),
            (256, json!({ "vocab_size": 256 }), json!({ "tokenizer_class": "GPT2Tokenizer" }), None),
            (257, json!({ "vocab_size": 257 }), json!({ "tokenizer_class": "GPT2Tokenizer" }), None),
            (384, json!({ "vocab_size": 256 }), none(), Some(0)),
            (264, json!({ "vocab_size": 258 }), none(), Some(0)),
            // 256, 258 or 259 padded to 8: nothing says which.
            (264, none(), none(), None),
            (258, none(), none(), Some(0)),
            // A tokenizer of another class with ByT5's layout: sentinels behind the bytes.
            (
                384,
                json!({ "vocab_size": 384, "pad_token_id": 0, "eos_token_id": 1 }),
                json!({ "tokenizer_class": "Mine", "added_tokens_decoder": { "0": {}, "1": {}, "2": {}, "259": {}, "383": {} } }),
                Some(3),
            ),
            (
                259,
                json!({ "vocab_size": 259, "pad_token_id": 0, "eos_token_id": 1, "sep_token_id": 259 }),
                none(),
                Some(3),
            ),
            // Ids on both sides that contradict each other, and ids in front of some other vocabulary.
            (
                259,
                json!({ "vocab_size": 259, "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 256 }),
                none(),
                None,
            ),
            (272, json!({ "vocab_size": 262, "pad_token_id": 0, "eos_token_id": 1 }), none(), None),
            (255, none(), none(), None),
            (513, none(), none(), None),
            (260, none(), json!({ "tokenizer_class": "PerceiverTokenizer" }), None),
        ] {
            assert_eq!(offset(rows, config.clone(), tokenizer.clone()), want, "{rows} {config} {tokenizer}");
        }
    }

    #[test]
    fn the_user_insists() {
        let config = Config::default();
        let bytes = find(300, &config, &Value::Null, Some(44)).unwrap();
        assert_eq!(bytes.offset, 44);
        assert_eq!(
            bytes.note.unwrap(),
            "vocabulary rows 44..300 are the bytes, rows 0..44 dropped, as --byte-offset says"
        );
        assert!(find(300, &config, &Value::Null, Some(45)).is_err());
        assert!(find(300, &config, &Value::Null, Some(usize::MAX)).is_err());
        assert!(find(256, &config, &Value::Null, Some(1)).is_err());
    }
}
