//! From a [`Checkpoint`](crate::Checkpoint) to a blob: scales from calibration, rounding that compensates its own
//! errors.
//!
//! Every scale is chosen here; the step in `core` only multiplies and shifts. The order is: run the f32 model over
//! calibration text ([`calibration`]), choose a static scale for each activation, round each matrix for the least
//! change of its output ([`rounding`]), lay the sections out ([`writer`]).

pub mod calibration;
mod layer;
mod refine;
pub mod rounding;
mod teacher;
pub mod writer;

use calibration::{Stats, observe};
pub use refine::Schedule;

use mambabyte_core::blob::Section;
use mambabyte_core::oracle::{NotFinite, Site};
use mambabyte_core::{Blob, BlobError, Dims};
use refine::{Grid, refine};
use rounding::{Rounded, round_matrix, rounded_as};
use writer::BlobParts;

use crate::model::{Model, ModelError};

/// Range of an activation over its largest calibrated magnitude. 2 lost a little less than 1.25 in trials, 4 lost more.
pub const HEADROOM: f64 = 2.0;
/// Least headroom of activations whose scale is a power of two (it is between this and twice this).
pub const HEADROOM_POW2: f64 = 1.25;

/// Tensors that keep their f32 values after refinement, which chooses their integers (for `a_log`: nothing).
const KEPT: [&str; 8] = ["embedding", "lm_head", "in_proj", "conv1d", "x_proj", "dt_proj", "out_proj", "a_log"];

/// Why a model cannot be quantised.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QuantizeError {
    /// Calibration text was empty.
    #[error("calibration text is empty")]
    NoText,
    /// The f32 model does not run.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// NaN or infinity on the calibration text.
    #[error("{0} on the calibration text: f32 does not hold this model's values, or its weights are damaged")]
    NotFinite(NotFinite),
    /// An activation or weight outside what the format can scale.
    #[error("layer {layer}, {tensor}: magnitudes up to {largest:.3e} do not fit the format's scales")]
    Range {
        /// Layer; `n_layer` for embedding and head.
        layer: usize,
        /// The tensor.
        tensor: &'static str,
        /// Largest magnitude.
        largest: f64,
    },
    /// The blob that was made does not parse: a bug, reported instead of written.
    #[error("the new blob does not parse: {0}")]
    Invalid(#[from] BlobError),
}

/// One line of the report: how well a tensor was rounded.
#[derive(Clone, Debug, serde::Serialize)]
pub struct TensorReport {
    /// Layer; `n_layer` for embedding and head.
    pub layer: usize,
    /// Name of the tensor.
    pub tensor: &'static str,
    /// Signal to rounding noise, dB.
    pub sqnr_db: f64,
    /// Largest accumulator as a share of `2^31`, proved for any input.
    pub accumulator_share: f64,
}

/// One line of the report: how an activation was scaled.
#[derive(Clone, Debug, serde::Serialize)]
pub struct ActivationReport {
    /// Layer; `n_layer` for the head's input.
    pub layer: usize,
    /// Name of the activation.
    pub activation: &'static str,
    /// Largest magnitude on the calibration text.
    pub largest: f32,
    /// Magnitude at which the integer saturates.
    pub clip: f64,
    /// Share of hold-out values beyond the clip.
    pub clipped_share: f64,
    /// Counts by octave of magnitude on the hold-out, see [`calibration::BINS`].
    pub histogram: Vec<u64>,
}

/// A finished blob and how it came to be.
#[derive(Clone, Debug)]
pub struct Quantized {
    /// The file.
    pub blob: Vec<u8>,
    /// Per tensor.
    pub tensors: Vec<TensorReport>,
    /// Per activation.
    pub activations: Vec<ActivationReport>,
    /// What was out of the ordinary, in sentences.
    pub notes: Vec<String>,
}

/// How to quantise.
#[derive(Clone, Debug)]
pub struct Options {
    /// Name stored in the blob.
    pub name: String,
    /// Bits per byte above which a text is none that the model knows, Q8, at most 2048; 0: it does not say.
    pub unknown_text: u16,
    /// Compensate rounding errors (off: plain rounding, for comparison).
    pub compensate: bool,
    /// Then refine all integers together; with zero updates they stay as rounded.
    pub refine: Schedule,
}

impl Default for Options {
    fn default() -> Self {
        Self { name: String::new(), unknown_text: 0, compensate: true, refine: Schedule::default() }
    }
}

/// Quantises `model`.
///
/// * `texts`: calibration texts, each read from the zero state. `holdout`: texts on which clipping is counted.
/// * `progress` is told bytes as they are read: all `texts` and `holdout` once, and [`Schedule::bytes`] at most.
///
/// # Errors
/// [`QuantizeError`].
/// # Cost
/// One f32 step per byte and `d_model^2 + d_inner^2` multiply-adds per layer and byte; then a Cholesky factorisation
/// per matrix. Refinement: three forward passes per byte of its schedule; 512 bytes of memory for each byte of `texts`.
pub fn quantize(
    model: &Model,
    texts: &[&[u8]],
    holdout: &[&[u8]],
    options: &Options,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Quantized, QuantizeError> {
    if texts.iter().all(|t| t.is_empty()) {
        return Err(QuantizeError::NoText);
    }
    let mut stats = observe(model, texts, None, progress).map_err(QuantizeError::NotFinite)?;
    let mut quantizer = Quantizer::new(model, &stats, options, None)?;
    quantizer.layers()?;
    let refined_model;
    if options.refine.updates > 0 {
        let grids = std::mem::take(&mut quantizer.grids);
        let a_log = std::mem::take(&mut quantizer.a_log);
        let mut refined = refine(model, grids, a_log, (texts, holdout), &options.refine, progress)?;
        let [before, after] = refined.divergence;
        let lower = after <= before;
        if lower {
            let mut checkpoint = model.checkpoint().clone();
            let found = refined.checkpoint.tensors_mut();
            for ((_, tensor, to), (.., from)) in checkpoint.tensors_mut().into_iter().zip(found) {
                // Matrices keep the f32 values, which the report compares with the integers.
                if !KEPT.contains(&tensor) {
                    to.clone_from(from);
                }
            }
            refined_model = Model::new(checkpoint)?;
            quantizer = Quantizer::new(&refined_model, &stats, options, Some(refined.grids))?;
            quantizer.layers()?;
        }
        quantizer.notes.push(format!(
            "refinement: divergence from the f32 model on the hold-out {before:.5} bits per byte before, {after:.5} after{}",
            if lower { "" } else { "; not used" }
        ));
    }
    let Quantizer { parts, tensors, clips, notes, .. } = quantizer;
    let blob = parts.finish();
    Blob::parse(crate::align::AlignedBytes::new(&blob).as_slice())?;

    for &(layer, site, clip) in &clips {
        stats.set_clip(layer, site, clip);
    }
    let seen = observe(model, holdout, Some(&stats), progress).map_err(QuantizeError::NotFinite)?;
    let activations = clips
        .iter()
        .map(|&(layer, site, clip)| {
            let range = seen.range(layer, site);
            ActivationReport {
                layer,
                activation: site_name(site),
                largest: stats.range(layer, site).largest,
                clip,
                clipped_share: range.clipped_share(),
                histogram: range.histogram.to_vec(),
            }
        })
        .collect();
    Ok(Quantized { blob, tensors, activations, notes })
}

/// The name of an activation in reports.
pub const fn site_name(site: Site) -> &'static str {
    match site {
        Site::NormOut => "u (norm)",
        Site::ConvIn => "x (in_proj)",
        Site::Gate => "z (gate)",
        Site::ConvOut => "conv1d",
        Site::X => "x (silu)",
        Site::Dt => "dt",
        Site::B => "B",
        Site::C => "C",
        Site::DtPre => "dt_proj",
        Site::Y => "y",
        Site::Gated => "y * silu(z)",
        Site::Residual => "residual",
        Site::HeadIn => "head input",
        _ => "other",
    }
}

/// The blob under construction.
struct Quantizer<'a> {
    model: &'a Model,
    stats: &'a Stats,
    options: &'a Options,
    parts: BlobParts,
    tensors: Vec<TensorReport>,
    clips: Vec<(usize, Site, f64)>,
    notes: Vec<String>,
    /// Every matrix as rounded, in the order of the blob.
    grids: Vec<Grid>,
    /// Decays as the blob holds them.
    a_log: Vec<Vec<f32>>,
    /// Integers to use instead of rounding.
    fixed: Option<Vec<Grid>>,
}

impl<'a> Quantizer<'a> {
    /// Residual stream, embedding, head and last norm.
    fn new(
        model: &'a Model,
        stats: &'a Stats,
        options: &'a Options,
        fixed: Option<Vec<Grid>>,
    ) -> Result<Self, QuantizeError> {
        let dims: Dims = *model.dims();
        let checkpoint = model.checkpoint();
        let top = dims.n_layer;
        let parts = BlobParts { unknown_text: options.unknown_text, ..BlobParts::new(dims, &options.name) };
        let mut this = Self {
            model,
            stats,
            options,
            parts,
            tensors: vec![],
            clips: vec![],
            notes: vec![],
            grids: vec![],
            a_log: vec![],
            fixed,
        };

        let embedding_max = largest(&checkpoint.embedding);
        let residual_max =
            (0..top).map(|l| f64::from(stats.range(l, Site::Residual).largest)).fold(embedding_max, f64::max);
        // At least eightfold room in i32: the largest value seen is at most 2^28. Row multipliers of the embedding stay
        // below 2^14.
        let room = (2f64.powi(30) / (residual_max.max(1e-6) * 4.0)).log2().floor();
        let by_rows = (127.0 * 16_000.0 / embedding_max.max(1e-6)).log2().floor();
        let residual_frac = room.min(by_rows).clamp(0.0, 20.0) as u8;
        this.parts.residual_frac = residual_frac;
        let eps = f64::from(checkpoint.norm_eps) * dims.d_model as f64 * (2.0 * f64::from(residual_frac)).exp2();
        this.parts.norm_eps = eps.round() as u64;
        for layer in 0..top {
            this.clips.push((layer, Site::Residual, 2f64.powi(31 - i32::from(residual_frac))));
        }

        // The head's input has a scale of 2^k * ln 2, so that its multipliers are the embedding's, shifted.
        let head_in = f64::from(stats.range(top, Site::HeadIn).largest).max(1e-6);
        let k = (head_in * HEADROOM_POW2 / 32767.0 / std::f64::consts::LN_2).log2().ceil();
        let scale = k.exp2() * std::f64::consts::LN_2;
        this.parts.head_in_scale_log2 = log2_q8(scale);
        this.clips.push((top, Site::HeadIn, scale * 32767.0));
        this.norm(top, &checkpoint.norm_f, &checkpoint.norm_f_bias, scale)?;

        let per_residual = vec![f64::from(residual_frac).exp2(); 256];
        let head_shift = |embedding_shift: u8| {
            let shift = f64::from(embedding_shift) - (k + 16.0 - f64::from(residual_frac));
            if (1.0..=47.0).contains(&shift) { Some(shift as u8) } else { None }
        };
        let gram = &stats.layers[top].norm_gram;
        let too_large = |tensor, data: &[f32]| QuantizeError::Range { layer: top, tensor, largest: largest(data) };
        match &checkpoint.head {
            None => {
                let gram = balanced_gram(gram, dims.d_model);
                let rounded =
                    this.round(top, "embedding", &checkpoint.embedding, dims.d_model, &per_residual, Some(&gram));
                let rounded = rounded.ok_or_else(|| too_large("embedding", &checkpoint.embedding))?;
                this.parts.embedding_shift = rounded.shift;
                this.parts.head_shift =
                    head_shift(rounded.shift).ok_or_else(|| too_large("head input", &checkpoint.embedding))?;
                this.push(top, "embedding", Section::EmbeddingCode, Section::Embedding, &rounded);
            }
            Some(head) => {
                let rounded = this.round(top, "embedding", &checkpoint.embedding, dims.d_model, &per_residual, None);
                let rounded = rounded.ok_or_else(|| too_large("embedding", &checkpoint.embedding))?;
                this.parts.embedding_shift = rounded.shift;
                this.push(top, "embedding", Section::EmbeddingCode, Section::Embedding, &rounded);
                let per_logit = vec![(k + 16.0).exp2(); 256];
                let rounded = this.round(top, "lm_head", head, dims.d_model, &per_logit, Some(gram));
                let rounded = rounded.ok_or_else(|| too_large("lm_head", head))?;
                this.parts.head_shift = rounded.shift;
                this.push(top, "lm_head", Section::HeadCode, Section::Head, &rounded);
            }
        }
        Ok(this)
    }

    /// Rounds matrix `tensor` of `layer`, or takes the integers that refinement found for it.
    fn round(
        &mut self,
        layer: usize,
        tensor: &'static str,
        w: &[f32],
        columns: usize,
        unit: &[f64],
        gram: Option<&[f32]>,
    ) -> Option<Rounded> {
        let fixed = self.fixed.as_ref().and_then(|all| all.iter().find(|g| g.layer == layer && g.tensor == tensor));
        if let Some(fixed) = fixed {
            return rounded_as(w, columns, unit, &fixed.weights);
        }
        let rounded = round_matrix(w, columns, unit, gram.filter(|g| self.options.compensate && !g.is_empty()))?;
        let steps = rounded.steps(unit);
        self.grids.push(Grid { layer, tensor, steps, weights: rounded.weights.clone() });
        Some(rounded)
    }

    /// Stores a rounded matrix and its line of the report.
    fn push(&mut self, layer: usize, tensor: &'static str, codes: Section, weights: Section, rounded: &Rounded) {
        self.parts.push_u8(codes, &rounded.codes);
        self.parts.push_i8(weights, &rounded.weights);
        let Rounded { sqnr_db, accumulator_share, .. } = *rounded;
        self.tensors.push(TensorReport { layer, tensor, sqnr_db, accumulator_share });
    }

    /// Norm weights with `sqrt(d_model)` and the output's scale folded in; stores values and shift.
    fn norm(&mut self, index: usize, weight: &[f32], bias: &[f32], scale: f64) -> Result<(), QuantizeError> {
        let factor = (weight.len() as f64).sqrt() / scale * 2f64.powi(-24);
        let (values, shift) = fit_i16(weight.iter().map(|&w| f64::from(w) * factor)).ok_or(QuantizeError::Range {
            layer: index,
            tensor: "norm.weight",
            largest: largest(weight),
        })?;
        if index == self.model.dims().n_layer {
            self.parts.norm_f_shift = shift;
        } else {
            self.parts.layers[index].norm_shift = shift;
        }
        // Rows come in any order (the last norm first), so they are placed by index.
        place(&mut self.parts.sections[Section::NormWeight as usize], index, &values);
        if !bias.is_empty() {
            let values: Vec<i16> = bias.iter().map(|&b| to_i16(f64::from(b) / scale)).collect();
            place(&mut self.parts.sections[Section::NormBias as usize], index, &values);
        }
        Ok(())
    }
}

/// Writes row `index` of an i16 section, growing it with zeros as needed.
fn place(section: &mut Vec<u8>, index: usize, values: &[i16]) {
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let start = index * bytes.len();
    if section.len() < start + bytes.len() {
        section.resize(start + bytes.len(), 0);
    }
    section[start..start + bytes.len()].copy_from_slice(&bytes);
}

/// Moments of the head's input, with their mean added to the diagonal: a tied embedding is also looked up by row.
fn balanced_gram(gram: &[f32], n: usize) -> Vec<f32> {
    let mean = (0..n).map(|i| gram.get(i * n + i).copied().unwrap_or(0.0)).sum::<f32>() / n as f32;
    let mut out = gram.to_vec();
    for i in 0..n.min(out.len()) {
        out[i * n + i] += mean;
    }
    out
}

/// `values * 2^shift` as i16 with the largest shift in `1..=54` that fits; `None` if none does.
fn fit_i16(values: impl Iterator<Item = f64>) -> Option<(Vec<i16>, u8)> {
    let values: Vec<f64> = values.collect();
    let max = values.iter().fold(0f64, |m, v| m.max(v.abs()));
    let shift = (1..=54u8).rev().find(|&s| max * f64::from(s).exp2() <= 32767.0)?;
    Some((values.iter().map(|v| to_i16(v * f64::from(shift).exp2())).collect(), shift))
}

fn to_i16(x: f64) -> i16 {
    x.round().clamp(-32767.0, 32767.0) as i16
}

fn largest(values: &[f32]) -> f64 {
    values.iter().fold(0f64, |m, &v| m.max(f64::from(v).abs()))
}

/// log2 in Q8, for the report fields of the blob.
fn log2_q8(x: f64) -> i16 {
    (x.log2() * 256.0).round().clamp(-32768.0, 32767.0) as i16
}
