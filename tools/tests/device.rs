//! `mambabyte monitor` with devices that do not do what they should: real serial lines (pairs of terminals), signals.
#![cfg(unix)]

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Stdio;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use common::monitor::{Monitor, ends, frame, line, plug_in, start};
use mambabyte_core::record::{Message, Start, VERSION};
use rustix::process::Signal;

/// More than all buffers of a serial line hold, from a device that gives credit for all of it and reads nothing: what it
/// says is read on, what it takes later arrives whole, and a signal ends the command.
#[test]
fn a_serial_device_that_grants_credit_and_does_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let (link, file) = (folder.path().join("tty"), folder.path().join("text"));
    let text: Vec<u8> = (0..300_000u32).map(|i| if i % 64 == 63 { b'\n' } else { b'a' + (i % 23) as u8 }).collect();
    fs::write(&file, &text).unwrap();
    for (signal, takes) in [(Signal::TERM, 0), (Signal::INT, 60_000)] {
        let mut device = plug_in(&link);
        let mut monitor = Monitor::start(&[link.to_str().unwrap(), "--input", file.to_str().unwrap()]);
        monitor.next("connected");
        let start = Start { version: VERSION, fingerprint: [0xab; 16], position: 0, credit: u64::MAX };
        device.write_all(&frame(&Message::Start(start))).unwrap();
        monitor.next("start");
        // Each is heard although nothing that is sent has been taken: they come after the line is full, too.
        for sequence in 0..20 {
            device.write_all(&line(sequence)).unwrap();
            assert_eq!(monitor.next("line")["line"], sequence + 1);
        }
        let mut got = vec![0; takes];
        device.read_exact(&mut got).unwrap();
        assert!(got == text[..takes], "nothing is lost where a write was short");
        ends_soon(&mut monitor, signal);
    }
}

/// Ends the monitor: within a second, for which a slow machine has ten.
#[track_caller]
fn ends_soon(monitor: &mut Monitor, signal: Signal) {
    let begin = Instant::now();
    monitor.signal(signal);
    assert!(ends(&mut monitor.process).success());
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
}

/// Nobody reads the output of a monitor that is flooded: it ends all the same.
#[test]
fn a_signal_ends_a_monitor_whose_reader_has_stalled() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = format!("tcp:{}", listener.local_addr().unwrap());
    for signal in [Signal::TERM, Signal::INT] {
        let mut command = common::command();
        command.args(["monitor", "--json", &port]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut monitor = Monitor { process: command.spawn().unwrap(), events: channel().1 };
        let (mut device, _) = listener.accept().unwrap();
        device.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
        let lines: Vec<u8> = (0..1000).flat_map(line).collect();
        // Until the pipe, the queue and the connection are full.
        while device.write_all(&lines).is_ok() {}
        ends_soon(&mut monitor, signal);
    }
}

/// A GPS receiver: said once, with what to do, in records and in words; a device that speaks later is heard.
#[test]
fn a_plain_serial_device_does_not_speak_our_protocol() {
    const NMEA: &[u8] = b"$GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,*47\r\n";
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("tty");
    let mut device = plug_in(&link);
    let mut monitor = Monitor::start(&[link.to_str().unwrap()]);
    monitor.next("connected");
    let begin = Instant::now();
    let said = loop {
        assert!(begin.elapsed() < Duration::from_secs(60), "nothing is said");
        device.write_all(NMEA).unwrap();
        if let Ok(said) = monitor.events.recv_timeout(Duration::from_millis(50)) {
            break said;
        }
    };
    assert!(begin.elapsed() >= Duration::from_secs(2));
    assert_eq!((&said["event"], &said["port"]), (&"foreign".into(), &link.to_str().unwrap().into()));
    let why = said["error"].as_str().unwrap();
    assert!(why.contains("does not speak our protocol") && why.contains("mambabyte stream"), "{why}");
    device.write_all(&[NMEA, NMEA, &start(), &line(0)].concat()).unwrap();
    monitor.next("start");
    monitor.next("line");
    ends_soon(&mut monitor, Signal::TERM);
}

/// A device that starts again and again: told a few times, then counted; its lines are all there.
#[test]
fn what_repeats_is_told_a_few_times() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = format!("tcp:{}", listener.local_addr().unwrap());
    let monitor = Monitor::start(&[&port, "--lines", "300"]);
    let (mut device, _) = listener.accept().unwrap();
    for _ in 0..300 {
        device.write_all(&[start(), line(0)].concat()).unwrap();
    }
    let (mut lines, mut starts, mut left_out) = (0, 0, 0);
    while let Ok(record) = monitor.events.recv_timeout(Duration::from_secs(60)) {
        match record["event"].as_str() {
            None => lines += 1,
            Some("start") => starts += 1,
            _ => {}
        }
        left_out += record["suppressed"].as_u64().unwrap_or(0);
    }
    assert_eq!((lines, starts + left_out), (300, 300));
    assert!((8..100).contains(&starts), "{starts}");
}
