//! The end of a run: the best weights as a checkpoint, the blob made of them and what its integers cost, report and
//! card.

use mambabyte_core::Blob;
use mambabyte_host::align::AlignedBytes;
use mambabyte_host::quantize::{Options, Schedule, quantize};
use mambabyte_host::train::data::Text;
use mambabyte_host::{Checkpoint, Model};

use super::card::{Card, card};
use super::folder::Folder;
use super::recipe::Recipe;
use super::report;
use super::run::Run;
use crate::calibration_text;
use crate::error::CliError;
use crate::formats;
use crate::measured::Measured;
use crate::progress::Progress;

/// What a run gave.
#[derive(Debug)]
pub struct Made {
    /// Bits per byte of the hold-out in f32 and in integers.
    pub measured: Measured,
    /// Bytes of the blob.
    pub blob: usize,
    /// Step of the weights, and their bits per byte on windows of the hold-out.
    pub best: (u64, f64),
}

/// Writes the checkpoint.
///
/// # Errors
/// As [`Folder::write`].
pub fn write_checkpoint(folder: &Folder, weights: &Checkpoint) -> Result<(), CliError> {
    let files = formats::write(weights).map_err(|e| CliError::Usage(format!("the checkpoint: {e}")))?;
    folder.write("config.json", &files.config)?;
    folder.write("model.safetensors", &files.weights)
}

/// The best weights, their step and their bits per byte on windows of the hold-out.
pub(super) fn best(run: &Run<'_>) -> Result<(Checkpoint, (u64, f64)), CliError> {
    Ok(match run.trainer.best() {
        Some(best) => (best.weights.clone(), (best.step, best.bits)),
        None => (run.trainer.averaged()?.checkpoint().clone(), (run.trainer.steps(), f64::NAN)),
    })
}

/// How the blob's integers are chosen.
fn refinement(recipe: &Recipe, parameters: usize) -> Schedule {
    match recipe.refine {
        Some(updates) => Schedule::of(parameters, updates),
        None => Schedule::auto(parameters),
    }
}

/// Bytes of memory that [`finish`] takes beside the run, about: what a conversion keeps of its texts.
pub fn memory(recipe: &Recipe, parameters: usize, texts: &[Text]) -> u64 {
    let sampled: u64 = texts.iter().map(|text| (text.bytes.len() as u64).min(calibration_text::BYTES)).sum();
    // The best weights, the model that is converted and the one that is compared with it.
    let weights = 3 * 4 * parameters as u64;
    weights + refinement(recipe, parameters).memory(sampled)
}

/// Writes everything and ends the run; `texts` are what was trained on, `holdout` what was not.
///
/// # Errors
/// [`CliError`]; the state is still there then, and the same command with `--resume` tries again.
pub fn finish(
    folder: &Folder,
    recipe: &Recipe,
    run: &Run<'_>,
    texts: &[Text],
    holdout: &[Text],
) -> Result<Made, CliError> {
    let (weights, best) = best(run)?;
    write_checkpoint(folder, &weights)?;
    let parameters = weights.parameters();
    let model = Model::new(weights)?;
    let calibration: Vec<Vec<u8>> = texts.iter().map(|text| calibration_text::sampled(&text.bytes)).collect();
    let holdout: Vec<Vec<u8>> = holdout.iter().map(|text| calibration_text::sampled(&text.bytes)).collect();
    let calibration: Vec<&[u8]> = calibration.iter().map(Vec::as_slice).collect();
    let holdout: Vec<&[u8]> = holdout.iter().map(Vec::as_slice).collect();
    let options = Options { name: recipe.name.clone(), refine: refinement(recipe, parameters), ..Options::default() };
    let total = calibration.iter().chain(&holdout).map(|text| text.len()).sum::<usize>() + options.refine.bytes();
    let bar = Progress::bytes("converting", total as u64);
    let quantized = quantize(&model, &calibration, &holdout, &options, &|n| bar.add(n))?;
    drop(bar);
    let aligned = AlignedBytes::new(&quantized.blob);
    let path = folder.path("model.mbb");
    let blob = Blob::parse(aligned.as_slice()).map_err(|source| CliError::Blob { path, source })?;
    let measured = Measured::of(&model, blob, &holdout)?;
    let page = report::page(recipe, &run.log, parameters, &measured);
    let (read, steps) = (run.trainer.bytes(), run.trainer.steps());
    let about = card(&Card { recipe, parameters, read, steps, best, measured: &measured, blob: &blob });
    folder.write("log.jsonl", run.log.text().as_bytes())?;
    folder.write("report.html", page.as_bytes())?;
    folder.write("README.md", about.as_bytes())?;
    folder.write("model.mbb", &quantized.blob)?;
    folder.finish()?;
    Ok(Made { measured, blob: quantized.blob.len(), best })
}
