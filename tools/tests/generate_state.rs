//! `generate --load-state`, `--save-state`: a text goes on where a stream or another text was left.

mod common;

use std::fs;

use common::{expect, model_file, pico, run, sample, text};

/// What a command writes.
fn written(words: &[&str]) -> Vec<u8> {
    let output = run(words);
    expect(&output, 0, "");
    output.stdout
}

/// The beginning of the sample, up to somewhere in a line, as a file.
fn beginning(dir: &tempfile::TempDir) -> String {
    let path = text(dir.path().join("beginning"));
    fs::write(&path, &fs::read(sample()).unwrap()[..3333]).unwrap();
    path
}

#[test]
fn a_text_goes_on_where_a_stream_was_left() {
    let dir = tempfile::tempdir().unwrap();
    let (log, state) = (beginning(&dir), text(dir.path().join("state")));
    for (model, adapt, scored) in [
        ("sensor-nano", "off", &["--threshold", "9"][..]),
        ("sensor-nano", "8K", &[]),
        ("none", "16K", &["--threshold", "9"]),
    ] {
        let keep = [&["stream", model, &log, "--adapt", adapt, "--save-state", &state], scored].concat();
        expect(&run(&keep), 0, "");
        let goes_on = ["generate", model, "--adapt", adapt, "--load-state", &state, "-n", "150"];
        let whole = ["generate", model, "--adapt", adapt, "--prompt-file", &log, "-n", "150"];
        for choice in [&["--temperature", "0"][..], &["--seed", "3", "--temperature", "0.8"], &["--top-p", "0.9"]] {
            let expected = written(&[&whole, choice].concat());
            assert!(written(&[&goes_on[..], choice].concat()) == expected, "{model}, {adapt}, {choice:?}");
            let drafts: &[&[&str]] = if model == "none" { &[] } else { &[&["suffix"], &["adapter"], &["sensor-pico"]] };
            for draft in drafts {
                let words = [&goes_on[..], choice, &["--speculate"], draft].concat();
                assert!(written(&words) == expected, "{words:?}");
            }
        }
        // A prompt comes after what the state has read.
        fs::write(dir.path().join("both"), [&fs::read(&log).unwrap()[..], b"$GP"].concat()).unwrap();
        let both = text(dir.path().join("both"));
        let expected = written(&["generate", model, "--adapt", adapt, "--prompt-file", &both, "-n", "60"]);
        assert!(written(&[&goes_on[..7], &["60", "--prompt", "$GP"]].concat()) == expected, "{model}, {adapt}");
    }
}

#[test]
fn a_text_goes_on_where_a_text_was_left() {
    let dir = tempfile::tempdir().unwrap();
    let (log, state) = (beginning(&dir), text(dir.path().join("state")));
    for (model, adapt) in [("sensor-nano", "off"), ("sensor-nano", "8K"), ("none", "4K")] {
        let greedy = ["generate", model, "--adapt", adapt, "--temperature", "0"];
        let first = [&greedy[..], &["--prompt-file", &log]].concat();
        let keep = ["--load-state", &state, "--save-state", &state];
        let whole = written(&[&first[..], &["-n", "230"]].concat());
        assert!(written(&[&first[..], &["-n", "100", "--save-state", &state]].concat()) == whole[..100]);
        let draft: &[&str] = if model == "none" { &[] } else { &["--speculate", "suffix"] };
        assert!(written(&[&greedy[..], &keep, draft, &["-n", "100"]].concat()) == whole[100..200]);
        assert!(written(&[&greedy[..], &keep, &["-n", "30"]].concat()) == whole[200..], "{model}, {adapt}");

        // A stop lies before what was computed; the place is after what is printed.
        let stop = [&first[..], draft, &["-n", "230", "--stop", ",", "--save-state", &state]].concat();
        let part = written(&stop);
        let end = whole.iter().position(|&byte| byte == b',').unwrap() + 1;
        assert!(part == whole[..end]);
        let rest = written(&[&greedy[..], &keep[..2], &["-n", "100"]].concat());
        assert!(rest == whole[end..end + 100], "{model}, {adapt}");
    }
}

#[test]
fn a_state_that_does_not_fit_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (log, state) = (beginning(&dir), text(dir.path().join("state")));
    expect(&run(&["stream", &pico(), &log, "--adapt", "4K", "--save-state", &state]), 0, "");
    let load = |model: &str, adapt: &str| run(&["generate", model, "--load-state", &state, "--adapt", adapt]);
    expect(&load(&pico(), "off"), 1, "adapter");
    expect(&load(&pico(), "8K"), 1, "8K");
    expect(&load("sensor-nano", "4K"), 1, "another model");
    expect(&load("none", "4K"), 1, "another model");
    expect(&run(&["generate", &pico(), "--load-state", "no/such"]), 1, "no/such");
    expect(&run(&["generate", &pico(), "--load-state", &log]), 1, "snapshot");
    expect(&run(&["generate", &pico(), "--save-state", "-"]), 2, "--save-state");
    expect(&run(&["generate", &pico(), "--prompt-file", &log, "--save-state", &log]), 2, "--save-state");
    let checkpoint = text(model_file("sensor-pico", ""));
    expect(&run(&["generate", &checkpoint, "--load-state", &state]), 2, "integers");
    expect(&run(&["generate", &checkpoint, "--save-state", &state]), 2, "integers");
    let two = text(dir.path().join("two"));
    fs::write(&two, "a\t$GPGGA,\nb\t$GPGGA,\n").unwrap();
    expect(&run(&["stream", &pico(), &two, "--multiplex", "--adapt", "off", "--save-state", &state]), 0, "");
    expect(&load(&pico(), "off"), 2, "2 streams");
}
