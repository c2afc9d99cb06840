//! `train`: equal runs are equal to the bit, however they were interrupted and on however many threads; a log becomes a
//! model; what is wrong is named and changes nothing.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use common::{command, expect, json, run, run_with, text};

/// A log of a kind that no model knows.
fn log(lines: u32) -> Vec<u8> {
    (0..lines)
        .flat_map(|i| {
            let (pump, level) = (i % 3, i * 7919 % 97);
            format!("{:06} pump={pump} level={level:02} state=ok\n", 120_000 + i * 5).into_bytes()
        })
        .collect()
}

/// A folder with a log in it.
fn folder(lines: u32) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let file = text(dir.path().join("pump.log"));
    fs::write(&file, log(lines)).unwrap();
    (dir, file)
}

/// A shape of 4 thousand parameters, and steps of half a kilobyte.
const SMALL: [&str; 16] = [
    "--d-model",
    "16",
    "--n-layer",
    "1",
    "--d-inner",
    "16",
    "--d-state",
    "2",
    "--window",
    "64",
    "--batch",
    "8",
    "--refine",
    "0",
    "--rate",
    "0.02",
];

fn words<'a>(texts: &[&'a str], out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["train"], texts, &["-o", out], &SMALL[..], more].concat()
}

/// Every file of a run.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| (path.file_name().unwrap().into(), fs::read(&path).unwrap())).collect()
}

#[track_caller]
fn same(a: &Path, b: &Path) {
    let (a, b) = (files(a), files(b));
    assert!(a.keys().eq(b.keys()), "{:?} and {:?}", a.keys(), b.keys());
    for (name, bytes) in &a {
        assert!(b[name] == *bytes, "{}: {} and {} bytes", name.display(), bytes.len(), b[name].len());
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_log_becomes_a_model_and_equal_runs_are_equal_files() {
    let (dir, file) = folder(600);
    let [one, two] = ["one", "two"].map(|name| text(dir.path().join(name)));
    let made = json(&run(&words(&[&file], &one, &["--steps", "60", "--threads", "1", "--json"])));
    assert_eq!((&made["steps"], &made["name"]), (&60.into(), &"pump".into()));
    assert_eq!(made["bytes_read"], 60 * 64 * 8);
    let [f32, int] = ["bpb_f32", "bpb_int"].map(|key| made[key].as_f64().unwrap());
    assert!(f32 < 4.0 && (int - f32).abs() < 0.05, "{made}");
    let printed = run(&words(&[&file], &two, &["--steps", "60", "--threads", "2"]));
    expect(&printed, 0, "60 steps of 512 bytes read the text");
    // Twice, that is.
    assert!(said(&printed).contains("in 40 % of the passages the digits are permuted"), "{}", said(&printed));
    assert!(String::from_utf8_lossy(&printed.stdout).contains("mambabyte fit"), "{printed:?}");
    same(one.as_ref(), two.as_ref());
    let names: Vec<PathBuf> = files(one.as_ref()).into_keys().collect();
    let expected = ["README.md", "config.json", "log.jsonl", "model.mbb", "model.safetensors", "report.html"];
    assert_eq!(names, expected.map(PathBuf::from));

    // What was written is a model, for every command; transformers' names are read as they are.
    let evaluated = json(&run(&["eval", &one, &file, "--json"]));
    assert!(evaluated["bits_per_byte"].as_f64().unwrap() < 4.0);
    let blob = format!("{one}/model.mbb");
    expect(&run(&["fit", &blob, "--chip", "micro:bit"]), 0, "");
    expect(&run(&["stream", &blob, &file, "--json"]), 0, "");
    let card = fs::read_to_string(format!("{one}/README.md")).unwrap();
    assert!(card.contains("A model can repeat what it was trained on") && card.contains("--steps 60"), "{card}");
    let page = fs::read_to_string(format!("{one}/report.html")).unwrap();
    assert!(page.matches("<svg").count() == 4 && !page.contains("<script") && !page.contains("src="));
    let log = fs::read_to_string(format!("{one}/log.jsonl")).unwrap();
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |key: &str| lines.iter().filter(|line| line[key].is_number()).count();
    assert_eq!((of("bits_per_byte"), of("holdout")), (60, 8));

    // Another seed is another run; and a run goes on from a model, its blob too.
    let [three, four] = ["three", "four"].map(|name| text(dir.path().join(name)));
    expect(&run(&words(&[&file], &three, &["--steps", "2", "--seed", "5"])), 0, "digits stay as they are");
    assert_ne!(
        files(one.as_ref())["model.safetensors".as_ref() as &Path],
        files(three.as_ref())["model.safetensors".as_ref() as &Path]
    );
    for (number, from) in [one.as_str(), &blob].into_iter().enumerate() {
        let out = format!("{four}{number}");
        let more = [
            "--from", from, "--steps", "2", "--rate", "0.001", "--window", "64", "--batch", "4", "--refine", "0",
            "--json",
        ];
        let on = json(&run(&[&["train", &file, "-o", &out][..], &more].concat()));
        assert!(on["bpb_f32"].as_f64().unwrap() < f32 + 0.3, "{on}");
    }
}

#[cfg(unix)]
#[test]
fn a_run_that_was_killed_goes_on_as_if_it_never_was() {
    let (dir, file) = folder(600);
    let [whole, killed] = ["whole", "killed"].map(|name| text(dir.path().join(name)));
    let more = ["--steps", "400", "--threads", "1", "--save-every", "0"];
    expect(&run(&words(&[&file], &whole, &more)), 0, "");
    let state = Path::new(&killed).join("train.state");
    let mut last = 0;
    for round in 0..3u64 {
        let resume: &[&str] = if round == 0 { &[] } else { &["--resume"] };
        let arguments = [&words(&[&file], &killed, &more)[..], resume].concat();
        let mut child = command().args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let begun = Instant::now();
        while !state.exists() && begun.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(1));
        }
        // Some moment of the run, another one in each round.
        std::thread::sleep(Duration::from_millis(20 + 37 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(state.exists(), "it was over before it was killed");
        let length = fs::read(Path::new(&killed).join("log.jsonl")).map_or(0, |log| log.len());
        assert!(length >= last, "round {round}");
        last = length;
    }
    // Without its options it is the same run; with others it is none.
    let other = run(&[&words(&[&file], &killed, &more)[..], &["--resume", "--seed", "2"]].concat());
    expect(&other, 2, "settings.seed was 1, now it is 2");
    expect(&run(&["train", "--resume", "-o", &killed, "--batch", "4"]), 2, "--batch: --resume without texts");
    // A default that is said is an option, too: the run might have another value.
    expect(
        &run(&["train", "--resume", "-o", &killed, "--schedule", "cosine"]),
        2,
        "--schedule: --resume without texts",
    );
    let fresh = run(&words(&[&file], &killed, &more));
    expect(&fresh, 2, "a run is in it: --resume goes on with it");
    let good = fs::read(&state).unwrap();
    for (at, reason) in [(0, "no state of a training run"), (4, "version"), (good.len() / 2, "checksum")] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(&state, &bad).unwrap();
        expect(&run(&["train", "--resume", "-o", &killed]), 1, reason);
    }
    fs::write(&state, &good).unwrap();
    fs::write(&file, log(601)).unwrap();
    expect(&run(&["train", "--resume", "-o", &killed]), 2, "texts.1.bytes was");
    fs::write(&file, log(600)).unwrap();
    // What a kill leaves that comes while a file is replaced; a name that is somebody else's stays.
    let [left, other] = [".mambabyte-aB3dEf", ".mambabyte-notes"].map(|name| Path::new(&killed).join(name));
    [&left, &other].into_iter().for_each(|path| fs::write(path, b"half").unwrap());
    let resumed = run(&["train", "--resume", "-o", &killed, "--threads", "2"]);
    expect(&resumed, 0, "going on at step");
    assert!(said(&resumed).contains(".mambabyte-aB3dEf: left by a run that was killed"), "{}", said(&resumed));
    assert!(!left.exists() && other.exists());
    fs::remove_file(other).unwrap();
    same(whole.as_ref(), killed.as_ref());
    expect(&run(&["train", "--resume", "-o", &killed]), 2, "the run in it is finished");
}

#[cfg(unix)]
#[test]
fn teachers_and_few_bits_are_part_of_a_run() {
    let (dir, file) = folder(600);
    let path = |name: &str| text(dir.path().join(name));
    let aims = ["--teacher", "sensor-pico", "--teacher", "sensor-nano", "--teacher-share", "0.75", "--weights", "4"];
    let with = |out: &str, aims: &[&str]| {
        expect(&run(&words(&[&file], out, &[&["--steps", "12", "--save-every", "0"], aims].concat())), 0, "");
    };
    let (taught, plain) = (path("taught"), path("plain"));
    with(&taught, &aims);
    with(&plain, &[]);
    let [taught, plain] = [files(taught.as_ref()), files(plain.as_ref())];
    let weights = Path::new("model.safetensors");
    assert!(taught[weights] != plain[weights]);
    let card = String::from_utf8_lossy(&taught[Path::new("README.md")]).into_owned();
    for said in [
        "A share of 75 % of the loss aims at what sensor-pico, sensor-nano expect.",
        "rounded to 4 bits in groups of 32 in every step",
        "--teacher sensor-pico --teacher sensor-nano --teacher-share 0.75 --weights 4",
    ] {
        assert!(card.contains(said), "{said}: {card}");
    }
    let missing = path("missing");
    expect(&run(&words(&[&file], &path("other"), &["--steps", "2", "--teacher", &missing])), 1, "missing");
    assert!(!dir.path().join("other").exists());
}

#[test]
fn an_interrupted_run_is_saved_and_says_how_to_go_on() {
    let (dir, file) = folder(600);
    let out = text(dir.path().join("out"));
    // Steps that are measured: the next start of the program would measure others.
    let words = words(&[&file], &out, &["--minutes", "1", "--save-every", "0"]);
    let mut child = command().args(&words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    while !Path::new(&out).join("train.state").exists() && begun.elapsed() < Duration::from_secs(120) {
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        std::thread::sleep(Duration::from_millis(5));
    }
    let id = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(id, rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("stopped after step") && said(&output).contains("mambabyte train --resume -o"));
    assert!(said(&output).contains("the digits are permuted"), "{}", said(&output));
    assert!(Path::new(&out).join("train.state").exists());
    // All that was said counts, but for what was measured.
    let others = [
        (["--schedule", "trapezoid"], "settings.schedule.fall was"),
        (["--digits", "0.4"], "digits was"),
        (["--letters", "0.1"], "settings.augment.letters was"),
        (["--passage", "100"], "settings.passage was"),
    ];
    for (option, reason) in others {
        expect(&run(&[&words[..], &["--resume"], &option].concat()), 2, reason);
    }
}

#[test]
fn texts_come_in_many_ways() {
    let (dir, file) = folder(300);
    let path = |name: &str| text(dir.path().join(name));
    fs::create_dir(path("logs")).unwrap();
    fs::write(path("logs/a"), log(100)).unwrap();
    fs::write(path("logs/b"), log(50)).unwrap();
    let out = path("out");
    let more = ["--valid", &file, "--separator", "ok\\n", "--steps", "1", "--json"];
    let logs = format!("{}:0.75", path("logs"));
    let words = [&words(&[], &out, &more)[..], &["--", "-:0.25", &logs]].concat();
    json(&run_with(&words, &log(80)));
    let card = fs::read_to_string(format!("{out}/README.md")).unwrap();
    assert!(card.contains("| standard input |") && card.contains("| 80 | 25.0 % |"), "{card}");
    assert!(card.contains("| logs |") && card.contains("| 150 | 75.0 % |"), "{card}");
    assert!(card.contains("The hold-out is pump.log."), "{card}");
}

#[test]
fn what_is_wrong_is_named_and_nothing_is_written() {
    let (dir, file) = folder(300);
    let path = |name: &str| text(dir.path().join(name));
    fs::write(path("empty"), b"").unwrap();
    fs::write(path("short"), b"four").unwrap();
    fs::write(path("damaged.mbb"), &fs::read(common::pico()).unwrap()[..5000]).unwrap();
    let out = path("out");
    let cases: [(&[&str], i32, &str); 16] = [
        (&[&path("empty")], 2, "empty: empty"),
        (&[&path("short")], 2, "short: 4 bytes"),
        (&[&path("none")], 1, "none"),
        (&[&file, "--shape", "huge"], 2, "--shape"),
        (&[&file, "--shape", "nano", "--d-model", "16", "--n-layer", "1"], 2, "--shape"),
        (&[&file, "--d-model", "5", "--n-layer", "1"], 2, "--d-model: 5 is outside 16..=4096"),
        (&[&file, "--d-model", "16"], 2, "--n-layer"),
        (&[&file, "--chip", "abacus"], 2, "--chip abacus: not in the table"),
        (&[&file, "--from", &path("damaged.mbb")], 1, "damaged.mbb"),
        (&[&file, "--from", "no-such-model"], 1, "no-such-model"),
        (&[&file, "--steps", "0"], 2, "--steps"),
        (&[&file, "--steps", "1", "--minutes", "1"], 2, "--minutes"),
        (&[&file, "--digits", "1.5"], 2, "--digits"),
        (&[&file, "--separator", "\\q"], 2, "--separator \\q: a backslash"),
        (&[&format!("{file}:1"), &file], 2, "without a share"),
        (&[&file, "--valid", &path("empty")], 2, "empty: empty"),
    ];
    for (words, code, reason) in cases {
        let output = run(&[&["train"], words, &["-o", &out]].concat());
        expect(&output, code, reason);
        assert!(output.stdout.is_empty(), "{words:?}");
        assert!(!Path::new(&out).exists(), "{words:?}");
    }
    expect(&run(&["train", "-o", &out]), 2, "TEXT");
    expect(&run(&["train", &file]), 2, "--output");
    expect(&run(&["train", &file, "-o", &file]), 2, "this is a file; a run needs a folder");
    expect(&run(&["train", "--resume", "-o", &path("nowhere")]), 2, "there is no such folder");
    assert!(!Path::new(&out).exists());
    fs::create_dir(&out).unwrap();
    expect(&run(&["train", "--resume", "-o", &out]), 2, "no run was begun in it");
    expect(&run(&["train", &path(""), "-o", &path("new")]), 2, "all of which is read as text");
    assert_eq!(fs::read(&file).unwrap(), log(300));
    // A folder with a model in it is somebody's.
    fs::write(path("out/config.json"), b"mine").unwrap();
    expect(&run(&["train", &file, "-o", &out, "--steps", "1"]), 2, "config.json is in it");
    assert_eq!(fs::read(path("out/config.json")).unwrap(), b"mine");
}

#[cfg(unix)]
/// Everywhere: where there is a GPU its own tests say what it does.
#[test]
fn another_place_to_compute_is_said_and_compared() {
    let (dir, log) = folder(300);
    let out = text(dir.path().join("model"));
    let asked = words(&[&log], &out, &["--steps", "2", "--precision", "bf16"]);
    let output = run(&asked);
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("--precision bf16: a CPU trains in f32"), "{}", said(&output));
    assert!(!Path::new(&out).exists());
    let measured =
        run(&["bench", "train", "--shape", "pico", "--batch", "2", "--window", "64", "--steps", "1", "--json"]);
    let report = json(&measured);
    assert_eq!(report["arithmetic"], "cpu");
    assert!(report["shapes"][0]["bytes_per_second"].as_f64().unwrap() > 0.0, "{report}");
}

#[test]
fn a_folder_that_cannot_be_read_is_named() {
    let (dir, _) = folder(1);
    let link = dir.path().join("logs");
    fs::create_dir(&link).unwrap();
    // A link to nothing is a file that is missing; root may read folders that are closed.
    std::os::unix::fs::symlink("gone", link.join("a.log")).unwrap();
    let out = text(dir.path().join("out"));
    expect(&run(&["train", &text(link), "-o", &out, "--steps", "1"]), 1, "a.log");
}
