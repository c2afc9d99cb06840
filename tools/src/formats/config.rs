//! `config.json` of both dialects: only what can be held against the tensors.

use serde_json::Value;

/// What a config claims. `None` where it is silent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// Claimed sizes by our names.
    pub sizes: Vec<(&'static str, u64)>,
    /// `rms_norm`.
    pub rms_norm: Option<bool>,
    /// `tie_word_embeddings` or `tie_embeddings`.
    pub tied_head: Option<bool>,
    /// `layer_norm_epsilon` or `norm_epsilon`.
    pub norm_eps: Option<f64>,
    /// `model_type` or an architecture, if it is not Mamba-1.
    pub foreign: Option<String>,
    /// Keys that no Mamba config has.
    pub ignored: Vec<String>,
}

/// Our name, and the keys of both dialects (the last one inside `ssm_cfg`).
const SIZES: [(&str, [&str; 3]); 7] = [
    ("d_model", ["hidden_size", "d_model", ""]),
    ("n_layer", ["num_hidden_layers", "n_layer", ""]),
    ("d_inner", ["intermediate_size", "d_inner", ""]),
    ("d_state", ["state_size", "", "d_state"]),
    ("d_conv", ["conv_kernel", "", "d_conv"]),
    ("dt_rank", ["time_step_rank", "", "dt_rank"]),
    ("expand", ["expand", "", "expand"]),
];

impl Config {
    /// Reads a config.
    ///
    /// # Errors
    /// A sentence if it is no JSON object.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let value: Value = serde_json::from_slice(text).map_err(|e| format!("not JSON: {e}"))?;
        let Value::Object(map) = &value else { return Err("not a JSON object".into()) };
        let ssm = map.get("ssm_cfg").and_then(Value::as_object);
        let mut config = Self::default();
        for (name, [hf, native, inner]) in SIZES {
            let found = [map.get(hf), map.get(native), ssm.and_then(|m| m.get(inner))];
            if let Some(size) = found.into_iter().flatten().find_map(Value::as_u64) {
                config.sizes.push((name, size));
            }
        }
        let flag = |keys: [&str; 2]| keys.iter().find_map(|k| map.get(*k)).and_then(Value::as_bool);
        config.rms_norm = flag(["rms_norm", "rms_norm"]);
        config.tied_head = flag(["tie_word_embeddings", "tie_embeddings"]);
        config.norm_eps = ["layer_norm_epsilon", "norm_epsilon"].iter().find_map(|k| map.get(*k)).and_then(Value::as_f64);
        let kind = map.get("model_type").and_then(Value::as_str);
        config.foreign = kind.filter(|k| *k != "mamba").map(str::to_owned);
        if ssm.and_then(|m| m.get("layer")).and_then(Value::as_str).is_some_and(|l| l != "Mamba1") {
            config.foreign = Some("Mamba2".into());
        }
        if map.contains_key("pad_id") {
            config.ignored.push("pad_id".into());
        }
        Ok(config)
    }
}
