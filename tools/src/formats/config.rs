//! config.json: believed where the tensors are silent, compared with them elsewhere.
//!
//! The official MambaByte weights come with a config that is wrong about the norm, the number of layers of one file and
//! a field that does not exist. So the shapes decide, and this module only turns differences into sentences.

use mambabyte_core::{Dims, Norm};
use serde_json::{Map, Value};

use super::error::FormatError;
use super::shorten::shorten;

/// Epsilon of the norms of every published Mamba.
pub(super) const DEFAULT_EPS: f32 = 1e-5;

/// Keys that say nothing about inference in f32, or whose value is the same for every Mamba-1.
const HARMLESS: &[&str] = &[
    "architectures",
    "model_type",
    "hidden_act",
    "residual_in_fp32",
    "fused_add_norm",
    "rescale_prenorm_residual",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "initializer_range",
    "hidden_dropout_prob",
    "time_step_floor",
    "time_step_init_scheme",
    "time_step_max",
    "time_step_min",
    "time_step_scale",
    "torch_dtype",
    "dtype",
    "transformers_version",
    "use_cache",
    "use_mambapy",
    "use_associative_scan",
    "max_position_embeddings",
    "_name_or_path",
    "attn_layer_idx",
    "attn_cfg",
    "d_intermediate",
    "ssm_cfg.layer",
    "ssm_cfg.dt_min",
    "ssm_cfg.dt_max",
    "ssm_cfg.dt_init",
    "ssm_cfg.dt_scale",
    "ssm_cfg.dt_init_floor",
    "ssm_cfg.use_fast_path",
];

/// Keys that [`Config::compare`] looks at.
const COMPARED: &[&str] = &[
    "hidden_size",
    "d_model",
    "intermediate_size",
    "d_inner",
    "state_size",
    "ssm_cfg",
    "ssm_cfg.d_state",
    "conv_kernel",
    "ssm_cfg.d_conv",
    "time_step_rank",
    "ssm_cfg.dt_rank",
    "num_hidden_layers",
    "n_layer",
    "expand",
    "ssm_cfg.expand",
    "layer_norm_epsilon",
    "norm_epsilon",
    "tie_word_embeddings",
    "tie_embeddings",
    "rms_norm",
    "use_bias",
    "ssm_cfg.bias",
    "use_conv_bias",
    "ssm_cfg.conv_bias",
    "vocab_size",
    "pad_vocab_size_multiple",
    "pad_id",
];

/// Classes of `architectures` that are Mamba-1.
const CLASSES: &[&str] = &["MambaForCausalLM", "MambaModel", "MambaLMHeadModel", "MambaByteForCausalLM"];

/// What the tensors say.
pub(super) struct Facts {
    pub(super) dims: Dims,
    /// Rows of the embedding in the file.
    pub(super) vocab_rows: usize,
    /// The convolutions have biases.
    pub(super) conv_bias: bool,
}

/// The object in config.json; empty if there is no such file.
#[derive(Default)]
pub(super) struct Config {
    json: Map<String, Value>,
}

impl Config {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        Ok(Self { json: serde_json::from_value(super::json::parse(bytes)?)? })
    }

    /// A key of the top level, or `ssm_cfg.KEY`.
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        let value = match key.strip_prefix("ssm_cfg.") {
            Some(key) => self.json.get("ssm_cfg")?.get(key),
            None => self.json.get(key),
        };
        value.filter(|value| !value.is_null())
    }

    /// Refuses relatives of Mamba-1 whose tensors would pass for one. An unknown name of a class is believed if the
    /// user trusts the tensors.
    pub(super) fn check_architecture(&self, trust_tensors: bool) -> Result<(), FormatError> {
        let classes = match self.get("architectures") {
            Some(Value::Array(classes)) => classes.as_slice(),
            Some(other) => std::slice::from_ref(other),
            None => &[],
        };
        let other = classes.iter().find(|class| !class.as_str().is_some_and(|c| CLASSES.contains(&c)));
        if let (Some(class), false) = (other, trust_tensors) {
            return Err(FormatError::Architecture { key: "architectures", value: shorten(&class.to_string()) });
        }
        let only = |key: &'static str, accepted: &[&str]| match self.get(key) {
            Some(value) if !value.as_str().is_some_and(|value| accepted.contains(&value)) => {
                Err(FormatError::Architecture { key, value: shorten(&value.to_string()) })
            }
            _ => Ok(()),
        };
        only("model_type", &["mamba", "mambabyte"])?;
        only("hidden_act", &["silu", "swish"])?;
        only("ssm_cfg.layer", &["Mamba1"])
    }

    /// Epsilon of the norms: not in the tensors, so the config is believed.
    pub(super) fn norm_eps(&self, notes: &mut Vec<String>) -> f32 {
        for key in ["layer_norm_epsilon", "norm_epsilon"] {
            let Some(value) = self.get(key) else { continue };
            match value.as_f64() {
                // Below the least normal f32, a norm of zeros would divide by zero.
                Some(eps) if eps >= f64::from(f32::MIN_POSITIVE) && eps < 0.1 => return eps as f32,
                _ => notes.push(format!("config.json says {key} = {}: ignored, {DEFAULT_EPS:e} is used", shown(value))),
            }
        }
        DEFAULT_EPS
    }

    /// Refuses tensors that lack what is promised: a part of the checkpoint is missing. Other contradictions are
    /// forgiven, for they lose nothing; the official weights come with a wrong norm and a wrong number of layers.
    pub(super) fn check_promises(&self, n_layer: usize, has_head: bool) -> Result<(), FormatError> {
        let layers =
            ["num_hidden_layers", "n_layer"].into_iter().filter_map(|key| Some((key, self.get(key)?.as_u64()?)));
        if let Some((key, promised)) = layers.into_iter().find(|(_, promised)| *promised > n_layer as u64) {
            return Err(FormatError::Promised { promised: format!("{key} = {promised}"), found: format!("{n_layer}") });
        }
        let mut heads = ["tie_word_embeddings", "tie_embeddings"].into_iter();
        match heads.find(|key| self.get(key) == Some(&Value::Bool(false))) {
            Some(key) if !has_head => Err(FormatError::Promised {
                promised: format!("a head of its own ({key} = false)"),
                found: "no lm_head.weight".to_owned(),
            }),
            _ => Ok(()),
        }
    }

    /// Names every contradiction and everything that has no effect.
    pub(super) fn compare(&self, facts: &Facts, notes: &mut Vec<String>) {
        let dims = &facts.dims;
        let mut count = |keys: &[&str], found: usize, times: usize| {
            for key in keys {
                let Some(value) = self.get(key) else { continue };
                if value.as_u64().and_then(|n| n.checked_mul(times as u64)) != Some(found as u64) {
                    let found = if times == 1 { format!("{found}") } else { format!("{found} = ? * {times}") };
                    notes.push(format!("config.json says {key} {}, the tensors have {found}", shown(value)));
                }
            }
        };
        count(&["hidden_size", "d_model"], dims.d_model, 1);
        count(&["num_hidden_layers", "n_layer"], dims.n_layer, 1);
        count(&["intermediate_size", "d_inner"], dims.d_inner, 1);
        count(&["expand", "ssm_cfg.expand"], dims.d_inner, dims.d_model);
        count(&["state_size", "ssm_cfg.d_state"], dims.d_state, 1);
        count(&["conv_kernel", "ssm_cfg.d_conv"], dims.d_conv, 1);
        for key in ["time_step_rank", "ssm_cfg.dt_rank"] {
            if self.get(key).is_none_or(|value| value != "auto" || dims.dt_rank != dims.d_model.div_ceil(16)) {
                count(&[key], dims.dt_rank, 1);
            }
        }
        let multiple = self.get("pad_vocab_size_multiple").and_then(Value::as_u64).filter(|&n| n > 0).unwrap_or(1);
        let padded = self.vocab_size().and_then(|size| size.checked_next_multiple_of(multiple));
        if let (Some(size), false) = (self.vocab_size(), padded == Some(facts.vocab_rows as u64)) {
            notes.push(format!("config.json says vocab_size {size}, the tensors have {} rows", facts.vocab_rows));
        }

        let mut flag = |keys: &[&str], found: bool, because: &str| {
            for key in keys {
                if self.get(key).and_then(Value::as_bool).is_some_and(|said| said != found) {
                    notes.push(format!("config.json says {key} = {}, but {because}", !found));
                }
            }
        };
        let norm = match dims.norm {
            Norm::Layer => "backbone.norm_f.bias is present: LayerNorm with bias",
            Norm::Rms => "no norm has a bias: RMSNorm",
        };
        flag(&["rms_norm"], dims.norm == Norm::Rms, norm);
        let head = if dims.tied_head { "the head is the embedding" } else { "lm_head.weight is a matrix of its own" };
        flag(&["tie_word_embeddings", "tie_embeddings"], dims.tied_head, head);
        flag(&["use_bias", "ssm_cfg.bias"], false, "no projection has a bias");
        let conv = if facts.conv_bias { "conv1d.bias is present" } else { "there is no conv1d.bias" };
        flag(&["use_conv_bias", "ssm_cfg.conv_bias"], facts.conv_bias, conv);

        if self.get("pad_id").is_some() {
            notes.push("config.json: pad_id ignored, every byte is text".to_owned());
        }
        let ignored = self.ignored();
        if !ignored.is_empty() {
            notes.push(format!("config.json: ignored {}", ignored.join(", ")));
        }
    }

    pub(super) fn vocab_size(&self) -> Option<u64> {
        self.get("vocab_size").and_then(Value::as_u64)
    }

    fn ignored(&self) -> Vec<String> {
        let ssm = self.json.get("ssm_cfg").and_then(Value::as_object);
        let ssm = ssm.into_iter().flat_map(Map::keys).map(|key| format!("ssm_cfg.{key}"));
        let unknown = |key: &String| !HARMLESS.contains(&key.as_str()) && !COMPARED.contains(&key.as_str());
        self.json.keys().cloned().chain(ssm).filter(unknown).map(|key| shorten(&key)).collect()
    }
}

fn shown(value: &Value) -> String {
    shorten(&value.to_string())
}
