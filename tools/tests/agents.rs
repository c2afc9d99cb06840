//! The page `docs/COLLECTORS.md`: other collectors, and a broker with TLS.
#![cfg(unix)]

mod common;

use std::fs;
use std::io::{Read, Write};
use std::process::Stdio;

use common::broker::{Broker, is_here, program};
use common::page::page;
use common::place::{ALIEN, OTHER, Place, alarm_of, file, fits_the_schema, log_lines, receiver, root};
use common::service::{Stream, append, wait};
use common::text;
use serde_json::Value;

#[test]
fn a_broker_with_tls_and_passwords() {
    if !is_here("docs/COLLECTORS.md, mqtts") {
        return;
    }
    let place = Place::new();
    // Who signs, who signs nothing here, and this machine.
    for (name, more) in
        [("ca", ""), ("other", ""), ("server", "-CA ca.pem -CAkey ca.key -addext basicConstraints=CA:FALSE")]
    {
        let options = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2";
        let mut openssl = program("openssl");
        openssl.current_dir(place.folder.path()).args(options.split(' ')).args(more.split_whitespace());
        openssl.args(["-subj", &format!("/CN={name}"), "-addext", "subjectAltName=DNS:localhost"]);
        let made = openssl.args(["-keyout", &format!("{name}.key"), "-out", &format!("{name}.pem")]).output().unwrap();
        assert!(made.status.success(), "{made:?}");
    }
    let users = place.name("users");
    let made = program("mosquitto_passwd").args(["-b", "-c", &users, "sensors", "secret"]).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let (cert, key) = (place.name("server.pem"), place.name("server.key"));
    let access = format!("certfile {cert}\nkeyfile {key}\nallow_anonymous false\npassword_file {users}");
    let broker = Broker::start(place.folder.path(), &access);
    let url = format!("mqtts://sensors@localhost:{}", broker.port);
    fs::write(place.path("password"), "secret\n").unwrap();
    let line = page("mqtts", &[("mqtts://sensors@broker", &url)]);
    let mut stream = place.start(&line);
    let publish = |text: &str| {
        let mut command = program("mosquitto_pub");
        command.args(["-h", "localhost", "-p", &broker.port.to_string(), "-u", "sensors", "-P", "secret", "-q", "1"]);
        command.args(["-t", "sensors/gps", "-l", "--cafile"]).arg(place.path("ca.pem")).stdin(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
    };
    // What comes before it listens is lost: until the first event of the stream.
    let (quiet, _) = receiver();
    let (told, heard) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let told = told;
            stream.event("learned");
            told.send(()).unwrap();
        });
        wait(|| {
            publish(&quiet);
            heard.try_recv().is_ok()
        });
    });
    publish(&format!("{ALIEN}\n"));
    stream.until(alarm_of(ALIEN));
    stream.signal("-TERM");
    assert!(stream.ended().success());
    // Who is not who it says: refused, with the reason.
    let refused = |why: &str| {
        let output = place.shell(&line).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && said.contains(why) && said.contains("mqtts://localhost"), "{said}");
    };
    fs::write(place.path("password"), "wrong\n").unwrap();
    refused("the broker refuses this user or password");
    fs::copy(place.path("other.pem"), place.path("ca.pem")).unwrap();
    refused("certificate");
    fs::write(place.path("ca.pem"), "nothing\n").unwrap();
    refused("certificate");
}

#[test]
fn fluent_bit_reads_records_from_standard_input() {
    let place = Place::new();
    // What its input stdin does: JSON objects, one after the other, until the end or until it is ended.
    let stand_in = &format!(
        "test -f \"${{1#--config=}}\" || exit 2
        while read -r record; do
            echo \"$record\" >> got
            case \"$record\" in *'\"alarm\":true'*'{ALIEN}'*) exit 0;; esac
        done"
    );
    place.program("fluent-bit", stand_in);
    let log = place.name("syslog");
    append(&log, &log_lines(0, 150));
    append(&log, &format!("{ALIEN}\n"));
    let config = text(root().join("docs/collectors"));
    let line = page("fluent-bit", &[("/var/log/syslog", &log), ("docs/collectors", &config)]);
    let mut stream = Stream::of(place.shell(&line));
    // It ends when nobody reads any more.
    let mut n = 0;
    wait(|| {
        append(&log, &format!("{ALIEN} {n}\n"));
        n += 1;
        stream.child.try_wait().unwrap().is_some()
    });
    assert!(stream.ended().success() && place.is_saved("syslog.state"));
    let got: Vec<Value> = fs::read_to_string(place.path("got"))
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(got.iter().all(Value::is_object) && alarm_of(ALIEN)(got.last().unwrap()), "{got:?}");
    let config = file("fluent-bit.yaml");
    assert!(config.contains("- name: stdin"), "{config}");
}

/// The value of a setting of a configuration file, which is JSON in all that are read here.
fn setting(config: &str, name: &str) -> Value {
    let line =
        config.lines().map(str::trim).find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(['=', ':']));
    let value = line.unwrap_or_else(|| panic!("{name} is not set")).trim();
    serde_json::from_str(value).unwrap_or_else(|_| value.into())
}

/// Strings of a setting.
fn words(config: &str, name: &str) -> Vec<String> {
    serde_json::from_value(setting(config, name)).unwrap()
}

/// What Telegraf's execd and Vector's exec do with a command: its standard output is read by lines, its standard input
/// stays open and empty, its end is SIGTERM; one that ends is started again.
fn runs_as_long_as_it(config: &str, check: impl Fn(&Value)) {
    let place = Place::new();
    let log = place.name("syslog");
    append(&log, &log_lines(0, 150));
    let command = words(config, "command");
    assert_eq!(command.iter().filter(|word| word.starts_with("/var/")).count(), 2);
    let quoted: Vec<String> = command
        .iter()
        .map(|word| match word.as_str() {
            "/var/log/syslog" => log.clone(),
            word if word.starts_with("/var/lib/") => place.name("state"),
            word => word.to_owned(),
        })
        .map(|word| format!("'{word}'"))
        .collect();
    for (alien, at) in [(ALIEN, 151), (OTHER, 152)] {
        let mut stream = place.start(&quoted.join(" "));
        append(&log, &format!("{alien}\n"));
        let alarm = stream.until(|record| {
            check(record);
            alarm_of(alien)(record)
        });
        assert_eq!(alarm["line"], at, "{alarm}");
        drop(stream.child.stdin.take());
        stream.signal("-TERM");
        let mut said = String::new();
        stream.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        // Both take what is said there for errors.
        assert!(stream.ended().success() && said.is_empty(), "{said}");
        assert!(place.is_saved("state"));
    }
}

#[test]
fn telegraf_starts_it_and_reads_metrics() {
    let config = file("telegraf.conf");
    assert_eq!((setting(&config, "data_format"), setting(&config, "signal")), ("json".into(), "none".into()));
    let (tags, strings) = (words(&config, "tag_keys"), words(&config, "json_string_fields"));
    let time = setting(&config, "json_time_key").as_str().unwrap().to_owned();
    // The layout of RFC 3339, as Go writes it.
    assert_eq!(setting(&config, "json_time_format"), "2006-01-02T15:04:05Z07:00");
    runs_as_long_as_it(&config, |record| {
        fits_the_schema(record);
        assert_eq!(record[&time].as_str().unwrap().len(), "2026-01-01T00:00:00.000Z".len());
        // A metric has a field: a number anywhere, or one of the strings.
        let record = record.as_object().unwrap();
        assert!(record.iter().any(|(key, value)| value.is_number() || value.is_object() || strings.contains(key)));
        if record.get("alarm").is_some() {
            let known = |key: &String| record.contains_key(key) || ["label", "event"].contains(&key.as_str());
            assert!(tags.iter().chain(&strings).all(known), "{record:?}");
            assert!(record["rarity"].is_number() && record["reason"].is_string());
        }
    });
}

#[test]
fn vector_starts_it_and_reads_events() {
    let config = file("vector.yaml");
    assert_eq!((setting(&config, "mode"), setting(&config, "codec")), ("streaming".into(), "json".into()));
    assert_eq!((setting(&config, "include_stderr"), setting(&config, "respawn_on_exit")), (false.into(), true.into()));
    runs_as_long_as_it(&config, |record| {
        fits_the_schema(record);
        // Those that Vector adds itself are not in the way.
        assert!(
            ["host", "source_type", "timestamp", "pid", "command", "stream"]
                .iter()
                .all(|key| record.get(key).is_none())
        );
    });
}
