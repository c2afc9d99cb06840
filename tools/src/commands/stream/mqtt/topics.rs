//! Where things are published, and what a topic may be.

use rumqttc::{valid_filter, valid_topic};

/// Bytes of a topic.
pub(super) const LONGEST_TOPIC: usize = 65_535;
/// Bytes of the largest packet that is sent: a record of a piece of a line, and its topic.
pub(super) const LARGEST_SENT: usize = 1 << 20;
/// What is retained at the status topic.
pub(super) const ONLINE: &str = "online";
pub(super) const OFFLINE: &str = "offline";

/// Where things are published.
#[derive(Clone, Debug)]
pub(crate) struct Topics {
    pub(super) alarm: String,
    pub(super) event: Option<String>,
    pub(super) status: String,
    pub(super) home_assistant: Option<String>,
}

impl Topics {
    /// Whether a message comes from here: it is no line of any stream, or each alarm would raise the next one.
    pub(crate) fn is_own(&self, topic: &str) -> bool {
        let below = |base: &str| topic.strip_prefix(base).is_some_and(|rest| rest.starts_with('/'));
        topic == self.status
            || [Some(&self.alarm), self.event.as_ref(), self.home_assistant.as_ref()]
                .into_iter()
                .flatten()
                .any(|base| below(base))
    }
}

/// A topic to publish to.
pub(super) fn topic(text: &str) -> Result<String, String> {
    let fits = !text.is_empty() && text.len() <= LONGEST_TOPIC && valid_topic(text) && !text.contains('\0');
    if fits { Ok(text.to_owned()) } else { Err("a topic to publish to: without + and #".into()) }
}

/// Topics to read.
pub(super) fn filter(text: &str) -> Result<String, String> {
    let fits = text.len() <= LONGEST_TOPIC && valid_filter(text) && !text.contains('\0');
    if fits { Ok(text.to_owned()) } else { Err("a topic; + is one whole level, # all at its end".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_here_is_no_stream() {
        let topics = Topics {
            alarm: "m/alarm".into(),
            event: None,
            status: "m/status".into(),
            home_assistant: Some("homeassistant".into()),
        };
        for own in ["m/alarm/a", "m/alarm//", "m/status", "homeassistant/sensor/x/config"] {
            assert!(topics.is_own(own), "{own}");
        }
        for other in ["m", "m/alarm", "m/alarms", "m/status/x", "m/event/a", "homeassistant2/a"] {
            assert!(!topics.is_own(other), "{other}");
        }
        assert!(topic("a/b").is_ok() && topic("a/+").is_err() && topic("").is_err() && topic("a\0").is_err());
        assert!(filter("a/+/#").is_ok() && filter("a/#/b").is_err() && filter("").is_err());
    }
}
