//! What is fuzzed, as functions of any bytes. `tests/fuzz` drives them with libFuzzer, `tests/tests/fuzz_brief.rs`
//! with the mutator below, on a stable compiler. To add a target: a function here, its seeds in `fuzz_seeds.rs`, a file
//! in `tests/fuzz/fuzz_targets` with an entry in `tests/fuzz/Cargo.toml`, a test in `fuzz_brief.rs`.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use mambabyte::formats::{
    Entry, FormatError, Loaded, Options, ShardIndex, load, parse_pickle, read_torch_zip, tensors_from_safetensors,
};
use mambabyte_core::archive::{Header, ModelName};
use mambabyte_core::snapshot::Sections;
use mambabyte_core::{Blob, Decoder, LineScorer, Norm, Rng, Snapshot, Threshold, VOCAB};
use mambabyte_host::Checkpoint;
use mambabyte_host::adapt::{AnyAdapter, Preset};
use mambabyte_host::align::AlignedBytes;
use mambabyte_host::archive::{ArchiveFault, Predictor, decompress};
use mambabyte_host::cpu::IntEngine;
use safetensors::Dtype as Stored;

use crate::random_blob::{BlobSpec, random_blob};
use crate::synth::{self, Dialect, Named, Spec};

/// Largest state and scratch, in bytes, that a fuzzed blob may ask for before it is not stepped.
const MEMORY: usize = 1 << 24;

/// Any bytes as a blob: refused by name, or four bytes can be read and a snapshot taken and restored.
/// True if it was accepted.
pub fn blob(bytes: &[u8]) -> bool {
    let memory = AlignedBytes::new(bytes);
    let blob = match Blob::parse(memory.as_slice()) {
        Ok(blob) => blob,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return false;
        }
    };
    assert!(blob.name().len() <= 24);
    if blob.dims().state_bytes() + blob.dims().scratch_bytes() < MEMORY {
        let mut decoder = Decoder::owned(blob);
        for byte in [0, b'\n', 0x80, 0xff] {
            decoder.step(byte);
        }
        let mut out = vec![0; blob.dims().snapshot_bytes()];
        decoder.state().snapshot(&mut out).unwrap();
        let logits = *decoder.step(7);
        decoder.state_mut().restore(&out).unwrap();
        assert_eq!(*decoder.step(7), logits);
    }
    true
}

/// The model whose snapshots [`snapshot`] reads.
pub fn snapshot_model() -> Blob<'static> {
    static MEMORY: OnceLock<AlignedBytes> = OnceLock::new();
    let memory = MEMORY.get_or_init(|| AlignedBytes::new(&random_blob(BlobSpec::small(11))));
    Blob::parse(memory.as_slice()).unwrap()
}

/// A header of the archives that [`archive`] reads: of the adapter alone, in short blocks.
pub fn archive_header(preset: Preset, block: u32) -> Header {
    Header { model: ModelName::NONE, preset: preset.design().id, primed: None, block }
}

/// What such a header asks for.
///
/// # Panics
/// If its preset is not one.
pub fn archive_predictor(header: &Header) -> Predictor<'static, IntEngine<'static>> {
    Predictor::new(None, Preset::of_id(header.preset).map(|preset| AnyAdapter::new(preset, false))).unwrap()
}

/// Any bytes as archives: refused by name, with what was right before, or decoded. True if it was accepted.
pub fn archive(bytes: &[u8]) -> bool {
    let mut open = |header: &Header| match header {
        Header { primed: None, model, block, .. } if model.is_none() && *block < 1 << 12 => {
            Ok(archive_predictor(header))
        }
        _ => Err(ArchiveFault::Needs("another model, or a long time".into())),
    };
    let mut text = Vec::new();
    match decompress(&mut &bytes[..], &mut text, &mut open, &mut |_| ()) {
        Ok(totals) => {
            assert_eq!((totals.archive, totals.plain), (bytes.len() as u64, text.len() as u64));
            true
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            let kept = if let ArchiveFault::Archive { kept, .. } = error { kept } else { text.len() as u64 };
            assert_eq!(kept, text.len() as u64);
            false
        }
    }
}

/// Any bytes as a snapshot: refused with the state untouched, or restored to the bit and able to continue. True if it
/// was accepted.
pub fn snapshot(bytes: &[u8]) -> bool {
    let model = snapshot_model();
    let mut decoder = Decoder::owned(model);
    decoder.prefill(b"before");
    let mut before = vec![0; model.dims().snapshot_bytes()];
    decoder.state().snapshot(&mut before).unwrap();
    // What a stream or a device would take of it: refused by name, or of this model's length and whole.
    let mut accepted = false;
    for takes in [Sections::STREAM, Sections::DEVICE] {
        match Snapshot::parse(bytes, takes) {
            Ok(parsed) => {
                let mut scorer = LineScorer::load(Threshold::Learned, parsed.lines().unwrap());
                scorer.push(parsed.pending().unwrap(), 1 << 16);
                assert_eq!(parsed.records().is_ok(), takes == Sections::DEVICE);
                if Decoder::owned(model).state_mut().load(&parsed).is_ok() {
                    accepted = true;
                    assert_eq!(bytes.len(), takes.snapshot_bytes(model.dims()));
                }
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    let restored = decoder.state_mut().restore(bytes);
    let mut after = before.clone();
    decoder.state().snapshot(&mut after).unwrap();
    match restored {
        Ok(()) => {
            assert_eq!(after, bytes, "what was restored is what is saved again");
            // Any state is valid: extremes of i16 and the end of the position included.
            for byte in 0..4 {
                decoder.step(byte);
            }
            true
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            assert_eq!(after, before, "a refused snapshot changes nothing");
            accepted
        }
    }
}

/// Most zeros that [`safetensors`] puts after a bare header.
const ZEROS: usize = 1 << 20;

/// Any bytes as a safetensors file. What begins with `{` is taken for a header alone: its length and the zeros that it
/// promises are put around it, so that damage to a header is not always a damaged layout too.
/// True if a checkpoint was loaded.
pub fn safetensors(bytes: &[u8]) -> bool {
    let file = if bytes.first() == Some(&b'{') { around_header(bytes) } else { bytes.to_vec() };
    match tensors_from_safetensors(&file) {
        Ok(tensors) => {
            // The embedding may have an alias.
            check_tensors(&tensors, 2 * file.len());
            load_as("model.safetensors", &file)
        }
        Err(error) => refused(&error),
    }
}

fn around_header(header: &[u8]) -> Vec<u8> {
    let json: Option<serde_json::Value> = serde_json::from_slice(header).ok();
    let tensors = json.iter().filter_map(|json| json.as_object()).flat_map(|map| map.values());
    let end = tensors.filter_map(|tensor| tensor.get("data_offsets")?.get(1)?.as_u64()).max().unwrap_or(0);
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header);
    file.resize(file.len() + (end as usize).min(ZEROS), 0);
    file
}

/// Any bytes as the index of two shards, `a` and `b`, that lie beside it. True if a checkpoint was loaded.
pub fn index(bytes: &[u8]) -> bool {
    let index = match ShardIndex::parse(bytes) {
        Ok(index) => index,
        Err(error) => return refused(&error),
    };
    for shard in index.shards() {
        assert!(!shard.contains(['/', '\\']) && shard != ".." && shard != ".", "{shard:?} leaves the folder");
    }
    FOLDER.with(|folder| {
        let path = folder.0.join("shards/model.safetensors.index.json");
        fs::write(&path, bytes).unwrap();
        outcome(load(&path, &Options::default())).is_some_and(|loaded| {
            check_checkpoint(&loaded.checkpoint, 1 << 20);
            // Without a bias or the head it is another sound model; that they were left out is said.
            let left_out = loaded.notes.iter().any(|note| note.ends_with("ignored: the index does not list it there"));
            assert!(left_out || loaded.checkpoint == checkpoint_in_folder(), "every tensor comes from the shards");
            true
        })
    })
}

/// The tensors in the shards `a` and `b` of [`index`].
pub fn shards() -> [Vec<Named>; 2] {
    let mut first = synth::tensors(&checkpoint_in_folder(), Dialect::Mamba);
    let second = first.split_off(first.len() / 2);
    [first, second]
}

/// Any bytes as a file of `torch.save`. True if a checkpoint was loaded.
pub fn torch(bytes: &[u8]) -> bool {
    match read_torch_zip(bytes) {
        Ok(file) => {
            check_tensors(&file.entries, 2 * bytes.len());
            load_as("pytorch_model.bin", bytes)
        }
        Err(error) => refused(&error),
    }
}

/// Any bytes as a `data.pkl`: alone, then in a zip with the storages of [`pickle_tensors`].
/// True if a checkpoint was loaded.
pub fn pickle(bytes: &[u8]) -> bool {
    static STORAGES: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    match parse_pickle(bytes) {
        Ok(found) => assert!(found.tensors.len() + found.others.len() <= bytes.len()),
        Err(error) => return refused(&error),
    }
    let storages = STORAGES.get_or_init(|| {
        let little = |tensor: &Named| tensor.data.iter().flat_map(|v| v.to_le_bytes()).collect();
        pickle_tensors().iter().map(little).collect()
    });
    torch(&synth::torch_zip_of(bytes, storages))
}

/// What the storages of [`pickle`] hold.
pub fn pickle_tensors() -> Vec<Named> {
    synth::tensors(&checkpoint_in_folder(), Dialect::Mamba)
}

/// Any bytes as the config.json beside sound weights: refused, or the weights are as without it. True if accepted.
pub fn config(bytes: &[u8]) -> bool {
    FOLDER.with(|folder| {
        let dir = folder.0.join("config");
        fs::write(dir.join("config.json"), bytes).unwrap();
        outcome(load(&dir, &Options::default())).is_some_and(|loaded| {
            let norm_eps = loaded.checkpoint.norm_eps;
            assert!((0.0..=0.1).contains(&norm_eps), "{norm_eps}");
            assert!(loaded.checkpoint == Checkpoint { norm_eps, ..checkpoint_in_folder() }, "the weights changed");
            true
        })
    })
}

/// The smallest checkpoint that is read, of the kind with the most tensors.
pub fn smallest() -> Spec {
    Spec { d_model: 16, n_layer: 1, d_inner: 2, d_state: 2, d_conv: 2, dt_rank: 1, ..Spec::ODD }
}

fn checkpoint_in_folder() -> Checkpoint {
    static CHECKPOINT: OnceLock<Checkpoint> = OnceLock::new();
    CHECKPOINT.get_or_init(|| synth::checkpoint(&smallest())).clone()
}

/// Where the targets that need files have them, one for each thread.
struct Folder(PathBuf);

thread_local!(static FOLDER: Folder = Folder::new());

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("mambabyte-fuzz-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(name);
        for inner in ["file", "shards", "config"] {
            fs::create_dir_all(dir.join(inner)).expect("a folder");
        }
        let put = |path: &str, tensors: &[Named]| {
            fs::write(dir.join(path), synth::safetensors_bytes(tensors, Stored::F32)).expect("written");
        };
        let [first, second] = shards();
        put("shards/a", &first);
        put("shards/b", &second);
        put("config/model.safetensors", &[first, second].concat());
        Self(dir)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Loads a checkpoint of one file from the folder. True if it was accepted.
fn load_as(name: &str, bytes: &[u8]) -> bool {
    let path = FOLDER.with(|folder| folder.0.join("file").join(name));
    fs::write(&path, bytes).unwrap();
    outcome(load(Path::new(&path), &Options::default())).is_some_and(|loaded| {
        check_checkpoint(&loaded.checkpoint, bytes.len());
        true
    })
}

fn outcome(result: Result<Loaded, FormatError>) -> Option<Loaded> {
    match result {
        Ok(loaded) => {
            assert!(loaded.notes.iter().all(|note| !note.is_empty()));
            Some(loaded)
        }
        Err(error) => {
            refused(&error);
            None
        }
    }
}

/// A refusal says why, and so does each of its sources. Always false.
fn refused(error: &dyn Error) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        assert!(!error.to_string().is_empty(), "{error:?}");
        cause = error.source();
    }
    false
}

/// Shapes, counts and conversions agree, and all tensors together stay within `limit` bytes.
fn check_tensors(entries: &[(String, Entry<'_>)], limit: usize) {
    let mut total = 0;
    for (name, entry) in entries {
        let Some(tensor) = entry.tensor() else { continue };
        let elements = tensor.elements();
        assert_eq!(tensor.shape().iter().product::<usize>(), elements, "{name}");
        assert_eq!(tensor.to_f32(0..usize::MAX).len(), elements, "{name}");
        total += elements * tensor.dtype().size();
    }
    assert!(total <= limit, "{total} bytes of weights from {limit}");
}

/// Every vector has the length that the dimensions want, every weight is finite, and the file was large enough for it.
fn check_checkpoint(checkpoint: &Checkpoint, file: usize) {
    let dims = checkpoint.dims;
    let (model, inner) = (dims.d_model, dims.d_inner);
    let bias = if dims.norm == Norm::Layer { model } else { 0 };
    let mut want =
        vec![(&checkpoint.embedding, VOCAB * model), (&checkpoint.norm_f, model), (&checkpoint.norm_f_bias, bias)];
    want.extend(checkpoint.head.as_ref().map(|head| (head, VOCAB * model)));
    assert_eq!(checkpoint.head.is_none(), dims.tied_head);
    assert_eq!(checkpoint.layers.len(), dims.n_layer);
    for layer in &checkpoint.layers {
        want.extend([
            (&layer.norm, model),
            (&layer.norm_bias, bias),
            (&layer.in_proj, 2 * inner * model),
            (&layer.conv1d, inner * dims.d_conv),
            (&layer.conv_bias, inner),
            (&layer.x_proj, (dims.dt_rank + 2 * dims.d_state) * inner),
            (&layer.dt_proj, inner * dims.dt_rank),
            (&layer.dt_bias, inner),
            (&layer.a_log, inner * dims.d_state),
            (&layer.d_skip, inner),
            (&layer.out_proj, model * inner),
        ]);
    }
    for (weights, length) in want {
        assert_eq!(weights.len(), length);
        assert!(weights.iter().all(|weight| weight.is_finite()));
    }
    // Two bytes are the smallest element, and a file of PyTorch may name each twice.
    assert!(checkpoint.parameters() <= 2 * file, "{} parameters from {file} bytes", checkpoint.parameters());
}

/// Changes `bytes` a little, as libFuzzer would: bits, bytes, integers, cuts, copies, splices with `other`.
pub fn mutate(bytes: &mut Vec<u8>, other: &[u8], rng: &mut Rng) {
    const INTEGERS: [u64; 12] = [0, 1, 4, 16, 64, 127, 255, 256, 0x7fff, 0x8000_0000, u32::MAX as u64, u64::MAX];
    let mut below = |n: usize| if n == 0 { 0 } else { (rng.next_u64() % n as u64) as usize };
    for _ in 0..1 + below(4) {
        // Half of the changes hit the first bytes, where the structure is.
        let reach = if below(2) == 0 { bytes.len() } else { bytes.len().min(400) };
        let at = below(reach);
        match below(8) {
            0 | 1 if at < bytes.len() => bytes[at] ^= 1 << below(8),
            2 if at < bytes.len() => bytes[at] = below(256) as u8,
            3 | 4 => {
                let value = INTEGERS[below(INTEGERS.len())].to_le_bytes();
                let width = (1usize << below(4)).min(bytes.len().saturating_sub(at));
                let at = if width.is_power_of_two() { at / width * width } else { at };
                bytes[at..at + width].copy_from_slice(&value[..width]);
            }
            5 => match below(4) {
                0 => bytes.truncate(at),
                1 => bytes.extend(std::iter::repeat_n(0, below(64))),
                _ => {}
            },
            6 if !other.is_empty() => {
                let from = below(other.len());
                let n = below(64).min(other.len() - from).min(bytes.len() - at);
                bytes[at..at + n].copy_from_slice(&other[from..from + n]);
            }
            7 if at < bytes.len() => {
                let n = below(64).min(bytes.len() - at);
                let to = below(bytes.len() - n + 1);
                bytes.copy_within(at..at + n, to);
            }
            _ => {}
        }
    }
}
