//! `stream --mqtt`: with a broker, mosquitto, and with what is none.
#![cfg(unix)]

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Stdio;

use common::broker::{Broker, Subscriber, free_port, is_here};
use common::schema::misfit;
use common::service::{Stream, wait};
use common::{command, expect, run, text};
use serde_json::Value;

#[test]
fn a_message_is_lines_whatever_is_in_it() {
    if !is_here("messages of every kind through a broker") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), "");
    let mut status = Subscriber::start(&broker, &["bridge/status"]);
    let url = broker.url();
    let words =
        ["none", "--json", "--mqtt", &url, "--topic", "#", "--threshold", "0", "--status-topic", "bridge/status"];
    // A retained message is of the past.
    broker.publish("in/a", &["-r", "-m", "long ago"], b"");
    let mut stream = Stream::start(&words);
    assert_eq!(status.of("bridge/status").1, "online");
    let long = "x".repeat(100_000);
    broker.publish("in/a", &["-s"], b"one\ntwo\r\n\nthree");
    broker.publish("in/a", &["-n"], b"");
    broker.publish("in/a", &["-s"], b"\xff\xfe\0\x01");
    broker.publish("in/a", &["-s"], long.as_bytes());
    broker.publish("in/a", &["-s"], b"four\n");
    broker.publish("in/\u{e4} b/", &["-s"], b"other");
    let schema: Value = serde_json::from_str(include_str!("../../docs/stream.schema.json")).unwrap();
    let mut lines = Vec::new();
    loop {
        let record = stream.until(|record| record.get("event").is_none());
        assert_eq!(misfit(&schema, &schema, &record), None, "{record}");
        let label = record["label"].as_str().unwrap().to_owned();
        assert!(label.starts_with("in/"), "what it publishes itself is read by nobody here: {record}");
        let shown = record["text"].as_str().or(record["raw"].as_str()).unwrap().to_owned();
        lines.push((label, record["line"].as_u64().unwrap(), shown));
        if lines.last().unwrap().2 == "other" {
            break;
        }
    }
    let (other, lines): (Vec<_>, Vec<_>) = lines.into_iter().partition(|(label, ..)| label != "in/a");
    assert_eq!(other, [("in/\u{e4} b/".to_owned(), 1, "other".to_owned())]);
    let of = |line: u64| -> String {
        lines.iter().filter(|(_, number, _)| *number == line).map(|(.., text)| text.as_str()).collect()
    };
    let all: Vec<String> = (1..=8).map(of).collect();
    assert_eq!(all[..6], ["one", "two", "", "three", "", "//4AAQ=="]);
    assert!(all[6] == long && all[7] == "four" && of(9).is_empty());
    // Dead at once, the broker says it is off.
    stream.signal("-KILL");
    assert_eq!(status.of("bridge/status").1, "offline");
}

#[test]
fn other_lines_ends_and_encodings_are_those_of_each_message() {
    if !is_here("encodings through a broker") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), "");
    let mut status = Subscriber::start(&broker, &["mambabyte/status"]);
    let url = broker.url();
    let base = ["none", "--json", "--mqtt", &url, "--topic", "in/+"];
    let begin = |status: &mut Subscriber, more: &[&str]| {
        let stream = Stream::start(&[&base[..], more].concat());
        assert_eq!(status.next().1, "online");
        stream
    };
    let mut stream = begin(&mut status, &["--encoding", "utf-16"]);
    let utf_16 = |text: &str| text.encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<u8>>();
    // The byte order mark of each message, and half a unit at the end of one.
    for _ in 0..2 {
        broker.publish("in/a", &["-s"], &[&utf_16("\u{feff}gr\u{fc}n")[..], b"x"].concat());
        stream.text("gr\u{fc}n");
    }
    stream.signal("-TERM");
    assert!(stream.ended().success());
    assert_eq!(status.next().1, "offline");
    let mut stream = begin(&mut status, &["--record-start", "^[0-9]"]);
    broker.publish("in/a", &["-s"], b"1 error\n  at a\n2 fine");
    stream.text("1 error\n  at a");
    // The message ends it: nothing waits for the next one.
    assert_eq!(stream.text("2 fine")["line"], 2);
    stream.signal("-INT");
    assert!(stream.ended().success());
    assert_eq!(status.next().1, "offline");
    let mut stream = begin(&mut status, &["--delimiter", ";"]);
    broker.publish("in/a", &["-s"], b"one\nline;two");
    stream.text("one\nline");
    stream.text("two");
}

/// Something that is no broker, or a strange one: says `answers`, one after each packet of the client.
fn strange(answers: Vec<Vec<u8>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("mqtt://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for link in listener.incoming() {
            let mut link = link.unwrap();
            for answer in &answers {
                if matches!(link.read(&mut [0; 4096]), Ok(1..)) {
                    let _ = link.write_all(answer);
                }
            }
            // Until the client is gone, or for ever.
            let _ = link.read(&mut [0; 4096]);
            let _ = link.read(&mut [0; 4096]);
        }
    });
    url
}

#[test]
fn what_is_no_broker_is_an_error_that_says_so() {
    let stream = |url: &str, more: &[&str]| run(&[&["stream", "none", "--mqtt", url, "--topic", "a"], more].concat());
    let closed = format!("mqtt://127.0.0.1:{}", free_port());
    let output = stream(&closed, &[]);
    expect(&output, 1, &closed);
    expect(&output, 1, "refused");
    let connected = vec![0x20, 2, 0, 0];
    for (answers, why) in [
        (
            vec![format!("HTTP/1.1 400 Bad Request\r\n{}\r\n", "Header: x\r\n".repeat(9)).into_bytes()],
            "this is no MQTT broker",
        ),
        (vec![b"\xff\xff\xff\xff\xff\xff".to_vec()], "this is no MQTT broker"),
        (vec![vec![0x20, 2, 0, 5]], "the broker refuses this user or password"),
        (vec![vec![0x20, 2, 0, 2]], "the broker refuses this --client-id"),
        (vec![connected.clone(), vec![0x90, 3, 0, 1, 0x80]], "the broker refuses --topic a"),
    ] {
        let url = strange(answers);
        let output = stream(&url, &[]);
        expect(&output, 1, why);
        expect(&output, 1, &url);
    }
    // Neither user nor password is in any message.
    let output = stream(&closed.replace("//", "//me:secret@"), &[]);
    expect(&output, 1, &closed);
    assert!(!String::from_utf8_lossy(&output.stderr).contains("secret"));
    for (url, more, why) in [
        ("http://me:secret@host", &[][..], "mqtt:// or mqtts://"),
        ("mqtt://me:secret@host:port", &[], "a port is a number"),
        ("mqtt://host", &["--ca", "x"], "has no TLS"),
        ("mqtt://host", &["--client-id", ""], "--client-id"),
        ("mqtt://host", &["--topic", "a/#/b"], "--topic"),
        ("mqtt://host", &["--alarm-topic", "a/+"], "--alarm-topic"),
        ("mqtt://host", &["--multiplex"], "--multiplex"),
        ("mqtt://host", &["some.log"], "FILE"),
    ] {
        let output = stream(url, more);
        expect(&output, 2, why);
        assert!(!String::from_utf8_lossy(&output.stderr).contains("secret"), "{output:?}");
    }
    let dir = tempfile::tempdir().unwrap();
    let missing = text(dir.path().join("missing"));
    for option in ["--password-file", "--ca"] {
        expect(&stream("mqtts://me@host", &[option, &missing]), 1, "missing");
    }
    let empty = text(dir.path().join("empty"));
    fs::write(&empty, "").unwrap();
    expect(&stream("mqtt://host", &["--password-file", &empty]), 2, "a password needs a user");
    // The files that are read are none to write to.
    expect(&stream("mqtt://me@host", &["--password-file", &empty, "--state", &empty]), 2, "empty");
}

#[test]
fn a_strange_broker_does_no_harm_and_a_signal_ends_it_whatever_it_does() {
    let dir = tempfile::tempdir().unwrap();
    let state = text(dir.path().join("state"));
    let message = |topic: &str, text: &[u8]| {
        let length = u8::try_from(2 + topic.len() + text.len()).unwrap();
        [&[0x30, length, 0, topic.len() as u8][..], topic.as_bytes(), text].concat()
    };
    let connected = |more: &[u8]| [&[0x20, 2, 0, 0, 0x90, 3, 0, 1, 1][..], more].concat();
    for (more, ends) in [
        // A message, then: what it was not asked for, what is too large, nonsense, nothing at all.
        ([&message("a", b"hello")[..], &[0x40, 2, 0x7f, 0xff]].concat(), true),
        ([&message("a", b"hello")[..], &[0x30, 0xff, 0xff, 0xff, 0x7f]].concat(), true),
        ([&message("a", b"hello")[..], &[0xff; 9]].concat(), true),
        (message("a", b"hello"), false),
    ] {
        let url = strange(vec![connected(&more)]);
        let mut stream = Stream::start(&["none", "--json", "--mqtt", &url, "--topic", "a", "--state", &state]);
        if ends {
            let gone = stream.event("disconnected");
            assert!(gone["error"].as_str().unwrap().starts_with(&url) && gone.get("label").is_none(), "{gone}");
            stream.event("connected");
        } else {
            assert_eq!(stream.text("hello")["label"], "a");
        }
        stream.signal("-TERM");
        assert!(stream.ended().success());
        // (Without a stream it is an index alone.)
        assert!(fs::read(&state).unwrap().ends_with(b"MBSLINES"));
        fs::remove_file(&state).unwrap();
    }
    // One that never answers.
    let mut child = command();
    child.args(["stream", "none", "--json", "--mqtt", &strange(Vec::new()), "--topic", "a", "--state", &state]);
    let mut stream = Stream::of({
        child.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        child
    });
    // From when it has the handler of signals it saves its state.
    wait(|| {
        stream.signal("-TERM");
        stream.child.try_wait().unwrap().is_some()
    });
    let _ = fs::remove_file(&state);
}
