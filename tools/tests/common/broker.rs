//! A mosquitto of its own, and its clients.
#![allow(dead_code, reason = "each test program uses some of it")]

use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::service::{Lines, wait};

/// A program of Debian's packages mosquitto and mosquitto-clients.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Where Debian has the broker, which is not on everybody's path.
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    folders.map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// Whether there is a broker here. If not that is said, also by a test that passes.
pub(crate) fn is_here(what: &str) -> bool {
    let missing: Vec<&str> = ["mosquitto", "mosquitto_pub", "mosquitto_sub", "mosquitto_passwd", "openssl"]
        .into_iter()
        .filter(|program| find(program).is_none())
        .collect();
    if !missing.is_empty() {
        let _ = writeln!(
            std::io::stderr(),
            "NOT RUN: {what}: no {} here; in Debian: apt-get install mosquitto mosquitto-clients openssl",
            missing.join(", no ")
        );
    }
    missing.is_empty()
}

pub(crate) fn program(name: &str) -> Command {
    Command::new(find(name).expect("it was looked for"))
}

/// A port that nobody has at the moment.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A broker, which ends with its owner.
pub(crate) struct Broker {
    child: Child,
    config: PathBuf,
    pub(crate) port: u16,
}

impl Broker {
    /// One that lets everybody in, or as `more` of its configuration says.
    pub(crate) fn start(folder: &Path, more: &str) -> Self {
        let port = free_port();
        let access = if more.is_empty() { "allow_anonymous true" } else { more };
        // As whoever started it: of the folder nobody else may read anything.
        let text = format!("user root\nlistener {port} 127.0.0.1\nlog_dest none\n{access}\n");
        let config = folder.join(format!("mosquitto-{port}.conf"));
        fs::write(&config, text).unwrap();
        let mut broker = Self { child: Self::run(&config), config, port };
        broker.answers();
        broker
    }

    fn run(config: &Path) -> Child {
        let mut command = program("mosquitto");
        command.arg("-c").arg(config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    }

    #[track_caller]
    fn answers(&mut self) {
        let (port, child) = (self.port, &mut self.child);
        wait(|| {
            assert_eq!(child.try_wait().unwrap(), None, "mosquitto has ended");
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
    }

    /// Ends it without warning.
    pub(crate) fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it anew, without anything that it knew.
    pub(crate) fn again(&mut self) {
        self.child = Self::run(&self.config);
        self.answers();
    }

    pub(crate) fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    /// Publishes each line of `lines` as a message, and waits until the broker has them.
    #[track_caller]
    pub(crate) fn publish_lines(&self, topic: &str, lines: &str) {
        self.publish(topic, &["-l"], lines.as_bytes());
    }

    /// Publishes what `options` say: -s is standard input as one message, -n no bytes.
    #[track_caller]
    pub(crate) fn publish(&self, topic: &str, options: &[&str], input: &[u8]) {
        let mut command = program("mosquitto_pub");
        command.args(["-h", "127.0.0.1", "-q", "1", "-p", &self.port.to_string(), "-t", topic]).args(options);
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        assert!(child.wait().unwrap().success());
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Who hears what is published.
pub(crate) struct Subscriber {
    child: Child,
    lines: Lines,
}

impl Subscriber {
    pub(crate) fn start(broker: &Broker, topics: &[&str]) -> Self {
        let mut command = program("mosquitto_sub");
        command.args(["-v", "-q", "1", "-h", "127.0.0.1", "-p", &broker.port.to_string()]);
        topics.iter().for_each(|topic| _ = command.args(["-t", topic]));
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = Lines::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// The next message: its topic, which has no spaces, and its text.
    #[track_caller]
    pub(crate) fn next(&mut self) -> (String, String) {
        let line = self.lines.next().expect("a message");
        let (topic, text) = line.split_once(' ').unwrap();
        (topic.to_owned(), text.to_owned())
    }

    /// The next message of a topic that begins so; those of others are left out.
    #[track_caller]
    pub(crate) fn of(&mut self, begin: &str) -> (String, String) {
        loop {
            let (topic, text) = self.next();
            if topic.starts_with(begin) {
                return (topic, text);
            }
        }
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
