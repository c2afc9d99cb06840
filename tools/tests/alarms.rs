//! `stream --false-alarms`: what it says of lines and of the stream, in text, in records and over saved states.

mod common;

use std::fs;

use common::{command, expect, records, run, run_with, sample, snapshot, text};
use serde_json::Value;

/// Lines of readings; `change` may damage one.
fn readings(count: usize, change: impl Fn(usize, &mut String)) -> Vec<u8> {
    let line = |n: usize| {
        let mut line = format!("{n:05},ok,{},{}.{}\n", 2000 + n * 37 % 90, n % 12, n * 7 % 10);
        change(n, &mut line);
        line
    };
    (0..count).map(line).collect::<String>().into_bytes()
}

/// The numbers of events with a name.
fn said(records: &[Value], event: &str) -> Vec<u64> {
    records.iter().filter(|r| r["event"] == event).map(|r| r["line"].as_u64().unwrap()).collect()
}

/// By default about one line in a hundred.
const WATCH: [&str; 2] = ["stream", "none"];

#[test]
fn a_damaged_line_is_an_alarm_that_says_why() {
    let damaged = readings(420, |n, line| {
        if n == 399 {
            line.replace_range(6..8, "o~");
        }
    });
    let output = run_with(&[&WATCH[..], &["--json"]].concat(), &damaged);
    let all = records(&output);
    assert_eq!((all[0]["event"].as_str(), all[0]["lines"].as_u64()), (Some("learning"), Some(64)));
    assert_eq!(said(&all, "learned"), [64]);
    let lines: Vec<&Value> = all.iter().filter(|r| r.get("event").is_none()).collect();
    assert_eq!(lines.len(), 420);
    let alarmed = lines[399];
    assert_eq!((&alarmed["alarm"], &alarmed["odd"], &alarmed["flagged"]), (&true.into(), &true.into(), &true.into()));
    assert!(alarmed["rarity"].as_f64().unwrap() > 6.6 && alarmed["reason"] == "stretch", "{alarmed}");
    assert_eq!((&alarmed["worst"]["offset"], &alarmed["worst"]["byte"]), (&7.into(), &126.into()));
    assert!(lines[..64].iter().all(|line| line["odd"] == false && line["reason"].is_null()));
    assert!(lines.iter().filter(|line| line["alarm"] == true).count() < 8);
    // For people: scores and alarms beside the stream, which passes as it is.
    let output = run_with(&WATCH, &damaged);
    assert_eq!(output.stdout, damaged);
    for part in
        ["no alarm in the next 64 lines", "line 64: learned:", "line 400  ! alarm: rarity ", "eight bytes in a row"]
    {
        expect(&output, 0, part);
    }
    assert_eq!(
        records(&run_with(&[&WATCH[..], &["--json", "--false-alarms", "1%"]].concat(), &damaged)).len(),
        all.len()
    );
    // What was likely there: an ok.
    assert_eq!(alarmed["worst"]["instead"][0]["byte"], b'k', "{alarmed}");
    assert_eq!((&alarmed["line"], &alarmed["text"]), (&400.into(), &"00399,o~,2003,3.3".into()));
    expect(&output, 0, "likely were 'k' ");
    // With a threshold nothing of the detector is there.
    let plain = records(&run_with(&["stream", "none", "--json", "--threshold", "auto"], &damaged));
    let (end, lines) = plain.split_last().unwrap();
    assert!(lines.iter().all(|r| r.get("event").is_none() && r.get("rarity").is_none()));
    assert_eq!((&end["event"], &end["lines"]), (&"end".into(), &420.into()));
    assert!(lines.iter().all(|r| r["alarm"] == r["flagged"] && r["alarm"] == !r["reason"].is_null()));
}

#[test]
fn what_happens_to_the_stream_is_said_once() {
    let frozen = |n: usize| if n >= 300 { 295 + n % 5 } else { n };
    let mut all = String::new();
    (0..400).for_each(|n| all += &format!("reading {}\n", frozen(n)));
    (0..200).for_each(|n| all += &format!("reading {}\n{}", 400 + n, if n % 8 == 0 { "{\"other\":1}\n" } else { "" }));
    let all = records(&run_with(&[&WATCH[..], &["--json"]].concat(), all.as_bytes()));
    assert_eq!(said(&all, "frozen"), [332]);
    assert_eq!(said(&all, "new-kind").len(), 1);
    assert!(said(&all, "unknown-text").is_empty(), "no net, no text that it does not know");
    let foreign = readings(100, |_, line| *line = format!("~~ {line}").to_uppercase().replace('0', "\u{fc}"));
    let watch = ["stream", "sensor-pico", "--json"];
    let all = records(&run_with(&watch, &foreign));
    assert_eq!(said(&all, "unknown-text"), [33]);
    let known = records(&run(&[&watch[..], &[&sample()]].concat()));
    assert!(said(&known, "unknown-text").is_empty());
}

#[test]
fn a_stream_that_is_split_anywhere_has_the_same_alarms() {
    let dir = tempfile::tempdir().unwrap();
    let state = text(dir.path().join("state"));
    let bytes = readings(160, |n, line| {
        if n % 30 == 29 {
            line.insert(n % 11, '#');
        }
    });
    let watch = ["stream", "sensor-pico", "--json"];
    let scores = |all: Vec<Value>| -> Vec<[Value; 5]> {
        let keys = ["start", "rarity", "odd", "alarm", "worst"];
        all.iter().filter(|r| r.get("event").is_none()).map(|r| keys.map(|key| r[key].clone())).collect()
    };
    let whole = scores(records(&run_with(&watch, &bytes)));
    for at in [1, 1500, 2703] {
        let first = run_with(&[&watch[..], &["--save-state", &state]].concat(), &bytes[..at]);
        let second = run_with(&[&watch[..], &["--load-state", &state]].concat(), &bytes[at..]);
        assert_eq!(scores([records(&first), records(&second)].concat()), whole, "{at}");
    }
    // With and without are different readers; and a detector that cannot be is none.
    let load = ["stream", "sensor-pico", "--load-state", &state, &sample()];
    expect(&run(&[&load[..], &["--threshold", "auto"]].concat()), 1, "section 7 (detector) that is not taken here");
    expect(&run(&["stream", "sensor-pico", "--threshold", "3", "--save-state", &state, &sample()]), 0, "");
    let with = [&load[..], &["--false-alarms", "0.1%"]].concat();
    expect(&run(&with), 1, "no section 7 (detector)");
    expect(&run_with(&[&watch[..], &["--save-state", &state]].concat(), &bytes), 0, "");
    let mut saved = snapshot(&fs::read(&state).unwrap()).to_vec();
    let version = saved.len() - mambabyte_core::detect::SAVED;
    saved[version] = 99;
    let crc = crc32fast::hash(&[&saved[..36], &saved[40..]].concat());
    saved[36..40].copy_from_slice(&crc.to_le_bytes());
    fs::write(&state, &saved).unwrap();
    expect(&run(&with), 1, "detector version 99, this build reads version 1");
}

#[test]
fn wrong_values_are_named() {
    for wrong in ["", "1", "0%", "50%", "nan%", "-1/day", "many/day", "1/hour"] {
        expect(&run(&["stream", "none", &format!("--false-alarms={wrong}"), &sample()]), 2, "--false-alarms");
    }
    expect(&run(&["stream", "none", "--false-alarms", "5/day", &sample()]), 2, "a file has no days");
    let both = ["stream", "none", "--false-alarms", "1%", "--threshold", "3", &sample()];
    expect(&run(&both), 2, "--threshold");
    // From a pipe a day is the clock's: so many lines in no time are a great many a day, and few of them alarm.
    let noisy = readings(600, |n, line| {
        if n % 20 == 7 {
            line.insert(3, '~')
        }
    });
    let alarms = |rate: &str| {
        let all = records(&run_with(&["stream", "none", "--json", "--false-alarms", rate], &noisy));
        all.iter().filter(|r| r["alarm"] == true).count()
    };
    assert!(alarms("1/day") <= alarms("10%"));
    let help = command().args(["stream", "--help"]).output().unwrap();
    let help = String::from_utf8_lossy(&help.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(help.contains("about one quiet line in a hundred, never more than four in a hundred plus 19"), "{help}");
}
