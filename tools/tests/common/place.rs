//! Where the commands of `docs/COLLECTORS.md` are run, and lines for them.
#![allow(dead_code, reason = "each test program uses some of it")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::schema::misfit;
use super::service::Stream;
use super::{sample, text};

/// A folder to work in, with `bin` for programs that stand for others.
pub(crate) struct Place {
    pub(crate) folder: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir(place.path("bin")).unwrap();
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn name(&self, name: &str) -> String {
        text(self.path(name))
    }

    /// A program of the shell.
    pub(crate) fn program(&self, name: &str, body: &str) {
        let path = self.path("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// What a shell of this place does with a line.
    pub(crate) fn shell(&self, line: &str) -> Command {
        let built = Path::new(env!("CARGO_BIN_EXE_mambabyte")).parent().unwrap().to_owned();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = [self.path("bin"), built].into_iter().chain(std::env::split_paths(&path));
        let mut command = Command::new("sh");
        command.args(["-c", line]).current_dir(self.folder.path()).env("PATH", std::env::join_paths(folders).unwrap());
        command.env("CUDA_VISIBLE_DEVICES", "").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// A command that goes on until a signal ends it, which reaches it and no shell.
    pub(crate) fn start(&self, line: &str) -> Stream {
        Stream::of(self.shell(&format!("exec {line}")))
    }

    pub(crate) fn is_saved(&self, state: &str) -> bool {
        fs::read(self.path(state)).is_ok_and(|bytes| bytes.starts_with(b"MBS\x1a"))
    }
}

/// The repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

pub(crate) fn file(name: &str) -> String {
    fs::read_to_string(root().join("docs/collectors").join(name)).unwrap()
}

/// Lines of a receiver without one that alarms, and one that is damaged.
pub(crate) fn receiver() -> (String, &'static str) {
    let lines: Vec<String> =
        fs::read_to_string(sample()).unwrap().lines().take(97).map(|line| line.to_owned() + "\n").collect();
    (lines.concat(), "$G~GSA,A,3,14,30,12,09,29,05,07,,,,,,2.0\u{5}1.02,1.76*0E")
}

/// Lines of a system log, from number `from`; none of them alarms.
pub(crate) fn log_lines(from: usize, count: usize) -> String {
    let line = |n: usize| {
        format!("Dec  1 12:{:02}:{:02} host cron[{}]: job {}\n", n * 7 % 60, n * 13 % 60, 800 + n * 7 % 90, n % 5)
    };
    (from..from + count).map(line).collect()
}

/// A line that a log has never seen.
pub(crate) const ALIEN: &str = "\u{fc}\u{fc} ~~ BUG at 0x7fff: {{{ stack }}}";

/// Another one.
pub(crate) const OTHER: &str = "<4>[OOM] killed <init>; good-bye!";

/// Whether a record is the alarm of a line.
pub(crate) fn alarm_of(line: &str) -> impl Fn(&Value) -> bool + '_ {
    move |record| record["alarm"] == true && record["text"] == line
}

#[track_caller]
pub(crate) fn fits_the_schema(record: &Value) {
    let schema: Value = serde_json::from_str(include_str!("../../../docs/stream.schema.json")).unwrap();
    assert_eq!(misfit(&schema, &schema, record), None, "{record}");
}
