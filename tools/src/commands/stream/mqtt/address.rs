//! The address of a broker: `mqtt://USER:PASSWORD@HOST:PORT`.

use std::fmt;

use percent_encoding::percent_decode_str;

/// An address, read.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) tls: bool,
    /// A name, an IPv4 address, or an IPv6 address in brackets.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
}

/// Without user and password.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", if self.tls { "mqtts" } else { "mqtt" }, self.host, self.port)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Address {
    /// # Errors
    /// What is wrong, without the text: it may have a password in it.
    pub(super) fn parse(url: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = url.split_once("://").ok_or("an address is mqtt://HOST or mqtts://HOST")?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "mqtt" | "tcp" => false,
            "mqtts" | "ssl" => true,
            "ws" | "wss" => return Err("MQTT over websockets is not spoken here; mqtt:// or mqtts://"),
            _ => return Err("an address begins with mqtt:// or mqtts://"),
        };
        let (login, host) = rest.rsplit_once('@').map_or((None, rest), |(login, host)| (Some(login), host));
        let host = host.strip_suffix('/').unwrap_or(host);
        if host.contains(['/', '?', '#']) {
            return Err("nothing comes after the host and its port; --topic says what is read");
        }
        let (host, port) = match host.rfind(']') {
            Some(end) => (&host[..=end], host[end + 1..].strip_prefix(':')),
            None => host.rsplit_once(':').map_or((host, None), |(host, port)| (host, Some(port))),
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let fits = match bare {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => !host.is_empty() && !host.contains([':', '[', ']']) && !host.contains(char::is_whitespace),
        };
        if !fits {
            return Err("an address has a host: a name, an IPv4 address, or an IPv6 address in brackets");
        }
        let port = match port {
            None => {
                if tls {
                    8883
                } else {
                    1883
                }
            }
            Some(port) => match port.parse() {
                Ok(port) if port > 0 => port,
                _ => return Err("a port is a number from 1 to 65535"),
            },
        };
        let (user, password) =
            match login.map(|login| login.split_once(':').map_or((login, None), |(u, p)| (u, Some(p)))) {
                Some((user, password)) => (Some(plain(user)?), password.map(plain).transpose()?),
                None => (None, None),
            };
        Ok(Self { tls, host: host.to_owned(), port, user: user.filter(|user| !user.is_empty()), password })
    }
}

fn plain(text: &str) -> Result<String, &'static str> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded
        .map(Into::into)
        .map_err(|_| "user and password are UTF-8, with % and two digits for what an address cannot hold")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_wrong_ones_named() {
        let read = |url: &str| Address::parse(url).unwrap();
        let of = |host: &str, port| Address { tls: false, host: host.into(), port, user: None, password: None };
        assert_eq!(read("mqtt://broker"), of("broker", 1883));
        assert_eq!(read("MQTT://10.0.0.7:1884/"), of("10.0.0.7", 1884));
        assert_eq!(read("mqtt://[::1]:99"), of("[::1]", 99));
        let full = read("mqtts://me:p%40ss:w%2Frd@host");
        assert_eq!((full.tls, full.port), (true, 8883));
        assert_eq!((full.user.as_deref(), full.password.as_deref()), (Some("me"), Some("p@ss:w/rd")));
        assert_eq!(full.to_string(), "mqtts://host:8883");
        assert_eq!(read("mqtt://me@host").password, None);
        for (wrong, why) in [
            ("broker:1883", "an address is"),
            ("http://broker", "begins with"),
            ("ws://broker", "websockets"),
            ("mqtt://", "has a host"),
            ("mqtt://a b", "has a host"),
            ("mqtt://::1", "has a host"),
            ("mqtt://[x]", "has a host"),
            ("mqtt://host:0", "a port"),
            ("mqtt://host:99999", "a port"),
            ("mqtt://host/topic", "--topic"),
            ("mqtt://%ff@host", "UTF-8"),
        ] {
            assert!(Address::parse(wrong).unwrap_err().contains(why), "{wrong}");
        }
    }
}
