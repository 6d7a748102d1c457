//! Where a package lies outside: `registry.example.com:5000/acme/hello:1.2.3` or `...@sha256:...`. The registry is
//! always written out; there is no default one, and no default tag. Refuses everything that the OCI distribution
//! specification does not allow, so that no part of it can change a path or a request.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::name::{NameError, PACKAGE_NAME_BYTES_MAX};
use crate::{Digest, PackageName};

/// The longest host name, in bytes (RFC 1035).
const HOST_BYTES_MAX: usize = 253;
/// The longest tag, in bytes (OCI distribution specification).
const TAG_BYTES_MAX: usize = 128;

/// A registry: host and perhaps port, in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Registry {
    /// A name, an IPv4 address, or an IPv6 address in brackets.
    host: String,
    port: Option<u16>,
}

impl Registry {
    /// Name or address, without the port; an IPv6 address in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, if one is written.
    pub const fn port(&self) -> Option<u16> {
        self.port
    }

    /// True if it is on this machine: `localhost`, 127.0.0.0/8, `[::1]`.
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }
}

/// True for the names and addresses of this machine; an IPv6 address may be in brackets.
pub fn is_loopback(host: &str) -> bool {
    host.trim_matches(['[', ']'])
        .parse::<IpAddr>()
        .map_or(host == "localhost", |address| address.is_loopback())
}

impl FromStr for Registry {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let refuse = |reason| Err(NameError::new("registry", text, reason));
        let (host, port) = match text.rfind(':') {
            Some(at) if !text[at..].contains(']') => (&text[..at], Some(&text[at + 1..])),
            _ => (text, None),
        };
        let port = match port {
            None => None,
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => match digits.parse() {
                Ok(port) if port > 0 => Some(port),
                _ => return refuse("has a port that is none: 1 to 65535"),
            },
            Some(_) => return refuse("has a port that is not a number"),
        };
        let address = host
            .strip_prefix('[')
            .map(|rest| rest.strip_suffix(']').unwrap_or(""));
        let good = match address {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => host.len() <= HOST_BYTES_MAX && host.split('.').all(is_host_label),
        };
        if !good {
            return refuse("must be a host name or an address, and perhaps a port");
        }
        Ok(Self {
            host: host.to_ascii_lowercase(),
            port,
        })
    }
}

fn is_host_label(label: &str) -> bool {
    let bytes = label.as_bytes();
    (1..=63).contains(&bytes.len())
        && bytes.iter().all(|&b| b.is_ascii_alphanumeric() || b == b'-')
        && bytes[0] != b'-'
        && bytes[bytes.len() - 1] != b'-'
}

impl fmt::Display for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// A place in a registry: the repository, and the tag or the digest if one is written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RemoteReference {
    /// Where.
    pub registry: Registry,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl RemoteReference {
    /// The repository's name in the registry.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag; the digest decides if both are written.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest.
    pub const fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// What to ask the registry for; none if neither tag nor digest is written.
    pub fn identifier(&self) -> Option<String> {
        self.digest
            .map(|digest| digest.to_string())
            .or_else(|| self.tag.clone())
    }

    /// The same repository under this tag, without a digest.
    ///
    /// # Errors
    /// If the tag is none.
    pub fn with_tag(&self, tag: &str) -> Result<Self, NameError> {
        check_tag(tag)?;
        Ok(Self {
            tag: Some(tag.to_owned()),
            digest: None,
            ..self.clone()
        })
    }

    /// The repository of a package in a registry, without tag and digest.
    pub fn of(registry: Registry, name: &PackageName) -> Self {
        Self {
            registry,
            repository: name.to_string(),
            tag: None,
            digest: None,
        }
    }

    /// True if `text` begins with something that can only be a registry: with a dot, a port, or `localhost`.
    pub fn names_a_registry(text: &str) -> bool {
        text.split_once('/')
            .is_some_and(|(first, _)| first.contains(['.', ':', '[']) || first == "localhost")
    }
}

fn check_tag(tag: &str) -> Result<(), NameError> {
    let first = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let bytes = tag.as_bytes();
    let good = bytes.first().is_some_and(|&b| first(b))
        && bytes.len() <= TAG_BYTES_MAX
        && bytes.iter().all(|&b| first(b) || matches!(b, b'.' | b'-'));
    if good {
        return Ok(());
    }
    Err(NameError::new(
        "tag",
        tag,
        "must be 1 to 128 letters, digits, '_', '.', '-' and begin with none of the last two",
    ))
}

/// A path of the distribution specification: segments of letters and digits, joined by one '.', one or two '_', or any
/// number of '-'.
fn is_repository(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    (1..=PACKAGE_NAME_BYTES_MAX).contains(&text.len())
        && text.split('/').all(|segment| {
            let joints: Vec<&str> = segment
                .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
                .filter(|joint| !joint.is_empty())
                .collect();
            segment.bytes().next().is_some_and(inner)
                && segment.bytes().last().is_some_and(inner)
                && joints
                    .iter()
                    .all(|joint| matches!(*joint, "." | "_" | "__") || joint.bytes().all(|b| b == b'-'))
        })
}

impl FromStr for RemoteReference {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let refuse = |reason| Err(NameError::new("reference", text, reason));
        if text.contains("://") {
            return refuse("is a URL; write HOST/NAME:TAG without a scheme");
        }
        let Some((registry, rest)) = text.split_once('/') else {
            return refuse("names no registry; write HOST/NAME:TAG or HOST/NAME@sha256:...");
        };
        if !Self::names_a_registry(text) {
            return refuse("begins with no registry: a host with a dot or a port, or localhost");
        }
        let (rest, digest) = match rest.split_once('@') {
            None => (rest, None),
            Some((rest, digest)) => match digest.parse() {
                Ok(digest) => (rest, Some(digest)),
                Err(_) => return refuse("has a digest that is not sha256: and 64 lower-case hex digits"),
            },
        };
        let (repository, tag) = match rest.split_once(':') {
            None => (rest, None),
            Some((repository, tag)) => (repository, Some(tag)),
        };
        if !is_repository(repository) {
            return refuse(
                "has a repository that is none: segments of lower-case letters and digits, joined by '.', '_', '__' or '-'",
            );
        }
        tag.map_or(Ok(()), check_tag)?;
        Ok(Self {
            registry: registry.parse()?,
            repository: repository.to_owned(),
            tag: tag.map(str::to_owned),
            digest,
        })
    }
}

impl fmt::Display for RemoteReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        self.digest.map_or(Ok(()), |digest| write!(f, "@{digest}"))
    }
}

impl serde::Serialize for RemoteReference {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for RemoteReference {
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
    fn good_references_are_read_and_written_alike() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        for text in [
            "localhost/a:1",
            "localhost:5000/acme/hello:1.2.3",
            "127.0.0.1:5000/acme/hello",
            "[::1]:5000/a/b:x",
            "r.example.com/a__b/c.d/e--f:1.0.0-rc.1",
            &format!("r.example.com/acme/hello@{digest}"),
            &format!("r.example.com:1/acme/hello:1.0.0@{digest}"),
        ] {
            assert_eq!(text.parse::<RemoteReference>().unwrap().to_string(), text);
        }
        let parsed: RemoteReference = "R.Example.com/a:B".parse().unwrap();
        assert_eq!(parsed.to_string(), "r.example.com/a:B");
    }

    #[test]
    fn bad_references_are_refused_by_name() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        for text in [
            "",
            "/",
            "hello:1.0.0",
            "acme/hello:1.0.0",
            "https://r.example.com/a:1",
            "r.example.com/",
            "r.example.com/:1",
            "r.example.com/a:",
            "r.example.com/a@",
            "r.example.com/a@sha256:00",
            "r.example.com/a@sha512:00",
            "r.example.com/../a:1",
            "r.example.com/a/../b:1",
            "r.example.com/a//b:1",
            "r.example.com/A:1",
            "r.example.com/a_:1",
            "r.example.com/a___b:1",
            "r.example.com/a..b:1",
            "r.example.com/a:-x",
            "r.example.com/a:x/y",
            "r.example.com/a:x:y",
            "r.example.com/a b:1",
            "r.example.com/a?b:1",
            "r.example.com/a#b:1",
            "r.example.com/a%2e:1",
            "r.example.com/a\n:1",
            "r.example.com:0/a:1",
            "r.example.com:99999/a:1",
            "r.example.com:+1/a:1",
            "r.example.com:x/a:1",
            "r.example.com:/a:1",
            "user@r.example.com/a:1",
            "user:pass@r.example.com/a:1",
            "-r.example.com/a:1",
            "r..com/a:1",
            "[::1/a:1",
            "[x]:1/a:1",
            "rä.com/a:1",
            &format!("r.example.com/{}:1", "a".repeat(300)),
            &format!("r.example.com/a:{}", "b".repeat(129)),
            &format!("r.example.com/a@{digest}@{digest}"),
        ] {
            let error = text.parse::<RemoteReference>().expect_err(text);
            assert!(error.to_string().starts_with("NAME_INVALID: "), "{error}");
        }
    }

    #[test]
    fn loopback_is_this_machine_only() {
        for text in [
            "localhost",
            "localhost:1",
            "127.0.0.1",
            "127.9.9.9:80",
            "[::1]:5000",
        ] {
            assert!(text.parse::<Registry>().unwrap().is_loopback(), "{text}");
        }
        for text in [
            "10.0.0.1:1",
            "localhost.example.com",
            "127.0.0.1.example.com",
            "0.0.0.0:1",
        ] {
            assert!(!text.parse::<Registry>().unwrap().is_loopback(), "{text}");
        }
    }
}
