//! What becomes of a file that is written: mode, group, links, pairs, standard output, what comes late, a hard end.
#![cfg(unix)]

mod common;

use std::fs::{self, File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{command, expect, model_file, pico, run, run_with, sample, text};
use mambabyte::output::{Door, Outputs};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn entries(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

/// Something that happens to a file.
type Act<'a> = &'a dyn Fn();

/// Makes a FIFO there.
fn fifo(path: &Path) -> PathBuf {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    path.to_owned()
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

    // The second one cannot be put in its place any more: the first one is taken back. A FIFO among them is written to
    // when all files are ready, and this is read only in part until something has come.
    let pipe = fifo(&dir.path().join("fifo"));
    let come: [Act<'_>; 2] = [&|| fs::create_dir(&b).unwrap(), &|| fs::write(&b, b"theirs").unwrap()];
    for (first, come) in [None, Some(b"old")].into_iter().flat_map(|first| come.map(|come| (first, come))) {
        let _ = (fs::remove_file(&a), fs::remove_file(&b), fs::remove_dir(&b));
        if let Some(old) = first {
            fs::write(&a, old).unwrap();
        }
        let mut door = Door::default();
        [("--a", &a), ("--b", &b), ("--c", &pipe)]
            .iter()
            .for_each(|(option, path)| door.writes(option, path.as_path()));
        let outputs = door.open().unwrap();
        let long = vec![0; 1 << 20];
        let error = std::thread::scope(|scope| {
            let writer = scope.spawn(|| outputs.write(&[("--a", b"1"), ("--b", b"2"), ("--c", &long)]));
            let mut reader = File::open(&pipe).unwrap();
            reader.read_exact(&mut [0]).unwrap();
            come();
            assert_eq!(io::copy(&mut reader, &mut io::sink()).unwrap(), (1 << 20) - 1);
            writer.join().unwrap().unwrap_err().to_string()
        });
        assert!(error.starts_with("--b ") && error.contains(b.to_str().unwrap()), "{error}");
        assert!(error.contains("not what was here"), "{error}");
        assert_eq!(fs::read(&a).ok().as_deref(), first.map(|old| &old[..]));
        assert!(b.is_dir() || fs::read(&b).unwrap() == b"theirs");
        assert_eq!(entries(dir.path()), 2 + usize::from(first.is_some()), "no temporary file is left");
    }
    fs::remove_file(&b).unwrap();

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

/// A hard end, when both files are ready: the one that goes to a FIFO is read only in part. Where the file system has no
/// files without a name, the temporary ones would be left.
#[cfg(target_os = "linux")]
#[test]
fn an_interrupted_command_leaves_nothing() {
    use rustix::fs::OFlags;
    use std::os::unix::fs::OpenOptionsExt;
    let dir = tempfile::tempdir().unwrap();
    let nameless = OFlags::TMPFILE.bits().cast_signed();
    if File::options().write(true).custom_flags(nameless).open(dir.path()).is_err() {
        println!("NOT RUN: what an interrupted command leaves: this file system has no files without a name");
        return;
    }
    let (out, page) = (dir.path().join("out"), fifo(&dir.path().join("page")));
    for (signal, old) in [("-INT", None), ("-TERM", Some(b"mine")), ("-KILL", Some(b"mine"))] {
        if let Some(old) = old {
            fs::write(&out, old).unwrap();
        }
        let mut child = command();
        child.args(["convert", "sensor-pico", "--refine", "0", "--calibrate", &sample(), "-o"]).arg(&out);
        let mut child = child.arg("--report").arg(&page).stderr(Stdio::null()).spawn().unwrap();
        let mut reader = File::open(&page).unwrap();
        reader.read_exact(&mut [0]).unwrap();
        assert!(child.try_wait().unwrap().is_none(), "the page is longer than what a FIFO holds");
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        assert!(!child.wait().unwrap().success());
        assert_eq!(fs::read(&out).ok().as_deref(), old.map(|old| &old[..]), "{signal}");
        assert_eq!(entries(dir.path()), 1 + usize::from(old.is_some()), "{signal}: something is left");
    }
}

#[test]
fn what_comes_while_the_command_works_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (a, other) = (dir.path().join("a"), dir.path().join("other"));
    fs::write(&other, b"theirs").unwrap();
    let pipe = fifo(&dir.path().join("fifo"));
    let file = || fs::write(&a, b"theirs").unwrap();
    let link = || symlink(&other, &a).unwrap();
    let dangling = || symlink("b", &a).unwrap();
    let replaced = || fs::rename(&other, &a).and_then(|()| fs::write(&other, b"theirs")).unwrap();
    let to_fifo = || symlink(&pipe, &a).unwrap();
    // What is there before and, if that goes, what comes.
    let cases: [(Option<Act<'_>>, Act<'_>); 7] = [
        (None, &file),
        (None, &link),
        (None, &dangling),
        (None, &to_fifo),
        (Some(&file), &replaced),
        (Some(&to_fifo), &file),
        (Some(&dangling), &link),
    ];
    for (number, (before, come)) in cases.into_iter().enumerate() {
        let _ = fs::remove_file(&a);
        if let Some(before) = before {
            before();
        }
        let mut door = Door::default();
        door.writes("--a", a.as_path());
        let outputs = door.open().unwrap();
        if before.is_some() && number != 4 {
            fs::remove_file(&a).unwrap();
        }
        come();
        let error = outputs.write(&[("--a", b"mine")]).unwrap_err().to_string();
        assert!(error.ends_with("not what was here when the command began; it is left as it is"), "{number}: {error}");
        assert_eq!(fs::read(&other).unwrap(), b"theirs", "{number}");
        assert!(number == 2 || number == 3 || fs::read(&a).unwrap() == b"theirs", "{number}");
        assert_eq!(entries(dir.path()), 3, "{number}: a temporary file is left, or a new one has come");
    }
    // What has gone harms nobody, and what was written on keeps its place.
    for gone in [true, false] {
        fs::remove_file(&a).unwrap();
        file();
        let mut door = Door::default();
        door.writes("--a", a.as_path());
        let outputs = door.open().unwrap();
        if gone { fs::remove_file(&a) } else { fs::write(&a, b"more") }.unwrap();
        outputs.write(&[("--a", b"mine")]).unwrap();
        assert_eq!(fs::read(&a).unwrap(), b"mine");
    }
}

/// By any of its names; `>>` would do what `>` does to a file that is read later.
#[test]
fn an_input_that_standard_output_leads_to_is_protected() {
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("text");
    let weights = dir.path().join("model.safetensors");
    for (words, read) in [
        (vec!["logits", "sensor-pico", "text", "--npy"], &input),
        (vec!["stream", "sensor-pico", "text", "--save-state"], &input),
        (vec!["convert", "model.safetensors", "--refine", "0", "--calibrate", "text", "-o"], &weights),
    ] {
        for name in ["-", "/dev/stdout", "/dev/stderr", read.to_str().unwrap()] {
            fs::copy(sample(), &input).unwrap();
            fs::copy(model_file("sensor-pico", "model.safetensors"), &weights).unwrap();
            let before = fs::read(read).unwrap();
            let appended = File::options().append(true).open(read).unwrap();
            let mut command = command();
            command.args(&words).arg(name).current_dir(dir.path());
            let is_err = name == "/dev/stderr";
            if is_err {
                command.stderr(appended)
            } else {
                command.stdout(appended)
            };
            expect(&command.output().unwrap(), 2, if is_err { "" } else { "this is the input" });
            // A refusal on standard error is the user's to send there.
            let after = fs::read(read).unwrap();
            assert!(if is_err { after.starts_with(&before) } else { after == before }, "{words:?} {name}");
        }
    }
}

/// A reader who has seen enough is no failure, but files that are missing because of it are.
#[test]
fn a_reader_that_is_gone_takes_other_files_with_it_and_that_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let page = text(dir.path().join("page"));
    let gone = |words: &[&str]| {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        command().args(words).stdout(writer).output().unwrap()
    };
    let convert = ["convert", "sensor-pico", "--refine", "0", "--calibrate", &sample(), "-o", "-"];
    expect(&gone(&convert), 0, "");
    let both = gone(&[&convert[..], &["--report", &page]].concat());
    expect(&both, 1, "--output -: the reader of standard output is gone");
    assert_eq!(entries(dir.path()), 0);
}

/// A user who may not give a file away gives it to its group, if they are in it; else only what everybody may is left.
#[test]
fn a_group_keeps_what_it_may_or_loses_it() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("mambabyte");
    let (state, read) = (dir.path().join("state"), dir.path().join("text"));
    for (from, to) in [(env!("CARGO_BIN_EXE_mambabyte").to_owned(), &program), (sample(), &read)] {
        fs::copy(from, to).unwrap();
    }
    fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).unwrap();
    fs::set_permissions(&read, Permissions::from_mode(0o644)).unwrap();
    for (group, old, new) in [(12_345, 0o676, (12_345, 0o676)), (12_346, 0o676, (65_534, 0o666))] {
        fs::write(&state, b"old").unwrap();
        fs::set_permissions(&state, Permissions::from_mode(old)).unwrap();
        if chown(&state, Some(0), Some(group)).is_err() {
            println!("NOT RUN: the group of a file of another user: only root can make one");
            return;
        }
        let mut nobody = Command::new("setpriv");
        nobody.args(["--reuid=65534", "--regid=65534", "--groups=12345"]).arg(&program).current_dir(dir.path());
        let Ok(output) = nobody.args(["stream", "sensor-pico", "text", "--save-state", "state"]).output() else {
            println!("NOT RUN: the group of a file of another user: there is no setpriv");
            return;
        };
        expect(&output, 0, "");
        let about = fs::metadata(&state).unwrap();
        assert_eq!((about.uid(), about.gid(), mode(&state)), (65_534, new.0, new.1));
        fs::remove_file(&state).unwrap();
    }
}

/// Until a FIFO has a writer, the command waits; it can be ended all the same.
#[test]
fn waiting_for_a_fifo_can_be_interrupted() {
    let dir = tempfile::tempdir().unwrap();
    // Without its config.json, about which there is a note at the end of loading; the FIFO is opened right after.
    fs::copy(model_file("sensor-pico", "model.safetensors"), dir.path().join("model.safetensors")).unwrap();
    let pipe = fifo(&dir.path().join("fifo"));
    for signal in ["-INT", "-TERM"] {
        let mut child = command();
        child.arg("stream").args([dir.path(), &pipe]).stderr(Stdio::piped());
        let mut child = child.spawn().unwrap();
        let mut note = [0; 4];
        child.stderr.as_mut().unwrap().read_exact(&mut note).unwrap();
        std::thread::sleep(Duration::from_millis(500));
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        let deadline = Instant::now() + Duration::from_secs(20);
        while child.try_wait().unwrap().is_none() {
            if Instant::now() > deadline {
                child.kill().unwrap();
                panic!("{signal} is ignored");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
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
        common::line_records(&output).len()
    };
    let whole = scores(&all, &[]);
    let mut parts = scores(&all[..3000], &["--save-state", &state]);
    let first = fs::read(&state).unwrap();
    parts += scores(&all[3000..], &["--load-state", &state, "--save-state", &state]);
    assert_eq!(parts, whole);
    assert!(fs::read(&state).unwrap() != first);
}
