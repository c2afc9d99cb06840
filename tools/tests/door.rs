//! What becomes of a file that is written: mode, links, pairs, standard output.
#![cfg(unix)]

mod common;

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use common::{command, expect, pico, run, run_with, sample, text};
use mambabyte::output::{Door, Outputs};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn entries(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

/// Two outputs, checked.
fn two(a: &Path, b: &Path) -> Outputs {
    let mut door = Door::default();
    door.writes("--a", a);
    door.writes("--b", b);
    door.open().unwrap()
}

#[test]
fn a_new_file_has_the_mode_of_the_umask_and_an_old_one_keeps_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let state = text(dir.path().join("state"));
    for (umask, expected) in [("077", 0o600), ("022", 0o644), ("002", 0o664)] {
        let script = format!("umask {umask}; exec \"$0\" stream \"$1\" \"$2\" --save-state \"$3\"");
        let mut shell = Command::new("sh");
        shell.args(["-c", &script, env!("CARGO_BIN_EXE_mambabyte"), &pico(), &sample(), &state]);
        expect(&shell.output().unwrap(), 0, "");
        assert_eq!(mode(state.as_ref()), expected, "umask {umask}");
        fs::remove_file(&state).unwrap();
    }
    fs::write(&state, b"old").unwrap();
    fs::set_permissions(&state, Permissions::from_mode(0o640)).unwrap();
    symlink(&state, dir.path().join("link")).unwrap();
    expect(&run(&["stream", &pico(), &sample(), "--save-state", &text(dir.path().join("link"))]), 0, "");
    assert_eq!(mode(state.as_ref()), 0o640);
    assert!(fs::symlink_metadata(dir.path().join("link")).unwrap().is_symlink());
    assert!(fs::read(&state).unwrap().len() > 1000);

    symlink("target", dir.path().join("dangling")).unwrap();
    expect(&run(&["stream", &pico(), &sample(), "--save-state", &text(dir.path().join("dangling"))]), 0, "");
    assert!(fs::symlink_metadata(dir.path().join("target")).unwrap().is_file());
    symlink("circle", dir.path().join("circle")).unwrap();
    expect(&run(&["stream", &pico(), &sample(), "--save-state", &text(dir.path().join("circle"))]), 1, "circle");
    assert_eq!(entries(dir.path()), 5, "no temporary file is left");
}

#[test]
fn two_outputs_are_two_files() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| text(dir.path().join(name));
    let same = |a: &str, b: &str| run(&["convert", "sensor-pico", "-o", a, "--report", b]);
    expect(&same(&path("new"), &path("./new")), 2, "--output too");
    symlink("new", dir.path().join("link")).unwrap();
    expect(&same(&path("link"), &path("new")), 2, "--output too");
    expect(&same("-", "/dev/stdout"), 2, "--output too");
    assert_eq!(entries(dir.path()), 1);
    // A report that cannot be is said before the blob is made.
    expect(&same(&path("blob"), &path("no/such/page")), 1, "--report");
    assert_eq!(entries(dir.path()), 1);
}

#[test]
fn files_appear_together_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    two(&a, &b).write(&[("--a", b"1"), ("--b", b"2"), ("--c", b"not asked for")]).unwrap();
    assert_eq!((fs::read(&a).unwrap(), fs::read(&b).unwrap(), entries(dir.path())), (b"1".into(), b"2".into(), 2));

    // The second one cannot be put in its place any more: the first one is taken back.
    for first in [None, Some(b"old")] {
        let _ = (fs::remove_file(&a), fs::remove_file(&b));
        if let Some(old) = first {
            fs::write(&a, old).unwrap();
        }
        let outputs = two(&a, &b);
        fs::create_dir(&b).unwrap();
        let error = outputs.write(&[("--a", b"1"), ("--b", b"2")]).unwrap_err().to_string();
        assert!(error.starts_with("--b ") && error.contains(b.to_str().unwrap()), "{error}");
        assert_eq!(fs::read(&a).ok().as_deref(), first.map(|old| &old[..]));
        assert_eq!(entries(dir.path()), 1 + usize::from(first.is_some()), "no temporary file is left");
        fs::remove_dir(&b).unwrap();
    }

    // Nor does a file appear if what is written through fails.
    if Path::new("/dev/full").exists() {
        let outputs = two(&a, Path::new("/dev/full"));
        outputs.write(&[("--a", b"1"), ("--b", b"2")]).unwrap_err();
        assert_eq!(fs::read(&a).unwrap(), b"old");
    }
}

#[test]
fn standard_output_is_a_file_like_others() {
    let dir = tempfile::tempdir().unwrap();
    let (state, out) = (text(dir.path().join("state")), dir.path().join("out"));
    expect(&run(&["stream", &pico(), &sample(), "--save-state", &state]), 0, "");
    let state = fs::read(state).unwrap();
    let dash = run(&["stream", &pico(), &sample(), "--json", "--save-state", "-"]);
    expect(&dash, 0, "bits_per_byte");
    assert!(dash.stdout == state, "the state and nothing else");

    // A file that standard output leads to is written to, by any of its names, and not replaced.
    for name in ["/dev/stdout", "/proc/self/fd/1", out.to_str().unwrap()] {
        if !Path::new("/proc/self/fd/1").exists() && name != "/dev/stdout" {
            println!("NOT RUN: {name}: this system has no /proc");
            continue;
        }
        let file = File::create(&out).unwrap();
        let node = file.metadata().unwrap().ino();
        let mut stream = command();
        stream.args(["stream", &pico(), &sample(), "--save-state", name]).stdout(file).stderr(Stdio::null());
        assert!(stream.status().unwrap().success(), "{name}");
        assert!(fs::read(&out).unwrap() == state, "{name}");
        assert_eq!(fs::metadata(&out).unwrap().ino(), node, "{name}");
    }

    let converted = run(&["convert", "sensor-pico", "--refine", "0", "--calibrate", &sample(), "--json", "-o", "-"]);
    expect(&converted, 0, "\"fingerprint\"");
    mambabyte_core::Blob::parse(mambabyte_host::align::AlignedBytes::new(&converted.stdout).as_slice()).unwrap();
}

#[test]
fn an_interrupted_command_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let out = text(dir.path().join("out"));
    let mut child = command();
    child.args(["convert", "sensor-pico", "-o", &out, "--report", &text(dir.path().join("page"))]);
    let mut child = child.stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(child.try_wait().unwrap().is_none(), "it works for minutes");
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    assert!(!child.wait().unwrap().success());
    assert_eq!(entries(dir.path()), 0);
}

/// Standard input is an input by whatever name it was opened.
#[test]
fn an_input_at_standard_input_is_protected_and_a_state_is_continued_in_place() {
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("text");
    fs::copy(sample(), &input).unwrap();
    for words in [["logits", "sensor-pico", "-", "--npy"], ["stream", "sensor-pico", "-", "--save-state"]] {
        let output = command().args(words).arg(&input).stdin(File::open(&input).unwrap()).output().unwrap();
        expect(&output, 2, "this is the input -");
    }
    assert!(fs::read(&input).unwrap() == fs::read(sample()).unwrap());

    let state = text(dir.path().join("state"));
    let all = fs::read(sample()).unwrap();
    let scores = |input: &[u8], extra: &[&str]| {
        let output = run_with(&[&["stream", "sensor-pico", "--json"], extra].concat(), input);
        expect(&output, 0, "");
        String::from_utf8(output.stdout).unwrap().lines().count()
    };
    let whole = scores(&all, &[]);
    let mut parts = scores(&all[..3000], &["--save-state", &state]);
    let first = fs::read(&state).unwrap();
    parts += scores(&all[3000..], &["--load-state", &state, "--save-state", &state]);
    assert_eq!(parts, whole);
    assert!(fs::read(&state).unwrap() != first);
}
