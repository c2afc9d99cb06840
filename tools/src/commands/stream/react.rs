//! What follows an alarm: `--exec`, `--exit-code`; and `--metrics`.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::output::{note, shown};

/// What follows an alarm.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "What follows an alarm")]
pub struct ReactArgs {
    /// Run this program for each alarm, without a shell; its standard input is the record, as --json has it. One runs at a
    /// time, for at most 30 seconds; the stream does not wait for it. Alarms meanwhile, and within --cooldown, are counted
    /// in the next record's `suppressed`.
    #[arg(long, value_name = "PROGRAM")]
    pub exec: Option<PathBuf>,
    /// The least time between two runs of --exec.
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = humantime::parse_duration, requires = "exec")]
    pub cooldown: Duration,
    /// End with 3 if anything alarmed.
    #[arg(long)]
    pub exit_code: bool,
    /// Rewrite this file every five seconds and at the end: counters in Prometheus' text format.
    #[arg(long, value_name = "FILE")]
    pub metrics: Option<PathBuf>,
}

/// How long a program may run.
const RUNS: Duration = Duration::from_secs(30);
/// Between two looks whether it has ended.
const LOOK: Duration = Duration::from_millis(20);

/// Runs a program for alarms, on a thread.
pub(super) struct Exec {
    send: Option<SyncSender<String>>,
    thread: Option<JoinHandle<()>>,
    cooldown: Duration,
    last: Option<Instant>,
    suppressed: u64,
}

impl Exec {
    pub(super) fn new(program: PathBuf, cooldown: Duration) -> Self {
        // One that waits while one runs.
        let (send, records) = sync_channel(1);
        let thread = std::thread::spawn(move || run_all(&program, &records));
        Self { send: Some(send), thread: Some(thread), cooldown, last: None, suppressed: 0 }
    }

    /// An alarm.
    pub(super) fn alarm(&mut self, record: &Value) {
        let now = Instant::now();
        if self.last.is_some_and(|last| now.duration_since(last) < self.cooldown) {
            self.suppressed += 1;
            return;
        }
        let Some(send) = &self.send else { return };
        let mut record = record.clone();
        record["suppressed"] = self.suppressed.into();
        match send.try_send(format!("{record}\n")) {
            Ok(()) => (self.last, self.suppressed) = (Some(now), 0),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => self.suppressed += 1,
        }
    }

    /// The end of the stream: what was begun may end; when the program should end, for at most `patience`.
    pub(super) fn end(mut self, stop: &AtomicBool, patience: Duration) {
        drop(self.send.take());
        let (thread, mut stopped) = (self.thread.take(), None);
        while thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            if stop.load(Ordering::SeqCst) && stopped.get_or_insert_with(Instant::now).elapsed() >= patience {
                return;
            }
            std::thread::sleep(LOOK);
        }
    }
}

fn run_all(program: &std::path::Path, records: &Receiver<String>) {
    loop {
        let record = match records.recv_timeout(Duration::from_secs(3600)) {
            Ok(record) => record,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        match run_one(program, record) {
            Ok(()) => {}
            Err(why) => note(format_args!("--exec {}: {why}", shown(program))),
        }
    }
}

/// Runs it once.
fn run_one(program: &std::path::Path, record: String) -> Result<(), String> {
    let begin = Instant::now();
    let mut child = Command::new(program)
        .stdin(Stdio::piped())
        // Standard output is the stream's.
        .stdout(Stdio::null())
        .spawn()
        .map_err(|e| e.to_string())?;
    // A record may be longer than a pipe, and the program may not read: it is given on a thread of its own.
    let stdin = child.stdin.take();
    std::thread::spawn(move || stdin.map(|mut stdin| stdin.write_all(record.as_bytes())));
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(status.to_string()),
            Ok(None) if begin.elapsed() > RUNS => return Err(end(&mut child)),
            Ok(None) => std::thread::sleep(LOOK),
            Err(e) => return Err(e.to_string()),
        }
    }
}

fn end(child: &mut Child) -> String {
    let _ = child.kill();
    let _ = child.wait();
    format!("still running after {} seconds, ended", RUNS.as_secs())
}
