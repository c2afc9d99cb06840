//! The step of a model as an ONNX model: one byte of each of some streams in, the logits of the next one out, and all that is
//! carried from byte to byte as inputs and outputs.
//!
//! The operations are those of [`mambabyte_core::oracle`], in its order, of opset 17 without extensions. Weights lie as in the
//! checkpoint and are called as there; only `A = -exp(A_log)` is computed before. What is needed of the norms is made of means,
//! since the operator for LayerNorm may take the difference of two large numbers.

mod error;
mod graph;
mod proto;
mod step;

use mambabyte_core::{Dims, Norm};
use mambabyte_host::Checkpoint;
use prost::Message;

use error::MOST;
pub use error::OnnxError;
use proto::{Entry, Graph, Model, OperatorSet};

/// The set of operators.
pub const OPSET: i64 = 17;
/// The version of the file's form that belongs to it.
const IR_VERSION: i64 = 8;
/// The file of `checkpoint`, which is a model of bytes; equal checkpoints have equal files. `about` is what is to be said
/// of it, names and values.
///
/// Inputs are `byte` int64 `[batch]`, `conv` f32 `[n_layer, batch, d_inner, d_conv - 1]`, the last bytes' inputs of the
/// convolution, the newest last, and `ssm` f32 `[n_layer, batch, d_inner, d_state]`; both zeros before the first byte. Outputs
/// are `logits` f32 `[batch, 256]`, natural logits, and `conv_out` and `ssm_out`, the next step's `conv` and `ssm`.
///
/// # Errors
/// [`OnnxError`].
/// # Cost
/// Twice the memory of the weights.
pub fn onnx(checkpoint: &Checkpoint, about: &[(&str, String)]) -> Result<Vec<u8>, OnnxError> {
    fits(weights(checkpoint))?;
    let graph = step::graph(checkpoint)?;
    let model = file(&checkpoint.dims, graph, about);
    fits(model.encoded_len() as u64)?;
    Ok(model.encode_to_vec())
}

/// Bytes of all weights.
fn weights(checkpoint: &Checkpoint) -> u64 {
    let tensors = super::write::tensors(checkpoint);
    tensors.iter().map(|(.., values)| size_of_val(*values) as u64).sum()
}

const fn fits(bytes: u64) -> Result<(), OnnxError> {
    if bytes > MOST { Err(OnnxError::TooLarge { bytes }) } else { Ok(()) }
}

fn file(dims: &Dims, graph: Graph, about: &[(&str, String)]) -> Model {
    let norm = if dims.norm == Norm::Layer { "LayerNorm" } else { "RMSNorm" };
    let shape = [
        ("d_model", dims.d_model.to_string()),
        ("n_layer", dims.n_layer.to_string()),
        ("d_inner", dims.d_inner.to_string()),
        ("d_state", dims.d_state.to_string()),
        ("d_conv", dims.d_conv.to_string()),
        ("dt_rank", dims.dt_rank.to_string()),
        ("norm", norm.to_owned()),
    ];
    let entry = |(key, value): &(&str, String)| Entry { key: Some((*key).to_owned()), value: Some(value.clone()) };
    Model {
        ir_version: Some(IR_VERSION),
        producer_name: Some("mambabyte".to_owned()),
        producer_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        doc_string: Some(
            "One step of a byte-level Mamba model: reads a byte of each stream, says the logits of the next one. conv and ssm are \
             zeros before the first byte, then conv_out and ssm_out of the step before."
                .to_owned(),
        ),
        graph: Some(graph),
        opset_import: vec![OperatorSet { domain: Some(String::new()), version: Some(OPSET) }],
        metadata: shape.iter().chain(about).map(entry).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use mambabyte_host::train::initial;

    use super::*;

    fn dims(norm: Norm, tied_head: bool) -> Dims {
        Dims {
            d_model: 32,
            n_layer: 2,
            d_inner: 48,
            d_state: 3,
            d_conv: 3,
            dt_rank: 2,
            norm,
            tied_head,
            tied_decays: false,
        }
    }

    fn number_of(dims: &[i64]) -> usize {
        dims.iter().map(|&n| n as usize).product()
    }

    /// What an ONNX runtime checks first: values are made before they are used, once each, and tensors have their sizes.
    #[test]
    fn every_form_is_a_graph() {
        for (norm, tied) in [(Norm::Rms, true), (Norm::Layer, false)] {
            let checkpoint = initial::checkpoint(&dims(norm, tied), 4);
            let made = onnx(&checkpoint, &[("name", "some".to_owned())]).unwrap();
            assert_eq!(made, onnx(&checkpoint, &[("name", "some".to_owned())]).unwrap());
            let model = Model::decode(made.as_slice()).unwrap();
            assert!(model.metadata.iter().any(|entry| entry.value.as_deref() == Some("some")));
            let graph = model.graph.unwrap();
            let mut known = HashSet::new();
            let mut know =
                |name: &Option<String>| assert!(known.insert(name.clone().unwrap()), "{name:?} is made twice");
            graph.inputs.iter().for_each(|input| know(&input.name));
            for tensor in &graph.initializers {
                know(&tensor.name);
                let size = if tensor.element == Some(proto::FLOAT) { 4 } else { 8 };
                assert_eq!(tensor.raw.as_ref().unwrap().len(), size * number_of(&tensor.dims), "{:?}", tensor.name);
            }
            let mut names = HashSet::new();
            for node in &graph.nodes {
                for input in &node.inputs {
                    assert!(known.contains(input), "{:?}: {input}", node.name);
                }
                assert!(names.insert(node.name.clone().unwrap()));
                known.extend(node.outputs.iter().cloned());
            }
            let outputs: Vec<String> = graph.outputs.iter().map(|output| output.name.clone().unwrap()).collect();
            assert_eq!(outputs, ["logits", "conv_out", "ssm_out"]);
            assert!(outputs.iter().all(|output| known.contains(output)));
            let head = graph.initializers.iter().any(|tensor| tensor.name.as_deref() == Some("lm_head.weight"));
            assert_eq!(head, !tied);
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        assert_eq!(fits(MOST), Ok(()));
        let said = fits(MOST + 1).unwrap_err().to_string();
        assert!(said.contains("2147483648"), "{said}");
        let mut checkpoint = initial::checkpoint(&dims(Norm::Rms, true), 4);
        assert_eq!(weights(&checkpoint) % 4, 0);
        checkpoint.layers[1].a_log[5] = f32::NAN;
        let said = onnx(&checkpoint, &[]).unwrap_err().to_string();
        assert!(said.contains("backbone.layers.1.mixer.A_log"), "{said}");
    }
}
