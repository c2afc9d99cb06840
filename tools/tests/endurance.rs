//! A simulated service: `stream --follow --state` on a log that grows, is rotated and truncated, killed without warning
//! at random moments, its disk full for a while.
//!
//! Each line carries its number, so whatever is lost shows. What is promised of a kill:
//!
//! * every line is reported, in order; what was read since the last save is read and reported again, with the same bits;
//! * that is at most what came since `--save-every`;
//! * the state that is found is whole.
#![cfg(unix)]

mod common;

use std::collections::{HashMap, VecDeque};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use common::disk::Disk;
use common::{command, line_records, model_file, run, text};
use serde_json::Value;

/// Between two saves.
const SAVE_EVERY: Duration = Duration::from_millis(100);
/// What a machine that is slow and busy may take for a save.
const SLACK: Duration = Duration::from_secs(20);
/// Nothing waits so long that goes right.
const LIMIT: Duration = Duration::from_secs(120);
/// Bytes that the log may be ahead of who reads it.
const AHEAD: u64 = 64 << 10;

/// What is simulated.
struct Plan {
    model: &'static str,
    /// Bytes until the last kill, and in all.
    killed: u64,
    bytes: u64,
    kills: u64,
    /// Compare with one run over all of it.
    compare: bool,
}

/// Marsaglia's xorshift: the same choices in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end.max(1)
    }
}

/// Line `n` of the log, counted from 1; about one in 300 is damaged.
fn line(n: u64) -> String {
    let mut random = Random(n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    (0..4).for_each(|_| _ = random.below(1));
    let (t, v) = (random.below(400), random.below(90));
    let mut line = format!("{n:09} pump{} temp={}.{} flow={v:02} state=ok\n", 1 + n % 3, 20 + t / 100, t % 10);
    if random.below(300) == 0 {
        let at = 10 + random.below(20) as usize;
        line.replace_range(at..=at, "~");
    }
    line
}

/// The log, and who writes it.
struct Log {
    path: PathBuf,
    folder: PathBuf,
    file: File,
    /// Lines and bytes written in all; rotations.
    lines: u64,
    bytes: u64,
    rotations: u64,
    truncations: u64,
    /// Lines before the last rotation, or truncation.
    turned: u64,
    whole: Option<File>,
}

impl Log {
    fn write(&mut self, lines: u64) {
        let mut text = String::new();
        for _ in 0..lines {
            self.lines += 1;
            text += &line(self.lines);
        }
        self.file.write_all(text.as_bytes()).unwrap();
        if let Some(whole) = &mut self.whole {
            whole.write_all(text.as_bytes()).unwrap();
        }
        self.bytes += text.len() as u64;
    }

    /// Moves the log away and begins another, as logrotate does; who writes notices it some lines later.
    fn rotate(&mut self) {
        fs::rename(&self.path, self.folder.join("log.1")).unwrap();
        self.write(20);
        self.file = File::options().append(true).create_new(true).open(&self.path).unwrap();
        (self.turned, self.rotations) = (self.lines, self.rotations + 1);
    }

    fn truncate(&mut self) {
        self.file.set_len(0).unwrap();
        (self.turned, self.truncations) = (self.lines, self.truncations + 1);
    }
}

/// One run of the program, from its start to its end.
struct Life {
    child: Child,
    said: Receiver<(Instant, String)>,
    /// Lines that were reported, and when.
    lines: VecDeque<(u64, Instant)>,
    last: u64,
}

impl Drop for Life {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Digits behind `key` in a record.
fn number(record: &str, key: &str) -> Option<u64> {
    let rest = &record[record.find(key)? + key.len()..];
    rest[..rest.find(|c: char| !c.is_ascii_digit())?].parse().ok()
}

struct Service {
    plan: Plan,
    log: Log,
    state: PathBuf,
    random: Random,
    /// The first line that the state found at the last start has not read.
    from: u64,
    /// Lines that were reported in all, and what was said of the last ones, which may come again.
    reported: u64,
    said: HashMap<u64, String>,
    alarms: u64,
    again: u64,
    lost: Vec<Duration>,
    checked: Vec<Value>,
}

impl Service {
    fn new(plan: Plan, folder: &Path, disk: &Path) -> Self {
        let path = folder.join("log");
        let file = File::options().append(true).create_new(true).open(&path).unwrap();
        let whole = plan.compare.then(|| File::create(folder.join("whole")).unwrap());
        let (lines, bytes, rotations, truncations, turned) = (0, 0, 0, 0, 0);
        let folder = folder.to_owned();
        let log = Log { path, folder, file, lines, bytes, rotations, truncations, turned, whole };
        Self {
            plan,
            log,
            state: disk.join("state"),
            random: Random(20),
            from: 1,
            reported: 0,
            said: HashMap::new(),
            alarms: 0,
            again: 0,
            lost: Vec::new(),
            checked: Vec::new(),
        }
    }

    fn start(&self) -> Life {
        let every = format!("{}ms", SAVE_EVERY.as_millis());
        let model = text(model_file(self.plan.model, "model.mbb"));
        let mut command = std::env::var_os("MAMBABYTE_PROGRAM").map_or_else(command, Command::new);
        command.args(["stream", &model, "--json", "--no-time", "--follow", "--save-every", &every, "--state"]);
        command.arg(&self.state).arg(&self.log.path).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (send, said) = channel();
        std::thread::spawn(move || {
            // The last line is half a one after a kill.
            out.lines().map_while(Result::ok).try_for_each(|line| send.send((Instant::now(), line)))
        });
        Life { child, said, lines: VecDeque::new(), last: self.from - 1 }
    }

    /// Takes a record: each line follows the one before, and what comes again is the same.
    fn take(&mut self, life: &mut Life, at: Instant, record: &str) {
        if record.contains("\"event\":") || !record.ends_with('}') {
            return;
        }
        let n = number(record, "\"line\":").unwrap();
        assert_eq!(n, life.last + 1, "no line is left out: {record}");
        let says = format!("\"text\":\"{}", line(n).trim_end());
        assert!(record.contains(&says), "line {n} is another one: {record}");
        life.last = n;
        life.lines.push_back((n, at));
        if n <= self.reported {
            self.again += 1;
            // What was likelier is not known again of the line that was open in the state.
            let same = |record: &str| match record.split_once(",\"instead\":[") {
                Some((head, tail)) if n == self.from => head.to_owned() + tail.split_once(']').unwrap().1,
                _ => record.to_owned(),
            };
            let before = self.said.get(&n).unwrap();
            assert_eq!(same(record), same(before), "the same is said of it again");
            return;
        }
        assert_eq!(n, self.reported + 1);
        self.reported = n;
        self.alarms += u64::from(record.contains("\"alarm\":true"));
        if self.plan.compare {
            self.checked.push(serde_json::from_str(record).unwrap());
        }
        self.said.insert(n, record.to_owned());
    }

    /// Reads what is said until `enough`, or the program ends.
    fn read(&mut self, life: &mut Life, mut enough: impl FnMut(&Self, &Life) -> bool) {
        let begin = Instant::now();
        while !enough(self, life) {
            match life.said.recv_timeout(Duration::from_millis(20)) {
                Ok((at, record)) => self.take(life, at, &record),
                Err(RecvTimeoutError::Timeout) => assert!(begin.elapsed() < LIMIT, "nothing more is said"),
                Err(RecvTimeoutError::Disconnected) => {
                    assert!(life.child.try_wait().unwrap().is_none(), "it ended by itself");
                    return;
                }
            }
        }
    }

    /// The line that the state has open: all before it are read. `None` while there is no state.
    fn saved(&self) -> Option<u64> {
        let bytes = fs::read(&self.state).ok()?;
        let snapshot = common::snapshot(&bytes).len();
        let index: Value = serde_json::from_slice(&bytes[snapshot..bytes.len() - 16]).expect("an index");
        index["streams"][0]["line"].as_u64()
    }

    fn all_saved(&self, life: &Life) -> bool {
        life.last >= self.log.lines && self.saved().is_some_and(|saved| saved > self.log.lines)
    }

    /// Writes and reads so many bytes.
    fn grow(&mut self, life: &mut Life, bytes: u64) {
        let end = self.log.bytes + bytes;
        while self.log.bytes < end {
            let many = 1 + self.random.below(200);
            self.log.write(many);
            // A line has some 45 bytes.
            self.read(life, |me, life| life.last + AHEAD / 45 >= me.log.lines);
        }
    }

    /// Another file, or an empty one, in the log's place, sometimes. Not twice before the first is read and saved.
    fn turn(&mut self, life: Option<&mut Life>) {
        if self.saved().is_none_or(|saved| saved <= self.log.turned + 1) {
            return;
        }
        match (self.random.below(3), life) {
            (0, Some(life)) => {
                // What is truncated before it is read is lost, whoever reads.
                self.read(life, Self::all_saved);
                self.log.truncate();
            }
            _ => self.log.rotate(),
        }
    }

    fn kill(&mut self, mut life: Life, promised: bool) {
        life.child.kill().unwrap();
        let at = Instant::now();
        life.child.wait().unwrap();
        while let Ok((at, record)) = life.said.recv() {
            self.take(&mut life, at, &record);
        }
        let saved = self.saved().unwrap_or(1);
        assert!(saved <= self.reported + 1, "what was not reported is not saved as read");
        let since = life
            .lines
            .iter()
            .find(|(n, _)| *n >= saved)
            .map_or(Duration::ZERO, |(_, since)| at.saturating_duration_since(*since));
        if promised {
            assert!(since <= SAVE_EVERY + SLACK, "{since:?} are lost");
            self.lost.push(since);
        }
        self.from = saved;
        self.said.retain(|n, _| *n >= saved);
    }
}

/// Resident memory of a process, KiB.
fn resident(child: &Child) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

fn simulate(plan: Plan) {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("disk");
    let disk = Disk::mount(&at, "512k");
    let mut service = Service::new(plan, folder.path(), &at);
    let (kills, each) = (service.plan.kills, service.plan.killed / service.plan.kills);
    let every = (kills / 40).max(3);
    // Of its kills, while the disk is full.
    let full = kills / 2..kills / 2 + (kills / 50).max(2);
    for n in 0..kills {
        let mut life = service.start();
        if n == full.start
            && let Some(disk) = &disk
        {
            service.read(&mut life, |me, _| me.saved().is_some());
            disk.fill();
        }
        let bytes = service.random.below(2 * each);
        service.grow(&mut life, bytes);
        let is_full = disk.is_some() && full.contains(&n);
        if n % every == 1 && !is_full {
            service.turn(Some(&mut life));
        }
        let more = service.random.below(AHEAD / 45);
        service.read(&mut life, |me, life| life.last + more >= me.log.lines);
        service.kill(life, !is_full);
        if n % every == 2 && !is_full {
            service.turn(None);
        }
        if (n + 1) % 100 == 0 {
            println!("{} kills, {} bytes", n + 1, service.log.bytes);
        }
        if n + 1 == full.end
            && let Some(disk) = &disk
        {
            disk.free();
        }
    }
    let (killed, begin) = (service.log.bytes, Instant::now());
    // One long life: its memory is flat, and a disk that is full for a while costs nothing but saves.
    let mut life = service.start();
    let (mut memory, parts) = (Vec::new(), 20);
    for part in 0..parts {
        match (&disk, part) {
            (Some(disk), 8) => disk.fill(),
            (Some(disk), 12) => disk.free(),
            _ => {}
        }
        let to = killed + service.plan.bytes.saturating_sub(killed) * (part + 1) / parts;
        let bytes = to.saturating_sub(service.log.bytes);
        service.grow(&mut life, bytes);
        if part % 3 == 2 && !(8..12).contains(&part) {
            service.read(&mut life, Service::all_saved);
            if part % 2 == 0 { service.log.truncate() } else { service.log.rotate() }
        }
        service.read(&mut life, |me, life| life.last >= me.log.lines);
        memory.push(resident(&life.child));
        println!("part {part}: {} bytes, {} KiB resident", service.log.bytes, memory[memory.len() - 1]);
        let (reported, said) = (service.reported, &mut service.said);
        said.retain(|n, _| *n + AHEAD >= reported);
        life.lines.clear();
    }
    service.read(&mut life, Service::all_saved);
    let seconds = begin.elapsed().as_secs_f64();
    assert!(Command::new("kill").args(["-TERM", &life.child.id().to_string()]).status().unwrap().success());
    while let Ok((at, record)) = life.said.recv() {
        service.take(&mut life, at, &record);
    }
    assert!(life.child.wait().unwrap().success());
    assert_eq!((service.reported, service.saved()), (service.log.lines, Some(service.log.lines + 1)));
    if cfg!(target_os = "linux") {
        let (early, late) = (memory[memory.len() / 4], memory[memory.len() - 1]);
        assert!(early > 0 && late <= early + early / 8 + 1024, "memory grows: {memory:?} KiB");
    }
    let mut names: Vec<_> = fs::read_dir(&at).unwrap().map(|name| name.unwrap().file_name()).collect();
    names.retain(|name| name != "state");
    service.lost.sort();
    let lost = |part: usize| service.lost[(service.lost.len() - 1) * part / 100].as_secs_f64();
    println!(
        "{} bytes, {} lines, {} alarms; {} rotations, {} truncations; {kills} kills, {} lines read again; state lost at a \
         kill: median {:.2} s, 99 % {:.2} s, most {:.2} s; memory {} to {} KiB; {:.0} bytes/s unbroken; other files beside \
         the state: {}",
        service.log.bytes,
        service.reported,
        service.alarms,
        service.log.rotations,
        service.log.truncations,
        service.again,
        lost(50),
        lost(99),
        lost(100),
        memory.iter().min().unwrap(),
        memory.iter().max().unwrap(),
        (service.log.bytes - killed) as f64 / seconds,
        names.len(),
    );
    assert!(service.log.rotations > 0 && service.log.truncations > 0 && service.alarms > 0);
    if service.plan.compare {
        let whole = folder.path().join("whole");
        let model = text(model_file(service.plan.model, "model.mbb"));
        let whole = line_records(&run(&["stream", &model, "--json", "--no-time", whole.to_str().unwrap()]));
        assert!(whole == service.checked, "as if it had never been stopped");
    }
}

#[test]
fn a_log_that_turned_while_nobody_read_is_read_where_it_was_left() {
    let folder = tempfile::tempdir().unwrap();
    let (log, moved, state) = (folder.path().join("log"), folder.path().join("log.1"), folder.path().join("state"));
    let lines_until = |last: &str| {
        let mut command = command();
        command.args(["stream", "none", "--json", "--follow", "--state"]).arg(&state).arg(&log);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (out, mut texts) = (BufReader::new(child.stdout.take().unwrap()), Vec::new());
        for record in out.lines() {
            let record: Value = serde_json::from_str(&record.unwrap()).unwrap();
            texts.extend(record["text"].as_str().map(str::to_owned));
            if record["text"] == last {
                assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
                break;
            }
        }
        assert!(child.wait().unwrap().success(), "the stream ended after {texts:?}");
        texts
    };
    let append = |path: &Path, text: &str| {
        File::options().append(true).create(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
    };
    append(&log, "one\n");
    assert_eq!(lines_until("one"), ["one"]);
    // Moved away: its rest comes first.
    append(&log, "two\n");
    fs::rename(&log, &moved).unwrap();
    append(&log, "three\n");
    assert_eq!(lines_until("three"), ["two", "three"]);
    // Truncated, and longer than it was since.
    File::create(&log).unwrap();
    append(&log, "four and more than it was\n");
    assert_eq!(lines_until("four and more than it was"), ["four and more than it was"]);
    // Removed.
    fs::remove_file(&log).unwrap();
    append(&log, "five\n");
    assert_eq!(lines_until("five"), ["five"]);
}

#[test]
fn kills_rotations_and_a_full_disk() {
    simulate(Plan { model: "sensor-pico", killed: 120_000, bytes: 240_000, kills: 12, compare: true });
}

/// `MAMBABYTE_PROGRAM=target/release/mambabyte cargo test -p mambabyte --test endurance -- --ignored --nocapture`, with the
/// whole path of a release build.
#[test]
#[ignore = "takes long"]
fn a_hundred_million_bytes_and_a_thousand_kills() {
    simulate(Plan { model: "sensor-nano", killed: 20_000_000, bytes: 100_000_000, kills: 1000, compare: false });
}
