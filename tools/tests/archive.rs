//! `compress`, `decompress`, `prime`, and `inspect` of what they write.

mod common;

use std::fs;

use common::{expect, json, run, run_with, sample, text};

#[test]
fn a_text_comes_back_with_every_kind_of_predictor() {
    let dir = tempfile::tempdir().unwrap();
    let (archive, back) = (text(dir.path().join("a.mba")), text(dir.path().join("back")));
    let original = fs::read(sample()).unwrap()[..3000].to_vec();
    let file = text(dir.path().join("text"));
    fs::write(&file, &original).unwrap();
    for (model, options, adapt) in [
        ("sensor-pico", &[][..], "16K"),
        ("sensor-nano", &["--adapt", "off"], "off"),
        ("sensor-pico", &["--adapt", "1m", "--block", "1000"], "1M"),
        ("none", &["--adapt", "8K"], "8K"),
    ] {
        let packed = json(&run(&[&["compress", model, &file, "-o", &archive, "--json"], options].concat()));
        assert_eq!((&packed["adapt"], &packed["bytes"]), (&adapt.into(), &3000.into()));
        let bytes = fs::metadata(&archive).unwrap().len();
        assert_eq!(packed["archive_bytes"], bytes);
        assert!(bytes < 2000, "{model} {options:?}: {bytes}");
        let seen = json(&run(&["inspect", &archive, "--json"]));
        let seen = &seen["archives"][0];
        assert_eq!(
            (&seen["adapt"], &seen["bytes"], &seen["archive_bytes"]),
            (&adapt.into(), &3000.into(), &bytes.into())
        );
        assert_eq!(seen["model"]["name"], if model == "none" { serde_json::Value::Null } else { model.into() });
        let options = ["--backend", "scalar", "--threads", "1", "--json"];
        let unpacked = json(&run(&[&["decompress", model, &archive, "-o", &back], &options[..]].concat()));
        assert_eq!(unpacked["bytes"], 3000);
        assert!(fs::read(&back).unwrap() == original, "{model}");
    }
    // From pipe to pipe, and one after the other.
    let packed = run_with(&["compress", "none", "-o", "-"], &original);
    expect(&packed, 0, "3,000 bytes to");
    let twice = [&packed.stdout[..], &packed.stdout].concat();
    let unpacked = run_with(&["decompress", "none", "-o", "-"], &twice);
    expect(&unpacked, 0, "6,000 bytes from");
    assert!(unpacked.stdout == [&original[..], &original].concat());
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| text(dir.path().join(name));
    let (archive, out, primed) = (path("a.mba"), path("out"), path("p.mbp"));
    expect(&run(&["compress", "sensor-pico", &sample(), "-o", &archive]), 0, "");
    let other = run(&["decompress", "sensor-nano", &archive, "-o", &out]);
    expect(&other, 1, "compressed with the model sensor-pico");
    expect(&other, 1, "this one is sensor-nano");
    expect(&run(&["decompress", "none", &archive, "-o", &out]), 1, "this one is none");
    expect(&run(&["decompress", "sensor-pico", &sample(), "-o", &out]), 1, "another kind of file");
    expect(&run(&["decompress", "sensor-pico", &archive, "-o", &archive]), 2, "--output");
    expect(&run(&["compress", "sensor-pico", &archive, "-o", &archive]), 2, "--output");
    expect(&run(&["compress", "none", &sample(), "-o", &out, "--adapt", "off"]), 2, "nothing predicts");
    expect(&run(&["compress", "none", &sample(), "-o", &out, "--adapt", "17K"]), 2, "invalid value '17K'");
    expect(&run(&["compress", "none", &sample(), "-o", &out, "--block", "0"]), 2, "--block");
    let checkpoint = text(common::model_file("sensor-pico", "model.safetensors"));
    expect(&run(&["compress", &checkpoint, &sample(), "-o", &out]), 2, "needs a blob");

    // An archive that was begun with a primed adapter needs that one.
    expect(&run(&["prime", "sensor-pico", &sample(), "-o", &primed]), 0, "");
    let again = path("q.mbp");
    expect(&run(&["prime", "sensor-pico", &sample(), &sample(), "-o", &again]), 0, "");
    let primed_archive = path("b.mba");
    expect(&run(&["compress", "sensor-pico", &sample(), "-o", &primed_archive, "--prime", &primed]), 0, "");
    assert!(fs::metadata(&primed_archive).unwrap().len() < fs::metadata(&archive).unwrap().len());
    expect(&run(&["decompress", "sensor-pico", &primed_archive, "-o", &out]), 1, "give it with --prime");
    let decompress = |prime: &str| run(&["decompress", "sensor-pico", &primed_archive, "-o", &out, "--prime", prime]);
    expect(&decompress(&again), 1, "begun with another primed adapter");
    expect(&decompress(&archive), 1, "another kind of file");
    assert!(fs::metadata(&out).is_err(), "nothing was written");
    expect(&decompress(&primed), 0, "");
    assert!(fs::read(&out).unwrap() == fs::read(sample()).unwrap());
    let compress = |model: &str, options: &[&str]| {
        run(&[&["compress", model, &sample(), "-o", &out, "--prime", &primed], options].concat())
    };
    expect(&compress("sensor-nano", &[]), 1, "primed with the model sensor-pico");
    expect(&compress("none", &[]), 1, "this one is none");
    expect(&compress("sensor-pico", &["--adapt", "8K"]), 1, "the primed adapter is 16K, --adapt asks for 8K");
    expect(&compress("sensor-pico", &["--adapt", "off"]), 2, "--prime");
    let seen = json(&run(&["inspect", &primed, "--json"]));
    assert_eq!((&seen["adapt"], &seen["model"]["name"]), (&"16K".into(), &"sensor-pico".into()));
    expect(&run(&["inspect", &primed_archive]), 0, "");
}

#[test]
fn what_is_right_of_a_damaged_archive_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| text(dir.path().join(name));
    let (archive, out) = (path("a.mba"), path("out"));
    let original = fs::read(sample()).unwrap();
    expect(&run(&["compress", "none", &sample(), "-o", &archive, "--block", "1000"]), 0, "");
    let mut bytes = fs::read(&archive).unwrap();
    let last = bytes.len() - 40;
    bytes[last] ^= 1;
    fs::write(&archive, &bytes).unwrap();
    let kept = (original.len() - 1) / 1000 * 1000;
    let damaged = run(&["decompress", "none", &archive, "-o", &out]);
    expect(&damaged, 1, "damaged: CRC-32 is");
    expect(&damaged, 1, &format!("the {kept} bytes that were decoded before it are right"));
    assert!(fs::read(&out).unwrap() == original[..kept]);
    expect(&run(&["inspect", &archive]), 1, "damaged");
    // Of an archive without a right block nothing appears.
    fs::remove_file(&out).unwrap();
    fs::write(&archive, &bytes[..60]).unwrap();
    expect(&run(&["decompress", "none", &archive, "-o", &out]), 1, "cut off");
    fs::write(&archive, b"").unwrap();
    expect(&run(&["decompress", "none", &archive, "-o", &out]), 1, "cut off");
    assert!(!fs::exists(&out).unwrap());
}
