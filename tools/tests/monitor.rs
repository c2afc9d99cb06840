//! `mambabyte monitor` at a serial port (a pair of terminals) and in the network: records, damage, unplugging.
#![cfg(unix)]

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use common::monitor::{Monitor, ends, frame, line, plug_in, start};
use mambabyte_core::record::{Message, Record, Start, Status, VERSION};

#[test]
fn a_serial_port_that_is_unplugged_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("tty-of-the-test");
    let port = link.to_str().unwrap();
    let mut device = plug_in(&link);
    let monitor = Monitor::start(&[port]);
    assert_eq!(monitor.next("connected")["port"], port);

    device.write_all(&[start(), line(0), line(1)].concat()).unwrap();
    assert_eq!(monitor.next("start")["fingerprint"], "ab".repeat(16));
    let first = monitor.next("line");
    assert_eq!((&first["line"], &first["start"], &first["bytes"]), (&1.into(), &0.into(), &70.into()));
    assert_eq!((&first["bits_per_byte"], &first["peak"], &first["lost"]), (&1.5.into(), &2.0.into(), &4.into()));
    assert_eq!((&first["flagged"], &monitor.next("line")["flagged"]), (&false.into(), &true.into()));
    let status = Status { stack_used: 1, stack_watched: 2, waiting: 3, capacity: 4 };
    device.write_all(&frame(&Message::Status(status))).unwrap();
    assert_eq!(monitor.next("status")["waiting"], 3);

    drop(device);
    let gone = monitor.next("disconnected");
    assert_eq!(gone["port"], port);
    assert!(!gone["error"].as_str().unwrap().is_empty());

    let mut device = plug_in(&link);
    // The port may be opened, fail once more and be opened again; what counts is that it ends open.
    loop {
        let event = monitor.any();
        if event["event"] == "connected" {
            break;
        }
        assert_eq!(event["event"], "disconnected", "{event}");
    }
    // In the middle of a frame, then two records of which one is damaged.
    let mut damaged = line(4);
    damaged[3] ^= 1;
    device.write_all(&[&line(2)[5..], &line(3), &damaged, &line(6)].concat()).unwrap();
    assert_eq!(monitor.next("missed")["records"], 1);
    assert_eq!(monitor.next("line")["line"], 4);
    assert_eq!(monitor.next("missed")["records"], 2);
    assert_eq!(monitor.next("line")["line"], 7);
    assert_eq!(monitor.next("damaged")["frames"], 1);
}

#[test]
fn a_port_in_the_network_ends_after_the_lines_asked_for() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = format!("tcp:{}", listener.local_addr().unwrap());
    let mut monitor = Monitor::start(&[&port, "--lines", "3"]);
    let accept = || -> TcpStream { listener.accept().unwrap().0 };
    let mut device = accept();
    monitor.next("connected");
    device.write_all(&[start(), line(0)].concat()).unwrap();
    monitor.next("start");
    monitor.next("line");
    drop(device);
    assert_eq!(monitor.next("disconnected")["port"], *port);
    let mut device = accept();
    monitor.next("connected");
    // The monitor of a port sends nothing, whatever credit there is.
    device.write_all(&[start(), line(0), line(1), line(2)].concat()).unwrap();
    monitor.next("start");
    monitor.next("line");
    monitor.next("line");
    let end = monitor.next("end");
    assert_eq!((&end["lines"], &end["bytes"], &end["alarms"]), (&3.into(), &210.into(), &1.into()));
    assert_eq!(end["bits_per_byte"], 1.5);
    assert_eq!((&end["events"]["connected"], &end["events"]["disconnected"]), (&2.into(), &1.into()));
    assert!(monitor.process.wait().unwrap().success());
    let mut sent = Vec::new();
    let _ = device.read_to_end(&mut sent);
    assert!(sent.is_empty());
}

/// A device that starts anew gets the input again from the byte that it asks for.
#[test]
fn input_is_sent_again_from_where_a_device_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("text");
    let text: Vec<u8> = (0..139).map(|i| b'a' + i % 26).collect();
    std::fs::write(&file, &text).unwrap();
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = format!("tcp:{}", listener.local_addr().unwrap());
    let mut monitor = Monitor::start(&[&port, "--input", file.to_str().unwrap()]);
    let (mut device, _) = listener.accept().unwrap();
    monitor.next("connected");
    let start = |position, credit| {
        let start = Start { version: VERSION, fingerprint: [0xab; 16], position, credit };
        [vec![0], frame(&Message::Start(start))].concat()
    };
    let mut got = [0; 100];
    device.write_all(&[start(0, 100), line(0)].concat()).unwrap();
    device.read_exact(&mut got).unwrap();
    assert_eq!(got[..], text[..100]);
    monitor.next("start");
    monitor.next("line");
    // The power was off; a snapshot holds the first 75 bytes, which include line 0.
    device.write_all(&start(75, 300)).unwrap();
    assert_eq!(monitor.next("start")["position"], 75);
    let mut got = [0; 65];
    device.read_exact(&mut got).unwrap();
    assert_eq!(got[..64], text[75..]);
    assert_eq!(got[64], b'\n', "the end of the last line");
    device.write_all(&line(1)).unwrap();
    assert_eq!(monitor.next("line")["start"], 70);
    monitor.next("finished");
    assert!(monitor.process.wait().unwrap().success());
}

/// What a device's detector says of a line comes before the line, its share after the start.
#[test]
fn verdicts_of_a_device_with_a_detector() {
    use mambabyte_core::detect::{Detector, Rate};
    use mambabyte_core::record::LineVerdict;

    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = format!("tcp:{}", listener.local_addr().unwrap());
    let monitor = Monitor::start(&[&port]);
    let (mut device, _) = listener.accept().unwrap();
    monitor.next("connected");
    device.write_all(&[start(), frame(&Message::Detector(Rate::ONE_PERCENT.share()))].concat()).unwrap();
    monitor.next("start");
    assert!((monitor.next("detector")["false_alarms"].as_f64().unwrap() - 0.01).abs() < 1e-6);
    let mut detector = Detector::new(Rate::ONE_PERCENT);
    for sequence in 0..70 {
        let odd = sequence == 66;
        detector.push(b'a', if odd { 90 << 16 } else { (sequence % 3) << 14 }, None);
        let verdict = detector.push(b'\n', 0, None).unwrap();
        assert_eq!(verdict.alarm, odd, "{sequence}");
        let said = frame(&Message::Verdict(LineVerdict { sequence, verdict }));
        device.write_all(&[said, line(sequence)].concat()).unwrap();
        let said = monitor.next("line");
        assert_eq!(
            (&said["line"], &said["alarm"], &said["odd"]),
            (&(sequence + 1).into(), &odd.into(), &odd.into()),
            "the verdict's word, not the record's flag"
        );
        assert!(said["rarity"].is_number());
        if odd {
            assert_eq!((&said["reason"], &said["worst"]["byte"]), (&"byte".into(), &97.into()));
            assert_eq!(said["worst"]["bits"], 90.0);
        }
        if sequence == 63 {
            let learned = monitor.next("learned");
            assert_eq!((&learned["line"], &learned["start"]), (&64.into(), &(63 * 70).into()));
        }
    }
}

#[test]
fn text_for_people_and_another_version() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = format!("tcp:{}", listener.local_addr().unwrap());
    let run = |arguments: Vec<&str>, bytes: Vec<u8>| -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mambabyte"));
        command.arg("monitor").args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        let process = command.spawn().unwrap();
        listener.accept().unwrap().0.write_all(&bytes).unwrap();
        process.wait_with_output().unwrap()
    };
    let output = run(vec![&port, "--lines", "2"], [start(), line(0), line(1)].concat());
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "0 1.500 - 4\n70 1.500 ! 4\n");
    assert!(String::from_utf8(output.stderr).unwrap().contains(&format!("{port}: connected")));

    let other = Start { version: VERSION + 1, fingerprint: [0; 16], position: 0, credit: 0 };
    let output = run(vec![&port], frame(&Message::Start(other)));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said.contains(&port)
            && said.contains(&format!("version {}", VERSION + 1))
            && said.contains(&format!("1 to {VERSION}")),
        "{said}"
    );
}

/// Credit without end from a device that takes nothing: what it says is read on, and the command ends.
#[test]
fn a_device_that_does_not_read_holds_nothing_up() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("text");
    // More than all buffers of a connection hold.
    std::fs::write(&file, vec![b'a'; 32 << 20]).unwrap();
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = format!("tcp:{}", listener.local_addr().unwrap());
    let mut monitor = Monitor::start(&[&port, "--input", file.to_str().unwrap(), "--lines", "2"]);
    let (mut device, _) = listener.accept().unwrap();
    monitor.next("connected");
    let start = Start { version: VERSION, fingerprint: [0xab; 16], position: 0, credit: u64::MAX };
    device.write_all(&frame(&Message::Start(start))).unwrap();
    monitor.next("start");
    device.write_all(&[line(0), line(1)].concat()).unwrap();
    monitor.next("line");
    monitor.next("line");
    assert!(ends(&mut monitor.process).success());
}

/// What is not shown yet waits in the device, not in memory.
#[test]
fn a_device_that_floods_the_line_waits_for_whoever_reads() {
    const MOST: usize = 48 << 20;
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = format!("tcp:{}", listener.local_addr().unwrap());
    let mut command = Command::new(env!("CARGO_BIN_EXE_mambabyte"));
    command.args(["monitor", "--json", &port]).stdin(Stdio::null()).stdout(Stdio::piped());
    // Nobody reads its output.
    let process = command.spawn().unwrap();
    let monitor = Monitor { process, events: channel().1 };
    let (mut device, _) = listener.accept().unwrap();
    device.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    let block: Vec<u8> = (0..2000).flat_map(line).collect();
    let mut sent = 0;
    let full = loop {
        match device.write(&block) {
            Ok(n) => sent += n,
            Err(error) => break error,
        }
        assert!(sent < MOST, "{sent} bytes were taken from the line");
    };
    assert_eq!(full.kind(), ErrorKind::WouldBlock, "{full}");
    drop(monitor);
}

#[test]
fn the_largest_numbers_that_a_device_can_say() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = format!("tcp:{}", listener.local_addr().unwrap());
    let mut monitor = Monitor::start(&[&port, "--lines", "3"]);
    let (mut device, _) = listener.accept().unwrap();
    monitor.next("connected");
    let most = u32::MAX;
    let first = Record { sequence: most, start: u64::MAX, bytes: most, bits: most, peak: most, ..Record::default() };
    let first = Record { flagged: true, lost: most, overruns: most, ..first };
    let records = [first, Record { sequence: 0, bytes: 1, ..first }, Record { sequence: 5, start: 0, ..first }];
    let start = Start { version: VERSION, fingerprint: [0xab; 16], position: u64::MAX, credit: u64::MAX };
    device.write_all(&frame(&Message::Start(start))).unwrap();
    records.iter().for_each(|&record| device.write_all(&frame(&Message::Line(record))).unwrap());
    assert_eq!(monitor.next("start")["position"], u64::MAX);
    let first = monitor.next("line");
    assert_eq!((&first["start"], &first["bytes"]), (&u64::MAX.into(), &most.into()));
    assert_eq!(monitor.next("line")["line"], 1, "the count begins anew after its largest number");
    assert_eq!(monitor.next("missed")["records"], 4);
    assert_eq!(monitor.next("line")["line"], 6);
    assert!(ends(&mut monitor.process).success());
}

#[test]
fn errors_name_the_port() {
    let refused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let refused = format!("tcp:{refused}");
    let cases: [(&[&str], i32, &str); 5] = [
        (&["/dev/no-such-port"], 1, "/dev/no-such-port"),
        (&[&refused], 1, &refused),
        (&[], 2, "<PORT>"),
        (&["--qemu", "microbit"], 2, "--input"),
        (&["/dev/x", "--qemu", "microbit", "--input", "y"], 2, "--qemu"),
    ];
    for (arguments, code, part) in cases {
        let output = Command::new(env!("CARGO_BIN_EXE_mambabyte")).arg("monitor").args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(part), "{said}");
    }
}
