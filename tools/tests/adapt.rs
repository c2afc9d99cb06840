//! Adapters and the model `none`, by command.

mod common;

use std::fs;

use common::{expect, json, line_records, pico, run, run_with, sample, text};
use serde_json::Value;

const PRESETS: [&str; 6] = ["4K", "8K", "16K", "32K", "64K", "1M"];

/// What `stream --json` says of each line.
fn lines(output: &std::process::Output) -> Vec<Value> {
    line_records(output)
}

/// Bits per byte of the lines of the last half.
fn late(lines: &[Value], key: &str) -> f64 {
    let half = &lines[lines.len() / 2..];
    half.iter().map(|line| line[key].as_f64().unwrap()).sum::<f64>() / half.len() as f64
}

#[test]
fn a_stream_is_adapted_unless_it_is_told_not_to_be() {
    let plain = lines(&run(&["stream", "sensor-pico", "--json", &sample()]));
    let named = lines(&run(&["stream", "sensor-pico", "--json", "--adapt", "16k", &sample()]));
    let off = lines(&run(&["stream", "sensor-pico", "--json", "--adapt", "off", &sample()]));
    assert_eq!(plain, named);
    assert_eq!((&plain[0]["adapt"], &off[0]["adapt"]), (&"16K".into(), &"off".into()));
    for (both, alone) in plain.iter().zip(&off) {
        assert_eq!(both["bits_per_byte_net"], alone["bits_per_byte"]);
        assert_eq!(both["peak_net"], alone["peak"]);
        assert!(alone["bits_per_byte_net"].is_null() && alone["peak_net"].is_null());
    }
    assert!(late(&plain, "bits_per_byte") < 0.8 * late(&off, "bits_per_byte"));
    expect(&run(&["stream", "sensor-pico", &sample()]), 0, "  net ");
    assert!(!String::from_utf8_lossy(&run(&["stream", "none", &sample()]).stderr).contains("net"));
}

#[test]
fn every_preset_reads_with_a_model_and_without() {
    for preset in PRESETS {
        for model in ["sensor-pico", "none"] {
            let read = lines(&run(&["stream", model, "--json", "--adapt", preset, &sample()]));
            assert_eq!(read[0]["adapt"], preset);
            assert!(late(&read, "bits_per_byte") < 2.5, "{model} {preset}");
            assert_eq!(read[0]["bits_per_byte_net"].is_null(), model == "none");
        }
    }
}

#[test]
fn something_has_to_read_and_a_preset_has_to_exist() {
    let words = |command: &'static str| -> Vec<String> {
        let text = if command == "generate" || command == "fit" { None } else { Some(sample()) };
        [command.to_owned(), "none".to_owned()].into_iter().chain(text).collect()
    };
    for command in ["stream", "eval", "generate", "checksum", "fit"] {
        let words = words(command);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        expect(&run(&[&words[..], &["--adapt", "off"]].concat()), 2, "`none`");
        expect(&run(&[&words[..], &["--adapt", "2K"]].concat()), 2, "16K");
    }
    expect(&run(&["stream", "none", "--precision", "exact", &sample()]), 2, "--precision");
    expect(&run(&["eval", "none", "--device", "cuda", &sample()]), 2, "--device");
    expect(&run(&["eval", "sensor-pico", "--compare", &sample()]), 2, "--compare");
    expect(&run(&["eval", "none", "--compare", &sample()]), 2, "--compare");
    let dir = tempfile::tempdir().unwrap();
    let out = text(dir.path().join("out"));
    for words in [&["logits", "none", &sample(), "--npy", &out][..], &["convert", "none", "-o", &out]] {
        expect(&run(words), 1, "none");
    }
    expect(&run(&["bench", "--model", "none", "--size", "nano", "--seconds", "0.001"]), 2, "none: no net");
}

#[test]
fn a_stream_that_is_split_anywhere_is_unbroken() {
    let dir = tempfile::tempdir().unwrap();
    let state = text(dir.path().join("state"));
    let bytes = fs::read(sample()).unwrap();
    for (model, adapt) in [("sensor-pico", "16K"), ("sensor-pico", "off"), ("none", "4K"), ("none", "64K")] {
        let stream = ["stream", model, "--json", "--adapt", adapt];
        let whole = run_with(&stream, &bytes);
        for at in [1, 700, 3001] {
            let first = run_with(&[&stream[..], &["--save-state", &state]].concat(), &bytes[..at]);
            let second = run_with(&[&stream[..], &["--load-state", &state]].concat(), &bytes[at..]);
            let joined: Vec<Value> = [lines(&first), lines(&second)].concat();
            let scores = |lines: Vec<Value>| -> Vec<[Value; 6]> {
                let keys = ["line", "start", "bits_per_byte", "peak", "bits_per_byte_net", "peak_net"];
                lines.iter().map(|line| keys.map(|key| line[key].clone())).collect()
            };
            assert_eq!(scores(joined), scores(lines(&whole)), "{model} {adapt} {at}");
        }
    }
}

#[test]
fn a_state_of_another_reader_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let save = |name: &str, model: &str, adapt: &str| {
        let path = text(dir.path().join(name));
        expect(&run(&["stream", model, "--adapt", adapt, "--save-state", &path, &sample()]), 0, "");
        path
    };
    let (k8, off, none) =
        (save("8K", "sensor-pico", "8K"), save("off", "sensor-pico", "off"), save("none", "none", "8K"));
    for (model, adapt, state, reason) in [
        ("sensor-pico", "4K", &k8, "8K"),
        ("sensor-pico", "off", &k8, "(adapter)"),
        ("sensor-pico", "8K", &off, "(adapter)"),
        ("sensor-pico", "8K", &none, "line scorer of the net"),
        ("none", "8K", &k8, "line scorer of the net"),
        ("sensor-nano", "8K", &k8, "another model"),
    ] {
        let output = run(&["stream", model, "--adapt", adapt, "--load-state", state, &sample()]);
        expect(&output, 1, reason);
        expect(&output, 1, "--adapt");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn eval_measures_net_adapter_and_both() {
    let dir = tempfile::tempdir().unwrap();
    let plot = text(dir.path().join("curve.svg"));
    let eval = |words: &[&str]| json(&run(&[&["eval", words[0], &sample(), "--json"], &words[1..]].concat()));
    let bits = |value: &Value, key: &str| value[key].as_f64();
    let all = eval(&["sensor-pico", "--adapt", "8K", "--compare", "--plot", &plot]);
    let (net, none) = (eval(&["sensor-pico"]), eval(&["none", "--adapt", "8K"]));
    let both = eval(&["sensor-pico", "--adapt", "8K"]);
    assert_eq!((&all["adapt"], &net["adapt"]), (&"8K".into(), &"off".into()));
    assert_eq!(all["bits_per_byte_net"], net["bits_per_byte"]);
    assert_eq!(net["bits_per_byte_net"], net["bits_per_byte"]);
    assert_eq!(all["bits_per_byte_adapter"], none["bits_per_byte"]);
    assert_eq!(none["bits_per_byte_adapter"], none["bits_per_byte"]);
    assert_eq!(all["bits_per_byte"], both["bits_per_byte"]);
    assert!(none["bits_per_byte_net"].is_null() && both["bits_per_byte_adapter"].is_null());
    assert!(bits(&all, "bits_per_byte") < bits(&all, "bits_per_byte_net"));
    assert!(bits(&all, "bits_per_byte") < bits(&all, "bits_per_byte_adapter"));
    assert_eq!(all["texts"][0]["bits_per_byte_adapter"], none["bits_per_byte"]);
    assert_eq!(all["by_position"][2]["bits_per_byte_net"], net["by_position"][2]["bits_per_byte"]);
    let drawn = fs::read_to_string(&plot).unwrap();
    assert!(["<svg", "net", "mixed", "adapter"].iter().all(|part| drawn.contains(part)));

    let table = run(&["eval", "sensor-pico", &sample(), "--adapt", "8K", "--compare"]);
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    for part in ["net", "mixed", "adapter 8K", "by position: net, mixed, adapter"] {
        assert!(table.contains(part), "{table}");
    }
    expect(&run(&["eval", "sensor-pico", &plot, "--plot", &plot]), 2, "--plot");
}

#[test]
fn a_window_starts_both_anew() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = fs::read(sample()).unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = text(dir.path().join(name));
        fs::write(&path, bytes).unwrap();
        path
    };
    let (twice, once) = (file("twice", &[&bytes[..1500], &bytes[..1500]].concat()), file("once", &bytes[..1500]));
    let bits = |words: &[&str]| json(&run(&[&["eval", "sensor-pico", "--adapt", "4K", "--json"], words].concat()));
    let (windows, single) = (bits(&[&twice, "--window", "1500"]), bits(&[&once]));
    assert_eq!(windows["bits_per_byte"], single["bits_per_byte"]);
    assert!(bits(&[&twice])["bits_per_byte"].as_f64() < single["bits_per_byte"].as_f64());
}

#[test]
fn the_checksum_is_of_what_reads() {
    let sum = |words: &[&str]| json(&run(&[&["checksum", words[0], &sample(), "--json"], &words[1..]].concat()));
    let mut seen = vec![sum(&["sensor-pico"])["checksum"].clone()];
    for words in [&["sensor-pico", "--adapt", "4K"][..], &["sensor-pico", "--adapt", "16K"], &["none"]] {
        let value = sum(words);
        assert_eq!(value["adapt"], words.get(2).copied().unwrap_or("16K"));
        assert!(!seen.contains(&value["checksum"]));
        seen.push(value["checksum"].clone());
    }
    for backend in [&["--backend", "scalar"][..], &["--threads", "1"]] {
        let again = sum(&[&["sensor-pico", "--adapt", "16K"], backend].concat());
        assert_eq!(again["checksum"], seen[2]);
    }
    let printed = run(&["checksum", "none", &sample(), "--adapt", "8K"]);
    assert!(String::from_utf8_lossy(&printed.stdout).ends_with("bytes, adapter 8K\n"));
}

#[test]
fn text_is_written_from_the_mixed_distribution() {
    let dir = tempfile::tempdir().unwrap();
    let prompt = text(dir.path().join("prompt"));
    let line = "key=value, other=4711, state=idle\n";
    fs::write(&prompt, line.repeat(12)).unwrap();
    let write = |words: &[&str]| {
        let output = run(&[&["generate"], words, &["--prompt-file", &prompt, "-n", "68"]].concat());
        expect(&output, 0, "");
        output.stdout
    };
    // What repeats goes on, with a model that never saw the like and without one.
    for model in ["sensor-pico", "none"] {
        let written = write(&[model, "--adapt", "16K", "--temperature", "0"]);
        assert_eq!(String::from_utf8_lossy(&written), line.repeat(2), "{model}");
    }
    assert_ne!(write(&["sensor-pico", "--temperature", "0"]), line.repeat(2).as_bytes());
    let seeded = |seed: &str, more: &[&str]| {
        write(&[&["sensor-pico", "--adapt", "8K", "--temperature", "3", "--seed", seed], more].concat())
    };
    let first = seeded("1", &[]);
    assert_eq!(first, seeded("1", &["--threads", "1", "--backend", "scalar"]));
    assert_ne!(first, seeded("2", &[]));
    assert_eq!(seeded("1", &["--top-k", "1"]), line.repeat(2).as_bytes());
}

#[test]
fn sizes_say_what_an_adapter_takes() {
    let with = json(&run(&["fit", "sensor-pico", "--adapt", "8K", "--json"]));
    let without = json(&run(&["fit", "sensor-pico", "--json"]));
    let adapters = json(&run(&["inspect", "sensor-pico", "--json"]))["adapters"].clone();
    let eight = &adapters[1];
    assert_eq!((&eight["adapt"], &with["adapt"], &without["adapt"]), (&"8K".into(), &"8K".into(), &"off".into()));
    assert_eq!((&with["adapter"], &with["start_values"]), (&eight["ram"], &eight["start_values"]));
    let left = |value: &Value, key: &str| value["chips"][0][key].as_i64().unwrap();
    let of = |key: &str| eight[key].as_i64().unwrap();
    assert!(of("ram") > 0 && of("ram") <= 8192 && of("start_values") > 0);
    assert_eq!(left(&without, "ram_left") - left(&with, "ram_left"), of("ram"));
    assert_eq!(left(&without, "flash_left") - left(&with, "flash_left"), of("start_values"));
    let none = json(&run(&["fit", "none", "--adapt", "4K", "--chip", "nRF51822", "--json"]));
    assert_eq!((&none["flash"], &none["chips"][0]["fits"]), (&0.into(), &true.into()));
    assert_eq!(json(&run(&["inspect", "none", "--json"]))["adapters"], adapters);
    let shown = run(&["inspect", &pico()]);
    assert!(PRESETS.iter().all(|preset| String::from_utf8_lossy(&shown.stdout).contains(preset)));
}

#[test]
fn a_file_called_none_is_a_model_as_any_other() {
    let dir = tempfile::tempdir().unwrap();
    fs::copy(pico(), dir.path().join("none")).unwrap();
    let mut command = common::command();
    let inspected = command.args(["inspect", "none", "--json"]).current_dir(dir.path()).output().unwrap();
    assert_eq!(json(&inspected)["name"], "sensor-pico");
}
