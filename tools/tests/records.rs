//! `stream`: the records against their schema, which of them are shown, and what follows an alarm.

mod common;

use std::fs;

use common::schema::misfit;
use common::{expect, line_records, pico, records, run, run_with, sample, text};
use serde_json::Value;

/// Lines of readings with some that are not.
fn damaged(count: usize) -> Vec<u8> {
    let line = |n: usize| match n {
        n if n % 50 == 49 && n > 100 => format!("{n:05},o~,\u{1b}[31m{}\n", n % 7),
        n => format!("{n:05},ok,{},{}.{}\n", 2000 + n * 37 % 90, n % 12, n * 7 % 10),
    };
    (0..count).map(line).collect::<String>().into_bytes()
}

fn stream(more: &[&str], input: &[u8]) -> std::process::Output {
    run_with(&[&["stream", "none"], more].concat(), input)
}

/// Numbers of the lines with a mark.
fn numbers(records: &[Value], mark: &str) -> Vec<u64> {
    records.iter().filter(|r| r[mark] == true).map(|r| r["line"].as_u64().unwrap()).collect()
}

#[test]
fn records_are_as_the_schema_says() {
    let schema: Value = serde_json::from_str(include_str!("../../docs/stream.schema.json")).unwrap();
    let check = |output: &std::process::Output, at_least: usize| {
        let all = records(output);
        assert!(all.len() >= at_least, "{}", all.len());
        for record in &all {
            assert_eq!(misfit(&schema, &schema, record), None, "{record}");
        }
        all
    };
    let bytes = [&damaged(400)[..], b"\xff\xfe no text\n", &b"x".repeat(5000), b"\nlast"].concat();
    let all = check(&stream(&["--json"], &bytes), 400);
    assert_eq!(all.last().unwrap()["event"], "end");
    let lines: Vec<&Value> = all.iter().filter(|r| r.get("event").is_none()).collect();
    assert!(lines.iter().all(|line| line.get("text").is_some() != line.get("raw").is_some()));
    assert!(lines.iter().all(|line| line["adapt"].is_string()));
    assert_eq!(
        (&lines[400]["raw"], lines.last().unwrap()["text"].as_str()),
        (&"//4gbm8gdGV4dA==".into(), Some("last"))
    );
    assert_eq!(lines[400]["time"].as_str().unwrap().len(), "2026-01-01T00:00:00.000Z".len());
    let three = |number: &Value| (number.as_f64().unwrap() * 1000.0).fract();
    assert!(lines.iter().all(|line| three(&line["bits_per_byte"]).min(1.0 - three(&line["bits_per_byte"])) < 1e-6));
    check(&run(&["stream", "sensor-pico", "--json", "--threshold", "auto", &sample()]), 50);
    check(&run(&["stream", "sensor-pico", "--json", "--adapt", "off", "--input", &format!("a={}", sample())]), 50);
    let bare = check(&stream(&["--json", "--no-text", "--no-time", "--only-alarms", "-C", "1"], &damaged(400)), 6);
    assert!(bare.iter().all(|r| r.get("text").is_none() && r.get("time").is_none()));
    // What is wrong is found by the schema.
    for (pointer, value) in [("/line", Value::from(0)), ("/reason", "whim".into()), ("/worst/byte", 256.into())] {
        let mut wrong = lines[0].clone();
        *wrong.pointer_mut(pointer).unwrap() = value;
        assert!(misfit(&schema, &schema, &wrong).is_some(), "{pointer}");
    }
    // No record has a byte that a terminal obeys.
    assert!(stream(&["--json"], &damaged(200)).stdout.iter().all(|&byte| byte == b'\n' || byte >= b' '));
}

#[test]
fn only_alarms_with_what_is_around_them() {
    let all = line_records(&stream(&["--json"], &damaged(400)));
    let alarms = numbers(&all, "alarm");
    assert!(alarms.len() >= 5 && alarms.contains(&200), "{alarms:?}");
    let only = line_records(&stream(&["--json", "--only-alarms"], &damaged(400)));
    assert_eq!(only.iter().map(|r| r["line"].as_u64().unwrap()).collect::<Vec<_>>(), alarms);
    let around = line_records(&stream(&["--json", "--only-alarms", "-C", "2"], &damaged(400)));
    let shown: Vec<u64> = around.iter().map(|r| r["line"].as_u64().unwrap()).collect();
    let expected: Vec<u64> = (1..=400).filter(|n| alarms.iter().any(|a| a.abs_diff(*n) <= 2)).collect();
    assert_eq!(shown, expected);
    assert!(around.iter().all(|r| (r["context"] == true) != (r["alarm"] == true)));
    // As text: lines, and a mark where some are left out.
    let output = stream(&["--only-alarms", "--context", "1"], &damaged(400));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("00198,ok") && text.contains("00199,o~") && text.contains("\n--\n"), "{text}");
    expect(&output, 0, "line 200  ! alarm: ");
    expect(&stream(&["-C", "1"], b"x\n"), 2, "--only-alarms");
}

#[test]
fn what_is_said_to_be_fine_does_not_alarm() {
    let dir = tempfile::tempdir().unwrap();
    let all = line_records(&stream(&["--json"], &damaged(400)));
    let odd = numbers(&all, "alarm");
    let ignored = records(&stream(&["--json", "--ignore", "nothing", "--ignore", "^[0-9]+,o~"], &damaged(400)));
    assert!(!odd.contains(&400) || numbers(&ignored, "fine").contains(&400), "{odd:?}");
    assert!(numbers(&ignored, "alarm").iter().all(|n| n % 50 != 0));
    assert_eq!(ignored.last().unwrap()["fine"].as_u64().unwrap(), odd.iter().filter(|&n| n % 50 == 0).count() as u64);
    // Lines of a file, whatever their numbers.
    let file = text(dir.path().join("normal"));
    fs::write(&file, "00001,o~,\u{1b}[99m1\r\n\n").unwrap();
    let normal = line_records(&stream(&["--json", "--normal", &file], &damaged(400)));
    assert!(numbers(&normal, "alarm").iter().all(|n| n % 50 != 0));
    assert_eq!(numbers(&normal, "fine"), numbers(&ignored, "fine"));
    expect(&stream(&["--normal", "no/such"], b""), 1, "no/such");
    expect(&stream(&["--ignore", "("], b""), 2, "--ignore");
    // The same line again is counted.
    let alien = |n: usize| if n % 60 == 59 && n > 100 { "what is THIS?\n".into() } else { format!("{n:04} ok\n") };
    let again: String = (0..500).map(alien).collect();
    let seen: Vec<u64> =
        line_records(&stream(&["--json"], again.as_bytes())).iter().filter_map(|r| r["seen"].as_u64()).collect();
    assert_eq!(seen, [2, 3, 4, 5, 6, 7]);
    expect(&stream(&["--false-alarms", "10%"], again.as_bytes()), 0, ", seen 2 times");
}

#[test]
fn the_exit_code_says_whether_anything_alarmed() {
    expect(&stream(&["--exit-code"], &damaged(400)), 3, "end: 400 lines");
    expect(&stream(&["--exit-code", "--json"], &damaged(60)), 0, "");
    expect(&stream(&["--json"], &damaged(400)), 0, "");
    expect(&stream(&["--exit-code", "--threshold", "0"], b"x\n"), 3, "");
}

#[test]
fn metrics_are_text_for_prometheus() {
    let dir = tempfile::tempdir().unwrap();
    let file = text(dir.path().join("metrics"));
    expect(&stream(&["--metrics", &file], &damaged(400)), 0, "");
    let said = fs::read_to_string(&file).unwrap();
    for part in [
        "\nmambabyte_lines_total 400\n",
        "\nmambabyte_alarms_total ",
        "\nmambabyte_events_total{event=\"learned\"} 1\n",
    ] {
        assert!(said.contains(part), "{said}");
    }
    for line in said.lines().filter(|line| !line.starts_with('#')) {
        assert!(line.rsplit_once(' ').unwrap().1.parse::<f64>().is_ok(), "{line}");
    }
    let sample = sample();
    let many = [format!("q\"\\={sample}"), format!("b={sample}")];
    expect(&run(&["stream", &pico(), "--input", &many[0], "--input", &many[1], "--metrics", &file]), 0, "");
    let said = fs::read_to_string(&file).unwrap();
    assert!(said.contains("mambabyte_lines_total{stream=\"q\\\"\\\\\"} "), "{said}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left");
}

#[cfg(unix)]
#[test]
fn a_program_runs_for_alarms_and_never_stalls_the_stream() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let script = |name: &str, body: &str| {
        let path = dir.path().join(name);
        fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        text(path)
    };
    let heard = dir.path().join("heard");
    let tells = script("tells", &format!("cat >> '{}'", heard.display()));
    let alarms = numbers(&line_records(&stream(&["--json"], &damaged(400))), "alarm").len() as u64;
    expect(&stream(&["--exec", &tells], &damaged(400)), 0, "");
    let records: Vec<Value> =
        fs::read_to_string(&heard).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(!records.is_empty() && records.iter().all(|r| r["alarm"] == true && r["text"].is_string()));
    // Those that had no run of their own are counted with the next one.
    assert!(records.iter().map(|r| 1 + r["suppressed"].as_u64().unwrap()).sum::<u64>() <= alarms);
    fs::remove_file(&heard).unwrap();
    expect(&stream(&["--exec", &tells, "--cooldown", "1h"], &damaged(400)), 0, "");
    assert_eq!(fs::read_to_string(&heard).unwrap().lines().count(), 1);
    // One that hangs: everything is read all the same, and a signal ends the wait for it.
    let hangs = script("hangs", "exec sleep 60");
    let mut child = common::command();
    child.args(["stream", "none", "--json", "--exec", &hangs]);
    let mut child = child.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, &damaged(400)).unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    assert!(lines.any(|line| line.unwrap().contains("00399,")));
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    drop(stdin);
    let begin = std::time::Instant::now();
    assert!(child.wait().unwrap().success());
    assert!(begin.elapsed() < std::time::Duration::from_secs(20), "it waited for the program");
    expect(&stream(&["--exec", "no/such"], &damaged(400)), 0, "--exec no/such: ");
}
