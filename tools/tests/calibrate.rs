//! `convert --calibrate`: what it uses of a text, and that it says so.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

/// Runs the command with `input`, without a GPU.
fn run(args: &[&str], input: &[u8]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mambabyte"));
    command.env("CUDA_VISIBLE_DEVICES", "").args(args);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

fn json(args: &[&str]) -> Value {
    serde_json::from_slice(&run(args, b"").stdout).unwrap()
}

/// The first 64 KiB are digits, the rest is a GPS receiver's: scales and hold-out must know both.
#[test]
fn a_head_that_differs_from_the_rest_does_not_choose_the_scales() {
    let dir = tempfile::tempdir().unwrap();
    let [mixed, blob] = ["mixed.txt", "a.mbb"].map(|name| dir.path().join(name).to_str().unwrap().to_owned());
    let rest = path("data/calibration/gnss_nmea.txt");
    let digits: Vec<u8> = b"0123456789".iter().copied().cycle().take(65_536).collect();
    let text = [digits, fs::read(&rest).unwrap()].concat();
    fs::write(&mixed, &text).unwrap();
    let pico = path("../models/sensor-pico");
    let (pico, rest) = (pico.to_str().unwrap(), rest.to_str().unwrap());
    let made = json(&[
        "convert",
        pico,
        "-o",
        &blob,
        "--refine",
        "0",
        "--calibrate",
        &mixed,
        "--json",
        "--unknown-text",
        "4.4",
    ]);
    assert_eq!(json(&["inspect", &blob, "--json"])["unknown_text"], 1126.0 / 256.0);
    assert_eq!(json(&["inspect", "sensor-pico", "--json"])["unknown_text"], 1126.0 / 256.0);
    let used = &made["calibration"][0];
    assert_eq!((&used["text"], &used["bytes_used"]), (&Value::from(mixed), &Value::from(65_536)));
    assert_eq!((&used["bytes"], &used["whole"]), (&Value::from(text.len()), &Value::from(true)));
    assert_eq!(made["holdout_bytes"], 16_384);
    let bpb =
        |model: &str| json(&["eval", model, rest, "--limit", "16000", "--json"])["bits_per_byte"].as_f64().unwrap();
    let (int, f32) = (bpb(&blob), bpb(pico));
    assert!((int - f32).abs() < 0.03, "integer {int}, f32 {f32}");
    // What the command says of its hold-out is what the rest costs, not the digits.
    assert!((made["delta_bpb"].as_f64().unwrap()).abs() < 0.03, "{made}");
}

#[test]
fn the_summary_and_the_report_say_how_much_was_used() {
    let dir = tempfile::tempdir().unwrap();
    let [blob, report] = ["a.mbb", "a.html"].map(|name| dir.path().join(name).to_str().unwrap().to_owned());
    let sample = path("../models/text/gnss-sample.nmea");
    let pico = path("../models/sensor-pico");
    let args = ["convert", pico.to_str().unwrap(), "-o", &blob, "--refine", "0", "--report", &report];
    let text = fs::read(&sample).unwrap();
    let calibrate = ["--calibrate", sample.to_str().unwrap(), "--calibrate", "-"];
    let summary = run(&[&args[..], &calibrate[..]].concat(), &text[..1000]).stdout;
    let [summary, page] = [summary, fs::read(&report).unwrap()].map(|bytes| String::from_utf8(bytes).unwrap());
    for said in [summary, page] {
        assert!(said.contains("gnss-sample.nmea (all 8,981 bytes), standard input (all 1,000 bytes)"), "{said}");
    }
}
