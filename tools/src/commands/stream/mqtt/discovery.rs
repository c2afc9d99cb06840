//! What Home Assistant is told of a stream: the retained message of its MQTT discovery.

use serde_json::json;

use super::topics::{OFFLINE, ONLINE, Topics};

/// For how many seconds an alarm shows.
const SHOWN: u32 = 60;
/// Characters of a label in the name of an entity.
const READABLE: usize = 40;

/// Topic and contents of the message of the stream `label`; `None` without Home Assistant.
pub(super) fn message(topics: &Topics, label: &str) -> Option<(String, String)> {
    let prefix = topics.home_assistant.as_ref()?;
    let state = format!("{}/{label}", topics.alarm);
    // Letters, digits, _ and - are what a name may have. Labels that differ in others only differ in the number.
    let readable = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let readable: String = label.chars().take(READABLE).map(readable).collect();
    let id = format!("{readable}_{:08x}", crc32fast::hash(state.as_bytes()));
    let device = format!("mambabyte_{:08x}", crc32fast::hash(topics.status.as_bytes()));
    let version = env!("CARGO_PKG_VERSION");
    let config = json!({
        "name": label,
        "unique_id": format!("mambabyte_{id}"),
        "device_class": "problem",
        "state_topic": state,
        "value_template": "{{ 'ON' if value_json.alarm else 'OFF' }}",
        "off_delay": SHOWN,
        "json_attributes_topic": state,
        "availability_topic": topics.status,
        "payload_available": ONLINE,
        "payload_not_available": OFFLINE,
        "qos": 1,
        "device": { "identifiers": [device], "name": "MambaByte", "sw_version": version },
        "origin": { "name": "mambabyte", "sw_version": version, "support_url": env!("CARGO_PKG_REPOSITORY") },
    });
    Some((format!("{prefix}/binary_sensor/mambabyte/{id}/config"), config.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_label_has_a_name_of_its_own_that_may_be_one() {
        let topics = Topics {
            alarm: "m/alarm".into(),
            event: None,
            status: "m/status".into(),
            home_assistant: Some("ha".into()),
        };
        let mut seen = std::collections::HashSet::new();
        for label in ["a/b", "a_b", "a b", "", "ä", "{{ x }}\"'\\", &"long/".repeat(99)] {
            let (topic, config) = message(&topics, label).unwrap();
            let id = topic.strip_prefix("ha/binary_sensor/mambabyte/").unwrap().strip_suffix("/config").unwrap();
            assert!(id.len() <= 50 && id.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_'), "{topic}");
            let config: serde_json::Value = serde_json::from_str(&config).unwrap();
            assert_eq!((&config["name"], &config["state_topic"]), (&label.into(), &format!("m/alarm/{label}").into()));
            assert!(seen.insert(topic) && seen.insert(config["unique_id"].as_str().unwrap().to_owned()));
        }
        assert!(message(&Topics { home_assistant: None, ..topics }, "a").is_none());
    }
}
