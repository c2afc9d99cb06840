//! The end of a run over subwords: a checkpoint and its card; there is no blob of it.

use std::fmt::Write;

use mambabyte_host::subwords::Subwords;

use super::card::front_matter;
use super::finish::{best, write_checkpoint};
use super::folder::Folder;
use super::recipe::Recipe;
use super::run::Run;
use crate::error::CliError;
use crate::output::{clean, thousands};

/// Writes everything and ends the run; the step of the weights, and their bits per byte on windows of the hold-out.
///
/// # Errors
/// [`CliError`]; the state is still there then, and the same command with `--resume` tries again.
pub fn finish(folder: &Folder, recipe: &Recipe, run: &Run<'_>, words: &dyn Subwords) -> Result<(u64, f64), CliError> {
    let (weights, best) = best(run)?;
    write_checkpoint(folder, &weights)?;
    let (name, symbols) = (clean(&recipe.name), thousands(words.count() as u64));
    let mut card = front_matter(recipe, &["subwords", "speculative-decoding"], &[("bits per byte, f32", best.1)]);
    let _ = write!(
        card,
        "# {name}\n\nA Mamba model over {symbols} subwords, {} x {}, {} parameters: it drafts for a byte model,\n\
         `mambabyte generate MODEL --speculate FOLDER`.\n\n## Data\n\n| text | bytes |\n|---|---|\n",
        recipe.shape.d_model,
        recipe.shape.n_layer,
        thousands(weights.parameters() as u64),
    );
    for source in &recipe.texts {
        let path = std::path::Path::new(&source.name);
        let name = path.file_name().map_or_else(|| source.name.clone(), |name| name.to_string_lossy().into_owned());
        let _ = writeln!(card, "| {} | {} |", clean(&name), thousands(source.bytes as u64));
    }
    let _ = write!(
        card,
        "\n{} bytes were read in {} steps; the weights are an average around step {}, which had the fewest bits per byte on \
         windows of the hold-out ({:.4}).\n\nA model can repeat what it was trained on, word for word: whoever has the model \
         may find names, addresses or keys of these texts in it.\n\n## Command\n\n```sh\n{}\n```\n\n\
         `model.safetensors`, `config.json` and `tokenizer.json` (byte-level BPE) are in the layout of Hugging Face's \
         transformers and tokenizers.\n",
        thousands(run.trainer.bytes()),
        thousands(run.trainer.steps()),
        thousands(best.0),
        best.1,
        clean(&recipe.command()),
    );
    folder.write("log.jsonl", run.log.text().as_bytes())?;
    folder.write("README.md", card.as_bytes())?;
    folder.finish()?;
    Ok(best)
}
