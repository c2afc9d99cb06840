//! MQTT: topics are the streams, alarms go back to the broker.
//!
//! It is a set of options of `stream` and no command of its own, because nothing else changes: the rule, the state, the
//! records, `--exec` and `--metrics` are those of every stream, and a topic is a label of `--multiplex`.

mod address;
mod discovery;
mod outbox;
mod topics;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rumqttc::{LastWill, MqttOptions, QoS, TlsConfiguration, Transport};

use crate::error::CliError;
use address::Address;
pub(super) use outbox::{CHANNEL, Outbox};
use topics::{LARGEST_SENT, OFFLINE, Topics, filter, topic};

/// A broker whose messages are read.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "MQTT")]
pub struct MqttArgs {
    /// Read the messages of a broker: mqtt://HOST, or mqtts://HOST with TLS; also :PORT, and USER:PASSWORD@ before HOST.
    /// Each topic is a stream of its own, with the topic as its label; a message is a line, or several. Retained messages
    /// are of the past and not read.
    #[arg(long, value_name = "URL", requires = "topic",
        conflicts_with_all = ["file", "input", "multiplex", "follow", "baud"])]
    pub mqtt: Option<String>,
    /// Topics to read; + and # stand for one level and for all below. Repeat it.
    #[arg(long, value_name = "FILTER", requires = "mqtt", value_parser = filter)]
    pub topic: Vec<String>,
    /// Alarms are published as TOPIC/LABEL: the record, as --json has it.
    #[arg(long, value_name = "TOPIC", default_value = "mambabyte/alarm", value_parser = topic, requires = "mqtt")]
    pub alarm_topic: String,
    /// Publish also what happens to the streams (frozen, silent, more-odd ...) as TOPIC/LABEL.
    #[arg(long, value_name = "TOPIC", value_parser = topic, requires = "mqtt")]
    pub event_topic: Option<String>,
    /// Here `online` is retained, and `offline` once the program has ended or is cut off.
    #[arg(long, value_name = "TOPIC", default_value = "mambabyte/status", value_parser = topic, requires = "mqtt")]
    pub status_topic: String,
    /// Tell Home Assistant of each stream: a binary sensor that is on for a minute after an alarm. PREFIX is that of its
    /// discovery.
    #[arg(long, value_name = "PREFIX", value_parser = topic, requires = "mqtt",
        num_args = 0..=1, require_equals = true, default_missing_value = "homeassistant")]
    pub home_assistant: Option<String>,
    /// The name by which the broker knows this program: messages that come while it is away are kept for it. Default: a
    /// name of its own at each start, for which nothing is kept.
    #[arg(long, value_name = "NAME", requires = "mqtt")]
    pub client_id: Option<String>,
    /// A file with the password in its first line, which then stands in no list of processes.
    #[arg(long, value_name = "FILE", requires = "mqtt")]
    pub password_file: Option<PathBuf>,
    /// Of mqtts: a file of certificates, PEM, one of which the broker's has to be signed by. Default: those of the system.
    #[arg(long, value_name = "FILE", requires = "mqtt")]
    pub ca: Option<PathBuf>,
    /// Of mqtts: a certificate of this program, PEM.
    #[arg(long, value_name = "FILE", requires_all = ["ca", "key"])]
    pub cert: Option<PathBuf>,
    /// The key of --cert, PEM.
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
}

/// The largest packet that is taken; a broker may send 256 MiB.
const LARGEST: usize = 16 << 20;
/// The time between two signs of life. Not shorter: the answer waits behind the messages that the model has not read.
const KEEP_ALIVE: Duration = Duration::from_secs(60);
/// A broker, and what is asked of it.
#[derive(Clone, Debug)]
pub(super) struct Broker {
    /// Its address without user and password.
    pub(super) name: String,
    pub(super) options: MqttOptions,
    pub(super) filters: Vec<String>,
    pub(super) topics: Topics,
}

impl MqttArgs {
    /// Every file that is read.
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        [&self.password_file, &self.ca, &self.cert, &self.key].into_iter().flatten().map(PathBuf::as_path)
    }

    /// The broker, if one is to be read.
    ///
    /// # Errors
    /// [`CliError::Usage`] for what is no address; [`CliError::Io`] of files.
    pub(super) fn broker(&self) -> Result<Option<Broker>, CliError> {
        let Some(url) = &self.mqtt else { return Ok(None) };
        // The address may have a password in it, which no message repeats.
        let address = Address::parse(url).map_err(|why| CliError::Usage(format!("--mqtt: {why}")))?;
        let name = address.to_string();
        let id = self.client_id.clone().unwrap_or_else(random_name);
        if id.is_empty() {
            return Err(CliError::Usage("--client-id: a name".into()));
        }
        let mut options = MqttOptions::new(id, address.host, address.port);
        options.set_clean_session(self.client_id.is_none());
        options.set_keep_alive(KEEP_ALIVE).set_max_packet_size(LARGEST, LARGEST_SENT);
        options.set_last_will(LastWill::new(&self.status_topic, OFFLINE, QoS::AtLeastOnce, true));
        let password = match &self.password_file {
            Some(path) => Some(first_line(path)?),
            None => address.password,
        };
        match (address.user, password) {
            (Some(user), password) => _ = options.set_credentials(user, password.unwrap_or_default()),
            (None, Some(_)) => {
                return Err(CliError::Usage("--mqtt: a password needs a user: mqtt://USER@HOST".into()));
            }
            (None, None) => {}
        }
        match address.tls {
            true => _ = options.set_transport(Transport::tls_with_config(self.tls()?)),
            false if self.ca.is_some() => {
                return Err(CliError::Usage("--ca: mqtt:// has no TLS; mqtts://HOST has".into()));
            }
            false => {}
        }
        let topics = Topics {
            alarm: self.alarm_topic.clone(),
            event: self.event_topic.clone(),
            status: self.status_topic.clone(),
            home_assistant: self.home_assistant.clone(),
        };
        Ok(Some(Broker { name, options, filters: self.topic.clone(), topics }))
    }

    fn tls(&self) -> Result<TlsConfiguration, CliError> {
        let read = |path: &PathBuf| std::fs::read(path).map_err(|e| CliError::io(path, e));
        if let Some(ca) = &self.ca {
            let client_auth = match (&self.cert, &self.key) {
                (Some(cert), Some(key)) => Some((read(cert)?, read(key)?)),
                _ => None,
            };
            return Ok(TlsConfiguration::Simple { ca: read(ca)?, alpn: None, client_auth });
        }
        let found = rustls_native_certs::load_native_certs();
        let mut roots = tokio_rustls::rustls::RootCertStore::empty();
        if roots.add_parsable_certificates(found.certs).0 == 0 {
            let why = found.errors.first().map_or_else(String::new, |error| format!(": {error}"));
            let why = format!("--mqtt: this system has no certificates to trust{why}; --ca FILE gives one");
            return Err(CliError::Usage(why));
        }
        let config = tokio_rustls::rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        Ok(config.into())
    }
}

/// A password file's first line.
fn first_line(path: &Path) -> Result<String, CliError> {
    let text = std::fs::read_to_string(path).map_err(|e| CliError::io(path, e))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// A name that no other program has: brokers take at least 23 characters.
fn random_name() -> String {
    let random = RandomState::new().build_hasher().finish() >> 16;
    format!("mambabyte-{random:012x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_no_other_program_s() {
        assert!(random_name() != random_name() && random_name().len() == 22);
    }
}
