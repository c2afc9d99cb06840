//! Damaged and hostile checkpoint files: refused by name, without a panic and without memory out of proportion.

use std::fs;

use mambabyte::formats::{
    Dtype, Entry, Foreign, FormatError, MAX_PICKLE_BYTES, Options, PickleError, SafetensorsError, TorchError,
    ViewError, load, parse_pickle, read_torch_zip, tensors_from_safetensors,
};
use mambabyte_tests::synth::{self, Dialect, Pickler, Random, Spec};
use safetensors::Dtype as Stored;

fn fresh(name: &str) -> std::path::PathBuf {
    synth::fresh_dir(env!("CARGO_TARGET_TMPDIR"), &format!("hostile-{name}"))
}

/// A zip whose entries `archive/data/0`, `1`, ... all have the bytes of one.
fn overlapping_zip(pickle: &[u8], storage: &[u8], entries: usize) -> Vec<u8> {
    let sizes = |name: &str, bytes: &[u8]| {
        let crc = crc32fast::hash(bytes).to_le_bytes();
        let (size, name) = ((bytes.len() as u32).to_le_bytes(), (name.len() as u16).to_le_bytes());
        [&[0; 8], &crc[..], &size, &size, &name, &[0; 2]].concat()
    };
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    let mut list = |file: &Vec<u8>, name: &str, bytes: &[u8], at: usize| {
        assert!(at < file.len());
        directory.extend([b"PK\x01\x02\x14\0\x14\0".as_slice(), &sizes(name, bytes), &[0; 10]].concat());
        directory.extend([&(at as u32).to_le_bytes(), name.as_bytes()].concat());
    };
    for (name, bytes) in [("archive/data.pkl", pickle), ("archive/data/0", storage)] {
        let at = file.len();
        file.extend([b"PK\x03\x04\x14\0".as_slice(), &sizes(name, bytes), name.as_bytes(), bytes].concat());
        let names = if name.ends_with('0') { entries } else { 1 };
        for i in 0..names {
            let name = if names == 1 { name.to_owned() } else { format!("archive/data/{i}") };
            list(&file, &name, bytes, at);
        }
    }
    let (count, at) = ((entries as u16 + 1).to_le_bytes(), (file.len() as u32).to_le_bytes());
    let end = [b"PK\x05\x06\0\0\0\0".as_slice(), &count, &count, &(directory.len() as u32).to_le_bytes(), &at, &[0; 2]];
    [file, directory, end.concat()].concat()
}

/// To check the sum of each would be to read a thousand files.
#[test]
fn zip_entries_that_share_bytes() {
    let storage = vec![0; 4 << 10];
    let pickle = program(|p| {
        p.op(b"}(");
        for i in 0..100 {
            p.string(&format!("t{i}"));
            p.rebuild_tensor("FloatStorage", i, 1 << 10, 0, &[1], &[1]);
        }
        p.op(b"u");
    });
    assert!(matches!(read_torch_zip(&overlapping_zip(&pickle, &storage, 100)), Err(TorchError::Overlap)));
    // The same file without the others is sound up to what it lacks.
    let one = overlapping_zip(&pickle, &storage, 1);
    assert!(matches!(read_torch_zip(&one), Err(TorchError::NoStorage { storage, .. }) if storage == "1"));
}

/// The message and all its sources, as the command line prints them.
fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source()).map(|error| format!("{error}\n")).collect()
}

#[test]
fn truncated_files_name_themselves() {
    let tensors = synth::tensors(&synth::checkpoint(&Spec::PLAIN), Dialect::Mamba);
    let safetensors = synth::safetensors_bytes(&tensors, Stored::F32);
    let torch = synth::torch_zip(&tensors);
    let cuts = |length: usize| (0..64).chain((64..length).step_by(997)).chain(length - 64..length);
    for cut in cuts(safetensors.len()) {
        assert!(tensors_from_safetensors(&safetensors[..cut]).is_err(), "{cut}");
    }
    for cut in cuts(torch.len()) {
        assert!(read_torch_zip(&torch[..cut]).is_err(), "{cut}");
    }
    let dir = fresh("cut");
    for (name, bytes) in [("model.safetensors", &safetensors), ("pytorch_model.bin", &torch)] {
        fs::write(dir.join(name), &bytes[..bytes.len() / 2]).unwrap();
        let error = chain(&load(&dir.join(name), &Options::default()).unwrap_err());
        assert!(error.contains(name) && error.contains("damaged or cut short"), "{error}");
        fs::write(dir.join(name), []).unwrap();
        load(&dir.join(name), &Options::default()).unwrap_err();
    }
}

#[test]
fn flipped_bits_never_panic() {
    let spec = Spec { d_model: 16, d_inner: 16, n_layer: 1, ..Spec::ODD };
    let tensors = synth::tensors(&synth::checkpoint(&spec), Dialect::Mamba);
    let pickle = synth::state_dict_pickle(&tensors);
    let mut random = Random::new(3);
    let mut flip = |bytes: &[u8], reach: usize| {
        let mut bad = bytes.to_vec();
        for _ in 0..1 + random.bits() % 3 {
            bad[random.bits() as usize % reach] ^= 1 << (random.bits() % 8);
        }
        bad
    };
    for _ in 0..20_000 {
        let _ = parse_pickle(&flip(&pickle, pickle.len()));
    }
    let safetensors = synth::safetensors_bytes(&tensors, Stored::F32);
    let torch = synth::torch_zip(&tensors);
    for _ in 0..2_000 {
        let _ = tensors_from_safetensors(&flip(&safetensors, 1_600));
        let _ = read_torch_zip(&flip(&torch, torch.len()));
    }
    // Whole loads, with damage where the structure is.
    let storages: Vec<Vec<u8>> =
        tensors.iter().map(|tensor| tensor.data.iter().flat_map(|v| v.to_le_bytes()).collect()).collect();
    let dir = fresh("flipped");
    for _ in 0..300 {
        fs::write(dir.join("m.safetensors"), flip(&safetensors, 1_600)).unwrap();
        fs::write(dir.join("m.bin"), synth::torch_zip_of(&flip(&pickle, pickle.len()), &storages)).unwrap();
        let _ = load(&dir.join("m.safetensors"), &Options::default());
        let _ = load(&dir.join("m.bin"), &Options::default());
    }
}

#[test]
fn a_damaged_weight_in_a_torch_file_is_noticed() {
    let mut torch = synth::torch_zip(&synth::tensors(&synth::checkpoint(&Spec::PLAIN), Dialect::Mamba));
    let middle = torch.len() / 2;
    torch[middle] ^= 1;
    match read_torch_zip(&torch) {
        Err(TorchError::Entry { entry, why }) => {
            assert!(entry.starts_with("archive/data/") && why.contains("checksum"), "{entry} {why}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn safetensors_headers_that_lie() {
    let file = |header: &str, data: usize| {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.bytes());
        bytes.resize(bytes.len() + data, 0);
        bytes
    };
    for header in [
        r#"{"a":{"dtype":"F32","shape":[4611686018427387904,8],"data_offsets":[0,4]}}"#,
        r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[18446744073709551611,18446744073709551615]}}"#,
        r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}"#,
    ] {
        let lie = file(header, 4);
        assert!(matches!(tensors_from_safetensors(&lie), Err(SafetensorsError::Layout(_))), "{header}");
    }
    assert!(matches!(tensors_from_safetensors(&u64::MAX.to_le_bytes()), Err(SafetensorsError::Layout(_))));
    for header in [
        r#"{"a":{"dtype":"F99","shape":[1],"data_offsets":[0,4]}}"#,
        r#"{"__metadata__":{"steps":7},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#,
        "[]",
    ] {
        let error = tensors_from_safetensors(&file(header, 4)).unwrap_err();
        assert!(matches!(error, SafetensorsError::Header { .. }), "{header}");
        // Nothing is damaged, and the reason is said once.
        let said = chain(&error);
        assert!(said.starts_with("the safetensors header is not understood: ") && said.lines().count() == 1, "{said}");
    }
    let ints = file(r#"{"a":{"dtype":"I8","shape":[4],"data_offsets":[0,4]}}"#, 4);
    let entries = tensors_from_safetensors(&ints).unwrap();
    assert_eq!(entries, [("a".to_owned(), Entry::Other("a tensor of I8".to_owned()))]);
    // Aliases of anything but the embedding and the head would make a large model of a small file.
    let aliases = file(
        r#"{"__metadata__":{"lm_head.weight":"a","model.embeddings.weight":"a","layers.0.mixer.D":"a","b":"c"},
            "a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#,
        4,
    );
    let names: Vec<String> = tensors_from_safetensors(&aliases).unwrap().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["a", "lm_head.weight", "model.embeddings.weight"]);
}

fn program(write: impl FnOnce(&mut Pickler)) -> Vec<u8> {
    let mut pickler = Pickler::new();
    write(&mut pickler);
    pickler.op(b".");
    pickler.bytes
}

#[test]
fn python_objects_are_refused_by_name() {
    for (module, name) in [
        ("posix", "system"),
        ("builtins", "eval"),
        ("torch", "device"),
        ("torch._utils", "_rebuild_tensor"),
        ("collections", "defaultdict"),
    ] {
        let refused = |bytes: &[u8], at: usize| match parse_pickle(bytes) {
            Err(PickleError::Class { module: m, name: n, offset }) => {
                assert_eq!((&*m, &*n, offset), (module, name, at));
            }
            other => panic!("{other:?}"),
        };
        refused(&program(|p| p.global(module, name)), 2);
        let stacked = program(|p| {
            p.string(module);
            p.string(name);
            p.op(&[0x93]);
        });
        refused(&stacked, 2 + 7 + module.len() + 7 + name.len());
    }
    let zip = synth::torch_zip_of(b"\x80\x02cposix\nsystem\nX\x02\0\0\0ls\x85R.", &[]);
    let error = read_torch_zip(&zip).unwrap_err().to_string();
    assert_eq!(error, "the pickle wants the Python object `posix.system` (byte 2), which is not read");
}

#[test]
fn opcodes_are_refused_by_number() {
    let known =
        b"\x80\x81\x85\x86\x87\x88\x89\x8a\x8b\x8c\x8d\x8e\x8f\x90\x91\x92\x93\x94\x95\x96NJKMGXBCc()]}tqrhjaesuQRb012.";
    for code in 0..=u8::MAX {
        let error = parse_pickle(&[0x80, 4, code]).unwrap_err();
        let refused = PickleError::Opcode { code, offset: 2 };
        assert_eq!(error == refused, !known.contains(&code), "{code:#x}: {error}");
    }
    let error = parse_pickle(b"\x80\x02i").unwrap_err().to_string();
    assert_eq!(error, "opcode 0x69 at byte 2 of the pickle is not one that torch.save writes");
}

#[test]
fn malformed_programs() {
    let malformed: &[(&[u8], &str)] = &[
        (b".", "nothing to return"),
        (b"N(.", "below a mark"),
        (b"(N\x86.", "a pair of one"),
        (b"t", "no mark"),
        (b"q\x00", "memoise nothing"),
        (b"h\x07", "an empty slot"),
        (b"Na", "append to nothing"),
        (b"NNa", "append to None"),
        (b"]NNs", "set an item of a list"),
        (b"}(Nu", "half a pair"),
        (b"NQ", "a persistent id that is no tuple"),
        (b")Q", "an empty persistent id"),
        (b"NNR", "call None"),
        (b"N)R", "call None with nothing"),
        (b"ccollections\nOrderedDict\nNR", "arguments that are no tuple"),
        (b"ccollections\nOrderedDict\nN\x85R", "an argument too many"),
        (b"ctorch._utils\n_rebuild_tensor_v2\n)R", "no arguments"),
        (b"NNb", "build None"),
        (b"NN\x93", "a class of no strings"),
        (b"X\x01\0\0\0\xff", "not UTF-8"),
        (b"Nq\x02", "a slot out of turn"),
        (b"0", "pop nothing"),
        (b"1", "no mark"),
        (b"N(0", "pop below a mark"),
        (b"(N\x91N)\x81", "an instance of None"),
    ];
    for (body, what) in malformed {
        let bytes = [b"\x80\x02", *body].concat();
        assert!(matches!(parse_pickle(&bytes), Err(PickleError::Malformed { .. })), "{what}");
    }
    let short: &[&[u8]] = &[b"X\xff\xff\xff\xff", b"\x95", b"J\0", b"ca\nb", b"\x8c\x05abcd", b"", b"N", b"\x8a\xff"];
    for body in short {
        let bytes = [b"\x80\x02", *body].concat();
        assert!(matches!(parse_pickle(&bytes), Err(PickleError::Truncated { .. })), "{}", body.escape_ascii());
    }
    assert_eq!(parse_pickle(b"\x80\x06N."), Err(PickleError::Protocol { found: 6 }));
    let long = vec![b'N'; MAX_PICKLE_BYTES + 1];
    assert_eq!(parse_pickle(&long), Err(PickleError::TooLong { have: MAX_PICKLE_BYTES + 1 }));
}

#[test]
fn nesting_and_sharing_cost_nothing() {
    let no_dict = |bytes: &[u8]| assert!(matches!(parse_pickle(bytes), Err(PickleError::NotStateDict { .. })));
    no_dict(&[b"\x80\x02)".to_vec(), vec![0x85; 1_000_000], b".".to_vec()].concat());
    // Each tuple holds the last one twice: 2^500,000 leaves if copied.
    no_dict(&[b"\x80\x02)q\0".to_vec(), b"h\0h\0\x86q\x000".repeat(500_000), b".".to_vec()].concat());
    // A dict that contains itself.
    no_dict(b"\x80\x02}q\0X\x01\0\0\0ah\0s.");
}

/// A dict that has one name sixty thousand times: the memo repeats it, no copy may.
#[test]
fn names_do_not_multiply() {
    let many = |name: &str| {
        program(|p| {
            p.op(b"}");
            p.string(name);
            p.rebuild_tensor("FloatStorage", 0, 1, 0, &[1], &[1]);
            p.op(b"s(");
            p.op(&b"h\0N".repeat(60_000));
            p.op(b"u");
        })
    };
    let what = |name: &str| match read_torch_zip(&synth::torch_zip_of(&many(name), &[vec![0; 4]])) {
        Err(TorchError::Pickle(PickleError::NotStateDict { what })) => what,
        other => panic!("{other:?}"),
    };
    assert_eq!(what(&"n".repeat(1000)), "its keys are longer than the pickle");
    // Longer than any name: not looked at, however often it is used.
    assert!(what(&"n".repeat(1 << 20)).contains("a key is a long string"));
    let long = "m".repeat(2000);
    let global = program(|p| p.op(format!("c{long}\nn\n").as_bytes()));
    assert!(matches!(parse_pickle(&global), Err(PickleError::Malformed { what: "a name is too long", .. })));
}

/// No program makes the machine take more memory than its limits, which the deepest model is far from.
#[test]
fn nothing_grows_without_a_limit() {
    let most = |body: &[u8], count: usize| {
        let bytes = [b"\x80\x02".to_vec(), body.repeat(count)].concat();
        parse_pickle(&bytes).map(drop)
    };
    for (body, count, what) in [
        (b"N".as_slice(), 1 << 20, "values on its stack"),
        (b"(", 1 << 20, "open marks"),
        (b"N\x940", 1 << 21, "memo entries"),
        (b"N\x850", 1 << 21, "values in tuples"),
        (b"}NNs0", 1 << 20, "entries of dicts"),
        (b"ca\nb\n0", 1 << 18, "classes"),
    ] {
        match most(body, count) {
            Err(PickleError::TooMany { what: found, .. }) => assert_eq!(found, what),
            other => panic!("{what}: {other:?}"),
        }
    }
}

#[test]
fn state_dicts_inside_others() {
    let holding = |entries: &[&str]| {
        program(|p| {
            p.op(b"}");
            for (key, entry) in entries.iter().enumerate() {
                p.string(entry);
                p.op(b"}");
                p.string("w");
                p.rebuild_tensor("FloatStorage", key, 1, 0, &[1], &[1]);
                p.op(b"ss");
            }
            p.string("epoch");
            p.op(b"G\x3f\xf0\0\0\0\0\0\0s");
        })
    };
    for (entries, taken) in [
        (["model"].as_slice(), "model"),
        (&["ema", "state_dict"], "state_dict"),
        (&["state_dict", "model"], "model"),
        (&["whatever"], "whatever"),
    ] {
        let bytes = holding(entries);
        let found = parse_pickle(&bytes).unwrap();
        assert_eq!((found.entry, found.tensors.len()), (Some(taken), 1));
        assert!(found.beside.contains(&"epoch") && !found.beside.contains(&taken), "{:?}", found.beside);
    }
    let error = parse_pickle(&holding(&["ema", "teacher"])).unwrap_err().to_string();
    assert_eq!(error, "the pickle holds no state dict: `ema` is a dict, `teacher` is a dict, `epoch` is a float");
    for (body, what) in [
        (b"K\x01".as_slice(), "its top level is an integer"),
        (b"}K\x01Ns", "a key is an integer"),
        (b"}X\x01\0\0\0aK\x01s", "`a` is an integer"),
        (b"}", "it is an empty dict"),
        (b"}X\x01\0\0\0acos\nsystem\n)Rs", "`a` is an object of `os.system` (byte 9)"),
    ] {
        let error = parse_pickle(&program(|p| p.op(body))).unwrap_err();
        assert_eq!(error, PickleError::NotStateDict { what: what.to_owned() });
    }
}

/// Whatever is made of an unknown class is opaque, however it is called, built or filled.
#[test]
fn unknown_classes_are_skipped_where_nothing_of_them_is_needed() {
    for object in [
        b"cos\nsystem\nX\x02\0\0\0ls\x85R".as_slice(),
        b"cargparse\nNamespace\n)\x81}X\x01\0\0\0aK\x01sb",
        b"ca\nb\n)}\x92(NNu(NNe",
        b"ca\nb\n)R)R",
        b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch.storage\nUntypedStorage\nX\x01\0\0\0\
          0X\x03\0\0\0cpuK\x04tQK\0)))tR",
    ] {
        let bytes = program(|p| {
            p.op(b"}");
            p.string("w");
            p.rebuild_tensor("FloatStorage", 0, 1, 0, &[1], &[1]);
            p.op(b"s");
            p.string("x");
            p.op(object);
            p.op(b"s");
        });
        let found = parse_pickle(&bytes).unwrap_or_else(|error| panic!("{}: {error}", object.escape_ascii()));
        assert_eq!(found.tensors.len(), 1);
        assert!(
            matches!(found.others.as_slice(), [("x", what)] if what.starts_with("an object of `")),
            "{:?}",
            found.others
        );
    }
}

/// A state dict of one tensor `a`.
fn one_tensor(
    storage: &str,
    key: usize,
    elements: usize,
    offset: usize,
    shape: &[usize],
    strides: &[usize],
) -> Vec<u8> {
    program(|p| {
        p.op(b"}");
        p.string("a");
        p.rebuild_tensor(storage, key, elements, offset, shape, strides);
        p.op(b"s");
    })
}

#[test]
fn parameters_and_newer_protocols() {
    let mut bytes = vec![0x80, 4, 0x95, 0, 0, 0, 0, 0, 0, 0, 0];
    let mut p = Pickler::new();
    p.bytes.clear();
    p.op(b"}\x94\x8c\x01a\x94\x8c\x0ctorch._utils\x94\x8c\x12_rebuild_parameter\x94\x93\x94(");
    p.rebuild_tensor("HalfStorage", 7, 6, 1, &[2, 2], &[2, 1]);
    p.op(b"\x88N\x74Rs.");
    bytes.extend(p.bytes);
    let tensors = parse_pickle(&bytes).unwrap().tensors;
    assert_eq!(tensors.len(), 1);
    let tensor = &tensors[0];
    assert_eq!((tensor.name, tensor.storage, tensor.dtype), ("a", "7", Dtype::F16));
    assert_eq!((tensor.storage_elements, tensor.offset), (6, 1));
    assert_eq!((&*tensor.shape, &*tensor.strides), ([2, 2].as_slice(), [2, 1].as_slice()));
}

#[test]
fn torch_tensors_of_every_layout() {
    let floats: Vec<u8> = [1_f32, 2., 3., 4.].iter().flat_map(|v| v.to_le_bytes()).collect();
    let read = |offset, shape: &[usize], strides: &[usize]| {
        let pickle = one_tensor("FloatStorage", 0, 4, offset, shape, strides);
        let zip = synth::torch_zip_of(&pickle, std::slice::from_ref(&floats));
        let tensors = read_torch_zip(&zip).map_err(|error| match error {
            TorchError::View { tensor, source } if tensor == "a" => source,
            other => panic!("{other}"),
        })?;
        Ok(tensors.entries[0].1.tensor().unwrap().to_f32(0..usize::MAX))
    };
    assert_eq!(read(0, &[2, 2], &[2, 1]), Ok(vec![1., 2., 3., 4.]));
    assert_eq!(read(0, &[2, 2], &[1, 2]), Ok(vec![1., 3., 2., 4.]));
    assert_eq!(read(1, &[2], &[2]), Ok(vec![2., 4.]));
    assert_eq!(read(3, &[], &[]), Ok(vec![4.]));
    assert_eq!(read(1, &[0], &[1]), Ok(vec![]));
    assert_eq!(read(2, &[2], &[2]), Err(ViewError::OutOfBounds { need: 20, have: 16 }));
    assert_eq!(read(usize::MAX >> 1, &[1], &[1]), Err(ViewError::Overflow));
    assert_eq!(read(0, &[1 << 62, 8], &[0, 0]), Err(ViewError::Overflow));
    assert_eq!(read(0, &[1 << 40], &[0]), Err(ViewError::Broadcast { elements: 1 << 40, stored: 4 }));
    assert_eq!(read(0, &[2], &[1, 1]), Err(ViewError::Strides { sizes: 1, strides: 2 }));
}

#[test]
fn torch_storages() {
    let zip = |storage: &str, key, elements, bytes: usize| {
        synth::torch_zip_of(&one_tensor(storage, key, elements, 0, &[1], &[1]), &[vec![0; bytes]])
    };
    for (storage, dtype, size) in [
        ("FloatStorage", Dtype::F32, 4),
        ("HalfStorage", Dtype::F16, 2),
        ("BFloat16Storage", Dtype::Bf16, 2),
        ("DoubleStorage", Dtype::F64, 8),
    ] {
        let zip = zip(storage, 0, 1, size);
        assert_eq!(read_torch_zip(&zip).unwrap().entries[0].1.tensor().unwrap().dtype(), dtype);
    }
    let absent = zip("FloatStorage", 1, 1, 4);
    assert!(matches!(read_torch_zip(&absent), Err(TorchError::NoStorage { storage, .. }) if storage == "1"));
    for (claimed, bytes) in [(2, 4), (1, 8), (usize::MAX >> 1, 4)] {
        let bad = zip("FloatStorage", 0, claimed, bytes);
        assert!(matches!(read_torch_zip(&bad), Err(TorchError::StorageSize { .. })));
    }
    // A thousand views of one storage would be a thousand times the file.
    let views = program(|p| {
        p.op(b"}(");
        for i in 0..1000 {
            p.string(&format!("t{i}"));
            p.rebuild_tensor("FloatStorage", 0, 1 << 20, 0, &[1 << 20], &[1]);
        }
        p.op(b"u");
    });
    let inflated = synth::torch_zip_of(&views, &[vec![0; 4 << 20]]);
    assert!(matches!(read_torch_zip(&inflated), Err(TorchError::Inflated { .. })));
}

#[test]
fn pickles_that_are_not_in_a_zip() {
    let path = fresh("legacy").join("old.bin");
    fs::write(&path, b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e\x80\x02M\xe9\x03.").unwrap();
    assert!(matches!(load(&path, &Options::default()), Err(FormatError::Foreign { kind: Foreign::LegacyPickle, .. })));
    let empty = zip::ZipWriter::new(std::io::Cursor::new(Vec::new())).finish().unwrap().into_inner();
    assert!(matches!(read_torch_zip(&empty), Err(TorchError::DataPkl { found: 0 })));
}
