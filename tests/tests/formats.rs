//! Checkpoints in every container load to the same weights; every kind of bad file is refused by name.

use std::fs;
use std::path::{Path, PathBuf};

use mambabyte::formats::{Foreign, FormatError, Loaded, Options, SafetensorsError, ShardIndex, SourceFormat, load};
use mambabyte_core::Norm;
use mambabyte_tests::synth::{self, Dialect, Named, Spec};
use safetensors::Dtype as Stored;

fn fresh(name: &str) -> PathBuf {
    synth::fresh_dir(env!("CARGO_TARGET_TMPDIR"), &format!("formats-{name}"))
}

fn read(path: &Path) -> Loaded {
    load(path, &Options::default()).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Writes a changed list of tensors as safetensors and returns what `load` says.
fn load_changed(name: &str, spec: &Spec, change: impl FnOnce(&mut Vec<Named>)) -> Result<Loaded, FormatError> {
    load_changed_with(name, spec, &Options::default(), change)
}

fn load_changed_with(
    name: &str,
    spec: &Spec,
    options: &Options,
    change: impl FnOnce(&mut Vec<Named>),
) -> Result<Loaded, FormatError> {
    let dir = fresh(name);
    let mut tensors = synth::tensors(&synth::checkpoint(spec), Dialect::Mamba);
    change(&mut tensors);
    fs::write(dir.join("model.safetensors"), synth::safetensors_bytes(&tensors, Stored::F32)).unwrap();
    load(&dir, options)
}

fn find<'t>(tensors: &'t mut [Named], name: &str) -> &'t mut Named {
    tensors.iter_mut().find(|tensor| tensor.name == name).expect("a tensor of that name")
}

#[test]
fn every_container_and_dialect_gives_the_same_checkpoint() {
    for (name, spec) in [("odd", Spec::ODD), ("plain", Spec::PLAIN)] {
        let want = synth::checkpoint(&spec);
        for (dialect, dtype) in
            [(Dialect::Mamba, Stored::F32), (Dialect::HuggingFace, Stored::F32), (Dialect::Mamba, Stored::F64)]
        {
            let dir = fresh(&format!("{name}-{dialect:?}-{dtype:?}"));
            synth::save_safetensors(&want, &dir, dialect, dtype);
            let whole = read(&dir);
            assert_eq!(whole.checkpoint, want);
            assert_eq!(whole.notes, [""; 0], "{name} {dialect:?}");
            assert_eq!(whole.source_format, SourceFormat::Safetensors);
            assert_eq!(whole.files, [dir.join("model.safetensors"), dir.join("config.json")]);

            let dir = fresh(&format!("{name}-{dialect:?}-{dtype:?}-shards"));
            synth::save_sharded(&want, &dir, dialect, dtype, 3);
            let shards = read(&dir);
            assert_eq!(shards.checkpoint, want);
            assert_eq!(shards.notes, [""; 0]);
            assert_eq!(shards.source_format, SourceFormat::ShardedSafetensors);
            assert_eq!(shards.files.len(), 5);
        }
        let dir = fresh(&format!("{name}-torch"));
        synth::save_torch_zip(&want, &dir.join("pytorch_model.bin"));
        let torch = read(&dir);
        assert_eq!(torch.checkpoint, want);
        assert_eq!(torch.source_format, SourceFormat::TorchZip);
        assert_eq!(torch.notes, ["no config.json beside the weights: norm epsilon 1e-5 is used"]);
        assert_eq!(read(&dir.join("pytorch_model.bin")).checkpoint, want);
    }
}

#[test]
fn half_precision_is_widened_exactly() {
    let want = synth::checkpoint(&Spec::PLAIN);
    for dtype in [Stored::F16, Stored::BF16] {
        let dir = fresh(&format!("half-{dtype:?}"));
        synth::save_safetensors(&want, &dir, Dialect::Mamba, dtype);
        let once = read(&dir).checkpoint;
        assert!(once.dims.tied_decays, "as they were before they were rounded");
        assert_ne!(once.embedding, want.embedding);
        // Rounded once on the way; a second trip changes nothing but the decays, which are tied again.
        synth::save_safetensors(&once, &dir, Dialect::Mamba, dtype);
        let mut twice = read(&dir).checkpoint;
        for (twice, once) in twice.layers.iter_mut().zip(&once.layers) {
            assert!(twice.a_log.iter().zip(&once.a_log).all(|(a, b)| (a - b).abs() < 0.01));
            twice.a_log.clone_from(&once.a_log);
        }
        assert!(twice == once, "{dtype:?}");
    }
}

#[test]
fn shipped_models() {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
    for (name, parameters, d_model, n_layer, d_state, dt_rank, tied_decays) in [
        ("sensor-pico", 33_472, 32, 3, 8, 2, false),
        ("sensor-nano", 131_392, 64, 4, 8, 4, true),
        ("sensor-micro", 684_928, 128, 6, 8, 8, true),
        ("prose-small", 3_569_920, 256, 8, 16, 16, false),
    ] {
        let loaded = read(&models.join(name));
        let dims = &loaded.checkpoint.dims;
        assert_eq!((dims.d_model, dims.d_inner, dims.n_layer), (d_model, 2 * d_model, n_layer), "{name}");
        assert_eq!((dims.d_state, dims.d_conv, dims.dt_rank), (d_state, 4, dt_rank), "{name}");
        assert_eq!((dims.norm, dims.tied_head, dims.tied_decays), (Norm::Rms, true, tied_decays), "{name}");
        assert_eq!(loaded.checkpoint.parameters(), parameters, "{name}");
        assert_eq!(loaded.notes, [""; 0], "{name}");
    }
}

/// The config of the official weights with their own mistakes: RMSNorm, a wrong depth, a field that does not exist.
#[test]
fn the_tensors_overrule_the_config() {
    let want = synth::checkpoint(&Spec::ODD);
    let dir = fresh("traps");
    synth::save_torch_zip(&want, &dir.join("pytorch_model.bin"));
    let config = r#"{"d_model": 48, "n_layer": 1, "vocab_size": 256, "ssm_cfg": {"expand": 2, "wings": 2},
        "rms_norm": true, "residual_in_fp32": true, "fused_add_norm": true, "pad_vocab_size_multiple": 8,
        "tie_embeddings": true, "pad_id": 0, "norm_epsilon": "small", "state_size": 16, "use_conv_bias": false}"#;
    fs::write(dir.join("config.json"), config).unwrap();
    let loaded = read(&dir);
    assert_eq!(loaded.checkpoint, want);
    assert_eq!(
        loaded.notes,
        [
            "config.json says norm_epsilon = \"small\": ignored, 1e-5 is used",
            "config.json says n_layer 1, the tensors have 2",
            "config.json says state_size 16, the tensors have 5",
            "config.json says rms_norm = true, but backbone.norm_f.bias is present: LayerNorm with bias",
            "config.json says tie_embeddings = true, but lm_head.weight is a matrix of its own",
            "config.json says use_conv_bias = false, but conv1d.bias is present",
            "config.json: pad_id ignored, every byte is text",
            "config.json: ignored ssm_cfg.wings",
        ]
    );
}

#[test]
fn epsilon_comes_from_the_config() {
    let mut want = synth::checkpoint(&Spec::PLAIN);
    want.norm_eps = 1e-6;
    let dir = fresh("epsilon");
    synth::save_safetensors(&want, &dir, Dialect::HuggingFace, Stored::F32);
    assert_eq!(read(&dir).checkpoint, want);
}

#[test]
fn padded_vocabulary_repeated_head_and_missing_conv_bias() {
    let mut want = synth::checkpoint(&Spec::PLAIN);
    want.layers.iter_mut().for_each(|layer| layer.conv_bias.fill(0.0));
    let insist = Options { byte_offset: Some(0), ..Options::default() };
    let loaded = load_changed_with("padded", &Spec::PLAIN, &insist, |tensors| {
        tensors.retain(|tensor| !tensor.name.ends_with("conv1d.bias"));
        let embedding = find(tensors, "backbone.embedding.weight");
        embedding.shape = vec![264, 32];
        embedding.data.resize(264 * 32, f32::NAN); // dropped, so it may hold anything
        let head = Named { name: "lm_head.weight".to_owned(), ..embedding.clone() };
        tensors.push(head);
    })
    .unwrap();
    assert_eq!(loaded.checkpoint, want);
    assert_eq!(
        loaded.notes[1..],
        [
            "lm_head.weight repeats the embedding: the head is tied, the copy is dropped",
            "there is no mixer.conv1d.bias: zeros are used",
            "vocabulary rows 0..256 are the bytes, rows 256..264 dropped, as --byte-offset says",
        ]
    );
    for (config, note) in [
        (r#"{"vocab_size": 256, "pad_vocab_size_multiple": 264}"#, "rows 256..264 dropped (padding)"),
        (r#"{"vocab_size": 258, "pad_vocab_size_multiple": 8}"#, "ids 256..258 are special ids"),
    ] {
        let folder = loaded.files[0].parent().unwrap();
        let unsaid = load(folder, &Options::default());
        assert!(
            matches!(unsaid, Err(FormatError::ByteOffset { rows: 264, .. })) || folder.join("config.json").exists()
        );
        fs::write(folder.join("config.json"), config).unwrap();
        let notes = read(folder).notes;
        assert!(notes[2].contains(note) && notes.len() == 3, "{notes:?}");
    }
}

#[test]
fn one_state_is_not_tied() {
    let spec = Spec { d_state: 1, tied_decays: false, ..Spec::PLAIN };
    assert_eq!(load_changed("one-state", &spec, |_| {}).unwrap().checkpoint, synth::checkpoint(&spec));
}

#[test]
fn folders() {
    let want = synth::checkpoint(&Spec::PLAIN);
    let dir = fresh("folders");
    let refused = |path: &Path| load(path, &Options::default()).unwrap_err();
    assert!(matches!(refused(&dir), FormatError::NoWeights { .. }));
    fs::write(dir.join("golden_input.bin"), b"no weights").unwrap();
    assert!(matches!(refused(&dir), FormatError::NoWeights { .. }));
    synth::save_torch_zip(&want, &dir.join("step-1000.pt"));
    assert_eq!(read(&dir).checkpoint, want);
    synth::save_torch_zip(&want, &dir.join("step-2000.pt"));
    assert!(matches!(refused(&dir), FormatError::Ambiguous { files, .. } if files == ["step-1000.pt", "step-2000.pt"]));
    synth::save_torch_zip(&want, &dir.join("pytorch_model.bin"));
    synth::save_safetensors(&want, &dir, Dialect::Mamba, Stored::F32);
    let loaded = read(&dir);
    assert_eq!(loaded.source_format, SourceFormat::Safetensors);
    assert_eq!(loaded.notes, ["pytorch_model.bin ignored, model.safetensors is read"]);
    assert!(matches!(refused(&dir.join("absent.bin")), FormatError::Io { .. }));
    let golden = refused(&dir.join("golden_input.bin"));
    assert!(matches!(golden, FormatError::Foreign { kind: Foreign::Text, .. }));
    fs::write(dir.join("config.json"), "{").unwrap();
    assert!(matches!(refused(&dir), FormatError::Config { .. }));
}

#[test]
fn missing_extra_and_misshapen_tensors_are_one_table() {
    let error = load_changed("table", &Spec::ODD, |tensors| {
        tensors.retain(|tensor| tensor.name != "backbone.layers.1.mixer.D");
        let a_log = find(tensors, "backbone.layers.0.mixer.A_log");
        a_log.shape = vec![96, 6];
        a_log.data = vec![0.0; 96 * 6];
        let name = "backbone.layers.0.mixer.in_proj.bias".to_owned();
        tensors.push(Named { name, shape: vec![192], data: vec![0.0; 192] });
    })
    .unwrap_err();
    let text = "3 tensors do not fit:\n  \
        name                                  expected  found\n  \
        backbone.layers.0.mixer.A_log         [96, 5]   [96, 6]\n  \
        backbone.layers.1.mixer.D             [96]      missing\n  \
        backbone.layers.0.mixer.in_proj.bias  none      [192] (extra tensor)";
    assert_eq!(error.to_string(), text);
}

#[test]
fn each_tensor_is_needed_and_each_shape_checked() {
    let count = synth::tensors(&synth::checkpoint(&Spec::ODD), Dialect::Mamba).len();
    for i in 0..count {
        let mut name = String::new();
        let result = load_changed("needed", &Spec::ODD, |tensors| name = tensors.remove(i).name);
        if name == "lm_head.weight" {
            assert!(result.unwrap().checkpoint.dims.tied_head);
        } else {
            let error = result.unwrap_err().to_string();
            assert!(error.contains(&name) && error.contains("missing"), "{error}");
        }
        let error = load_changed("misshapen", &Spec::ODD, |tensors| tensors[i].shape.push(1)).unwrap_err();
        assert!(matches!(&error, FormatError::Tensors(table) if table.rows.len() == 1 && table.rows[0].name == name));
    }
}

#[test]
fn a_long_table_is_cut() {
    let error = load_changed("long", &Spec::ODD, |tensors| {
        find(tensors, "backbone.layers.1.mixer.D").name = "backbone.layers.900.mixer.D".to_owned();
    });
    let text = error.unwrap_err().to_string();
    assert!(text.lines().count() < 50 && text.contains("more"), "{text}");
}

#[test]
fn dimensions_out_of_range() {
    let dimension = |name: &str, spec: Spec| match load_changed(name, &spec, |_| {}).unwrap_err() {
        FormatError::Range { dimension, found, .. } => (dimension, found),
        other => panic!("{other}"),
    };
    assert_eq!(dimension("narrow", Spec { d_model: 8, ..Spec::PLAIN }), ("d_model", 8));
    assert_eq!(dimension("wide", Spec { d_model: 4097, d_inner: 8, ..Spec::PLAIN }), ("d_model", 4097));
    assert_eq!(dimension("inner", Spec { d_model: 16, d_inner: 16385, ..Spec::PLAIN }), ("d_inner", 16385));
    assert_eq!(dimension("states", Spec { d_state: 65, ..Spec::PLAIN }), ("d_state", 65));
    assert_eq!(dimension("taps", Spec { d_conv: 5, ..Spec::PLAIN }), ("d_conv", 5));
    assert_eq!(dimension("tap", Spec { d_conv: 1, ..Spec::PLAIN }), ("d_conv", 1));
    assert_eq!(dimension("rank", Spec { dt_rank: 65, ..Spec::PLAIN }), ("dt_rank", 65));
    assert_eq!(dimension("no-layer", Spec { n_layer: 0, ..Spec::PLAIN }), ("n_layer", 0));
    let deep = load_changed("deep", &Spec::PLAIN, |tensors| {
        find(tensors, "backbone.layers.1.mixer.D").name = format!("backbone.layers.{}.mixer.D", usize::MAX);
    });
    assert!(matches!(deep, Err(FormatError::Range { dimension: "n_layer", .. })));
}

#[test]
fn vocabularies_that_are_not_bytes() {
    for rows in [255, 513] {
        let error = load_changed("vocabulary", &Spec::PLAIN, |tensors| {
            let embedding = find(tensors, "backbone.embedding.weight");
            embedding.shape = vec![rows, 32];
            embedding.data.resize(rows * 32, 0.0);
        });
        assert!(matches!(error, Err(FormatError::Vocabulary { found, .. }) if found == rows));
    }
}

#[test]
fn weights_that_are_not_finite() {
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let error = load_changed("finite", &Spec::PLAIN, |tensors| {
            find(tensors, "backbone.layers.1.mixer.out_proj.weight").data[77] = value;
        });
        match error {
            Err(FormatError::NonFinite { tensor, index: 77, .. }) => {
                assert_eq!(tensor, "backbone.layers.1.mixer.out_proj.weight");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn other_architectures() {
    let other = load_changed("prefix", &Spec::PLAIN, |tensors| {
        tensors.iter_mut().for_each(|tensor| tensor.name = format!("student.{}", tensor.name.replace("mixer", "attn")));
    });
    assert!(matches!(other, Err(FormatError::NotMamba { names }) if names.len() == 4));
    let dir = fresh("falcon");
    synth::save_safetensors(&synth::checkpoint(&Spec::PLAIN), &dir, Dialect::HuggingFace, Stored::F32);
    for (config, key) in [
        (r#"{"model_type": "falcon_mamba"}"#, "model_type"),
        (r#"{"hidden_act": "gelu"}"#, "hidden_act"),
        (r#"{"ssm_cfg": {"layer": "Mamba2"}}"#, "ssm_cfg.layer"),
    ] {
        fs::write(dir.join("config.json"), config).unwrap();
        assert!(
            matches!(load(&dir, &Options::default()), Err(FormatError::Architecture { key: found, .. }) if found == key)
        );
    }
}

#[test]
fn shards() {
    let refused = |index: &str| ShardIndex::parse(index.as_bytes()).unwrap_err();
    for shard in ["../x", "/etc/passwd", "a/b", "a\\\\b", "..", ".", "", "c:x"] {
        let index = format!(r#"{{"weight_map": {{"a": "{shard}"}}}}"#);
        assert!(matches!(refused(&index), SafetensorsError::ShardName { .. }), "{shard}");
    }
    for index in ["", "[]", "{}", r#"{"weight_map": []}"#, r#"{"weight_map": {"a": 1}}"#] {
        assert!(matches!(refused(index), SafetensorsError::Index { .. }), "{index}");
    }

    let dir = fresh("shards");
    let checkpoint = synth::checkpoint(&Spec::PLAIN);
    synth::save_sharded(&checkpoint, &dir, Dialect::Mamba, Stored::F32, 2);
    let index_path = dir.join("model.safetensors.index.json");
    let index: serde_json::Value = serde_json::from_slice(&fs::read(&index_path).unwrap()).unwrap();
    let with = |tensor: &str, shard: &str| {
        let mut index = index.clone();
        index["weight_map"][tensor] = shard.into();
        fs::write(&index_path, index.to_string()).unwrap();
        load(&dir, &Options::default()).unwrap_err()
    };
    let absent = with("lm_head.weight", "model-00003-of-00003.safetensors");
    assert!(
        matches!(absent, FormatError::ShardMissing { shards, .. } if shards == ["model-00003-of-00003.safetensors"])
    );
    let unkept = with("backbone.norm_f.weight", "model-00001-of-00002.safetensors");
    assert!(matches!(unkept, FormatError::Safetensors { source: SafetensorsError::NotInShard { tensor, .. }, .. }
        if tensor == "backbone.norm_f.weight"));

    let mut silent = index.clone();
    silent["weight_map"].as_object_mut().unwrap().remove("backbone.norm_f.weight");
    fs::write(&index_path, silent.to_string()).unwrap();
    let error = load(&dir, &Options::default()).unwrap_err().to_string();
    assert!(error.contains("backbone.norm_f.weight") && error.contains("missing"), "{error}");
    fs::write(&index_path, index.to_string()).unwrap();
    assert_eq!(read(&index_path).checkpoint, checkpoint);
}

#[test]
fn a_duplicate_key_is_refused() {
    let mut tensors = synth::tensors(&synth::checkpoint(&Spec::PLAIN), Dialect::Mamba);
    tensors.push(tensors[0].clone());
    let path = fresh("duplicate").join("m.bin");
    fs::write(&path, synth::torch_zip(&tensors)).unwrap();
    assert!(
        matches!(load(&path, &Options::default()), Err(FormatError::Duplicate { tensor, .. }) if tensor == "backbone.embedding.weight")
    );
}
