//! Where the fuzzers start: a few small valid inputs of every target.

use std::path::Path;

use mambabyte_core::snapshot::{Section, Sections};
use mambabyte_core::{Decoder, LineScorer, Norm, Threshold};
use mambabyte_host::adapt::Preset;
use mambabyte_host::archive::compress;
use safetensors::Dtype;

use crate::fuzz_targets::{archive_header, archive_predictor, pickle_tensors, shards, smallest, snapshot_model};
use crate::random_blob::{BlobSpec, Contents, random_blob};
use crate::synth::{self, Dialect, Named, Pickler, Spec};

/// The valid inputs that `target`, a function of `fuzz_targets`, starts from.
///
/// # Panics
/// If there is no such target.
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    match target {
        "blob" => blobs(),
        "snapshot" => snapshots(),
        "archive" => archives(),
        "safetensors" => safetensors(),
        "index" => indexes(),
        "torch" => torch_zips(),
        "pickle" => pickles(),
        "config" => configs(),
        other => panic!("no target {other}"),
    }
}

/// Writes the seeds of `target` into the folder that `FUZZ_SEEDS` names, if it names one.
pub fn write_if_asked(target: &str) {
    let Some(dir) = std::env::var_os("FUZZ_SEEDS") else { return };
    std::fs::create_dir_all(&dir).expect("a folder for the seeds");
    for (i, seed) in seeds(target).iter().enumerate() {
        std::fs::write(Path::new(&dir).join(format!("seed-{i:02}")), seed).expect("a seed is written");
    }
}

fn blobs() -> Vec<Vec<u8>> {
    let blob = |seed: u64| {
        let mut spec = BlobSpec::small(seed);
        spec.contents = if seed.is_multiple_of(2) { Contents::Sane } else { Contents::Wild };
        spec.dims.norm = if seed & 2 == 0 { Norm::Rms } else { Norm::Layer };
        spec.dims.tied_head = seed & 4 == 0;
        spec.dims.tied_decays = seed & 8 == 0;
        spec.dims.n_layer = 1 + seed as usize % 2;
        random_blob(spec)
    };
    (0..16).map(blob).collect()
}

fn snapshots() -> Vec<Vec<u8>> {
    let snapshot = |n: usize| {
        let mut decoder = Decoder::owned(snapshot_model());
        decoder.prefill(&vec![n as u8 * 31; n * n]);
        let (takes, scorer) =
            ([Sections::STATE, Sections::STREAM, Sections::DEVICE][n % 3], LineScorer::new(Threshold::Learned, 7));
        let mut beside = [Section::Pending(n as u8), Section::Lines(&scorer), Section::Records(9)];
        let mut out = vec![0; takes.snapshot_bytes(snapshot_model().dims())];
        decoder.state().snapshot_with(&mut beside[..[0, 2, 3][n % 3]], &mut out).unwrap();
        out
    };
    (0..8).map(snapshot).collect()
}

fn archives() -> Vec<Vec<u8>> {
    let archive = |n: usize| {
        let header = archive_header([Preset::K4, Preset::K8, Preset::K32][n % 3], 40 + n as u32);
        let text: Vec<u8> =
            (0..n * 37).map(|at| if at % 80 < 50 { b"one line\n"[at % 9] } else { (at * at) as u8 }).collect();
        let mut out = Vec::new();
        compress(&mut archive_predictor(&header), &header, &mut &text[..], &mut out, &mut |_| ()).unwrap();
        out
    };
    let mut all: Vec<Vec<u8>> = (0..8).map(archive).collect();
    all.push(all[2..4].concat());
    all
}

/// Checkpoints of the smallest size and every kind, by their tensors.
fn checkpoints() -> Vec<Vec<Named>> {
    let odd = smallest();
    let plain = Spec { norm: Norm::Rms, tied_head: true, tied_decays: true, n_layer: 2, d_conv: 4, ..odd };
    let mut no_conv_bias = synth::tensors(&synth::checkpoint(&plain), Dialect::HuggingFace);
    no_conv_bias.retain(|tensor| !tensor.name.ends_with("conv1d.bias"));
    vec![
        synth::tensors(&synth::checkpoint(&odd), Dialect::Mamba),
        synth::tensors(&synth::checkpoint(&plain), Dialect::HuggingFace),
        no_conv_bias,
    ]
}

/// Whole files, then headers alone.
fn safetensors() -> Vec<Vec<u8>> {
    let dtypes = [Dtype::F16, Dtype::BF16, Dtype::F32, Dtype::F64];
    let checkpoints = checkpoints();
    let files = (0..4).map(|i| synth::safetensors_bytes(&checkpoints[i % checkpoints.len()], dtypes[i]));
    let files: Vec<Vec<u8>> = files.collect();
    let header = |file: &Vec<u8>| {
        let length = file.first_chunk().map_or(0, |length| u64::from_le_bytes(*length));
        file[8..][..length as usize].to_vec()
    };
    let headers: Vec<Vec<u8>> = files.iter().map(header).collect();
    [files, headers].concat()
}

fn indexes() -> Vec<Vec<u8>> {
    let [first, second] = shards();
    let map = |first: &[Named], second: &[Named]| {
        let at = |tensors: &[Named], shard: &'static str| {
            tensors.iter().map(|tensor| (tensor.name.clone(), shard.into())).collect::<Vec<_>>()
        };
        serde_json::Map::from_iter([at(first, "a"), at(second, "b")].concat())
    };
    let whole = map(&first, &second);
    vec![
        serde_json::json!({ "metadata": { "total_size": 0 }, "weight_map": whole }).to_string().into_bytes(),
        serde_json::json!({ "weight_map": whole }).to_string().into_bytes(),
    ]
}

/// With checksums, then with none recorded, which lets damage through to the pickle.
fn torch_zips() -> Vec<Vec<u8>> {
    let zips: Vec<Vec<u8>> = checkpoints().iter().map(|tensors| synth::torch_zip(tensors)).collect();
    let without_sums = |zip: &Vec<u8>| {
        let mut zip = zip.clone();
        let at: Vec<usize> = (0..zip.len() - 4).filter(|&at| zip[at..].starts_with(b"PK\x01\x02")).collect();
        at.iter().for_each(|at| zip[at + 16..][..4].fill(0));
        zip
    };
    let open: Vec<Vec<u8>> = zips.iter().map(without_sums).collect();
    [open, zips].concat()
}

/// As `torch.save` writes it, as a Parameter of protocol 4 with strides and offsets, and in a training checkpoint beside
/// objects of classes that are not known.
fn pickles() -> Vec<Vec<u8>> {
    let tensors = pickle_tensors();
    let mut newer = Pickler::default();
    newer.op(b"\x80\x04\x95\0\0\0\0\0\0\0\0}\x94(");
    for (key, tensor) in tensors.iter().enumerate() {
        newer.op(&[0x8c, tensor.name.len() as u8]);
        newer.op(tensor.name.as_bytes());
        newer.op(b"\x94\x8c\x0ctorch._utils\x94\x8c\x12_rebuild_parameter\x94\x93\x94(");
        // Column-major, whatever the shape; sound all the same.
        let strides: Vec<usize> = (0..tensor.shape.len()).map(|axis| tensor.shape[..axis].iter().product()).collect();
        newer.rebuild_tensor("FloatStorage", key, tensor.data.len(), 0, &tensor.shape, &strides);
        newer.op(b"\x88]\x74R");
    }
    newer.op(b"u.");
    let plain = synth::state_dict_pickle(&tensors);
    let entry = |name: &str| [b"X".as_slice(), &(name.len() as u32).to_le_bytes(), name.as_bytes()].concat();
    let training = [
        b"\x80\x02}(".as_slice(),
        &entry("model"),
        &plain[2..plain.len() - 1],
        &entry("args"),
        b"cargparse\nNamespace\n)\x81}",
        &entry("lr"),
        b"G\x3f\xf0\0\0\0\0\0\0sb",
        &entry("rng"),
        b"(K\x01B\x02\0\0\0ab\x8a\x0900000000\x01\x8f(K\x02\x90t",
        &entry("steps"),
        b"](K\x01K\x02eu.",
    ];
    vec![plain.clone(), newer.bytes, training.concat()]
}

fn configs() -> Vec<Vec<u8>> {
    let checkpoint = synth::checkpoint(&smallest());
    let odd = serde_json::json!({
        "model_type": "mambabyte", "hidden_act": "swish", "hidden_size": 1, "d_inner": -1, "n_layer": 1.5,
        "norm_epsilon": 1e-6, "layer_norm_epsilon": null, "vocab_size": 250, "pad_vocab_size_multiple": 8,
        "ssm_cfg": { "layer": "Mamba1", "dt_rank": "auto", "d_state": [], "wings": {}, "bias": true },
        "rms_norm": false, "pad_id": 0, "use_conv_bias": false, "expand": 18446744073709551615_u64,
    });
    let values = [synth::config(&checkpoint, Dialect::Mamba), synth::config(&checkpoint, Dialect::HuggingFace), odd];
    let python = br#"{"time_step_limit": [0.0, Infinity], "x": NaN, "architectures": ["MambaForCausalLM"]}"#;
    let wide: Vec<u8> = [0xff, 0xfe].into_iter().chain(python.iter().flat_map(|&b| [b, 0])).collect();
    let marked = [b"\xef\xbb\xbf".as_slice(), python].concat();
    let more = [b"{}".to_vec(), python.to_vec(), wide, marked];
    values.iter().map(|value| value.to_string().into_bytes()).chain(more).collect()
}
