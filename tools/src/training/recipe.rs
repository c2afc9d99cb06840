//! What a run is made of, in a form that can be kept and compared: whoever goes on with a run must mean the same one.

use mambabyte_core::{Dims, Norm};
use mambabyte_host::train::data::Text;
use mambabyte_host::train::optimizer::Matrices;
use mambabyte_host::train::rounding::Rounding;
use mambabyte_host::train::schedule::Fall;
use mambabyte_host::train::trainer::Settings;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::place::Arithmetic;
use crate::output::thousands;

/// A text that is read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// As the user named it.
    pub name: String,
    /// Bytes of all of it, unpacked.
    pub bytes: usize,
    /// Documents in it.
    pub documents: usize,
    /// CRC-32 of the bytes.
    pub crc: u32,
    /// Share of what is read, if the user said it.
    pub share: Option<f64>,
}

impl Source {
    /// Of `text`.
    pub fn of(text: &Text, share: Option<f64>) -> Self {
        let (name, crc) = (text.name.clone(), crc32fast::hash(&text.bytes));
        Self { name, bytes: text.bytes.len(), documents: text.documents().count(), crc, share }
    }
}

/// How long a run was asked to be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Length {
    /// Minutes of this machine.
    Minutes(f64),
    /// Bytes read.
    Bytes(u64),
    /// Steps.
    Steps(u64),
}

/// The sizes of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sizes {
    /// As in [`Dims`].
    pub d_model: usize,
    /// As in [`Dims`].
    pub n_layer: usize,
    /// As in [`Dims`].
    pub d_inner: usize,
    /// As in [`Dims`].
    pub d_state: usize,
    /// As in [`Dims`].
    pub d_conv: usize,
    /// As in [`Dims`].
    pub dt_rank: usize,
    /// LayerNorm with bias.
    pub layer_norm: bool,
    /// As in [`Dims`].
    pub tied_head: bool,
    /// As in [`Dims`].
    pub tied_decays: bool,
}

impl Sizes {
    /// Of `dims`.
    pub fn of(dims: &Dims) -> Self {
        let Dims { d_model, n_layer, d_inner, d_state, d_conv, dt_rank, norm, tied_head, tied_decays } = *dims;
        let layer_norm = norm == Norm::Layer;
        Self { d_model, n_layer, d_inner, d_state, d_conv, dt_rank, layer_norm, tied_head, tied_decays }
    }

    /// The shape.
    pub const fn dims(&self) -> Dims {
        let Self { d_model, n_layer, d_inner, d_state, d_conv, dt_rank, layer_norm, tied_head, tied_decays } = *self;
        let norm = if layer_norm { Norm::Layer } else { Norm::Rms };
        Dims { d_model, n_layer, d_inner, d_state, d_conv, dt_rank, norm, tied_head, tied_decays }
    }
}

/// A run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// The texts.
    pub texts: Vec<Source>,
    /// Those of `--valid`.
    pub valid: Vec<Source>,
    /// Bytes that end a document, as the user wrote them.
    pub separator: Option<String>,
    /// The shape.
    pub shape: Sizes,
    /// Most symbols of its vocabulary, if these are subwords.
    #[serde(default)]
    pub tokenizer: Option<usize>,
    /// CRC-32 of that vocabulary.
    #[serde(default)]
    pub vocabulary: Option<u32>,
    /// The model it began with, and the CRC-32 of its weights.
    pub from: Option<(String, u32)>,
    /// The same of its teachers.
    #[serde(default)]
    pub teachers: Vec<(String, u32)>,
    /// Name in the blob.
    pub name: String,
    /// Updates that choose the blob's integers, if the user said it.
    pub refine: Option<usize>,
    /// Share of the passages whose digits are permuted, if the user said it; otherwise [`digits`] of the length.
    pub digits: Option<f64>,
    /// How long.
    pub length: Length,
    /// What it is computed by.
    #[serde(default)]
    pub arithmetic: Arithmetic,
    /// All of the trainer.
    pub settings: Settings,
}

/// Passes over the text from which on its digits are permuted. Measured (docs/TRAINING.md): a run of 0.6 passes was
/// better without, one of eight with.
const PASSES: f64 = 2.0;

/// Share of the passages whose digits are permuted where nobody said it, in a run that reads the text `passes` times.
pub fn digits(passes: f64) -> f64 {
    if passes >= PASSES { 0.4 } else { 0.0 }
}

impl Recipe {
    /// The first thing that another run has otherwise, as a sentence. What was measured for minutes may differ: the
    /// steps, and the share of digits that follows from them.
    pub fn difference(&self, other: &Self) -> Option<String> {
        let flat = |recipe: &Self| {
            let mut value = serde_json::to_value(recipe).unwrap_or_default();
            let mut forget = |of: &str, keys: &[&str]| {
                if let Some(Value::Object(object)) = value.pointer_mut(of) {
                    keys.iter().for_each(|&key| drop(object.remove(key)));
                }
            };
            // It follows from what is compared: `digits`, `length` and the texts.
            forget("/settings/augment", &["digits"]);
            if matches!(recipe.length, Length::Minutes(_)) {
                forget("/settings/schedule", &["steps", "warmup"]);
            }
            value
        };
        let (mine, others) = (flat(self), flat(other));
        differing("", &mine, &others)
    }

    /// The command that makes the same again, whatever the machine's speed.
    pub fn command(&self) -> String {
        let Settings { window, batch, passage, schedule, rate, decay, clip, matrices, augment, .. } = self.settings;
        let Settings { rounding, teachers_share, seed, .. } = self.settings;
        let quoted = |text: &str| {
            let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "-_./:,+=@%".contains(c));
            if plain && !text.is_empty() { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
        };
        let mut words = vec!["mambabyte".to_owned(), "train".to_owned()];
        for source in &self.texts {
            let name = if source.name == "standard input" { "-" } else { &source.name };
            words.push(quoted(&source.share.map_or_else(|| name.to_owned(), |share| format!("{name}:{share}"))));
        }
        let mut option = |name: &str, value: String| words.extend([format!("--{name}"), quoted(&value)]);
        option("output", "FOLDER".into());
        for source in &self.valid {
            option("valid", source.name.clone());
        }
        if let Some(separator) = &self.separator {
            option("separator", separator.clone());
        }
        match &self.from {
            Some((from, _)) => option("from", from.clone()),
            None => {
                let Sizes { d_model, n_layer, d_inner, d_state, d_conv, dt_rank, .. } = self.shape;
                option("d-model", d_model.to_string());
                option("n-layer", n_layer.to_string());
                for (name, size) in
                    [("d-inner", d_inner), ("d-state", d_state), ("d-conv", d_conv), ("dt-rank", dt_rank)]
                {
                    option(name, size.to_string());
                }
            }
        }
        let fall = if schedule.fall == Fall::Cosine { "cosine" } else { "trapezoid" };
        let matrices = if matrices == Matrices::Muon { "muon" } else { "adamw" };
        for (name, value) in [
            ("steps", schedule.steps.to_string()),
            ("window", window.to_string()),
            ("batch", batch.to_string()),
            ("passage", passage.to_string()),
            ("rate", rate.to_string()),
            ("decay", decay.to_string()),
            ("clip", clip.to_string()),
            ("matrices", matrices.to_owned()),
            ("schedule", fall.to_owned()),
            ("digits", augment.digits.to_string()),
            ("letters", augment.letters.to_string()),
            ("drop-lines", augment.lines.to_string()),
            ("seed", seed.to_string()),
            ("name", self.name.clone()),
        ] {
            option(name, value);
        }
        for (teacher, _) in &self.teachers {
            option("teacher", teacher.clone());
        }
        if !self.teachers.is_empty() {
            option("teacher-share", teachers_share.to_string());
        }
        match rounding {
            Rounding::None => {}
            Rounding::Bits8 => option("weights", "8".into()),
            Rounding::Bits4 => option("weights", "4".into()),
        }
        if let Some(symbols) = self.tokenizer {
            option("tokenizer", format!("bpe:{symbols}"));
        }
        if let Some(updates) = self.refine {
            option("refine", updates.to_string());
        }
        if self.arithmetic != Arithmetic::Cpu {
            option("device", "cuda".into());
            option("precision", if self.arithmetic == Arithmetic::CudaF32 { "f32" } else { "bf16" }.into());
        }
        if self.from.is_none() {
            words.extend((!self.shape.tied_decays).then(|| "--free-decays".to_owned()));
            words.extend((!self.shape.tied_head).then(|| "--untied-head".to_owned()));
        }
        words.join(" ")
    }
}

/// Where two values differ first.
fn differing(place: &str, a: &Value, b: &Value) -> Option<String> {
    let inside = |key: &str| if place.is_empty() { key.to_owned() } else { format!("{place}.{key}") };
    match (a, b) {
        _ if a == b => None,
        (Value::Object(a), Value::Object(b)) if a.len() == b.len() => {
            a.iter().find_map(|(key, a)| differing(&inside(key), a, b.get(key).unwrap_or(&Value::Null)))
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).enumerate().find_map(|(i, (a, b))| differing(&inside(&(i + 1).to_string()), a, b))
        }
        (Value::Array(a), Value::Array(b)) => {
            Some(format!("{place}: {} of them, now {}", thousands(a.len() as u64), thousands(b.len() as u64)))
        }
        _ => Some(format!("{place} was {a}, now it is {b}")),
    }
}
