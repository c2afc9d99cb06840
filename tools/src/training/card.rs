//! The model card: what it was made of, how, and what that is worth.

use std::fmt::Write;

use mambabyte_core::Blob;
use mambabyte_host::train::rounding::Rounding;

use super::recipe::{Recipe, Source};
use crate::measured::Measured;
use crate::output::{clean, hex, thousands};

/// What a card is made of.
pub struct Card<'a> {
    /// The run.
    pub recipe: &'a Recipe,
    /// Trained parameters.
    pub parameters: usize,
    /// Bytes read.
    pub read: u64,
    /// Steps that were made.
    pub steps: u64,
    /// The step that the weights are of, and its bits per byte on the windows of the hold-out.
    pub best: (u64, f64),
    /// The whole hold-out.
    pub measured: &'a Measured,
    /// The blob.
    pub blob: &'a Blob<'a>,
}

/// What Hugging Face's hub reads of a card: YAML before the Markdown. `tags` are beside those of every card, `figures` bits per
/// byte of the hold-out, by the names of what was measured.
///
/// Whose texts they are, and on what terms, only the user knows: the licence is `unknown`.
pub(super) fn front_matter(recipe: &Recipe, tags: &[&str], figures: &[(&str, f64)]) -> String {
    // Any string of JSON is one of YAML.
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let name = quoted(&clean(&recipe.name));
    let mut out =
        String::from("---\nlicense: unknown\nlibrary_name: mambabyte\npipeline_tag: text-generation\ntags:\n");
    for tag in ["mamba", "byte-level"].iter().chain(tags) {
        let _ = writeln!(out, "- {tag}");
    }
    out.push_str("datasets:\n");
    for source in &recipe.texts {
        let _ = writeln!(out, "- {}", quoted(&last(&source.name)));
    }
    let _ = write!(
        out,
        "metrics:\n- bits_per_byte\nmodel-index:\n- name: {name}\n  results:\n  - task:\n      type: text-generation\n    \
         dataset:\n      name: hold-out\n      type: hold-out\n    metrics:\n",
    );
    for (what, bits) in figures {
        let bits = if bits.is_finite() { format!("{bits:.4}") } else { ".nan".to_owned() };
        let _ = write!(out, "    - type: bits_per_byte\n      name: {}\n      value: {bits}\n", quoted(what));
    }
    out.push_str("---\n\n");
    out
}

/// The card, in Markdown.
pub fn card(card: &Card<'_>) -> String {
    let Card { recipe, parameters, read, steps, best, measured, blob } = card;
    let figures = [
        ("bits per byte, f32", measured.f32.bits_per_byte()),
        ("bits per byte, integer", measured.int.bits_per_byte()),
    ];
    let mut out = front_matter(recipe, &["mambabyte", "microcontroller"], &figures);
    let decays = if recipe.shape.tied_decays { "tied" } else { "free" };
    let _ = write!(
        out,
        "# {}\n\nA Mamba byte model, {} x {}, d_state {}, {decays} decays, {} parameters.\n\n## Data\n\n\
         | text | bytes | documents | share of what is read |\n|---|---|---|---|\n",
        clean(&recipe.name),
        recipe.shape.d_model,
        recipe.shape.n_layer,
        recipe.shape.d_state,
        thousands(*parameters as u64),
    );
    let total: f64 = recipe.texts.iter().map(size).sum();
    for source in &recipe.texts {
        let _ = writeln!(
            out,
            "| {} | {} | {} | {:.1} % |",
            last(&source.name),
            thousands(source.bytes as u64),
            thousands(source.documents as u64),
            100.0 * size(source) / total
        );
    }
    let holdout = if recipe.valid.is_empty() {
        "The end of each, a twentieth, is the hold-out and was not trained on.".to_owned()
    } else {
        let names: Vec<String> = recipe.valid.iter().map(|source| last(&source.name)).collect();
        format!("The hold-out is {}.", names.join(", "))
    };
    let from = match &recipe.from {
        Some((from, _)) => format!("It began with the weights of {}.", last(from)),
        None => "It began with random weights.".to_owned(),
    };
    let named: Vec<String> = recipe.teachers.iter().map(|(name, _)| last(name)).collect();
    let taught = match named.as_slice() {
        [] => String::new(),
        named => {
            let share = 100.0 * recipe.settings.teachers_share;
            format!(" A share of {share:.0} % of the loss aims at what {} expect.", named.join(", "))
        }
    };
    let rounded = match recipe.settings.rounding {
        Rounding::None => "",
        Rounding::Bits8 => " Its matrices were rounded to 8 bits a row in every step.",
        Rounding::Bits4 => {
            " Its matrices were rounded to 4 bits in groups of 32 in every step; the blob has 8 bits, the checkpoint the rounded \
             values."
        }
    };
    let _ = write!(
        out,
        "\n{holdout} {from}{taught}{rounded} {} bytes were read in {} steps; the weights are an average around step {}, which had the \
         fewest bits per byte on windows of the hold-out ({:.4}).\n\nA model can repeat what it was trained on, word for \
         word: whoever has the model may find names, addresses or keys of these texts in it.\n\n## Command\n\n\
         ```sh\n{}\n```\n\nThe same command makes the same files on the same machine; another may round otherwise.\n\n",
        thousands(*read),
        thousands(*steps),
        thousands(best.0),
        best.1,
        clean(&recipe.command()),
    );
    let _ = write!(
        out,
        "## Figures\n\nHold-out, each text as one stream, {} bytes: f32 {:.4}, integer {:.4} bits per byte, difference \
         {:+.4}.\n\n`model.safetensors` and `config.json` are the checkpoint, which transformers' `MambaForCausalLM` \
         reads; `model.mbb` is the blob, {} bytes, fingerprint `{}`. `log.jsonl` and `report.html` say how it went.\n",
        thousands(measured.f32.bytes as u64),
        measured.f32.bits_per_byte(),
        measured.int.bits_per_byte(),
        measured.delta(),
        thousands(blob.as_bytes().len() as u64),
        hex(&blob.fingerprint()),
    );
    out
}

fn size(source: &Source) -> f64 {
    source.share.unwrap_or(source.bytes as f64)
}

/// A name without the folders before it: they are the user's own business.
fn last(name: &str) -> String {
    let path = std::path::Path::new(name);
    clean(&path.file_name().map_or_else(|| name.to_owned(), |name| name.to_string_lossy().into_owned()))
}
