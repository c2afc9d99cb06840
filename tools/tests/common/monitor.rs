//! A monitor, and what a device says to it.
#![allow(dead_code, reason = "each test program uses some of it")]

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use mambabyte_core::record::{FRAME, Message, Record, Start, VERSION, encode};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::Value;

use super::schema::misfit;

/// A monitor that prints JSON; ends with its owner.
pub(crate) struct Monitor {
    pub(crate) process: Child,
    pub(crate) events: Receiver<Value>,
}

impl Monitor {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut command = super::command();
        command.args(["monitor", "--json"]).args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let (send, events) = channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let _ = send.send(serde_json::from_str(&line).unwrap());
            }
        });
        Self { process, events }
    }

    /// The next event, which must be of this kind; a line is of the kind `line`.
    #[track_caller]
    pub(crate) fn next(&self, kind: &str) -> Value {
        let event = self.any();
        assert_eq!(event["event"].as_str().unwrap_or("line"), kind, "{event}");
        event
    }

    /// The next one of this kind, whatever comes before.
    #[track_caller]
    pub(crate) fn next_of(&self, kind: &str) -> Value {
        loop {
            let event = self.any();
            if event["event"].as_str().unwrap_or("line") == kind {
                return event;
            }
        }
    }

    /// The next event, as the schema of `stream` has it.
    #[track_caller]
    pub(crate) fn any(&self) -> Value {
        let event = self.events.recv_timeout(Duration::from_secs(60)).expect("an event in time");
        let schema: Value = serde_json::from_str(include_str!("../../../docs/stream.schema.json")).unwrap();
        assert_eq!(misfit(&schema, &schema, &event), None, "{event}");
        event
    }

    /// Tells the monitor to end.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) fn frame(message: &Message<'_>) -> Vec<u8> {
    encode(message, &mut [0; FRAME]).unwrap().to_vec()
}

pub(crate) fn line(sequence: u32) -> Vec<u8> {
    let start = u64::from(sequence) * 70;
    let record = Record {
        sequence,
        start,
        bytes: 70,
        bits: 3 << 15,
        peak: 1 << 17,
        flagged: sequence == 1,
        lost: 4,
        overruns: 0,
        net: None,
    };
    frame(&Message::Line(record))
}

pub(crate) fn start() -> Vec<u8> {
    let start = Start { version: VERSION, fingerprint: [0xab; 16], position: 0, credit: 100 };
    [vec![0], frame(&Message::Start(start))].concat()
}

/// A device's end of a serial line, whose other end appears as `link`.
pub(crate) fn plug_in(link: &Path) -> File {
    // Closed in the processes that this one starts, or the line would not end here.
    let device = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&device).unwrap();
    unlockpt(&device).unwrap();
    let name = ptsname(&device, Vec::new()).unwrap().into_string().unwrap();
    let new = link.with_extension("new");
    std::os::unix::fs::symlink(name, &new).unwrap();
    std::fs::rename(&new, link).unwrap();
    device.into()
}

/// The exit of a process that must come by itself.
#[track_caller]
pub(crate) fn ends(process: &mut Child) -> ExitStatus {
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(60) {
        if let Some(status) = process.try_wait().unwrap() {
            return status;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("the monitor does not end");
}
