//! Where a component's sockets may lead: protocol, host and port, written as `tcp://db.internal:5432`. Refuses wildcards
//! and ranges: a package names each place, so that whoever reviews it can see where data goes.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::origin::{is_host, split_port};

/// What is spoken over the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// Streams.
    Tcp,
    /// Datagrams.
    Udp,
}

impl Protocol {
    /// `tcp` or `udp`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// One place.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    /// What is spoken.
    pub protocol: Protocol,
    /// Lower case; an IPv6 address stands in brackets.
    pub host: String,
    /// Never 0.
    pub port: u16,
}

/// The text is not an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} {reason}")]
pub struct EndpointError {
    text: String,
    reason: &'static str,
}

impl Endpoint {
    /// The address, if the host is one and not a name.
    pub fn address(&self) -> Option<IpAddr> {
        self.host.trim_matches(['[', ']']).parse().ok()
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let refuse = |reason| EndpointError {
            text: text.chars().take(80).collect(),
            reason,
        };
        let (protocol, rest) = match text.split_once("://") {
            Some(("tcp", rest)) => (Protocol::Tcp, rest),
            Some(("udp", rest)) => (Protocol::Udp, rest),
            _ => return Err(refuse("does not begin with tcp:// or udp://")),
        };
        let (host, port) = match split_port(rest) {
            Some((host, Some(port))) => (host.to_ascii_lowercase(), port),
            _ => return Err(refuse("does not end in a port from 1 to 65535")),
        };
        if !is_host(&host) {
            return Err(refuse(
                "has no valid host (a DNS name, an IPv4 address, or an IPv6 address in brackets)",
            ));
        }
        Ok(Self { protocol, host, port })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", self.protocol.as_str(), self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_round_trip() {
        for text in ["tcp://db.internal:5432", "udp://127.0.0.1:53", "tcp://[::1]:80"] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
        let local: Endpoint = "tcp://[::1]:80".parse().unwrap();
        assert_eq!(local.address(), Some("::1".parse().unwrap()));
        let named: Endpoint = "tcp://DB.internal:1".parse().unwrap();
        assert_eq!((named.host.as_str(), named.address()), ("db.internal", None));
    }

    #[test]
    fn everything_else_is_refused() {
        for bad in [
            "",
            "db:1",
            "http://db:1",
            "tcp://db",
            "tcp://db:0",
            "tcp://db:65536",
            "tcp://:1",
            "tcp://*:1",
            "tcp://*.db:1",
            "tcp://db:1/",
            "tcp://u@db:1",
            "tcp://::1:1",
            "TCP://db:1",
            "tcp://db:1-9",
        ] {
            assert!(bad.parse::<Endpoint>().is_err(), "{bad}");
        }
    }
}
