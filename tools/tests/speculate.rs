//! `generate --speculate`: the bytes of plain decoding, whatever else is asked for.

mod common;

use std::fs;

use common::{expect, model_file, pico, run, text};

/// What a command writes.
fn written(words: &[&str]) -> Vec<u8> {
    let output = run(words);
    expect(&output, 0, "");
    output.stdout
}

#[test]
fn drafts_change_no_byte_of_the_output() {
    let dir = tempfile::tempdir().unwrap();
    let prompt = text(dir.path().join("prompt"));
    // Broken UTF-8, and lines that repeat.
    fs::write(&prompt, [&b"\xff\xc3key=value, other=4711\n"[..]; 8].concat()).unwrap();
    let checkpoint = text(model_file("sensor-pico", ""));
    let cases: [&[&str]; 6] = [
        &["sensor-micro", "--prompt", "$GPGGA,", "--temperature", "0.8", "--seed", "5"],
        &["sensor-micro", "--prompt", "$GPGGA,", "--temperature", "0"],
        &["sensor-nano", "--prompt-file", &prompt, "--top-p", "0.9"],
        &["sensor-nano", "--prompt-file", &prompt, "--adapt", "8K", "--top-k", "9"],
        &["sensor-nano", "--prompt", "$GP", "--stop", ",", "--stop", "\n", "--temperature", "1.5", "--seed", "2"],
        &[&checkpoint, "-n", "100", "--threads", "1"],
    ];
    for case in cases {
        let case = [&["generate"], case].concat();
        let alone = written(&case);
        let drafts: [&[&str]; 3] =
            [&["suffix"], &["adapter", "--draft-len", "5"], &["sensor-pico", "--draft-len", "auto", "--stats"]];
        for draft in drafts {
            let words = [&case[..], &["--speculate"], draft].concat();
            assert!(written(&words) == alone, "{words:?}");
        }
    }
}

#[test]
fn stats_say_what_happened() {
    let words =
        ["generate", "sensor-micro", "--prompt", "$GPGGA,", "-n", "200", "--speculate", "sensor-nano", "--stats"];
    let output = run(&words);
    expect(&output, 0, "drafted ");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    for word in ["accepted", "rounds of", "verify", "replay", "without drafts"] {
        assert!(said.contains(word), "{said}");
    }
    // Without --stats there is at most the note that it does not pay.
    let quiet = run(&words[..8]);
    let said = String::from_utf8_lossy(&quiet.stderr).into_owned();
    assert!(said.is_empty() || said.starts_with("note: --speculate does not pay"), "{said}");
    assert_eq!(quiet.stdout, output.stdout);
}

#[test]
fn rejection_writes_another_text_with_the_same_seed_the_same() {
    let rejection = ["generate", &pico(), "-n", "120", "--speculate", "sensor-nano", "--speculate-mode", "rejection"];
    let first = written(&rejection);
    assert_eq!(first.len(), 120);
    assert_eq!(first, written(&rejection));
    assert_ne!(first, written(&rejection[..4]));
    let greedy = [&rejection[..], &["--temperature", "0"]].concat();
    assert_eq!(written(&greedy), written(&[&rejection[..4], &["--temperature", "0"]].concat()));
}

#[test]
fn wrong_use_is_refused_by_name() {
    for length in ["0", "32", "many", "-1"] {
        let length = format!("--draft-len={length}");
        expect(&run(&["generate", &pico(), "--speculate", "suffix", &length]), 2, "--draft-len");
    }
    for alone in [&["--stats"][..], &["--draft-len", "4"], &["--speculate-mode", "rejection"]] {
        expect(&run(&[&["generate", &pico()], alone].concat()), 2, "--speculate");
    }
    expect(&run(&["generate", "none", "--speculate", "suffix"]), 2, "--speculate: the model is `none`");
    expect(&run(&["generate", &pico(), "--speculate", "no/such"]), 1, "no/such");
    expect(&run(&["generate", &pico(), "--speculate", "suffix", "--speculate-mode", "paper"]), 2, "rejection");
}
