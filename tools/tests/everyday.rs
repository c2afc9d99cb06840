//! What happens every day: streams that are full or closed, names and prompts, endless texts, long lines.
#![cfg(unix)]

mod common;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Output, Stdio};

use mambabyte_core::blob::{HEADER, SECTIONS, TABLE_ROW};

use common::{command, expect, json, model_file, pico, run, run_with, sample, text};

/// The folder of a checkpoint without its config.json, about which there is a note.
fn noted() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::copy(model_file("sensor-pico", "model.safetensors"), dir.path().join("model.safetensors")).unwrap();
    dir
}

/// Makes the checksum of a changed header right: it is of what is before it and of the section table.
fn seal(blob: &mut [u8]) {
    let table = HEADER..HEADER + SECTIONS * TABLE_ROW;
    let crc = crc32fast::hash(&[&blob[..HEADER - 4], &blob[table]].concat());
    blob[HEADER - 4..HEADER].copy_from_slice(&crc.to_le_bytes());
}

#[test]
fn notes_that_nobody_takes_change_nothing() {
    let dir = noted();
    let checkpoint = text(dir.path().to_owned());
    let eval = ["eval", &checkpoint, &sample(), "--limit", "200", "--json"];
    let good = run(&eval);
    expect(&good, 0, "note: no config.json");
    let bpb = json(&good)["bits_per_byte"].clone();

    let closed = |words: &[&str]| -> Output {
        let mut shell = Command::new("sh");
        shell.args(["-c", "exec \"$0\" \"$@\" 2>&-", env!("CARGO_BIN_EXE_mambabyte")]).args(words).output().unwrap()
    };
    assert_eq!(json(&closed(&eval))["bits_per_byte"], bpb);
    let Ok(full) = File::options().write(true).open("/dev/full") else {
        println!("NOT RUN: standard error on /dev/full: it is not there");
        return;
    };
    let with = |words: &[&str], out: Stdio, err: Stdio| -> Option<i32> {
        command().args(words).stdout(out).stderr(err).status().unwrap().code()
    };
    let full = || Stdio::from(full.try_clone().unwrap());
    let result = command().args(eval).stderr(full()).output().unwrap();
    assert_eq!(json(&result)["bits_per_byte"], bpb);
    for (words, code) in [
        (&["stream", "sensor-pico", &sample()][..], 0),
        (&["eval", "sensor-pico", "no/such"], 1),
        (&["eval", "sensor-pico", &sample(), "no/such"], 1),
        (&["dance"], 2),
        (&["convert", "sensor-pico", "-o", &pico(), "--max-delta", "nan"], 2),
    ] {
        assert_eq!(with(words, Stdio::null(), full()), Some(code), "{words:?}");
        assert_eq!(closed(words).status.code(), Some(code), "{words:?}");
    }
    // A result that cannot be written is another matter.
    for words in [&eval[..], &["--help"], &["--version"], &["models"], &["completions", "bash"], &["man"], &[]] {
        assert_eq!(with(words, full(), Stdio::null()), Some(1), "{words:?}");
    }
}

#[test]
fn names_cannot_command_a_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let out = text(dir.path().join("out"));
    for (name, reason) in [("a\u{1b}]52;c;\u{7}", "control characters"), ("twenty-five bytes are many", "24")] {
        expect(&run(&["convert", "sensor-pico", "-o", &out, "--name", name]), 2, reason);
    }
    // A blob from elsewhere: the name is at 96.
    let mut blob = fs::read(pico()).unwrap();
    blob[96..108].copy_from_slice(b"x\x1b]52;c;\x07\x7f<b");
    seal(&mut blob);
    fs::write(&out, &blob).unwrap();
    let output = run(&["inspect", &out]);
    expect(&output, 0, "");
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.lines().next().unwrap().contains("\"x\\u{1b}]52;c;\\u{7}\\u{7f}<b"), "{shown:?}");
    let harmless = |bytes: &[u8]| bytes.iter().all(|&b| b == b'\n' || !b.is_ascii_control());
    assert!(harmless(shown.as_bytes()));
    let output = run(&["inspect", &out, "--json"]);
    assert!(harmless(&output.stdout));
    assert_eq!(json(&output)["name"], "x\u{1b}]52;c;\u{7}\u{7f}<b");
    // A path may hold anything, too.
    for command in ["inspect", "eval"] {
        let output = run(&[command, "no\u{1b}[2Jsuch", &sample()][..if command == "eval" { 3 } else { 2 }]);
        expect(&output, 1, "no\\u{1b}[2Jsuch");
    }
}

#[test]
fn prompts_and_stop_texts_are_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("prompt");
    let bytes = b"\xff\x80$GPGGA,\n";
    fs::write(&file, bytes).unwrap();
    let generate = ["generate", "sensor-pico", "-n", "60", "--temperature", "0"];
    let after = |words: &[&OsStr]| {
        let output = command().args(generate).args(words).output().unwrap();
        expect(&output, 0, "");
        output.stdout
    };
    let by_word = after(&[OsStr::new("--prompt"), OsStr::from_bytes(bytes)]);
    assert_eq!(by_word.len(), 60);
    assert_eq!(by_word, after(&[OsStr::new("--prompt-file"), file.as_os_str()]));
    assert_eq!(by_word, run_with(&[&generate[..], &["--prompt", "-"]].concat(), bytes).stdout);
    assert_ne!(by_word, after(&[]));
    expect(&run(&[&generate[..], &["--prompt", "x", "--prompt-file", "y"]].concat()), 2, "--prompt-file");
    expect(&run(&[&generate[..], &["--prompt-file", "no/such"]].concat()), 1, "no/such");

    // The stop text is the end of what is printed; without it in the text, nothing changes.
    let whole = after(&[]);
    for (from, to) in [(0, 1), (5, 9), (30, 33), (50, 60)] {
        let stop = &whole[from..to];
        let first = whole.windows(stop.len()).position(|window| window == stop).unwrap() + stop.len();
        let ended = after(&[OsStr::new("--stop"), OsStr::from_bytes(stop)]);
        assert_eq!(ended, whole[..first], "{stop:?}");
        let stops = ["--stop", "\u{1}\u{1}\u{1}", "--stop"].map(OsStr::new);
        let either = after(&[&stops[..], &[OsStr::from_bytes(stop)]].concat());
        assert_eq!(either, ended);
    }
    assert_eq!(after(&["--stop", "\u{1}\u{2}"].map(OsStr::new)), whole);
    expect(&run(&[&generate[..], &["--stop", ""]].concat()), 2, "--stop");
}

#[cfg(target_os = "linux")]
#[test]
fn no_more_is_read_than_the_limit_says() {
    let limited = "ulimit -v 4000000; exec \"$0\" \"$@\"";
    let mut shell = Command::new("sh");
    shell.args(["-c", limited, env!("CARGO_BIN_EXE_mambabyte"), "eval", "sensor-pico", "/dev/zero", "--json"]);
    assert_eq!(json(&shell.args(["--limit", "1000"]).output().unwrap())["bytes"], 1000);

    // Standard input stays open: the command ends all the same.
    let mut child = command();
    child.args(["eval", "sensor-pico", "-", "--limit", "10", "--json"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = child.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, b"0123456789ab").unwrap();
    assert_eq!(json(&child.wait_with_output().unwrap())["bytes"], 10);
    drop(stdin);
}

#[test]
fn one_text_of_several_that_fails_does_not_hide_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let (empty, folder, sample) = (text(dir.path().join("empty")), text(dir.path().to_owned()), sample());
    fs::write(&empty, b"").unwrap();
    let texts = ["eval", "sensor-pico", &sample, &empty, "no/such", &folder, &sample, "--limit", "500"];
    let output = run(&texts);
    for reason in ["empty: the text is empty", "no/such: No such file", "Is a directory", "3 of 5 texts"] {
        expect(&output, 1, reason);
    }
    let table = String::from_utf8(output.stdout).unwrap();
    assert_eq!((table.matches("gnss-sample").count(), table.matches("1,000").count()), (2, 1), "{table}");
    let output = run(&[&texts[..], &["--json"]].concat());
    assert_eq!(output.status.code(), Some(1));
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let count = |key: &str| value[key].as_array().unwrap().len();
    assert_eq!((count("texts"), count("failed"), value["bytes"].as_u64()), (2, 3, Some(1000)));
    expect(&run(&["eval", "sensor-pico", "no/such"]), 1, "no/such");
    expect(&run(&["eval", "sensor-pico", &empty, "no/such"]), 1, "2 of 2 texts");
}

#[test]
fn a_path_need_not_be_unicode() {
    let dir = tempfile::tempdir().unwrap();
    let bad = OsStr::from_bytes(b"bad\xff\x1b.txt");
    let eval = |texts: &[&OsStr]| {
        let mut eval = command();
        eval.args(["eval", "sensor-pico"]).args(texts).arg("--json").current_dir(dir.path()).output().unwrap()
    };
    if fs::write(dir.path().join(bad), b"$GPGGA,").is_err() {
        println!("NOT RUN: a path that is no Unicode: this file system has none");
        return;
    }
    let name = "bad\u{fffd}\u{1b}.txt";
    assert_eq!(json(&eval(&[bad]))["texts"][0]["text"], name);
    fs::remove_file(dir.path().join(bad)).unwrap();
    let output = eval(&[bad, bad]);
    expect(&output, 1, "2 of 2 texts");
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value["failed"][1]["text"], name);

    // Nor does it command a terminal, by any refusal.
    fs::write(dir.path().join(bad), b"short").unwrap();
    let mut convert = command();
    convert.args(["convert", "sensor-pico", "-o", "out", "--calibrate"]).arg(bad).current_dir(dir.path());
    let refused = convert.output().unwrap();
    expect(&refused, 2, "5 bytes are too few");
    assert!(!refused.stderr.contains(&0x1b), "{}", String::from_utf8_lossy(&refused.stderr));
    // A blob whose contents were changed with all checksums: the fingerprint, at 80, is another.
    let mut blob = fs::read(pico()).unwrap();
    blob[80] ^= 1;
    seal(&mut blob);
    fs::write(dir.path().join(bad), blob).unwrap();
    let other = command().arg("checksum").arg(bad).arg(sample()).current_dir(dir.path()).output().unwrap();
    expect(&other, 1, "the blob calls itself");
    assert!(!other.stderr.contains(&0x1b), "{}", String::from_utf8_lossy(&other.stderr));
}

#[test]
fn a_line_longer_than_a_piece_is_one_line() {
    let pieces = |length: usize, end: &str| -> Vec<(u64, Option<u64>, u64)> {
        let input = ["a".repeat(length).as_str(), end].concat();
        let output = run_with(&["stream", "sensor-pico", "--json"], input.as_bytes());
        let values = common::line_records(&output).into_iter();
        values.map(|v| (v["line"].as_u64().unwrap(), v["piece"].as_u64(), v["bytes"].as_u64().unwrap())).collect()
    };
    assert_eq!(pieces(4095, "\nb\n"), [(1, None, 4096), (2, None, 2)]);
    assert_eq!(pieces(4096, "\nb\n"), [(1, Some(1), 4096), (1, Some(2), 1), (2, None, 2)]);
    assert_eq!(pieces(8192, "b\nc"), [(1, Some(1), 4096), (1, Some(2), 4096), (1, Some(3), 2), (2, None, 1)]);
    assert_eq!(pieces(8192, ""), [(1, Some(1), 4096), (1, Some(2), 4096)]);
    assert_eq!(pieces(9000, "\n\n").last(), Some(&(2, None, 1)));

    let input = ["a".repeat(5000).as_str(), "\nb\n"].concat();
    let plain = run_with(&["stream", "sensor-pico"], input.as_bytes());
    expect(&plain, 0, "line 1, piece 1\n");
    expect(&plain, 0, "line 1, piece 2\n");
    expect(&plain, 0, "line 2\n");
    let color = String::from_utf8(run_with(&["stream", "sensor-pico", "--color"], input.as_bytes()).stdout).unwrap();
    let marked: Vec<_> = color.lines().map(|line| line.ends_with("...")).collect();
    assert_eq!(marked, [true, false, false]);
}

#[test]
fn a_path_wins_over_a_name() {
    let dir = tempfile::tempdir().unwrap();
    let in_dir = |words: &[&str]| command().args(words).current_dir(dir.path()).output().unwrap();
    fs::write(dir.path().join("text"), b"$GPGGA,123519,4807.038,N\n").unwrap();
    let sum = |model: &str| in_dir(&["checksum", model, "text"]).stdout;
    for name in ["sensor-pico", "sensor-nano", "sensor-micro", "prose-small"] {
        assert_eq!(sum(name), sum(&text(model_file(name, "model.mbb"))), "{name}");
    }
    let micro = sum("sensor-micro");
    fs::copy(model_file("sensor-micro", "model.mbb"), dir.path().join("sensor-pico")).unwrap();
    assert_eq!(sum("sensor-pico"), micro);
    fs::write(dir.path().join("sensor-nano"), [b'-'; 200]).unwrap();
    expect(&in_dir(&["inspect", "sensor-nano"]), 1, "not a MambaByte blob");
    for unknown in ["sensor-nan", "models/sensor-nano"] {
        expect(&in_dir(&["eval", unknown, &sample()]), 1, "sensor-micro");
    }
}

#[test]
fn models_are_known_by_name_wherever_a_command_takes_one() {
    let dir = tempfile::tempdir().unwrap();
    let (short, out) = (text(dir.path().join("text")), text(dir.path().join("out")));
    fs::write(&short, &fs::read(sample()).unwrap()[..1000]).unwrap();
    for words in [
        &["inspect", "sensor-nano"][..],
        &["fit", "sensor-micro"],
        &["eval", "sensor-pico", &short],
        &["logits", "sensor-pico", &short, "--npy", &out],
        &["checksum", "prose-small", &short],
        &["stream", "sensor-nano", &short],
        &["generate", "sensor-micro", "-n", "9"],
        &["convert", "sensor-pico", "--refine", "0", "--calibrate", &short, "-o", &out],
        &["bench", "--model", "sensor-pico", "--size", "nano", "--threads", "1", "--rounds", "1", "--seconds", "0.001"],
    ] {
        expect(&run(words), 0, "");
    }
    assert_eq!(json(&run(&["inspect", &out, "--json"]))["name"], "sensor-pico");

    let listed = json(&run(&["models", "--json"]));
    let plain = String::from_utf8(run(&["models"]).stdout).unwrap();
    let models = listed["models"].as_array().unwrap();
    let (none, nets) = models.split_last().unwrap();
    assert_eq!((none["name"].as_str(), none["bytes"].as_u64()), (Some("none"), Some(0)));
    for model in nets {
        let name = model["name"].as_str().unwrap();
        let file = fs::read(model_file(name, "model.mbb")).unwrap();
        assert_eq!(model["bytes"], file.len(), "{name}");
        let inspected = json(&run(&["inspect", name, "--json"]));
        assert_eq!((&model["params"], &model["state"]), (&inspected["params"], &inspected["state"]), "{name}");
        assert!(plain.contains(name) && plain.contains(model["trained_on"].as_str().unwrap()));
    }
    let shipped =
        fs::read_dir(model_file("", "")).unwrap().filter(|e| e.as_ref().unwrap().path().join("model.mbb").exists());
    assert_eq!(nets.len(), shipped.count());
}

/// A program that was installed: models are beside it, or in the folder for shared files, or not at all.
#[test]
fn an_installed_program_finds_the_models_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let bin = dir.path().join("bin");
    fs::create_dir(&bin).unwrap();
    let program = bin.join("mambabyte");
    fs::copy(env!("CARGO_BIN_EXE_mambabyte"), &program).unwrap();
    let found = |code: i32, part: &str| {
        let output = Command::new(&program).args(["inspect", "prose-small"]).current_dir(dir.path()).output().unwrap();
        expect(&output, code, part);
        let listed = Command::new(&program).args(["models"]).current_dir(dir.path()).output().unwrap();
        expect(&listed, 0, "");
        assert_eq!(String::from_utf8_lossy(&listed.stdout).contains("prose-small   not found"), code == 1);
    };
    found(1, "not in this program");
    for folder in [bin.join("models"), dir.path().join("share/mambabyte/models")] {
        let model = folder.join("prose-small");
        fs::create_dir_all(&model).unwrap();
        fs::copy(model_file("prose-small", "model.mbb"), model.join("model.mbb")).unwrap();
        found(0, "");
        fs::remove_dir_all(&folder).unwrap();
    }
}

#[test]
fn shells_and_the_manual_know_every_command() {
    const COMMANDS: [&str; 6] = ["convert", "stream", "generate", "monitor", "models", "completions"];
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let output = run(&["completions", shell]);
        expect(&output, 0, "");
        let script = String::from_utf8(output.stdout).unwrap();
        for word in COMMANDS.iter().chain(&["save-state", "calibrate"]) {
            assert!(script.contains(word), "{shell} does not know {word}");
        }
        if shell == "bash" {
            let checked = Command::new("bash").args(["-n", "-c", &script]).status();
            assert!(checked.map_or(true, |status| status.success()));
        }
    }
    expect(&run(&["completions", "abacus"]), 2, "abacus");

    let page = String::from_utf8(run(&["man"]).stdout).unwrap();
    assert!(page.starts_with(".ie") && page.contains(".TH mambabyte 1") && page.contains("sensor\\-nano"), "{page}");
    assert!(!page.contains('\u{1b}'));
    let dir = tempfile::tempdir().unwrap();
    expect(&run(&["man", dir.path().to_str().unwrap()]), 0, "");
    for command in COMMANDS {
        let page = fs::read_to_string(dir.path().join(format!("mambabyte-{command}.1"))).unwrap();
        assert!(page.contains(".SH OPTIONS") && page.contains(".SH EXAMPLES\n  mambabyte "), "{page}");
        assert!(!page.contains('\u{1b}') && !page.contains(".SH EXTRA"), "{page}");
    }
    assert!(!dir.path().join("mambabyte-bench-one.1").exists());
    assert!(dir.path().join("mambabyte.1").exists());
    expect(&run(&["man", "no/such"]), 1, "there is no folder no/such");
    // All pages or none.
    let other = tempfile::tempdir().unwrap();
    fs::create_dir(other.path().join("mambabyte-stream.1")).unwrap();
    expect(&run(&["man", other.path().to_str().unwrap()]), 1, "this is a folder");
    assert_eq!(fs::read_dir(other.path()).unwrap().count(), 1);
}

/// The words of a line as a shell parts them, as far as examples go: at spaces that are not between `"`.
fn words(line: &str) -> Vec<String> {
    let mut quoted = false;
    let parted = line.split(|c| {
        quoted ^= c == '"';
        c == ' ' && !quoted
    });
    parted.filter(|word| !word.is_empty()).map(|word| word.replace('"', "")).collect()
}

#[test]
fn every_command_shows_examples_that_it_understands() {
    let help = |words: &[&str]| String::from_utf8(run(words).stdout).unwrap();
    let top = help(&["--help"]);
    let commands: Vec<&str> = top
        .lines()
        .skip_while(|l| *l != "Commands:")
        .skip(1)
        .take_while(|l| !l.is_empty())
        .filter_map(|l| l.strip_prefix("  ")?.split(' ').next())
        .filter(|c| !c.is_empty() && *c != "help")
        .collect();
    assert!(commands.len() >= 13, "{top}");
    for command in commands {
        let help = help(&[command, "--help"]);
        let examples: Vec<&str> = help.lines().filter_map(|l| l.strip_prefix("  mambabyte ")).collect();
        assert!(!examples.is_empty(), "{command} --help shows no example");
        for example in examples {
            let words = words(example).into_iter().take_while(|w| !["|", ">", "<", "&&"].contains(&w.as_str()));
            let line = ["mambabyte".to_owned()].into_iter().chain(words);
            let parsed = <mambabyte::cli::Cli as clap::Parser>::try_parse_from(line);
            let parsed = parsed.map(drop).map_err(|e| e.to_string());
            assert!(parsed.is_ok(), "{example}: {parsed:?}");
        }
    }
    assert_eq!(words(r#"stream m  "a b" --x="c d" """#), ["stream", "m", "a b", "--x=c d", ""]);
}
