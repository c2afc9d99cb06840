//! The texts of a run, divided.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use mambabyte_host::subwords::Subwords;
use mambabyte_host::train::data::{Corpus, Text};

use crate::error::CliError;
use crate::output::{say, thousands};
use crate::subwords::Bpe;
use crate::training::recipe::Source;
use crate::training::texts::{Asked, read_all};

/// The texts, divided.
pub(super) struct Reading {
    pub(super) corpus: Corpus,
    pub(super) holdout: Vec<Text>,
    pub(super) texts: Vec<Source>,
    pub(super) valid: Vec<Source>,
    /// What the corpus is read as, if not as bytes.
    pub(super) words: Option<Arc<Bpe>>,
    /// CRC-32 of that vocabulary.
    pub(super) vocabulary: Option<u32>,
}

pub(super) fn read(asked: &[Asked], valid: &[PathBuf], separator: &[u8]) -> Result<Reading, CliError> {
    let (all, shares) = read_all(asked, separator)?;
    let valid: Vec<Asked> = valid.iter().map(|path| Asked { path: path.clone(), share: None }).collect();
    let (judges, _) = read_all(&valid, separator)?;
    let share_of = |i: usize| shares.as_ref().and_then(|shares| shares.get(i).copied());
    let texts = all.iter().enumerate().map(|(i, text)| Source::of(text, share_of(i))).collect();
    let valid = judges.iter().map(|text| Source::of(text, None)).collect();
    let (train, holdout) = if judges.is_empty() { all.into_iter().map(Text::cut).unzip() } else { (all, judges) };
    let corpus = Corpus::new(train, shares.as_deref());
    Ok(Reading { corpus, holdout, texts, valid, words: None, vocabulary: None })
}

/// A vocabulary made of what is trained on.
pub(super) fn vocabulary(corpus: &Corpus, count: usize) -> Result<Bpe, CliError> {
    let texts: Vec<&[u8]> = corpus.texts().iter().map(|text| text.bytes.as_slice()).collect();
    let words = Bpe::train(&texts, count)?;
    if words.count() < count {
        say(format_args!(
            "the texts give {} subwords, not {}",
            thousands(words.count() as u64),
            thousands(count as u64)
        ));
    }
    Ok(words)
}

/// Most bytes of the hold-out that are looked at during a run.
pub(super) const LOOKED_AT: usize = 64 << 10;

/// A name for the blob: that of the first text, without what follows the first dot.
pub(super) fn default_name(texts: &[Source]) -> String {
    let name = texts.first().map(|source| source.name.as_str()).unwrap_or_default();
    let stem = Path::new(name).file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let stem = stem.split('.').find(|part| !part.is_empty()).unwrap_or("model").to_owned();
    let mut end = stem.len().min(24);
    while !stem.is_char_boundary(end) {
        end -= 1;
    }
    stem[..end].to_owned()
}
