//! The messages of a broker as an input: connected again when it is gone.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use rumqttc::mqttbytes::Error as PacketError;
use rumqttc::{
    Client, ConnectReturnCode, ConnectionError, Event, NetworkOptions, Packet, QoS, StateError, SubscribeFilter,
    SubscribeReasonCode,
};

use super::super::mqtt::{Broker, CHANNEL, Outbox};
use super::news::{BLOCK, News, PATIENCE, RETRY, Sender};
use crate::output::clean;

/// How long a broker may take to answer.
const ANSWER: u64 = 10;

/// Reads until nobody listens. A broker that is not there at the start is an error: its address may be wrong.
pub(super) fn read(broker: &Broker, outbox: &Outbox, out: &Sender) {
    let (mut retry, mut known, mut gone) = (RETRY, false, false);
    loop {
        let begin = Instant::now();
        let ended = connection(broker, outbox, out, &mut known, &mut gone);
        outbox.disconnected();
        let ended = match ended {
            Ok(error) => error,
            Err(ended) => {
                if let Some(error) = ended {
                    out.say(News::Failed(error));
                }
                return;
            }
        };
        let why = words(&ended);
        if !known {
            out.say(News::Failed(io::Error::other(why)));
            return;
        }
        if !std::mem::replace(&mut gone, true)
            && !out.say(News::Event("disconnected", format!("{}: {why}", broker.name)))
        {
            return;
        }
        // A connection that lasts ends the patience; one that is cut at once does not.
        if begin.elapsed() > 2 * PATIENCE {
            retry = RETRY;
        }
        std::thread::sleep(retry);
        retry = (2 * retry).min(PATIENCE);
    }
}

/// One connection, to its end, whose reason comes back; the error is that of the input, `None` if nobody listens.
fn connection(
    broker: &Broker,
    outbox: &Outbox,
    out: &Sender,
    known: &mut bool,
    gone: &mut bool,
) -> Result<ConnectionError, Option<io::Error>> {
    // A new client each time: what it would remember, the outbox does.
    let (client, mut connection) = Client::new(broker.options.clone(), CHANNEL);
    let mut network = NetworkOptions::new();
    network.set_connection_timeout(ANSWER);
    network.set_tcp_nodelay(true);
    connection.eventloop.set_network_options(network);
    loop {
        let packet = match connection.recv() {
            Ok(Ok(Event::Incoming(packet))) => packet,
            Ok(Ok(Event::Outgoing(_))) => continue,
            Ok(Err(error)) => return Ok(error),
            Err(_) => return Ok(ConnectionError::RequestsDone),
        };
        match packet {
            Packet::ConnAck(_) => {
                let filters = broker.filters.iter();
                let filters = filters.map(|filter| SubscribeFilter::new(filter.clone(), QoS::AtLeastOnce));
                if client.try_subscribe_many(filters).is_err() {
                    return Ok(ConnectionError::RequestsDone);
                }
                *known = true;
                if std::mem::take(gone) && !out.say(News::Event("connected", format!("{} is back", broker.name))) {
                    return Err(None);
                }
                outbox.connected(client.clone());
            }
            Packet::SubAck(answer) => {
                let refused = |code: &SubscribeReasonCode| matches!(code, SubscribeReasonCode::Failure);
                if let Some(at) = answer.return_codes.iter().position(refused) {
                    let filter = broker.filters.get(at).map_or("", String::as_str);
                    let why = format!("the broker refuses --topic {}", clean(filter));
                    return Err(Some(io::Error::new(io::ErrorKind::PermissionDenied, why)));
                }
            }
            Packet::PubAck(_) => outbox.confirmed(),
            Packet::Publish(message) if !message.retain && !broker.topics.is_own(&message.topic) => {
                let topic: Arc<str> = message.topic.into();
                let count = message.payload.len().div_ceil(BLOCK).max(1);
                for part in 0..count {
                    let payload = message.payload.slice(part * BLOCK..((part + 1) * BLOCK).min(message.payload.len()));
                    let (payload, last) = (payload.to_vec(), part + 1 == count);
                    if !out.say(News::Message { topic: Arc::clone(&topic), payload, last }) {
                        return Err(None);
                    }
                }
            }
            _ => {}
        }
    }
}

/// Why there is no connection, for people.
fn words(error: &ConnectionError) -> String {
    match error {
        ConnectionError::Io(e) | ConnectionError::MqttState(StateError::Io(e)) => e.to_string(),
        ConnectionError::NetworkTimeout | ConnectionError::FlushTimeout => {
            format!("no answer within {ANSWER} seconds")
        }
        ConnectionError::ConnectionRefused(
            ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized,
        ) => "the broker refuses this user or password".to_owned(),
        ConnectionError::ConnectionRefused(ConnectReturnCode::BadClientId) => {
            "the broker refuses this --client-id".to_owned()
        }
        ConnectionError::ConnectionRefused(code) => format!("the broker refuses the connection: {code:?}"),
        ConnectionError::MqttState(StateError::AwaitPingResp) => "no sign of life".to_owned(),
        ConnectionError::MqttState(StateError::ConnectionAborted) => "the broker has closed the connection".to_owned(),
        ConnectionError::MqttState(StateError::Deserialization(PacketError::PayloadSizeLimitExceeded(bytes))) => {
            format!("a message of {bytes} bytes, which is too large")
        }
        ConnectionError::NotConnAck(_) | ConnectionError::MqttState(StateError::Deserialization(_)) => {
            "this is no MQTT broker".to_owned()
        }
        other => other.to_string(),
    }
}
