//! Byte-level BPE: `tokenizer.json` as Hugging Face has it, read, made of texts, and written.

use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};

use mambabyte_host::subwords::Subwords;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{
    DecoderWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper, Tokenizer, TokenizerBuilder,
};

use crate::error::CliError;
use crate::model::read_text;
use crate::output::shown;

/// The file in a folder with a model over subwords.
pub const FILE: &str = "tokenizer.json";
/// What says beside it that symbols are subwords, so that nobody takes a small vocabulary for the bytes: name and content.
pub const CLASS: (&str, &str) = ("tokenizer_config.json", "{ \"tokenizer_class\": \"GPT2Tokenizer\" }\n");
/// Most bytes of the texts that a vocabulary is made of.
const MADE_OF: usize = 64 << 20;

/// A vocabulary of byte-level BPE. Every byte is one of its symbols: text that is no UTF-8 is read byte by byte.
pub struct Bpe {
    tokenizer: Tokenizer,
    /// What each symbol stands for.
    bytes: Vec<Vec<u8>>,
    /// The symbol of each byte.
    single: [u16; 256],
}

impl fmt::Debug for Bpe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bpe").field("count", &self.bytes.len()).finish_non_exhaustive()
    }
}

impl Bpe {
    /// At most `count` symbols, made of `texts`; equal texts give an equal vocabulary.
    ///
    /// # Errors
    /// What the crate `tokenizers` says.
    /// # Cost
    /// One pass over the first 64 MiB of the texts, and the counting of pairs.
    pub fn train(texts: &[&[u8]], count: usize) -> Result<Self, CliError> {
        let level = ByteLevel::new(false, true, true);
        let built =
            TokenizerBuilder::<BPE, NormalizerWrapper, PreTokenizerWrapper, PostProcessorWrapper, DecoderWrapper>::new(
            )
            .with_model(BPE::default())
            .with_pre_tokenizer(Some(PreTokenizerWrapper::ByteLevel(level)))
            .with_decoder(Some(DecoderWrapper::ByteLevel(level)))
            .build();
        let mut built = built.map_err(refused)?;
        let mut trainer = BpeTrainer::builder()
            .vocab_size(count)
            .min_frequency(2)
            .show_progress(false)
            .initial_alphabet(ByteLevel::alphabet().into_iter().collect::<HashSet<char>>())
            .build();
        let each = MADE_OF / texts.len().max(1);
        let chunks = texts.iter().flat_map(|text| text[..text.len().min(each)].utf8_chunks());
        let lines = chunks.flat_map(|chunk| chunk.valid().split_inclusive('\n'));
        built.train(&mut trainer, lines).map_err(refused)?;
        let json = built.to_string(false).map_err(refused)?;
        Self::parse(json.as_bytes()).map_err(|why| CliError::Usage(format!("--tokenizer: {why}")))
    }

    /// Reads `tokenizer.json` in a folder.
    ///
    /// # Errors
    /// [`CliError::Io`]; [`CliError::Usage`] names the file if it is no byte-level BPE.
    pub fn open(path: &Path) -> Result<Self, CliError> {
        let json = read_text(path)?;
        Self::parse(&json).map_err(|why| CliError::Usage(format!("{}: {why}", shown(path))))
    }

    fn parse(json: &[u8]) -> Result<Self, String> {
        let tokenizer = Tokenizer::from_bytes(json).map_err(|error| format!("no tokenizer: {error}"))?;
        let count = tokenizer.get_vocab(true).values().max().map_or(0, |&last| last as usize + 1);
        if count > 1 << 16 {
            return Err(format!("a vocabulary of {count} symbols; there can be 65536"));
        }
        let special = tokenizer.get_added_tokens_decoder();
        let alphabet = alphabet();
        let word = |symbol: u32| {
            // A special token stands for no text.
            let token = if special.contains_key(&symbol) { None } else { tokenizer.id_to_token(symbol) };
            let bytes =
                token.and_then(|token| token.chars().map(|c| byte_of(&alphabet, c)).collect::<Option<Vec<u8>>>());
            bytes.unwrap_or_default()
        };
        let bytes: Vec<Vec<u8>> = (0..count as u32).map(word).collect();
        let mut single = [None; 256];
        for (symbol, word) in bytes.iter().enumerate() {
            if let [byte] = **word {
                single[usize::from(byte)] = Some(symbol as u16);
            }
        }
        if let Some(byte) = single.iter().position(Option::is_none) {
            return Err(format!("no byte-level BPE: the byte 0x{byte:02x} is not among its symbols"));
        }
        Ok(Self { tokenizer, bytes, single: single.map(Option::unwrap_or_default) })
    }

    /// The vocabulary as `tokenizer.json`.
    ///
    /// # Errors
    /// What the crate `tokenizers` says.
    pub fn json(&self) -> Result<String, CliError> {
        self.tokenizer.to_string(true).map_err(refused)
    }

    /// The symbols of text that is UTF-8, if their bytes are the text: a file from elsewhere may change or add something.
    fn encoded(&self, text: &str) -> Option<Vec<u16>> {
        let encoding = self.tokenizer.encode_fast(text, false).ok()?;
        let symbols: Vec<u16> = encoding.get_ids().iter().map(|&id| id as u16).collect();
        let bytes = symbols.iter().flat_map(|&symbol| self.bytes(symbol));
        bytes.eq(text.as_bytes()).then_some(symbols)
    }

    fn one_by_one<'b>(&'b self, text: &'b [u8]) -> impl Iterator<Item = u16> + 'b {
        text.iter().map(|&byte| self.single[usize::from(byte)])
    }
}

impl Subwords for Bpe {
    fn count(&self) -> usize {
        self.bytes.len()
    }

    fn bytes(&self, symbol: u16) -> &[u8] {
        self.bytes.get(usize::from(symbol)).map_or(&[], Vec::as_slice)
    }

    fn encode(&self, text: &[u8]) -> Vec<u16> {
        let mut symbols = Vec::new();
        for chunk in text.utf8_chunks() {
            match self.encoded(chunk.valid()) {
                Some(found) => symbols.extend(found),
                None => symbols.extend(self.one_by_one(chunk.valid().as_bytes())),
            }
            symbols.extend(self.one_by_one(chunk.invalid()));
        }
        symbols
    }
}

fn refused(error: impl fmt::Display) -> CliError {
    CliError::Usage(format!("--tokenizer: {error}"))
}

/// How byte-level BPE writes bytes: those that show as themselves, all others as the characters from U+0100 on.
fn alphabet() -> [char; 256] {
    let mut others = (0x100u32..).filter_map(char::from_u32);
    std::array::from_fn(|byte| match byte as u8 {
        shows @ (b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff) => char::from(shows),
        _ => others.next().unwrap_or_default(),
    })
}

fn byte_of(alphabet: &[char; 256], c: char) -> Option<u8> {
    alphabet.iter().position(|&known| known == c).map(|byte| byte as u8)
}

/// The vocabulary in a folder with a model over subwords; `None` if it has none, so that its model is one of bytes.
pub fn in_folder(folder: &Path) -> Option<PathBuf> {
    let path = folder.join(FILE);
    path.is_file().then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text() -> Vec<u8> {
        let lines = (0..200u32).map(|i| format!("time={i} level={} all is well, tout va tr\u{e8}s bien\n", i % 7));
        lines.collect::<String>().into_bytes()
    }

    #[test]
    fn any_bytes_come_back_whole() {
        let made = Bpe::train(&[&text()], 295).unwrap();
        assert_eq!((made.count(), made.json().unwrap()), (295, Bpe::train(&[&text()], 295).unwrap().json().unwrap()));
        let read = Bpe::parse(made.json().unwrap().as_bytes()).unwrap();
        let every: Vec<u8> = (0..=255).collect();
        for bpe in [made, read] {
            let cases: [&[u8]; 6] =
                [&text(), &every, b"", b"\xff\xfe level=\xc3", "tr\u{e8}s \u{1f980}".as_bytes(), b"\0\n  \n"];
            for case in cases {
                let symbols = bpe.encode(case);
                let back: Vec<u8> = symbols.iter().flat_map(|&symbol| bpe.bytes(symbol).to_vec()).collect();
                assert_eq!(back, case);
            }
            assert!(bpe.encode(&text()).len() * 3 < text().len());
            assert!(bpe.bytes(300).is_empty());
        }
    }

    #[test]
    fn other_tokenizers_are_refused_by_name() {
        for (json, why) in [
            ("{}", "no tokenizer"),
            (r#"{"model":{"type":"BPE","vocab":{"a":0},"merges":[]},"added_tokens":[]}"#, "0x00"),
        ] {
            let found = Bpe::parse(json.as_bytes()).unwrap_err();
            assert!(found.contains(why), "{found}");
        }
    }
}
