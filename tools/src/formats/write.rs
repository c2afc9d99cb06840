//! A checkpoint as transformers' `MambaForCausalLM` has it: config.json and model.safetensors, in f32.

use std::collections::HashMap;

use mambabyte_core::Norm;
use mambabyte_host::Checkpoint;
use safetensors::SafeTensorError;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::json;

/// Both files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// `config.json`.
    pub config: Vec<u8>,
    /// `model.safetensors`.
    pub weights: Vec<u8>,
}

/// Name, shape and values of every tensor, named as transformers names them. LayerNorm's biases, which its Mamba does
/// not have, are called as in the reference code.
pub(super) fn tensors(checkpoint: &Checkpoint) -> Vec<(String, Vec<usize>, &[f32])> {
    let dims = &checkpoint.dims;
    let (d, di, symbols) = (dims.d_model, dims.d_inner, checkpoint.vocabulary());
    let mut all: Vec<(String, Vec<usize>, &[f32])> =
        vec![("backbone.embeddings.weight".into(), vec![symbols, d], &checkpoint.embedding)];
    for (number, l) in checkpoint.layers.iter().enumerate() {
        let mut push = |name: &str, shape: &[usize], values| {
            all.push((format!("backbone.layers.{number}.{name}"), shape.to_vec(), values));
        };
        push("norm.weight", &[d], &l.norm);
        push("mixer.in_proj.weight", &[2 * di, d], &l.in_proj);
        push("mixer.conv1d.weight", &[di, 1, dims.d_conv], &l.conv1d);
        push("mixer.conv1d.bias", &[di], &l.conv_bias);
        push("mixer.x_proj.weight", &[dims.x_proj_rows(), di], &l.x_proj);
        push("mixer.dt_proj.weight", &[di, dims.dt_rank], &l.dt_proj);
        push("mixer.dt_proj.bias", &[di], &l.dt_bias);
        push("mixer.A_log", &[di, dims.d_state], &l.a_log);
        push("mixer.D", &[di], &l.d_skip);
        push("mixer.out_proj.weight", &[d, di], &l.out_proj);
        if dims.norm == Norm::Layer {
            push("norm.bias", &[d], &l.norm_bias);
        }
    }
    all.push(("backbone.norm_f.weight".into(), vec![d], &checkpoint.norm_f));
    if dims.norm == Norm::Layer {
        all.push(("backbone.norm_f.bias".into(), vec![d], &checkpoint.norm_f_bias));
    }
    if let Some(head) = &checkpoint.head {
        all.push(("lm_head.weight".into(), vec![symbols, d], head));
    }
    all
}

/// The files of `checkpoint`; equal checkpoints have equal files.
///
/// # Errors
/// What the writer of safetensors says of tensors whose sizes are not those of the shape.
pub fn write(checkpoint: &Checkpoint) -> Result<Written, SafeTensorError> {
    let dims = &checkpoint.dims;
    let tensors = tensors(checkpoint);
    let bytes: Vec<Vec<u8>> =
        tensors.iter().map(|(.., values)| values.iter().flat_map(|v| v.to_le_bytes()).collect()).collect();
    let views = tensors.iter().zip(&bytes);
    let views = views.map(|((name, shape, _), bytes)| {
        TensorView::new(Dtype::F32, shape.clone(), bytes).map(|view| (name.clone(), view))
    });
    let about = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let weights = safetensors::serialize(views.collect::<Result<Vec<_>, _>>()?, Some(about))?;
    // Through its shortest decimal digits: 1e-05, not what f64 makes of the f32.
    let eps: f64 = checkpoint.norm_eps.to_string().parse().unwrap_or(1e-5);
    let mut config = json!({
        "architectures": ["MambaForCausalLM"], "model_type": "mamba", "vocab_size": checkpoint.vocabulary(),
        "hidden_size": dims.d_model, "num_hidden_layers": dims.n_layer, "state_size": dims.d_state, "conv_kernel": dims.d_conv,
        "expand": dims.d_inner / dims.d_model.max(1), "intermediate_size": dims.d_inner, "time_step_rank": dims.dt_rank,
        "use_bias": false, "use_conv_bias": true, "hidden_act": "silu", "layer_norm_epsilon": eps,
        "residual_in_fp32": true, "tie_word_embeddings": dims.tied_head, "rescale_prenorm_residual": false,
        "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0, "torch_dtype": "float32",
    });
    if dims.norm == Norm::Layer {
        config["rms_norm"] = false.into();
    }
    Ok(Written { config: format!("{config:#}\n").into_bytes(), weights })
}

#[cfg(test)]
mod tests {
    use mambabyte_core::Dims;
    use mambabyte_host::train::initial;
    use safetensors::SafeTensors;

    use super::*;
    use crate::formats::{Options, load};

    /// The shipped checkpoints are in the layout of transformers: names, shapes, types and numbers are theirs.
    #[test]
    fn the_layout_is_that_of_the_shipped_checkpoints() {
        for model in ["sensor-pico", "sensor-nano"] {
            let folder = format!("{}/../models/{model}", env!("CARGO_MANIFEST_DIR"));
            let theirs = std::fs::read(format!("{folder}/model.safetensors")).unwrap();
            let checkpoint = load(folder.as_ref(), &Options::default()).unwrap().checkpoint;
            let ours = write(&checkpoint).unwrap();
            let [ours_read, theirs_read] =
                [&ours.weights, &theirs].map(|bytes| SafeTensors::deserialize(bytes).unwrap());
            let names = |file: &SafeTensors<'_>| {
                let mut names: Vec<String> = file.names().into_iter().map(|name| name.to_string()).collect();
                names.sort();
                names
            };
            assert_eq!(names(&ours_read), names(&theirs_read));
            for name in names(&theirs_read) {
                let [a, b] = [&ours_read, &theirs_read].map(|file| file.tensor(&name).unwrap());
                assert_eq!((a.dtype(), a.shape()), (b.dtype(), b.shape()), "{model}: {name}");
                // Tied decays are written as their first logarithm says.
                let numbers = |bytes: &[u8]| -> Vec<f32> {
                    bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect()
                };
                let near = numbers(a.data()).iter().zip(numbers(b.data())).all(|(a, b)| (a - b).abs() < 2e-5);
                assert!(if name.ends_with("A_log") { near } else { a.data() == b.data() }, "{model}: {name}");
            }
            let config = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).unwrap();
            let theirs = config(&std::fs::read(format!("{folder}/config.json")).unwrap());
            let ours = config(&ours.config);
            for (key, value) in theirs.as_object().unwrap() {
                assert_eq!(&ours[key], value, "{model}: {key}");
            }
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        for (norm, tied, tied_decays) in [(Norm::Rms, true, true), (Norm::Layer, false, false)] {
            let dims = Dims {
                d_model: 32,
                n_layer: 2,
                d_inner: 64,
                d_state: 3,
                d_conv: 4,
                dt_rank: 2,
                norm,
                tied_head: tied,
                tied_decays,
            };
            let mut checkpoint = initial::checkpoint(&dims, 4);
            checkpoint.layers[1].a_log[0] += if tied_decays { 0.0 } else { 0.3 };
            let written = write(&checkpoint).unwrap();
            assert_eq!(written, write(&checkpoint).unwrap());
            std::fs::write(dir.path().join("config.json"), &written.config).unwrap();
            std::fs::write(dir.path().join("model.safetensors"), &written.weights).unwrap();
            let loaded = load(dir.path(), &Options::default()).unwrap();
            assert_eq!(loaded.checkpoint, checkpoint);
            assert!(loaded.notes.is_empty() || norm == Norm::Layer, "{:?}", loaded.notes);
        }
    }
}
