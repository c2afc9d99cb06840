//! The command line: every command on real input, wrong use, damaged files; exit codes 0, 1, 2.

mod common;

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::Range;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use common::{command, expect, json, model_file, pico, run, run_with, sample, text};

#[test]
fn convert_writes_a_blob_a_report_and_json() {
    let dir = tempfile::tempdir().unwrap();
    let (out, report) = (text(dir.path().join("a.mbb")), text(dir.path().join("a.html")));
    let checkpoint = text(model_file("sensor-pico", ""));
    let brief = ["convert", &checkpoint, "--mixture", "sensor", "--refine", "3", "--json", "-o"];
    let v = json(&run(&[&brief[..], &[&out, "--report", &report]].concat()));
    assert_eq!(v["params"], 33_472);
    assert!(v["bytes"].as_u64().unwrap() as f64 <= 1.08 * 33_472.0);
    assert!(v["delta_bpb"].as_f64().unwrap().abs() < 0.01);
    assert!(v["bpb_f32"].is_f64() && v["bpb_int"].is_f64() && v["fingerprint"].as_str().unwrap().len() == 32);
    let page = std::fs::read_to_string(&report).unwrap();
    assert!(page.contains("<svg") && !page.contains("<script") && !page.contains("src="));
    assert_eq!(v["calibration"].as_array().unwrap().len(), 8);
    let notes = v["notes"].to_string();
    assert!(notes.contains("refinement: divergence from the f32 model"), "{notes}");
    expect(&run(&["inspect", &out]), 0, "");

    let kept = text(dir.path().join("kept.mbb"));
    std::fs::write(&kept, b"mine").unwrap();
    let refused = run(&["convert", &checkpoint, "--refine", "0", "-o", &kept, "--max-delta", "-1"]);
    expect(&refused, 1, "bits per byte more than f32");
    assert_eq!(std::fs::read(&kept).unwrap(), b"mine");
    expect(&run(&["convert", "no/such", "-o", &kept]), 1, "no/such");
    expect(&run(&["convert", &checkpoint]), 2, "--output");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 3, "no temporary file is left");
}

/// `model` with other weights under its own fingerprint, every checksum right.
fn other_weights(model: &[u8]) -> Vec<u8> {
    use mambabyte_core::blob::{HEADER, SECTIONS, Section, TABLE_ROW, read_dims};
    let mut bytes = model.to_vec();
    let dims = read_dims(&bytes).unwrap();
    let row = HEADER + Section::OutProj as usize * TABLE_ROW;
    let at = 16 * u32::from_le_bytes(bytes[row..row + 4].try_into().unwrap()) as usize;
    let section = at..at + Section::OutProj.bytes(&dims) as usize;
    bytes[at + 5] ^= 1;
    let crc = crc32fast::hash(&bytes[section]);
    bytes[row + 4..row + 8].copy_from_slice(&crc.to_le_bytes());
    let mut crc = crc32fast::Hasher::new();
    crc.update(&bytes[..HEADER - 4]);
    crc.update(&bytes[HEADER..HEADER + SECTIONS * TABLE_ROW]);
    bytes[HEADER - 4..HEADER].copy_from_slice(&crc.finalize().to_le_bytes());
    bytes
}

#[test]
fn other_weights_under_a_fingerprint_are_refused_by_name_and_shown() {
    let dir = tempfile::tempdir().unwrap();
    let other = text(dir.path().join("other.mbb"));
    std::fs::write(&other, other_weights(&std::fs::read(pico()).unwrap())).unwrap();
    let name = json(&run(&["inspect", &pico(), "--json"]))["fingerprint"].as_str().unwrap().to_owned();
    let state = text(dir.path().join("state"));
    expect(&run(&["stream", &pico(), &sample(), "--save-state", &state]), 0, "");
    for arguments in [
        vec!["stream", &other, &sample(), "--load-state", &state],
        vec!["generate", &other, "-n", "5"],
        vec!["eval", &other, &sample()],
        vec!["checksum", &other, &sample()],
        vec!["fit", &other],
    ] {
        let output = run(&arguments);
        let said: String = String::from_utf8_lossy(&output.stderr).split_whitespace().collect();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(output.stdout.is_empty(), "{arguments:?}: nothing was computed");
        assert!(said.contains("other.mbb") && said.contains(&format!("callsitself{name},itscontentsare")), "{said}");
        let contents = said.split("itscontentsare").nth(1).unwrap().chars().take_while(char::is_ascii_hexdigit);
        assert!(contents.count() >= 32, "{said}");
    }
    let shown = json(&run(&["inspect", &other, "--json"]));
    assert_eq!((&shown["fingerprint_matches"], &shown["fingerprint"]), (&false.into(), &name.into()));
    let shown = run(&["inspect", &other]);
    assert!(shown.status.success() && String::from_utf8_lossy(&shown.stdout).contains("DOES NOT MATCH"));
}

/// States that no stream leaves, with right checksums: every number at an end of its range.
/// Where the data of each section of a snapshot lies, by kind.
fn sections(snapshot: &[u8]) -> BTreeMap<u16, Range<usize>> {
    let (mut found, mut at) = (BTreeMap::new(), 40);
    while at < snapshot.len() {
        let kind = u16::from_le_bytes([snapshot[at], snapshot[at + 1]]);
        let bytes = u32::from_le_bytes(snapshot[at + 4..at + 8].try_into().unwrap()) as usize;
        found.insert(kind, at + 8..at + 8 + bytes);
        at += 8 + bytes;
    }
    found
}

#[test]
fn made_up_states_are_read_without_harm_and_alike_by_all_kernels() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| text(dir.path().join(name));
    let (saved, state, after) = (file("saved"), file("state"), file("after"));
    let (low, high) = (i16::MIN.to_le_bytes(), i16::MAX.to_le_bytes());
    // The last: a line that is as long as one can be, in a window that is full.
    let long =
        [&[0xff; 16][..], &4095u32.to_le_bytes(), &[0; 4], &64u32.to_le_bytes(), &[0xff; 32], &[0; 512]].concat();
    let cases = [
        (u64::MAX, [low, low], vec![0xff; 572]),
        (1 << 63, [high, high], (0..572).map(|i| [0, 0xff][i / 4 % 2]).collect()),
        (u64::MAX - 2, [low, high], long),
    ];
    // Kinds: 1 the state, 3 and 6 line scorers, 4 the adapter, whose first four bytes say what it is.
    for (adapt, kinds) in [("off", &[1, 2, 3][..]), ("8K", &[1, 2, 3, 4, 6]), ("64K", &[1, 2, 3, 4, 6])] {
        let save = ["stream", &pico(), &sample(), "--threshold", "auto", "--adapt", adapt, "--save-state", &saved];
        expect(&run(&save), 0, "");
        let saved = common::snapshot(&std::fs::read(&saved).unwrap()).to_vec();
        let places = sections(&saved);
        assert!(places.keys().eq(kinds));
        for (position, pair, lines) in &cases {
            let mut bytes = saved.clone();
            bytes[24..32].copy_from_slice(&position.to_le_bytes());
            for (kind, place) in &places {
                let data = &mut bytes[place.clone()];
                match kind {
                    1 => data.chunks_exact_mut(4).for_each(|four| four.copy_from_slice(&pair.concat())),
                    3 | 6 => data.copy_from_slice(lines),
                    4 => data[4..].iter_mut().zip(lines.iter().cycle()).for_each(|(byte, &made_up)| *byte = made_up),
                    _ => {}
                }
            }
            let crc = crc32fast::hash(&[&bytes[..36], &bytes[40..]].concat());
            bytes[36..40].copy_from_slice(&crc.to_le_bytes());
            std::fs::write(&state, &bytes).unwrap();
            let stream = |more: &[&str]| {
                let words = ["stream", &pico(), &sample(), "--adapt", adapt, "--load-state", &state];
                let threshold = if more.contains(&"--threshold") { &[][..] } else { &["--threshold", "auto"] };
                let output = run(&[&words[..], more, threshold].concat());
                expect(&output, 0, "");
                output.stdout
            };
            let scalar =
                stream(&["--json", "--no-time", "--backend", "scalar", "--threads", "1", "--save-state", &after]);
            let end = std::fs::read(&after).unwrap();
            assert_eq!(
                end[24..32],
                u64::wrapping_add(*position, std::fs::read(sample()).unwrap().len() as u64).to_le_bytes()
            );
            assert!(
                stream(&["--json", "--no-time", "--save-state", &after]) == scalar
                    && std::fs::read(&after).unwrap() == end
            );
            stream(&["--color", "--threshold", "3"]);
        }
    }
}

#[test]
fn inspect_fit_eval_checksum_logits() {
    let v = json(&run(&["inspect", &pico(), "--json"]));
    assert_eq!((&v["d_model"], &v["state"], &v["fingerprint_matches"]), (&32.into(), &4224.into(), &true.into()));
    expect(&run(&["inspect", &text(model_file("sensor-pico", ""))]), 2, "mambabyte convert");
    expect(&run(&["inspect", &sample()]), 1, "not a MambaByte blob");

    let fit = json(&run(&["fit", &pico(), "--json"]));
    let chips = fit["chips"].as_array().unwrap();
    assert!(chips.len() >= 12);
    for chip in chips {
        let e = &chip["estimate"];
        let (slow, fast) = (e["bytes_per_second"][0].as_f64().unwrap(), e["bytes_per_second"][1].as_f64().unwrap());
        assert!(0.0 < slow && slow < fast && e["instructions_per_byte"].as_f64().unwrap() > 1000.0, "{chip}");
    }
    let f405 = chips.iter().find(|c| c["chip"] == "STM32F405/407").unwrap();
    assert_eq!(f405["estimate"]["this_shape_was_counted"], true);
    let other = run(&["fit", "--d-model", "96", "--layers", "4", "--chip", "STM32H743"]);
    expect(&other, 0, "");
    let printed = String::from_utf8_lossy(&other.stdout).into_owned();
    assert!(printed.contains("ESTIMATE") && printed.contains(" ~"), "{printed}");
    expect(&run(&["fit", "--d-model", "256", "--layers", "8", "--chip", "rp2350"]), 0, "");
    expect(&run(&["fit", "--d-model", "256", "--layers", "8", "--chip", "micro:bit"]), 1, "does not fit");
    expect(&run(&["fit", "--d-model", "5", "--layers", "8"]), 2, "--d-model");
    expect(&run(&["fit", &pico(), "--chip", "abacus"]), 2, "abacus");

    let int = json(&run(&["eval", &pico(), &sample(), "--window", "2048", "--json"]));
    let f32 = json(&run(&["eval", &text(model_file("sensor-pico", "")), &sample(), "--window", "2048", "--json"]));
    let bpb = |v: &serde_json::Value| v["bits_per_byte"].as_f64().unwrap();
    assert!((bpb(&int) - bpb(&f32)).abs() < 0.03, "{} {}", bpb(&int), bpb(&f32));
    assert_eq!(int["bytes"], 8981);
    assert!(int["bytes_per_second"].is_f64() && !int["by_position"].as_array().unwrap().is_empty());
    expect(&run_with(&["eval", &pico(), "-"], b""), 2, "empty");
    expect(&run(&["eval", &pico(), &sample(), "--window", "0"]), 2, "--window");

    let bytes = std::fs::read(model_file("text", "gnss-sample.nmea")).unwrap();
    let from_file = run(&["checksum", &pico(), &sample()]);
    assert_eq!(from_file.stdout, run_with(&["checksum", &pico(), "-"], &bytes).stdout);
    assert_ne!(from_file.stdout, run_with(&["checksum", &pico(), "-"], &bytes[1..]).stdout);

    let dir = tempfile::tempdir().unwrap();
    let npy = text(dir.path().join("l.npy"));
    expect(&run_with(&["logits", &pico(), "-", "--npy", &npy], &bytes[..40]), 0, "");
    let written = std::fs::read(&npy).unwrap();
    assert!(written.starts_with(b"\x93NUMPY\x01\x00"));
    let header_end = written.iter().position(|&b| b == b'\n').unwrap() + 1;
    let header = String::from_utf8_lossy(&written[8..header_end]);
    assert!(header.contains("'shape': (40, 256)") && header.contains("'<f4'"), "{header}");
    assert_eq!(written.len() - header_end, 40 * 256 * 4);
}

#[test]
fn damaged_blobs_name_the_place() {
    let dir = tempfile::tempdir().unwrap();
    let path = text(dir.path().join("bad.mbb"));
    let good = std::fs::read(model_file("sensor-pico", "model.mbb")).unwrap();
    for (at, name) in [(9, "version"), (100, "header"), (2000, "section"), (good.len() - 40, "section out_proj")] {
        let mut bad = good.clone();
        bad[at] ^= 4;
        std::fs::write(&path, &bad).unwrap();
        expect(&run(&["stream", &path]), 1, name);
    }
}

#[test]
fn stream_passes_everything_on() {
    let mut rng = mambabyte_core::Rng::new(9);
    let garbage: Vec<u8> = (0..20_000).map(|_| rng.next_u64() as u8).collect();
    for input in [&garbage[..], &[b'x'; 9000], b"", b"one\r\ntwo\r\n", b"\0\0\0\n\n\n"] {
        let output = run_with(&["stream", &pico()], input);
        expect(&output, 0, "");
        assert_eq!(output.stdout, input);
    }
    expect(&run_with(&["stream", &pico(), "--threshold", "lots"], b"x"), 2, "--threshold");
    expect(&run(&["stream", &pico(), "--color", "--json"]), 2, "--json");
}

#[test]
fn a_saved_stream_continues_as_if_never_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let state = text(dir.path().join("s"));
    let input = std::fs::read(model_file("text", "gnss-sample.nmea")).unwrap();
    let lines = common::line_records;
    let whole = lines(&run_with(&["stream", &pico(), "--json"], &input));
    for split in [1, 777, 4000] {
        let mut parts = lines(&run_with(&["stream", &pico(), "--json", "--save-state", &state], &input[..split]));
        parts.extend(lines(&run_with(&["stream", &pico(), "--json", "--load-state", &state], &input[split..])));
        assert_eq!(parts, whole, "{split}");
    }
    let nano = text(model_file("sensor-nano", "model.mbb"));
    expect(&run(&["stream", &nano, "--load-state", &state]), 1, "another model");
    let saved = std::fs::read(&state).unwrap();
    for bad in [saved[..saved.len() - 1].to_vec(), saved[..30].to_vec(), {
        let mut flipped = saved.clone();
        *flipped.last_mut().unwrap() ^= 1;
        flipped
    }] {
        std::fs::write(&state, &bad).unwrap();
        expect(&run(&["stream", &pico(), "--load-state", &state, "--save-state", &state]), 1, "s");
        assert_eq!(std::fs::read(&state).unwrap(), bad);
    }
}

#[cfg(unix)]
#[test]
fn interrupt_saves_the_state() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("s");
    let mut child = command()
        .args(["stream", &pico(), "--json", "--save-state", state.to_str().unwrap()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"$GPGGA,1\n").unwrap();
    // The line's record shows that the byte has been read, then the interrupt.
    let mut records = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    assert!(records.any(|record| record.unwrap().contains("GPGGA")));
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    assert!(child.wait().unwrap().success());
    assert!(state.is_file());
    drop(stdin);
}

#[test]
fn generate_is_reproducible() {
    let generate = |extra: &[&str]| {
        let model = pico();
        let mut args = vec!["generate", &model, "-n", "80"];
        args.extend(extra);
        let output = run(&args);
        expect(&output, 0, "");
        assert_eq!(output.stdout.len(), 80);
        output.stdout
    };
    assert_eq!(generate(&["--seed", "7"]), generate(&["--seed", "7"]));
    assert_ne!(generate(&["--seed", "7"]), generate(&["--seed", "8"]));
    assert_eq!(generate(&["--temperature", "0"]), generate(&["--top-k", "1", "--seed", "3"]));
    for bad in [["--top-p", "0"], ["--top-p", "1.5"], ["--temperature", "NaN"], ["--top-k", "257"]] {
        expect(&run(&["generate", &pico(), bad[0], bad[1]]), 2, bad[0]);
    }
}

#[test]
fn a_checkpoint_generates_too() {
    let checkpoint = text(model_file("sensor-pico", ""));
    let greedy = |model: &str| run(&["generate", model, "-n", "40", "--temperature", "0", "--prompt", "$GPGGA,"]);
    let (float, integer) = (greedy(&checkpoint), greedy(&pico()));
    expect(&float, 0, "");
    assert_eq!(float.stdout.len(), 40);
    // Rounded weights may choose otherwise at some point, but not at once.
    assert_eq!(float.stdout[..4], integer.stdout[..4]);
    let seeded = |seed: &str| run(&["generate", &checkpoint, "-n", "40", "--seed", seed]).stdout;
    assert_eq!(seeded("7"), seeded("7"));
    assert_ne!(seeded("7"), seeded("8"));
}

/// No GPU: exit code and message, of a build without GPU code and of one that looks for a driver and a GPU.
fn no_gpu(asked: &str) -> (i32, String) {
    if cfg!(feature = "cuda") {
        (1, "NVIDIA driver".to_owned())
    } else {
        (2, format!("{asked}: this build has no GPU code"))
    }
}

#[test]
fn devices_and_precisions_that_are_not_there() {
    let (checkpoint, npy) = (text(model_file("sensor-pico", "")), text(std::env::temp_dir().join("never.npy")));
    let sample = sample();
    let each = |model: &str, extra: &[&str], code: i32, message: &str| {
        for command in [
            &["eval", model, &sample, "--limit", "100"][..],
            &["logits", model, &sample, "--npy", &npy],
            &["generate", model, "-n", "5"],
        ] {
            let output = run(&[command, extra].concat());
            expect(&output, code, message);
            let lines = String::from_utf8_lossy(&output.stderr).lines().filter(|l| l.contains(message)).count();
            assert_eq!(lines, 1, "{}", String::from_utf8_lossy(&output.stderr));
        }
    };
    let (code, message) = no_gpu("--device cuda");
    each(&checkpoint, &["--device", "cuda"], code, &message);
    each(&pico(), &["--device", "cuda", "--precision", "i8"], code, &message);
    for device in ["cpu", "auto"] {
        each(
            &checkpoint,
            &["--device", device, "--precision", "exact"],
            2,
            "--precision exact: a checkpoint has no integ",
        );
        each(&checkpoint, &["--device", device, "--precision", "i8"], 2, "--precision i8: on the CPU a checkpoint is");
        each(&pico(), &["--device", device, "--precision", "bf16"], 2, "--precision bf16: on the CPU a blob is");
    }
    each(&pico(), &["--precision", "f64"], 2, "--precision");
    assert!(!PathBuf::from(&npy).exists());
    for (model, precision) in [(&checkpoint, "f32"), (&pico(), "exact")] {
        let args = ["eval", model, &sample, "--limit", "100", "--device", "auto", "--precision", precision];
        expect(&run(&args), 0, "");
    }
    expect(&run(&["checksum", &pico(), &sample, "--device", "cuda"]), code, &message);
    expect(&run(&["checksum", &pico(), &sample, "--precision", "f32"]), 2, "--precision");
    let (code, message) = no_gpu("bench gpu");
    expect(&run(&["bench", "gpu"]), code, &message);
    expect(&run(&["bench", "gpu", "--peer"]), 2, "--peer");
    expect(&run(&["bench", "--rounds", "1", "gpu"]), 2, "gpu");
}

#[test]
fn help_and_the_demonstration() {
    for command in
        ["convert", "export", "inspect", "fit", "eval", "logits", "checksum", "stream", "monitor", "generate"]
    {
        expect(&run(&[command, "--help"]), 0, "");
    }
    expect(&run(&["dance"]), 2, "dance");
    let output = run(&[]);
    expect(&output, 0, "");
    let shown = String::from_utf8(output.stdout).unwrap();
    for part in ["bits per byte", "gzip -9", "xz -9", "bytes/s", "What next"] {
        assert!(shown.contains(part), "{part}");
    }
}

#[test]
fn numbers_that_are_none_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let out = text(dir.path().join("out"));
    let convert = ["convert", "sensor-pico", "-o", &out];
    let bench = ["bench", "--size", "nano", "--json", &out];
    let generate = ["generate", "sensor-pico"];
    let stream = ["stream", "sensor-pico", &sample()];
    let options: [(&[&str], &str); 5] = [
        (&convert, "--max-delta"),
        (&bench, "--seconds"),
        (&generate, "--temperature"),
        (&generate, "--top-p"),
        (&stream, "--threshold"),
    ];
    for (words, option) in options {
        for number in ["nan", "NaN", "inf", "-inf", "infinity", "1e400", "", "one"] {
            let with = format!("{option}={number}");
            expect(&run(&[words, &[&with]].concat()), 2, option);
        }
    }
    for (option, value) in [("--limit", "0"), ("--window", "0")] {
        expect(&run(&["eval", "sensor-pico", &sample(), option, value]), 2, option);
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}
