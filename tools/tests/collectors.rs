//! The page `docs/COLLECTORS.md`: the commands on it and the unit beside it. What is by other collectors is tested by
//! `agents`.
#![cfg(unix)]

mod common;

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::process::Command;

use common::broker::{Broker, Subscriber, is_here};
use common::page::{blocks, page};
use common::place::{ALIEN, OTHER, Place, alarm_of, file, fits_the_schema, log_lines, receiver, root};
use common::service::{Stream, append, serial};
use common::text;
use serde_json::Value;

/// This program and its neighbour.
const TESTS: &str = concat!(include_str!("collectors.rs"), include_str!("agents.rs"));

#[test]
fn every_command_of_the_page_is_run_here() {
    let tests: String = TESTS.split_whitespace().collect();
    let names: Vec<String> = blocks().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["gps", "syslog", "systemd", "thousand", "mqtt", "mqtts", "fluent-bit"]);
    for name in names {
        assert!(tests.contains(&format!("page(\"{name}\",")), "{name}");
    }
    for entry in fs::read_dir(root().join("docs/collectors")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(include_str!("../../docs/COLLECTORS.md").contains(&format!("(collectors/{name})")), "{name}");
        assert!(TESTS.contains(&format!("\"{name}\"")), "{name}");
    }
}

#[test]
fn a_receiver_on_a_serial_port() {
    let place = Place::new();
    let (mut device, name) = serial();
    symlink(&name, place.path("port")).unwrap();
    let mut stream = place.start(&page("gps", &[("/dev/ttyUSB0", &place.name("port"))]));
    stream.event("learning");
    let (quiet, damaged) = receiver();
    device.write_all(quiet.as_bytes()).unwrap();
    device.write_all(format!("{damaged}\r\n").as_bytes()).unwrap();
    let alarm = stream.until(|record| record.get("event").is_none());
    assert!(alarm_of(damaged)(&alarm) && alarm["line"] == 98, "{alarm}");
    fits_the_schema(&alarm);
    drop(device);
    fits_the_schema(&stream.event("disconnected"));
    fs::remove_file(place.path("port")).unwrap();
    let (mut device, name) = serial();
    symlink(&name, place.path("port")).unwrap();
    stream.event("connected");
    device.write_all(format!("{ALIEN}\r\n").as_bytes()).unwrap();
    stream.until(alarm_of(ALIEN));
    stream.signal("-TERM");
    assert!(stream.ended().success() && place.is_saved("gps.state"));
}

#[test]
fn a_system_log_through_rotation() {
    let place = Place::new();
    let log = place.name("syslog");
    append(&log, &log_lines(0, 150));
    let line = page("syslog", &[("/var/log/syslog", &log)]);
    let mut stream = place.start(&line);
    stream.event("learned");
    fs::rename(&log, place.path("syslog.1")).unwrap();
    // Its writer does not know yet.
    append(&place.name("syslog.1"), &format!("{ALIEN}\n"));
    append(&log, &log_lines(150, 30));
    assert_eq!(stream.until(alarm_of(ALIEN))["line"], 151);
    stream.event("rotated");
    append(&log, &format!("{OTHER}\n"));
    assert_eq!(stream.until(alarm_of(OTHER))["line"], 182);
    stream.signal("-TERM");
    assert!(stream.ended().success() && place.is_saved("syslog.state"));
    // Started again it goes on, without learning anew.
    let third = OTHER.to_uppercase();
    append(&log, &format!("{third}\n"));
    let mut stream = place.start(&line);
    let first = stream.until(|_| true);
    assert!(alarm_of(&third)(&first) && first["line"] == 183, "{first}");
}

#[test]
fn the_unit_is_installed_started_ended_and_started_again() {
    let place = Place::new();
    for folder in ["usr", "etc", "state"] {
        fs::create_dir(place.path(folder)).unwrap();
    }
    place.program("systemctl", "echo \"$@\" >> systemctl.log");
    let install = page(
        "systemd",
        &[
            ("755 mambabyte ", &format!("755 {} ", env!("CARGO_BIN_EXE_mambabyte"))),
            ("/usr/local/bin", &place.name("usr")),
            ("/etc/systemd/system", &place.name("etc")),
            ("docs/collectors", &text(root().join("docs/collectors"))),
        ],
    );
    let output = place.shell(&format!("set -e\n{install}")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let said = fs::read_to_string(place.path("systemctl.log")).unwrap();
    assert_eq!(said, "daemon-reload\nenable --now mambabyte-syslog\n");
    let unit = place.path("etc/mambabyte-syslog.service");
    assert_eq!(fs::read_to_string(&unit).unwrap(), file("mambabyte-syslog.service"));

    let log = place.name("syslog");
    let written = file("mambabyte-syslog.service").replace("/usr/local/bin", &place.name("usr"));
    let begin =
        written.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap().replace("/var/log/syslog", &log);
    for setting in ["Restart=always", "StateDirectory=mambabyte-syslog", "DynamicUser=yes"] {
        assert!(written.lines().any(|line| line == setting), "{setting}");
    }
    // As systemd does it: the folder of the state in the environment, SIGTERM to end it.
    let start = || {
        let mut command = place.shell(&format!("exec {begin}"));
        command.env("STATE_DIRECTORY", place.path("state"));
        Stream::of(command)
    };
    append(&log, &log_lines(0, 150));
    let mut stream = start();
    append(&log, &format!("{ALIEN}\n"));
    assert_eq!(stream.until(alarm_of(ALIEN))["line"], 151);
    stream.signal("-TERM");
    assert!(stream.ended().success() && place.is_saved("state/syslog.state"));
    append(&log, &format!("{OTHER}\n"));
    let first = start().until(|_| true);
    assert!(first["alarm"] == true && first["line"] == 152, "{first}");

    fs::write(&unit, written).unwrap();
    match Command::new("systemd-analyze").arg("verify").arg(&unit).output() {
        Ok(output) => assert!(output.status.success() && output.stderr.is_empty(), "{output:?}"),
        Err(_) => println!("NOT RUN: systemd-analyze verify: there is none"),
    }
}

#[test]
fn a_thousand_streams() {
    let place = Place::new();
    let of_seven = |from: usize, alien: &str| {
        let lines: String = (from..from + 157).map(|n| format!("sensor 7\t{n:04} ok {}\n", n * 10 % 17)).collect();
        lines + "sensor 7\t" + alien + "\n"
    };
    let mut lines = String::new();
    for n in 0..3 {
        (0..1000).for_each(|k| lines += &format!("sensor {k}\t{n:04} ok {}\n", n * (k + 3) % 17));
    }
    place.program("sensors", "cat lines");
    let line = page("thousand", &[]);
    for (from, alien, at) in [(3, ALIEN, 161), (160, OTHER, 322)] {
        fs::write(place.path("lines"), format!("{lines}{}", of_seven(from, alien))).unwrap();
        let mut stream = Stream::of(place.shell(&line));
        let alarm = stream.until(alarm_of(alien));
        assert_eq!((&alarm["label"], &alarm["line"]), (&"sensor 7".into(), &at.into()));
        fits_the_schema(&alarm);
        assert_eq!(stream.event("end")["lines"], 3158);
        assert!(stream.ended().success());
    }
}

#[test]
fn messages_of_a_broker_and_alarms_back() {
    if !is_here("docs/COLLECTORS.md, mqtt") {
        return;
    }
    let place = Place::new();
    let mut broker = Broker::start(place.folder.path(), "");
    let line = page("mqtt", &[("mqtt://broker", &broker.url())]);
    let mut hears = Subscriber::start(&broker, &["mambabyte/#", "homeassistant/#"]);
    let mut stream = place.start(&line);
    assert_eq!(hears.next(), ("mambabyte/status".into(), "online".into()));
    let (quiet, damaged) = receiver();
    broker.publish_lines("sensors/gps", &format!("{quiet}{damaged}\n"));
    // What Home Assistant is told.
    let (topic, config) = hears.next();
    let config: Value = serde_json::from_str(&config).unwrap();
    let name = topic.strip_prefix("homeassistant/binary_sensor/mambabyte/").unwrap().strip_suffix("/config").unwrap();
    assert!(name.starts_with("sensors_gps_"), "{topic}");
    for (key, value) in [
        ("name", "sensors/gps"),
        ("state_topic", "mambabyte/alarm/sensors/gps"),
        ("json_attributes_topic", "mambabyte/alarm/sensors/gps"),
        ("availability_topic", "mambabyte/status"),
        ("payload_available", "online"),
        ("payload_not_available", "offline"),
        ("device_class", "problem"),
    ] {
        assert_eq!(config[key], value);
    }
    assert!(config["unique_id"].is_string() && config["device"]["identifiers"][0].is_string());
    // One alarm: the record that is printed, whole.
    let (topic, published) = hears.next();
    let printed = stream.until(|record| record.get("event").is_none());
    assert_eq!(
        (topic.as_str(), serde_json::from_str::<Value>(&published).unwrap()),
        ("mambabyte/alarm/sensors/gps", printed.clone())
    );
    assert!(alarm_of(damaged)(&printed) && printed["label"] == "sensors/gps" && printed["line"] == 98, "{printed}");
    fits_the_schema(&printed);

    // The broker dies and comes back knowing nothing.
    broker.stop();
    let gone = stream.event("disconnected");
    assert!(gone.get("label").is_none() && gone["error"].is_string(), "{gone}");
    broker.again();
    stream.event("connected");
    let mut hears = Subscriber::start(&broker, &["mambabyte/#", "homeassistant/#"]);
    let mut told: Vec<(String, String)> = (0..2).map(|_| hears.next()).collect();
    told.sort();
    assert_eq!(serde_json::from_str::<Value>(&told[0].1).unwrap(), config);
    assert_eq!(told[1], ("mambabyte/status".into(), "online".into()));
    broker.publish_lines("sensors/gps", &format!("{ALIEN}\n"));
    let (_, published) = hears.of("mambabyte/alarm/");
    let published: Value = serde_json::from_str(&published).unwrap();
    assert!(alarm_of(ALIEN)(&published) && published["line"] == 99, "{published}");

    stream.signal("-TERM");
    assert!(stream.ended().success() && place.is_saved("mqtt.state"));
    assert_eq!(hears.next(), ("mambabyte/status".into(), "offline".into()));
    // Started again it tells of the streams that it knows, and goes on where they were.
    let mut stream = place.start(&line);
    let mut told: Vec<(String, String)> = (0..2).map(|_| hears.next()).collect();
    told.sort();
    assert_eq!((told[0].0.contains("/sensors_gps_"), told[1].1.as_str()), (true, "online"));
    // Alarms are few: three lines in a row would be too many.
    broker.publish_lines("sensors/gps", &format!("{quiet}{OTHER}\n"));
    assert_eq!(stream.until(alarm_of(OTHER))["line"], 99 + 97 + 1);
    // While the broker is away a signal ends it, too.
    broker.stop();
    stream.event("disconnected");
    stream.signal("-TERM");
    assert!(stream.ended().success());
}
