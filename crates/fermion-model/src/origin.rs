//! Which servers a component may call: scheme, host and port, written as in a browser's address bar without the path.
//! Refuses wildcards: a package names each server, so that whoever reviews it can see where data goes.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// The longest host name, in bytes (RFC 1035 section 2.3.4).
pub const HOST_BYTES_MAX: usize = 253;

/// The two schemes of `wasi:http` that can be granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// `http` or `https`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port that is meant when none is written.
    pub const fn port_default(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// One server. Without a scheme both are meant; without a port the scheme's default is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    /// None: `http` and `https`.
    pub scheme: Option<Scheme>,
    /// Lower case; an IPv6 address stands in brackets.
    pub host: String,
    /// None: the scheme's default.
    pub port: Option<u16>,
}

/// The text is not an origin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} {reason}")]
pub struct OriginError {
    text: String,
    reason: &'static str,
}

impl Origin {
    /// True if a request to `scheme://host[:port]` is granted. `host` is compared without regard to case.
    pub fn allows(&self, scheme: Scheme, host: &str, port: Option<u16>) -> bool {
        self.scheme.is_none_or(|own| own == scheme)
            && self.host.eq_ignore_ascii_case(host)
            && self.port.unwrap_or(scheme.port_default()) == port.unwrap_or(scheme.port_default())
    }
}

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        let refuse = |reason| OriginError {
            text: text.chars().take(80).collect(),
            reason,
        };
        let (scheme, rest) = match text.split_once("://") {
            Some(("https", rest)) => (Some(Scheme::Https), rest),
            Some(("http", rest)) => (Some(Scheme::Http), rest),
            Some(_) => return Err(refuse("has a scheme other than http and https")),
            None => (None, text),
        };
        if rest.contains('*') {
            return Err(refuse("is a wildcard; each server is named"));
        }
        if rest.contains(['/', '?', '#', '@']) {
            return Err(refuse("has more than scheme, host and port"));
        }
        let (host, port) = split_port(rest).ok_or_else(|| refuse("has a port that is not 1 to 65535"))?;
        let host = host.to_ascii_lowercase();
        if !is_host(&host) {
            return Err(refuse(
                "has no valid host (a DNS name, an IPv4 address, or an IPv6 address in brackets)",
            ));
        }
        Ok(Self { scheme, host, port })
    }
}

/// Splits `host[:port]`; none if there is a port and it is not one.
pub(crate) fn split_port(text: &str) -> Option<(&str, Option<u16>)> {
    let after_host = if text.starts_with('[') {
        text.find(']').map_or(text.len(), |at| at + 1)
    } else {
        0
    };
    let Some(colon) = text[after_host..].find(':').map(|at| at + after_host) else {
        return Some((text, None));
    };
    let digits = &text[colon + 1..];
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let port: u16 = digits.parse().ok().filter(|&port| port > 0)?;
    Some((&text[..colon], Some(port)))
}

/// True for a DNS name, an IPv4 address or an IPv6 address in brackets, all in lower case.
pub fn is_host(text: &str) -> bool {
    if let Some(inner) = text.strip_prefix('[') {
        return inner
            .strip_suffix(']')
            .is_some_and(|inner| inner.parse::<Ipv6Addr>().is_ok());
    }
    if text.is_empty() || text.len() > HOST_BYTES_MAX {
        return false;
    }
    let numeric = text
        .rsplit('.')
        .next()
        .is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    if numeric {
        // A name whose last label is a number is an IPv4 address or nothing: `1.2.3` means different hosts to
        // different resolvers.
        return text.parse::<Ipv4Addr>().is_ok();
    }
    text.split('.').all(|label| {
        let edge = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let bytes = label.as_bytes();
        matches!(bytes, [first, .., last] if edge(*first) && edge(*last))
            | matches!(bytes, [only] if edge(*only))
            && bytes.len() <= crate::name::LABEL_BYTES_MAX
            && bytes.iter().all(|&b| edge(b) || b == b'-' || b == b'_')
    })
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(scheme) = self.scheme {
            write!(f, "{}://", scheme.as_str())?;
        }
        f.write_str(&self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl serde::Serialize for Origin {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Origin {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_round_trip() {
        for text in [
            "https://tax.example.com",
            "http://127.0.0.1:9000",
            "a.b:8443",
            "[::1]:80",
            "localhost",
            "x_y",
        ] {
            assert_eq!(text.parse::<Origin>().unwrap().to_string(), text);
        }
        assert_eq!(
            "HTTPS://x".parse::<Origin>().unwrap_err().reason,
            "has a scheme other than http and https"
        );
        assert_eq!(
            "https://Tax.Example.COM".parse::<Origin>().unwrap().to_string(),
            "https://tax.example.com"
        );
    }

    #[test]
    fn everything_else_is_refused() {
        for bad in [
            "",
            "*",
            "https://*",
            "https://*.x.com",
            "ftp://x",
            "https://x/",
            "https://x/y",
            "https://u@x",
            "x?q",
            "x#f",
            "x:0",
            "x:65536",
            "x:",
            "x:+1",
            "x:1:2",
            "::1",
            "[::1",
            "[x]",
            "1.2.3",
            "1.2.3.4.5",
            "-a",
            "a-.b",
            "a..b",
            ".a",
            "a.",
            "ä.de",
            "a b",
            "https://",
            &"a".repeat(254),
            &"a".repeat(64),
        ] {
            assert!(bad.parse::<Origin>().is_err(), "{bad}");
        }
    }

    #[test]
    fn grants_no_more_than_what_is_written() {
        let check =
            |origin: &str, scheme, host, port| origin.parse::<Origin>().unwrap().allows(scheme, host, port);
        assert!(check("https://x", Scheme::Https, "X", None));
        assert!(check("https://x", Scheme::Https, "x", Some(443)));
        assert!(!check("https://x", Scheme::Http, "x", None));
        assert!(!check("https://x", Scheme::Https, "x", Some(8443)));
        assert!(!check("https://x", Scheme::Https, "a.x", None));
        assert!(check("x", Scheme::Http, "x", Some(80)));
        assert!(check("x", Scheme::Https, "x", None));
        assert!(!check("x", Scheme::Http, "x", Some(443)));
        assert!(check("x:9000", Scheme::Http, "x", Some(9000)));
        assert!(!check("x:9000", Scheme::Http, "x", None));
    }
}
