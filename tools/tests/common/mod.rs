//! Running the command.
#![allow(dead_code, reason = "each test program uses some of it")]

pub(crate) mod broker;
#[cfg(unix)]
pub(crate) mod disk;
#[cfg(unix)]
pub(crate) mod monitor;
pub(crate) mod page;
#[cfg(unix)]
pub(crate) mod place;
pub(crate) mod schema;
#[cfg(unix)]
pub(crate) mod service;

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// The command of this build, which finds no GPU wherever it runs.
pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mambabyte"));
    command.env("CUDA_VISIBLE_DEVICES", "");
    command
}

/// A file of `models/<model>/`.
pub(crate) fn model_file(model: &str, file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../models").join(model).join(file)
}

pub(crate) fn run_with(args: &[&str], input: &[u8]) -> Output {
    let mut child =
        command().args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

pub(crate) fn run(args: &[&str]) -> Output {
    run_with(args, b"")
}

#[track_caller]
pub(crate) fn expect(output: &Output, code: i32, stderr_part: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(stderr.contains(stderr_part), "{stderr}");
}

pub(crate) fn text(path: PathBuf) -> String {
    path.to_str().unwrap().to_owned()
}

pub(crate) fn pico() -> String {
    text(model_file("sensor-pico", "model.mbb"))
}

pub(crate) fn sample() -> String {
    text(model_file("text", "gnss-sample.nmea"))
}

/// The records of lines of `stream --json`, without the time, which is another in each run.
pub(crate) fn line_records(output: &Output) -> Vec<serde_json::Value> {
    let mut all = records(output);
    all.retain(|record| record.get("event").is_none());
    all.iter_mut().for_each(|record| drop(record.as_object_mut().unwrap().remove("time")));
    all
}

/// All records of `stream --json`.
pub(crate) fn records(output: &Output) -> Vec<serde_json::Value> {
    expect(output, 0, "");
    String::from_utf8_lossy(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The snapshot of a saved stream, without the index of streams at its end.
pub(crate) fn snapshot(saved: &[u8]) -> &[u8] {
    let tail = saved.len() - 16;
    assert_eq!(&saved[tail + 8..], b"MBSLINES");
    &saved[..tail - u32::from_le_bytes(saved[tail..tail + 4].try_into().unwrap()) as usize]
}

pub(crate) fn json(output: &Output) -> serde_json::Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("one JSON value")
}
