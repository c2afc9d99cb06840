//! Checkpoints whose values f32 does not hold: every command that runs one ends with 1 and names the layer.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use safetensors::SafeTensors;
use safetensors::tensor::{TensorView, serialize_to_file};

fn model(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models").join(file)
}

/// sensor-pico with one tensor times `factor`.
fn scaled(tensor: &str, factor: f32) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::copy(model("sensor-pico/config.json"), dir.path().join("config.json")).unwrap();
    let file = fs::read(model("sensor-pico/model.safetensors")).unwrap();
    let from = SafeTensors::deserialize(&file).unwrap();
    let mut found = false;
    let tensors: Vec<_> = from
        .tensors()
        .into_iter()
        .map(|(name, view)| {
            let mut data = view.data().to_vec();
            if name == tensor {
                found = true;
                for value in data.as_chunks_mut::<4>().0 {
                    *value = (f32::from_le_bytes(*value) * factor).to_le_bytes();
                }
            }
            (name, view.dtype(), view.shape().to_vec(), data)
        })
        .collect();
    assert!(found, "{tensor}");
    let views = tensors
        .iter()
        .map(|(name, dtype, shape, data)| (name.as_str(), TensorView::new(*dtype, shape.clone(), data).unwrap()));
    serialize_to_file(views, None, &dir.path().join("model.safetensors")).unwrap();
    dir
}

/// Runs the command with `input`, without a GPU.
fn run(args: &[&str], input: &[u8]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mambabyte"));
    command.env("CUDA_VISIBLE_DEVICES", "").args(args);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A command that ends early reads no more.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

#[track_caller]
fn refused(output: &Output, what: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.replace(" │ ", " ").contains(what), "{what}: {stderr}");
}

#[test]
fn every_command_that_runs_a_checkpoint_stops_and_names_the_layer() {
    let dir = scaled("backbone.layers.1.mixer.in_proj.weight", 1e30);
    let path = dir.path().to_str().unwrap();
    let sample = model("text/gnss-sample.nmea");
    let text = fs::read(&sample).unwrap();
    let sample = sample.to_str().unwrap();
    let layer = "layer 1: what scan gives is not finite, at byte 0";
    refused(&run(&["eval", path, sample], b""), layer);
    refused(&run(&["eval", path, sample, "--window", "1000", "--json"], b""), layer);
    let generated = run(&["generate", path, "--prompt", "a", "-n", "16", "--temperature", "0"], b"");
    refused(&generated, layer);
    assert_eq!(generated.stdout, b"");
    refused(&run(&["stream", path], &text), layer);
    let npy = dir.path().join("logits.npy");
    refused(&run(&["logits", path, sample, "--npy", npy.to_str().unwrap()], b""), layer);
    assert!(!npy.exists());
    let blob = dir.path().join("model.mbb");
    refused(&run(&["convert", path, "-o", blob.to_str().unwrap()], b""), "layer 1: what scan gives is not finite");
    assert!(!blob.exists());
}

/// The logits that score the first byte are within the limit, and some of the sample are not.
#[test]
fn a_text_that_the_model_fails_on_does_not_hide_the_others() {
    let dir = scaled("backbone.norm_f.weight", 1200.0);
    let path = dir.path().to_str().unwrap();
    let (sample, one) = (model("text/gnss-sample.nmea"), dir.path().join("one"));
    fs::write(&one, b"$").unwrap();
    let (sample, one) = (sample.to_str().unwrap(), one.to_str().unwrap());
    let what = "logits must be below 22713 in magnitude";
    // The path may be folded at its hyphen.
    refused(&run(&["eval", path, sample], b""), "sample.nmea");
    refused(&run(&["eval", path, sample], b""), what);
    let several = run(&["eval", path, one, sample, one, "--json"], b"");
    refused(&several, &format!("error: {sample}: "));
    refused(&several, "1 of 3 texts");
    let value: serde_json::Value = serde_json::from_slice(&several.stdout).unwrap();
    assert_eq!((value["bytes"].as_u64(), value["texts"].as_array().map(Vec::len)), (Some(2), Some(2)), "{value}");
    let failed = value["failed"].as_array().unwrap();
    assert!(failed.len() == 1 && failed[0]["text"] == sample, "{value}");
    assert!(failed[0]["error"].as_str().unwrap().contains(what), "{value}");
}

#[test]
fn huge_finite_logits_are_no_scores() {
    let dir = scaled("backbone.norm_f.weight", 1e30);
    let path = dir.path().to_str().unwrap();
    let what = "logits must be below 22713 in magnitude";
    refused(&run(&["eval", path, "-"], b"$GPGGA,"), what);
    refused(&run(&["generate", path, "-n", "4"], b""), what);
    let npy = dir.path().join("logits.npy");
    refused(&run(&["logits", path, "-", "--npy", npy.to_str().unwrap()], b"$GPGGA,"), what);
    // Values that go far beyond those of the model as trained, but fit, are no error.
    let dir = scaled("backbone.norm_f.weight", 100.0);
    let evaluated = run(&["eval", dir.path().to_str().unwrap(), "-", "--json"], b"$GPGGA,");
    assert!(evaluated.status.success(), "{}", String::from_utf8_lossy(&evaluated.stderr));
    let value: serde_json::Value = serde_json::from_slice(&evaluated.stdout).unwrap();
    assert!(value["bits_per_byte"].as_f64().unwrap() > 2.0, "{value}");
}
