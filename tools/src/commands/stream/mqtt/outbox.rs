//! What is published: it waits here while the broker is away, and until the broker has it.
//!
//! The stream never waits for the broker: what has no room is counted, and the count goes with the next alarm.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rumqttc::{Client, QoS};
use serde_json::Value;

use super::discovery;
use super::topics::{LARGEST_SENT, LONGEST_TOPIC, ONLINE, Topics};

/// Alarms and events that wait.
const MOST: usize = 1024;
/// Messages that the broker has not confirmed yet.
const WINDOW: usize = 32;
/// Requests that a client takes: those messages, and the subscription.
pub(crate) const CHANNEL: usize = WINDOW + 8;
/// How long the end of a stream waits for a broker that has not gone away and confirms nothing.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks whether all is published.
const LOOK: Duration = Duration::from_millis(10);

/// An alarm, or an event.
#[derive(Clone, Debug)]
struct Message {
    topic: String,
    payload: String,
}

#[derive(Default)]
struct Inner {
    /// While there is a connection.
    client: Option<Client>,
    /// `online` was said on it.
    greeted: bool,
    waiting: VecDeque<Message>,
    /// Sent and not confirmed, which happens in this order; `None` is what can be made again.
    sent: VecDeque<Option<Message>>,
    suppressed: u64,
    /// Labels that Home Assistant is told of, and how many of them it was on this connection.
    labels: Vec<String>,
    announced: usize,
}

/// What is published.
pub(crate) struct Outbox {
    topics: Topics,
    inner: Mutex<Inner>,
}

impl Outbox {
    pub(crate) fn new(topics: Topics) -> Self {
        Self { topics, inner: Mutex::default() }
    }

    /// Nothing panics while it is held, and what it holds would be whole all the same.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A stream has begun.
    pub(crate) fn stream(&self, label: &str) {
        if self.topics.home_assistant.is_some() {
            let mut inner = self.lock();
            inner.labels.push(label.to_owned());
            inner.pump(&self.topics);
        }
    }

    /// A line has alarmed.
    pub(crate) fn alarm(&self, label: &str, mut record: Value) {
        let mut inner = self.lock();
        if inner.suppressed > 0 {
            record["suppressed"] = inner.suppressed.into();
        }
        match inner.push(&self.topics.alarm, label, &record) {
            true => inner.suppressed = 0,
            false => inner.suppressed += 1,
        }
        inner.pump(&self.topics);
    }

    /// Something has happened to a stream, or to all of them.
    pub(crate) fn event(&self, label: &str, record: &Value) {
        if let Some(topic) = &self.topics.event {
            let mut inner = self.lock();
            inner.push(topic, label, record);
            inner.pump(&self.topics);
        }
    }

    /// There is a connection.
    pub(crate) fn connected(&self, client: Client) {
        let mut inner = self.lock();
        inner.client = Some(client);
        inner.pump(&self.topics);
    }

    /// There is none any more. What was not confirmed is sent again: a message may come twice, none is lost.
    pub(crate) fn disconnected(&self) {
        let mut inner = self.lock();
        (inner.client, inner.greeted, inner.announced) = (None, false, 0);
        let again: Vec<Message> = inner.sent.drain(..).flatten().collect();
        again.into_iter().rev().for_each(|message| inner.waiting.push_front(message));
    }

    /// The broker has the message that was sent first.
    pub(crate) fn confirmed(&self) {
        let mut inner = self.lock();
        inner.sent.pop_front();
        inner.pump(&self.topics);
    }

    /// The end of the stream: what waits may still go, for at most `patience` once the program should end.
    /// `meanwhile` is done again and again.
    pub(crate) fn end(&self, stop: &AtomicBool, patience: Duration, meanwhile: impl Fn()) {
        let (begin, mut stopped) = (Instant::now(), None);
        while begin.elapsed() < PATIENCE {
            let inner = self.lock();
            if inner.client.is_none() || inner.waiting.is_empty() && inner.sent.is_empty() {
                return;
            }
            drop(inner);
            if stop.load(Ordering::SeqCst) && stopped.get_or_insert_with(Instant::now).elapsed() >= patience {
                return;
            }
            meanwhile();
            std::thread::sleep(LOOK);
        }
    }
}

impl Inner {
    fn push(&mut self, base: &str, label: &str, record: &Value) -> bool {
        let topic = format!("{base}/{label}");
        let fits = self.waiting.len() < MOST && topic.len() <= LONGEST_TOPIC;
        if fits {
            self.waiting.push_back(Message { topic, payload: record.to_string() });
        }
        fits
    }

    /// Sends what may be sent: that this program is there, then alarms and events, then what Home Assistant is told.
    fn pump(&mut self, topics: &Topics) {
        let Some(client) = self.client.clone() else { return };
        let publish =
            |topic: &str, retain, payload: &str| client.try_publish(topic, QoS::AtLeastOnce, retain, payload).is_ok();
        while self.sent.len() < WINDOW {
            let message = if !self.greeted {
                if !publish(&topics.status, true, ONLINE) {
                    return;
                }
                self.greeted = true;
                None
            } else if let Some(message) = self.waiting.pop_front() {
                if !publish(&message.topic, false, &message.payload) {
                    self.waiting.push_front(message);
                    return;
                }
                Some(message)
            } else if let Some(label) = self.labels.get(self.announced) {
                if let Some((topic, config)) = discovery::message(topics, label)
                    && config.len() <= LARGEST_SENT / 2
                {
                    if !publish(&topic, true, &config) {
                        return;
                    }
                    self.sent.push_back(None);
                }
                self.announced += 1;
                continue;
            } else {
                return;
            };
            self.sent.push_back(message);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn outbox() -> Outbox {
        Outbox::new(Topics {
            alarm: "alarm".into(),
            event: Some("event".into()),
            status: "status".into(),
            home_assistant: Some("ha".into()),
        })
    }

    /// A client whose broker never answers, with room for all; and its end: without it a client takes nothing.
    fn client() -> (Client, rumqttc::Connection) {
        Client::new(rumqttc::MqttOptions::new("x", "localhost", 1), 2 * MOST)
    }

    #[test]
    fn what_is_not_confirmed_is_sent_again_in_its_order() {
        let outbox = outbox();
        (0..100).for_each(|n| outbox.alarm("a", json!(n)));
        outbox.stream("a");
        let (first, _end) = client();
        outbox.connected(first);
        let lengths = |inner: &Inner| (inner.sent.len(), inner.waiting.len());
        assert_eq!(lengths(&outbox.lock()), (WINDOW, 100 - (WINDOW - 1)));
        // The greeting and two alarms.
        (0..3).for_each(|_| outbox.confirmed());
        outbox.disconnected();
        let waiting: Vec<String> = outbox.lock().waiting.iter().map(|message| message.payload.clone()).collect();
        assert_eq!(waiting, (2..100).map(|n| n.to_string()).collect::<Vec<_>>());
        let (second, _end) = client();
        outbox.connected(second);
        // 98 alarms, the greeting and the announcement.
        (0..100).for_each(|_| outbox.confirmed());
        let inner = outbox.lock();
        assert_eq!((inner.sent.len(), inner.waiting.len(), inner.announced), (0, 0, 1));
    }

    #[test]
    fn what_has_no_room_is_counted_with_the_next_alarm() {
        let outbox = outbox();
        (0..MOST + 7).for_each(|n| outbox.alarm("a", json!({ "n": n })));
        outbox.event("a", &json!({}));
        assert_eq!(outbox.lock().waiting.len(), MOST);
        outbox.lock().waiting.pop_back();
        outbox.alarm("a", json!({}));
        outbox.lock().waiting.pop_front();
        outbox.alarm("a", json!({}));
        let last: Vec<String> =
            outbox.lock().waiting.iter().rev().take(2).map(|message| message.payload.clone()).collect();
        assert_eq!(last, ["{}", "{\"suppressed\":7}"]);
        outbox.alarm(&"x".repeat(LONGEST_TOPIC), json!({}));
        assert_eq!(outbox.lock().suppressed, 1, "a topic that MQTT cannot have");
        // Nobody waits for a broker that is not there.
        outbox.end(&AtomicBool::new(false), Duration::from_secs(1000), || {});
    }
}
