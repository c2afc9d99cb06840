//! Checkpoints as other people's writers save them: one model in every layout, with the same blob in the end.
//!
//! The files are those of `tests/data/foreign`, by the real writers; layouts of folders are built here from them.

use std::fs;
use std::path::{Path, PathBuf};

use mambabyte::formats::{Foreign, FormatError, Loaded, Options, PickleError, TorchError, load};
use mambabyte_core::Blob;
use mambabyte_host::align::AlignedBytes;
use mambabyte_host::quantize::{self, Schedule, quantize};
use mambabyte_host::{Checkpoint, Model};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data/foreign").join(name)
}

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (from, to) in files {
        fs::copy(file(from), dir.path().join(to)).unwrap();
    }
    dir
}

fn read(path: &Path) -> Loaded {
    load(path, &Options::default()).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn refused(path: &Path) -> FormatError {
    match load(path, &Options::default()) {
        Err(error) => error,
        Ok(loaded) => panic!("{} was loaded: {:?}", path.display(), loaded.notes),
    }
}

#[track_caller]
fn noted(loaded: &Loaded, part: &str) {
    assert!(loaded.notes.iter().any(|note| note.contains(part)), "{part:?} is not in {:#?}", loaded.notes);
}

/// The fingerprint of the blob that a checkpoint becomes.
fn fingerprint(checkpoint: Checkpoint) -> [u8; 16] {
    let model = Model::new(checkpoint).unwrap();
    let text: &[u8] = b"$GPGGA,092750.000,5321.6802,N,00630.3372,W,1,8,1.03,61.7,M,55.2,M,,*76\r\n";
    let options = quantize::Options { refine: Schedule { updates: 0, ..Schedule::default() }, ..Default::default() };
    let made = quantize(&model, &[text], &[text], &options, &|_| {}).unwrap();
    let blob = AlignedBytes::new(&made.blob);
    Blob::parse(blob.as_slice()).unwrap().fingerprint()
}

#[test]
fn twelve_layouts_become_one_blob() {
    let base = read(&file("mamba_ssm.safetensors"));
    assert_eq!(base.notes, ["no config.json beside the weights: norm epsilon 1e-5 is used"]);
    assert!(base.checkpoint.dims.tied_decays && base.checkpoint.dims.tied_head);
    let want = fingerprint(base.checkpoint.clone());

    let sharded = [
        ("pytorch_model-00001-of-00002.bin", "pytorch_model-00001-of-00002.bin"),
        ("pytorch_model-00002-of-00002.bin", "pytorch_model-00002-of-00002.bin"),
        ("pytorch_model.bin.index.json", "pytorch_model.bin.index.json"),
    ];
    let set = [
        ("model-00001-of-00002.safetensors", "model-00001-of-00002.safetensors"),
        ("model-00002-of-00002.safetensors", "model-00002-of-00002.safetensors"),
    ];
    // Beside the weights, what training leaves.
    let trained =
        folder(&[("compiled.pt", "step-1000.pt"), ("training.pt", "optimizer.pt"), ("module.pt", "scheduler.pt")]);
    let (sharded, set) = (folder(&sharded), folder(&set));
    let cache = cache();
    let layouts: [(&str, PathBuf, &str); 13] = [
        ("torch.compile", file("compiled.pt"), "`_orig_mod.backbone.` in front"),
        ("wrappers inside each other", file("parallel.pt"), "`module.backbone.` in front"),
        (
            "Lightning",
            file("lightning.ckpt"),
            "of the training checkpoint `state_dict` is read; not epoch, global_step",
        ),
        ("Hugging Face's body", file("mamba_model.safetensors"), "without `backbone.`"),
        ("mamba.py", file("mamba_py.pt"), "`mamba.` in front"),
        (
            "a training script",
            file("training.pt"),
            "of the training checkpoint `model` is read; not optimizer, scheduler",
        ),
        ("sharded .bin", sharded.path().to_owned(), "the weights are 2 files of torch.save"),
        ("a set without an index", set.path().to_owned(), "2 files are a set without an index"),
        ("buffers, torch", file("buffers.pt"), "ignored: backbone.position_ids (a tensor of LongStorage)"),
        ("buffers, safetensors", file("buffers.safetensors"), "seen (a tensor of BOOL), steps (a tensor of I64)"),
        ("save_model", file("save_model.safetensors"), "is another name of the embedding: the head is tied"),
        ("MLX", file("mlx.safetensors"), "as MLX stores it"),
        ("a folder of training", trained.path().to_owned(), "optimizer.pt ignored"),
    ];
    let cached = [("a cache", cache.path().to_owned(), "of the cache folder the revision 0123abcd is read")];
    for (layout, path, note) in layouts.into_iter().chain(cached) {
        let loaded = read(&path);
        assert_eq!(loaded.checkpoint, base.checkpoint, "{layout}");
        assert_eq!(fingerprint(loaded.checkpoint.clone()), want, "{layout}");
        noted(&loaded, note);
    }
    assert_eq!(read(sharded.path()).source_format.to_string(), "sharded PyTorch pickles");
    assert_eq!(read(set.path()).source_format.to_string(), "sharded safetensors");
}

/// A folder of Hugging Face's cache: links into `blobs`.
fn cache() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let at = |path: &str| dir.path().join(path);
    for folder in ["blobs", "refs", "snapshots/0123abcd", "snapshots/ffff0000"] {
        fs::create_dir_all(at(folder)).unwrap();
    }
    fs::copy(file("mamba_ssm.safetensors"), at("blobs/9f86d081")).unwrap();
    fs::write(at("refs/main"), "0123abcd").unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink("../../blobs/9f86d081", at("snapshots/0123abcd/model.safetensors")).unwrap();
    #[cfg(not(unix))]
    fs::copy(at("blobs/9f86d081"), at("snapshots/0123abcd/model.safetensors")).unwrap();
    dir
}

#[test]
fn a_cache_of_several_revisions_and_no_main_asks() {
    let cache = cache();
    fs::remove_file(cache.path().join("refs/main")).unwrap();
    assert!(matches!(refused(cache.path()), FormatError::Ambiguous { files, .. } if files == ["0123abcd", "ffff0000"]));
}

#[test]
fn half_precision_keeps_tied_decays() {
    let base = read(&file("mamba_ssm.safetensors")).checkpoint;
    for (name, dtype, bound) in [("f16.safetensors", "f16", 2e-3), ("bf16.safetensors", "bf16", 1.6e-2)] {
        let loaded = read(&file(name));
        assert!(loaded.checkpoint.dims.tied_decays, "{name}");
        noted(&loaded, &format!("A_log is stored in {dtype}"));
        for (found, want) in loaded.checkpoint.layers.iter().zip(&base.layers) {
            assert!(found.a_log.iter().zip(&want.a_log).all(|(a, b)| (a - b).abs() < bound), "{name}");
        }
    }
}

#[test]
fn what_cannot_be_weights_is_refused_by_name() {
    match refused(&file("module.pt")) {
        FormatError::Torch { source: TorchError::Pickle(PickleError::Class { module, name, .. }), .. } => {
            assert_eq!((module.as_str(), name.as_str()), ("__main__", "Norm"));
        }
        other => panic!("{other}"),
    }
    let error = refused(&file("integers.pt")).to_string();
    assert!(error.contains("backbone.layers.0.mixer.in_proj.weight  [32, 16]  a tensor of CharStorage"), "{error}");
    assert!(error.starts_with("1 tensor does not fit"), "{error}");
}

#[test]
fn a_set_with_a_gap_names_it() {
    let part = "model-00002-of-00002.safetensors";
    let dir = folder(&[(part, part)]);
    for path in [dir.path().to_owned(), dir.path().join(part)] {
        match refused(&path) {
            FormatError::SetIncomplete { missing, of: 2, index, .. } => {
                assert_eq!(missing, ["model-00001-of-00002.safetensors"]);
                assert_eq!(index, "model.safetensors.index.json");
            }
            other => panic!("{other}"),
        }
    }
    // Of one file of a sharded checkpoint the index beside it says the rest.
    let names =
        ["pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin", "pytorch_model.bin.index.json"];
    let whole = folder(&names.map(|name| (name, name)));
    noted(&read(&whole.path().join(names[1])), "is one of 2 files");
    fs::remove_file(whole.path().join(names[0])).unwrap();
    assert!(matches!(refused(whole.path()), FormatError::ShardMissing { shards, .. } if shards == [names[0]]));
}

#[cfg(unix)]
#[test]
fn a_fifo_does_not_hang() {
    let names =
        ["pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin", "pytorch_model.bin.index.json"];
    let dir = folder(&names.map(|name| (name, name)));
    let shard = dir.path().join(names[0]);
    fs::remove_file(&shard).unwrap();
    let made = std::process::Command::new("mkfifo").arg(&shard).status();
    assert!(made.is_ok_and(|status| status.success()), "mkfifo");
    assert!(matches!(refused(dir.path()), FormatError::NoFile { path } if path == shard));
    assert!(matches!(
        refused(&shard),
        FormatError::NoFile { .. } | FormatError::SetIncomplete { .. } | FormatError::ShardMissing { .. }
    ));
    // The name of a revision in a cache folder, which then has but one.
    let cache = cache();
    fs::remove_file(cache.path().join("refs/main")).unwrap();
    fs::remove_dir_all(cache.path().join("snapshots/ffff0000")).unwrap();
    let made = std::process::Command::new("mkfifo").arg(cache.path().join("refs/main")).status();
    assert!(made.is_ok_and(|status| status.success()), "mkfifo");
    noted(&read(cache.path()), "of the cache folder the revision 0123abcd is read");
}

#[test]
fn configs_that_lack_what_they_promise() {
    let dir = folder(&[("mamba_ssm.safetensors", "model.safetensors")]);
    let with = |config: &str| fs::write(dir.path().join("config.json"), config).unwrap();
    let trust = Options { trust_tensors: true, ..Options::default() };
    for (config, promised) in [
        (r#"{"num_hidden_layers": 3}"#, "num_hidden_layers = 3, the tensors have 2"),
        (r#"{"n_layer": 48}"#, "n_layer = 48, the tensors have 2"),
        (
            r#"{"tie_word_embeddings": false}"#,
            "a head of its own (tie_word_embeddings = false), the tensors have no lm_head",
        ),
        (r#"{"architectures": ["Mamba2ForCausalLM"]}"#, r#"architectures = "Mamba2ForCausalLM""#),
    ] {
        with(config);
        let error = refused(dir.path()).to_string();
        assert!(error.contains(promised), "{error}");
        load(dir.path(), &trust).unwrap_or_else(|error| panic!("{config}: {error}"));
    }
    // What is forgiven: nothing of the checkpoint is missing.
    for config in [r#"{"n_layer": 1}"#, r#"{"rms_norm": false}"#, r#"{"tie_embeddings": true, "pad_id": 0}"#] {
        with(config);
        read(dir.path());
    }
    with(r#"{"model_type": "falcon_mamba"}"#);
    assert!(matches!(load(dir.path(), &trust), Err(FormatError::Architecture { key: "model_type", .. })));
}

#[test]
fn configs_of_every_writer() {
    let dir = folder(&[("mamba_ssm.safetensors", "model.safetensors")]);
    let want = Checkpoint { norm_eps: 1e-6, ..read(&file("mamba_ssm.safetensors")).checkpoint };
    let text = r#"{"layer_norm_epsilon": 1e-6, "time_step_limit": [0.0, Infinity], "x": NaN, "vocab_size": 256}"#;
    let wide: Vec<u8> = [0xfeff].into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    for bytes in [text.as_bytes().to_vec(), [b"\xef\xbb\xbf", text.as_bytes()].concat(), wide] {
        fs::write(dir.path().join("config.json"), bytes).unwrap();
        assert_eq!(read(dir.path()).checkpoint, want);
    }
}

#[test]
fn other_formats_by_their_names() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    for (bytes, want) in [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n".to_vec(), Foreign::LfsPointer),
        (b"<!doctype html><title>404</title>".to_vec(), Foreign::Html),
        (b"GGUF\x03\0\0\0\0\0\0\0{".to_vec(), Foreign::Gguf),
        (Vec::new(), Foreign::Empty),
        (b"just text\n".to_vec(), Foreign::Text),
    ] {
        fs::write(&path, bytes).unwrap();
        // By its content, in a folder and by itself, whatever it is called.
        for path in [dir.path(), &path] {
            assert!(matches!(refused(path), FormatError::Foreign { kind, .. } if kind == want), "{want:?}");
        }
    }
}
