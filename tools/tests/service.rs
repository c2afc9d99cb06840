//! `stream` as a service: FIFOs, serial ports, files that are rotated, consumers that stall, kills, full disks.
#![cfg(unix)]

mod common;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::disk::Disk;
use common::service::{Stream, append, fifo, serial, wait};
use common::{command, expect, line_records, pico, run, run_with, sample, text};

#[test]
fn a_signal_ends_it_and_the_state_is_saved_whatever_blocks() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let saved = || {
        let found = fs::read(&state).is_ok_and(|bytes| bytes.starts_with(b"MBS\x1a"));
        let _ = fs::remove_file(&state);
        found
    };
    let keeps = ["none", "--json", "--state", state.to_str().unwrap()];
    // A FIFO without a writer.
    let pipe = fifo(&dir.path().join("fifo"));
    for more in [&[][..], &["--follow"]] {
        for signal in ["-TERM", "-INT"] {
            let mut stream = Stream::start(&[&keeps[..], &[&pipe], more].concat());
            stream.event("learning");
            stream.signal(signal);
            assert!(stream.ended().success() && saved(), "{signal}");
        }
    }
    // A consumer that does not read: the pipe is full when the signal comes.
    let input = text(dir.path().join("input"));
    fs::write(&input, (0..20_000).map(|n| format!("line {n} of the stream\n")).collect::<String>()).unwrap();
    let mut stream = Stream::start(&[&keeps[..], &[&input]].concat());
    stream.event("learning");
    let at = Instant::now();
    while at.elapsed() < Duration::from_millis(500) {
        std::thread::sleep(Duration::from_millis(50));
    }
    stream.signal("-TERM");
    assert!(stream.ended().success() && saved());
}

#[test]
fn a_state_is_loaded_if_it_is_there_and_saved_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, link) = (dir.path().join("disk"), dir.path().join("link"));
    fs::create_dir(&disk).unwrap();
    let file = disk.join("state");
    fs::write(&file, b"").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    symlink(&file, &link).unwrap();
    let state = link.to_str().unwrap();
    let lines: Vec<String> = (0..300).map(|n| format!("{n:04} ok {}\n", n * 7 % 13)).collect();
    let whole = line_records(&run_with(&["stream", &pico(), "--json"], lines.concat().as_bytes()));
    // Killed again and again, without warning; what was saved is whole, and nothing before the last save is lost.
    let (mut at, mut kills) = (0, 0);
    while at < lines.len() {
        let mut stream = Stream::start(&[&pico(), "--json", "--state", state, "--save-every", "0s"]);
        let mut stdin = stream.child.stdin.take().unwrap();
        let to = (at + 61).min(lines.len());
        stdin.write_all(lines[at..to].concat().as_bytes()).unwrap();
        let last = stream.text(lines[to - 1].trim_end());
        assert_eq!(last["line"].as_u64().unwrap(), to as u64);
        assert_eq!(last["bits_per_byte"], whole[to - 1]["bits_per_byte"]);
        assert_eq!((&last["alarm"], &last["rarity"]), (&whole[to - 1]["alarm"], &whole[to - 1]["rarity"]));
        // The save after these lines.
        let index = format!("\"line\":{},", to + 1);
        wait(|| fs::read(&file).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(&index)));
        stream.signal("-KILL");
        assert!(!stream.ended().success());
        (at, kills) = (to, kills + 1);
    }
    assert!(kills == 5);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    // Damaged, in a folder that is not there, on a device: before anything is read.
    let mut damaged = fs::read(&file).unwrap();
    damaged[100] ^= 1;
    fs::write(&file, &damaged).unwrap();
    expect(&run(&["stream", &pico(), "--state", state, &sample()]), 1, "link");
    assert!(fs::read(&file).unwrap() == damaged, "it is left as it is");
    expect(&run(&["stream", &pico(), "--state", "no/such/folder/state", &sample()]), 1, "there is no folder");
    expect(&run(&["stream", &pico(), "--state", "/dev/null", &sample()]), 2, "not a regular file");
    expect(&run(&["stream", &pico(), "--state", &text(dir.path().into()), &sample()]), 2, "not a regular file");
    let pipe = fifo(&dir.path().join("fifo"));
    expect(&run(&["stream", &pico(), "--state", &pipe, &sample()]), 2, "not a regular file");
    expect(&run(&["stream", &pico(), "--state", state, "--save-state", state]), 2, "--save-state");
    // Its halves: one file for both may begin.
    let both = text(disk.join("both"));
    expect(&run(&["stream", &pico(), "--load-state", &both, "--save-state", &both, &sample()]), 0, "");
    expect(&run(&["stream", &pico(), "--load-state", &text(disk.join("other")), &sample()]), 1, "other");
}

#[test]
fn a_disk_that_is_full_for_a_while_costs_nothing_but_saves() {
    let dir = tempfile::tempdir().unwrap();
    let (small, state) = (dir.path().join("small"), dir.path().join("small/state"));
    let Some(disk) = Disk::mount(&small, "128k") else { return };
    let mut stream = Stream::start(&["none", "--json", "--state", state.to_str().unwrap(), "--save-every", "0s"]);
    let mut stdin = stream.child.stdin.take().unwrap();
    let mut say = |line: &str| stdin.write_all(format!("{line}\n").as_bytes()).unwrap();
    say("one");
    stream.text("one");
    let saved = |line: &str| fs::read(&state).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(line));
    wait(|| saved("\"line\":2,"));
    disk.fill();
    say("two");
    stream.text("two");
    say("three");
    stream.text("three");
    assert!(saved("\"line\":2,"), "the last state that had room is whole");
    disk.free();
    say("four");
    stream.text("four");
    wait(|| saved("\"line\":5,"));
    stream.signal("-TERM");
    assert!(stream.ended().success());
    assert_eq!(fs::read_dir(&small).unwrap().count(), 1);
}

#[test]
fn a_file_is_followed_through_rotation_and_truncation_and_gone_on_from() {
    let dir = tempfile::tempdir().unwrap();
    let log = text(dir.path().join("log"));
    let state = text(dir.path().join("state"));
    append(&log, "one\n");
    let follow = ["none", "--json", "--follow", "--state", &state, &log];
    let mut stream = Stream::start(&follow);
    stream.text("one");
    append(&log, "two\n");
    assert_eq!(stream.text("two")["line"], 2);
    fs::rename(&log, dir.path().join("log.1")).unwrap();
    append(&text(dir.path().join("log.1")), "late\n");
    append(&log, "three\n");
    stream.text("late");
    stream.event("rotated");
    assert_eq!(stream.text("three")["line"], 4);
    File::create(&log).unwrap();
    stream.event("truncated");
    append(&log, "four\n");
    stream.text("four");
    stream.signal("-TERM");
    assert!(stream.ended().success());
    // What comes while nobody reads is read later; what was read is not.
    append(&log, "five\n");
    let mut stream = Stream::start(&follow);
    let next = stream.until(|record| record.get("event").is_none());
    assert_eq!((&next["text"], &next["line"]), (&"five".into(), &6.into()));
}

#[test]
fn a_fifo_is_opened_again_for_its_next_writer() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = fifo(&dir.path().join("fifo"));
    let mut stream = Stream::start(&["none", "--json", "--follow", &pipe]);
    for writer in ["first", "second", "third"] {
        fs::write(&pipe, format!("{writer}\n")).unwrap();
        stream.text(writer);
    }
    // Without --follow its end is the end.
    let mut once = Stream::start(&["none", "--json", &pipe]);
    stream.signal("-TERM");
    stream.ended();
    fs::write(&pipe, "only\n").unwrap();
    once.text("only");
    once.event("end");
    assert!(once.ended().success());
}

#[test]
fn a_serial_port_is_raw_and_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let port = dir.path().join("port");
    let (mut device, name) = serial();
    symlink(&name, &port).unwrap();
    let state = text(dir.path().join("state"));
    let mut stream = Stream::start(&["none", "--json", "--baud", "9600", "--state", &state, port.to_str().unwrap()]);
    stream.event("learning");
    // Raw: nothing is echoed, no byte ends anything, a line end is one.
    wait(|| {
        device.write_all(b"$GP,1\r\n").unwrap();
        stream.until(|record| record["text"].is_string())["text"] == "$GP,1"
    });
    device.write_all(b"\x04\x03odd\r\n").unwrap();
    let odd = stream.text("\u{4}\u{3}odd");
    assert_eq!(odd["bytes"], 7);
    // Unplugged, and plugged in again under the same name.
    drop(device);
    stream.event("disconnected");
    fs::remove_file(&port).unwrap();
    let (mut device, name) = serial();
    symlink(&name, &port).unwrap();
    stream.event("connected");
    device.write_all(b"back\r\n").unwrap();
    stream.text("back");
    // Dead: it says nothing, and the program ends all the same.
    stream.signal("-TERM");
    assert!(stream.ended().success());
    assert!(fs::read(&state).unwrap().starts_with(b"MBS\x1a"));
    expect(&run(&["stream", "none", "no/such/port"]), 1, "no/such/port");
}

#[test]
fn silence_is_said() {
    let mut stream = Stream::start(&["none", "--json", "--silent", "1s"]);
    let mut stdin = stream.child.stdin.take().unwrap();
    stdin.write_all(b"one\n").unwrap();
    let silent = stream.event("silent");
    assert!(silent["seconds"].as_u64().unwrap() >= 1);
    stdin.write_all(b"two\n").unwrap();
    stream.text("two");
    drop(stdin);
    assert!(stream.ended().success());
    expect(&run(&["stream", "none", "--silent", "soon", &sample()]), 2, "--silent");
}

#[test]
fn a_model_that_is_overwritten_changes_nothing_for_who_has_read_it() {
    let dir = tempfile::tempdir().unwrap();
    let model = text(dir.path().join("model.mbb"));
    fs::copy(pico(), &model).unwrap();
    let bytes = fs::read(sample()).unwrap();
    let whole = line_records(&run_with(&["stream", &pico(), "--json"], &bytes));
    let mut stream = Stream::start(&[&model, "--json"]);
    let mut stdin = stream.child.stdin.take().unwrap();
    stdin.write_all(&bytes[..3000]).unwrap();
    stream.until(|record| record["line"] == 2);
    // In place, as `cp` does it, and shorter.
    File::create(&model).unwrap().write_all(b"nothing").unwrap();
    stdin.write_all(&bytes[3000..]).unwrap();
    drop(stdin);
    let last = whole.last().unwrap();
    let found = stream.until(|record| record.get("event").is_none() && record["line"] == last["line"]);
    assert_eq!(found["bits_per_byte_net"], last["bits_per_byte_net"]);
    assert!(stream.ended().success());
    let mapped = run_with(&["stream", &pico(), "--json", "--mmap"], &bytes);
    assert_eq!(line_records(&mapped), whole);
}

/// Text without the colours of the program.
fn without_colors(shown: &str) -> String {
    let mut parts = shown.split("\x1b[");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.find(|c: char| !c.is_ascii_digit() && c != ';') {
            Some(end) if part[end..].starts_with('m') => plain += &part[end + 1..],
            // Half of one, or something else.
            _ => plain = plain + "\x1b[" + part,
        }
    }
    plain
}

#[test]
fn what_a_terminal_obeys_does_not_reach_it() {
    let dir = tempfile::tempdir().unwrap();
    let evil = dir.path().join("evil");
    fs::write(&evil, b"fine \xc3\xa4\r\n\x1b]52;c;ZXZpbA==\x07\xc2\x9b2J\n\xff\x1b[5mopen").unwrap();
    let evil = evil.to_str().unwrap();
    let state = text(dir.path().join("state"));
    for words in [
        &["stream", "none", evil][..],
        &["stream", "none", "--color", evil],
        &["stream", "none", "--color", "--state", &state, evil],
        &["stream", "none", "--only-alarms", "--threshold", "0", evil],
        &["stream", "none", "--json", evil],
        &["generate", "sensor-pico", "-n", "400", "--temperature", "9"],
    ] {
        let (mut screen, name) = serial();
        let terminal = || Stdio::from(File::options().read(true).write(true).open(&name).unwrap());
        let mut child = command();
        child.args(words).stdin(Stdio::null()).stdout(terminal()).stderr(terminal());
        let reader = std::thread::spawn(move || {
            let (mut all, mut part) = (Vec::new(), [0; 4096]);
            // It ends with an error when the last one who has the terminal open is gone.
            while let Ok(n @ 1..) = screen.read(&mut part) {
                all.extend_from_slice(&part[..n]);
            }
            all
        });
        assert!(child.status().unwrap().success(), "{words:?}");
        // It has the terminal open until it is dropped.
        drop(child);
        let shown = String::from_utf8(reader.join().unwrap()).expect("UTF-8");
        // Colours and a row that is written again are the program's own.
        let plain = without_colors(&shown).replace("\x1b[K", "");
        assert!(plain.chars().all(|c| matches!(c, '\n' | '\r' | '\t') || !c.is_control()), "{words:?}: {shown:?}");
        assert!(!shown.contains("\x1b[5m"), "{words:?}");
    }
}

#[test]
fn the_open_line_shows_while_it_is_open() {
    let (mut screen, name) = serial();
    let terminal = File::options().read(true).write(true).open(&name).unwrap();
    let mut child = command();
    child.args(["stream", "none", "--color"]).stdin(Stdio::piped()).stdout(terminal).stderr(Stdio::null());
    let mut stream = Stream::of(child);
    let mut stdin = stream.child.stdin.take().unwrap();
    let mut shows = |what: &str| {
        let (mut all, mut part) = (String::new(), [0; 256]);
        while !without_colors(&all).contains(what) {
            let n = screen.read(&mut part).unwrap();
            all += &String::from_utf8_lossy(&part[..n]);
        }
        without_colors(&all)
    };
    stdin.write_all(b"login: ").unwrap();
    let open = shows("login: ");
    assert!(open.contains("open") && !open.contains('\n'), "{open:?}");
    stdin.write_all(b"root\n").unwrap();
    assert!(shows("login: root").contains("\r\x1b[K"));
    drop(stdin);
    assert!(stream.ended().success());
}
