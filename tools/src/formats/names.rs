//! Names of tensors, without what wrappers put around them.
//!
//! Inside this crate a tensor is called as `mamba_ssm` calls it, less `backbone.`: `layers.0.mixer.A_log`. What people
//! have says more: `torch.compile`, `DistributedDataParallel`, Lightning and training scripts put prefixes in front,
//! others leave `backbone.` out.

use super::shorten::shorten;

/// The embedding's canonical name.
pub(super) const EMBEDDING: &str = "embedding.weight";
/// The head's.
pub(super) const HEAD: &str = "lm_head.weight";
/// Prefixes, one or nested: of data parallel wrappers, of Lightning and training scripts, of the model's own body (the
/// last is mamba.py's).
const PREFIXES: [&str; 6] = ["module", "model", "net", "_forward_module", "backbone", "mamba"];
/// Wrappers that may sit between any two modules: `torch.compile`, FSDP and checkpointed activations.
const WRAPPERS: [&str; 3] = ["_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"];

/// The name without wrappers and prefixes; `embeddings`, Hugging Face's plural, becomes `embedding`.
pub(super) fn canonical(name: &str) -> String {
    let mut parts: Vec<&str> = name.split('.').filter(|part| !WRAPPERS.contains(part)).collect();
    let prefixes = parts.iter().take_while(|part| PREFIXES.contains(part)).count();
    parts.drain(..prefixes);
    match parts.first_mut() {
        Some(first) if *first == "embeddings" => *first = "embedding",
        Some(_) => {}
        None => return name.to_owned(),
    }
    parts.join(".")
}

/// What the names of a file have in front of `layers.`: to name tensors as the user's file does, and to say it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Prefix(String);

impl Prefix {
    /// That of the first name with `layers.`; `backbone.` if there is none.
    pub(super) fn of<'n>(names: impl Iterator<Item = &'n str>) -> Self {
        let mut fronts = names.filter_map(|name| {
            let at = name.find("layers.")?;
            (at == 0 || name.get(..at)?.ends_with('.')).then(|| name.get(..at)).flatten()
        });
        Self(fronts.next().unwrap_or("backbone.").to_owned())
    }

    /// A tensor's name as it would be in the file.
    pub(super) fn name(&self, canonical: &str) -> String {
        format!("{}{canonical}", self.0)
    }

    /// What is unusual about it.
    pub(super) fn note(&self) -> Option<String> {
        match self.0.as_str() {
            "backbone." => None,
            "" => Some("the names of the tensors are without `backbone.`".to_owned()),
            other => Some(format!("`{}` in front of the names is left out", shorten(other))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrappers_and_prefixes() {
        for name in [
            "layers.0.mixer.A_log",
            "backbone.layers.0.mixer.A_log",
            "_orig_mod.backbone.layers.0.mixer.A_log",
            "module._orig_mod.model.net.backbone.layers.0.mixer.A_log",
            "backbone.layers.0._orig_mod.mixer.A_log",
            "_fsdp_wrapped_module.backbone.layers.0._fsdp_wrapped_module.mixer.A_log",
            "mamba.layers.0.mixer.A_log",
            "backbone._orig_mod.layers.0.mixer.A_log",
        ] {
            assert_eq!(canonical(name), "layers.0.mixer.A_log", "{name}");
        }
        assert_eq!(canonical("model.embeddings.weight"), "embedding.weight");
        assert_eq!(canonical("module.lm_head.weight"), "lm_head.weight");
        assert_eq!((canonical("model"), canonical("")), ("model".to_owned(), String::new()));
        assert_eq!(canonical("criterion.model.weight"), "criterion.model.weight");
    }

    #[test]
    fn the_prefix_is_said() {
        let of = |name: &str| Prefix::of([name].into_iter());
        assert_eq!(of("backbone.layers.0.norm.weight").note(), None);
        assert!(of("layers.0.norm.weight").note().is_some_and(|note| note.contains("without `backbone.`")));
        assert!(of("model.net.layers.0.D").note().is_some_and(|note| note.contains("`model.net.`")));
        assert_eq!(of("players.0.D").name("norm_f.weight"), "backbone.norm_f.weight");
    }
}
