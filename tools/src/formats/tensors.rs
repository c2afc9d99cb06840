//! The entries of a checkpoint under one name each, whatever its files call them.

use std::collections::BTreeMap;

use super::error::FormatError;
use super::names::{EMBEDDING, Prefix, canonical};
use super::shorten::shorten;
use super::tensor::{Entry, RawTensor};

/// Most entries that are no weights listed in a note.
const LISTED: usize = 8;

/// The entries of the files under their canonical names.
pub(super) struct Tensors<'a> {
    pub(super) entries: BTreeMap<String, Named<'a>>,
    pub(super) prefix: Prefix,
}

pub(super) struct Named<'a> {
    /// Its name in the file.
    pub(super) own: String,
    pub(super) entry: Entry<'a>,
}

impl<'a> Tensors<'a> {
    /// Two names that are one without their prefixes are an error.
    pub(super) fn new(entries: Vec<(String, Entry<'a>)>) -> Result<Self, FormatError> {
        let prefix = Prefix::of(entries.iter().map(|(name, _)| name.as_str()));
        let mut named: BTreeMap<String, Named<'a>> = BTreeMap::new();
        for (own, entry) in entries {
            let name = canonical(&own);
            if let Some(first) = named.get(&name) {
                // A counter of the same name as a weight is no second weight.
                if entry.tensor().is_some() && first.entry.tensor().is_some() {
                    return Err(FormatError::Duplicate { tensor: shorten(&own), first: shorten(&first.own) });
                }
                if entry.tensor().is_none() {
                    continue;
                }
            }
            named.insert(name, Named { own, entry });
        }
        let like_mamba = |name: &str| name.contains(".mixer.") || matches!(name, EMBEDDING | "norm_f.weight");
        if !named.keys().any(|name| like_mamba(name)) {
            return Err(FormatError::NotMamba { names: named.values().take(4).map(|n| shorten(&n.own)).collect() });
        }
        Ok(Self { entries: named, prefix })
    }

    pub(super) fn get(&self, name: &str) -> Option<&RawTensor<'a>> {
        self.entries.get(name)?.entry.tensor()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().filter(|(_, named)| named.entry.tensor().is_some()).map(|(name, _)| name.as_str())
    }

    /// The name that a tensor has in the file, or would have.
    pub(super) fn shown(&self, name: &str) -> String {
        self.entries.get(name).map_or_else(|| self.prefix.name(name), |named| named.own.clone())
    }

    /// Weights of a convolution as MLX stores them, `[d_inner, d_conv, 1]`, in the order that everybody else has.
    pub(super) fn turn_mlx(&mut self, notes: &mut Vec<String>) {
        let mut turned = 0;
        for (name, named) in &mut self.entries {
            let Entry::Tensor(tensor) = &mut named.entry else { continue };
            if let (true, &[inner, taps, 1]) = (name.ends_with(".mixer.conv1d.weight"), tensor.shape())
                && taps > 1
                && let Some(other) = tensor.with_shape(&[inner, 1, taps])
            {
                *tensor = other;
                turned += 1;
            }
        }
        if turned > 0 {
            notes.push("conv1d.weight is [d_inner, d_conv, 1], as MLX stores it: read so".to_owned());
        }
    }

    /// What there is beside weights.
    pub(super) fn others(&self) -> Option<String> {
        let mut others = self.entries.values().filter_map(|named| match &named.entry {
            Entry::Other(what) => Some(format!("{} ({what})", shorten(&named.own))),
            Entry::Tensor(_) => None,
        });
        let listed: Vec<String> = others.by_ref().take(LISTED).collect();
        let more = match others.count() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        (!listed.is_empty()).then(|| format!("no weights, ignored: {}{more}", listed.join(", ")))
    }
}
