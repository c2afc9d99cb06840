//! A running `stream`, and what it reads.
#![allow(dead_code, reason = "each test program uses some of it")]

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::Value;

use super::{command, text};

/// Long, for machines that are slow; nothing waits so long that goes right.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// Lines of a program's output, each of which comes in time.
pub(crate) struct Lines {
    from: ChildStdout,
    rest: Vec<u8>,
}

impl Lines {
    pub(crate) fn new(from: ChildStdout) -> Self {
        Self { from, rest: Vec::new() }
    }

    /// The next one; `None` at the end.
    #[track_caller]
    pub(crate) fn next(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.rest.iter().position(|&byte| byte == b'\n') {
                let line = self.rest.drain(..=at).take(at).collect();
                return Some(String::from_utf8(line).unwrap());
            }
            let limit = Timespec { tv_sec: LIMIT.as_secs().cast_signed(), tv_nsec: 0 };
            let ready = poll(&mut [PollFd::new(&self.from, PollFlags::IN)], Some(&limit)).unwrap();
            assert!(ready > 0, "nothing comes; so far: {}", String::from_utf8_lossy(&self.rest));
            let mut part = [0; 4096];
            match self.from.read(&mut part).unwrap() {
                0 => return None,
                n => self.rest.extend_from_slice(&part[..n]),
            }
        }
    }
}

/// A running `stream`, which ends with its owner.
pub(crate) struct Stream {
    pub(crate) child: Child,
    lines: Option<Lines>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Stream {
    pub(crate) fn start(words: &[&str]) -> Self {
        let mut command = command();
        command.arg("stream").args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        Self::of(command)
    }

    /// A command that is one; its records are read if its standard output is a pipe.
    pub(crate) fn of(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let lines = child.stdout.take().map(Lines::new);
        Self { child, lines }
    }

    /// The next record that `wanted` takes; those before it are left out.
    #[track_caller]
    pub(crate) fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        while let Some(line) = self.lines.as_mut().unwrap().next() {
            let record: Value = serde_json::from_str(&line).unwrap();
            if wanted(&record) {
                return record;
            }
        }
        panic!("the stream ended");
    }

    #[track_caller]
    pub(crate) fn event(&mut self, name: &str) -> Value {
        self.until(|record| record["event"] == name)
    }

    #[track_caller]
    pub(crate) fn text(&mut self, text: &str) -> Value {
        self.until(|record| record["text"] == text)
    }

    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    #[track_caller]
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        wait(|| {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }
}

#[track_caller]
pub(crate) fn wait(mut done: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < LIMIT, "too long");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn fifo(path: &Path) -> String {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    text(path.to_owned())
}

pub(crate) fn append(path: &str, bytes: &str) {
    File::options().append(true).create(true).open(path).unwrap().write_all(bytes.as_bytes()).unwrap();
}

/// A terminal that stands for a serial port: the device's side, and the path of the other.
pub(crate) fn serial() -> (File, String) {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    // Not for the programs that are started: an end that somebody holds is not gone.
    let device = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&device).unwrap();
    unlockpt(&device).unwrap();
    let name = ptsname(&device, Vec::new()).unwrap();
    (device.into(), name.into_string().unwrap())
}
