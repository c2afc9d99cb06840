//! Instructions of the adapter per byte, by the idea that they are for: its file in `core/src/adapt`.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, ensure};

use super::chains::Chains;
use super::stages::{Frame, last_part};
use crate::chips::program::Program;

/// Where the ideas are.
const FOLDER: &str = "core/src/adapt/";
/// The column of the net's own 256 weights and their largest, which any coder of the net's distribution computes.
const WEIGHTS: &str = "weights";

/// Instructions per byte.
#[derive(Debug)]
pub(crate) struct Adapter {
    /// By file, without `.rs`.
    pub(crate) files: BTreeMap<String, f64>,
    /// Of the net's own 256 weights.
    pub(crate) weights: f64,
}

impl Adapter {
    /// Beyond the net's own weights.
    pub(crate) fn beyond(&self) -> f64 {
        self.files.values().sum()
    }
}

/// Builds and runs `adapt` and counts.
///
/// # Errors
/// If it cannot be built or run, or no instruction of the adapter or of a net's weights is found.
pub(crate) fn adapter(root: &Path, program: &Program<'_>) -> Result<Adapter> {
    let (elf, bytes, text) = super::run(root, program)?;
    let (mut files, mut all) = (BTreeMap::new(), 0.0);
    Chains::new(&elf)?.each(&text, |chain, times| {
        *files.entry(column(chain)).or_default() += times / bytes;
        all += times / bytes;
    })?;
    let weights = files.remove(WEIGHTS).unwrap_or(0.0);
    let net = program.model != crate::models::NONE;
    ensure!(all > 0.0, "no instruction between the markers was seen");
    ensure!(net == (weights > 0.0), "{weights:.0} instructions of the net's weights: does net.rs still have them?");
    Ok(Adapter { files, weights })
}

/// The file of the innermost function in the folder, `math.rs` apart, which all use; [`WEIGHTS`] for what `weigh` of
/// `net.rs` does.
fn column(chain: &[Frame]) -> String {
    let file = |frame: &Frame| {
        let (_, file) = frame.file.rsplit_once(FOLDER)?;
        Some(file.strip_suffix(".rs").unwrap_or(file).to_owned())
    };
    if chain.iter().any(|f| file(f).as_deref() == Some("net") && last_part(&f.name) == "weigh") {
        return WEIGHTS.to_owned();
    }
    let found = chain.iter().filter_map(file).find(|file| file != "math");
    found.unwrap_or_else(|| "rest".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_idea_has_the_instruction() {
        let of = |frames: &[(&str, &str)]| {
            let frame = |&(file, name): &(&str, &str)| Frame { name: name.into(), file: file.into(), line: 1 };
            column(&frames.iter().map(frame).collect::<Vec<_>>())
        };
        let folder = |file: &str| format!("/x/core/src/adapt/{file}");
        let (math, mixer, node, net) = (folder("math.rs"), folder("mixer.rs"), folder("node.rs"), folder("net.rs"));
        assert_eq!(
            of(&[("/x/core/num.rs", "clamp"), (&math, "squash"), (&mixer, "a::mix"), (&node, "a::say::<M>")]),
            "mixer"
        );
        assert_eq!(
            of(&[("/x/core/src/score.rs", "weight"), (&net, "a::net_weight"), (&net, "<a::Net>::weigh")]),
            WEIGHTS
        );
        assert_eq!(of(&[("/x/core/src/score.rs", "weight"), (&net, "<a::Net>::node"), (&node, "say")]), "net");
        assert_eq!(of(&[("/x/main.rs", "main")]), "rest");
    }
}
