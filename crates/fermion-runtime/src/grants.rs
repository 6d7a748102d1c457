//! What a component may see of the world: nothing, unless it is listed here.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use fermion_model::endpoint::Endpoint;

use crate::egress::Outbound;
use crate::error::Error;
use crate::wasi::keyvalue::{KeyValue, ReadOnly};

/// The capabilities of one release. `Default` grants nothing.
#[derive(Debug, Clone, Default)]
pub struct Grants {
    /// Environment variables.
    pub env: Vec<(String, String)>,
    /// Values of `wasi:config`.
    pub config: BTreeMap<String, String>,
    /// Where outgoing HTTP requests may go.
    pub http: Vec<EgressRule>,
    /// The way there, and who counts what goes it.
    pub outbound: Outbound,
    /// Key-value stores by the names under which the guest opens them.
    pub keyvalue: BTreeMap<String, Arc<dyn KeyValue>>,
    /// Where sockets may lead.
    pub sockets: Arc<[Endpoint]>,
    /// Host directories and the names the guest sees them under, read-only unless `writable`.
    pub directories: Vec<Directory>,
}

/// One granted directory.
#[derive(Debug, Clone)]
pub struct Directory {
    /// On the host.
    pub host: PathBuf,
    /// As the guest sees it.
    pub guest: String,
    /// True if the guest may change files.
    pub writable: bool,
}

/// One allowed destination of outgoing requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EgressRule {
    /// `http`, `https`, or both when absent.
    scheme: Option<String>,
    /// Lower-case host name or address; every host when absent.
    host: Option<String>,
    /// The port; the scheme's own when absent, any when `any_port`.
    port: Option<u16>,
    any_port: bool,
}

impl EgressRule {
    /// Parses `*`, `host`, `host:port`, `http://host:port`, `https://host`. A host without port means the default
    /// port of the scheme. `*` allows every public and private address, and names that lead there: for development.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text == "*" {
            return Ok(Self {
                scheme: None,
                host: None,
                port: None,
                any_port: true,
            });
        }
        let refuse = |why: &str| {
            format!("{text:?} is not a destination: {why}; write host, host:port or https://host")
        };
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme @ ("http" | "https"), rest)) => (Some(scheme.to_owned()), rest),
            Some(_) => return Err(refuse("only http and https can be allowed")),
            None => (None, text),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let authority: http::uri::Authority = rest.parse().map_err(|_| refuse("it has no valid host"))?;
        if authority.as_str().contains('@') || rest.contains('/') || authority.host().is_empty() {
            return Err(refuse("it must be a host without user, path or query"));
        }
        if authority.host().contains('*') {
            return Err(refuse("wildcards inside a host are not supported"));
        }
        let port = authority.port_u16();
        if port.is_none() && authority.as_str() != authority.host() {
            return Err(refuse("its port is not a number"));
        }
        Ok(Self {
            scheme,
            host: Some(authority.host().to_ascii_lowercase()),
            port,
            any_port: false,
        })
    }

    /// True if a request to this destination is allowed.
    pub fn allows(&self, scheme: &str, host: &str, port: u16) -> bool {
        let default_port = if scheme == "https" { 443 } else { 80 };
        self.scheme.as_deref().is_none_or(|s| s == scheme)
            && self.host.as_deref().is_none_or(|h| h.eq_ignore_ascii_case(host))
            && (self.any_port || port == self.port.unwrap_or(default_port))
    }

    /// True if the rule names this very host, so that private addresses behind it are wanted.
    pub fn names(&self, host: &str) -> bool {
        self.host.as_deref().is_some_and(|h| h.eq_ignore_ascii_case(host))
    }

    /// The address that the rule names, if it names one instead of a name.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        let host = self.host_text().trim_start_matches('[').trim_end_matches(']');
        host.parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
    }

    /// The host as it was written; nothing for `*`.
    pub(crate) fn host_text(&self) -> &str {
        self.host.as_deref().unwrap_or_default()
    }

    /// True for `*`.
    pub fn is_any(&self) -> bool {
        self.host.is_none()
    }
}

impl std::fmt::Display for EgressRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(scheme) = &self.scheme {
            write!(f, "{scheme}://")?;
        }
        f.write_str(self.host.as_deref().unwrap_or("*"))?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl Grants {
    /// What is left for a copy of a request, of which nothing may come: the same to read, and nothing to write or to
    /// connect to. Outgoing requests are denied by [`crate::egress::Egress`] itself.
    pub(crate) fn without_effects(&self) -> Self {
        let read_only = |(name, store): (&String, &Arc<dyn KeyValue>)| {
            let store: Arc<dyn KeyValue> = Arc::new(ReadOnly(store.clone()));
            (name.clone(), store)
        };
        let mut grants = Self {
            keyvalue: self.keyvalue.iter().map(read_only).collect(),
            sockets: Arc::new([]),
            ..self.clone()
        };
        grants
            .directories
            .iter_mut()
            .for_each(|directory| directory.writable = false);
        grants
    }

    /// Checks that what is granted exists, before anything is served.
    pub fn check(&self) -> Result<(), Error> {
        for directory in &self.directories {
            let refuse = |reason: String| Error::Directory {
                path: directory.host.clone(),
                reason,
            };
            let metadata = std::fs::metadata(&directory.host).map_err(|e| refuse(e.to_string()))?;
            if !metadata.is_dir() {
                return Err(refuse("it is not a directory".into()));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_allows_only_what_it_says() {
        let cases = [
            ("api.test", "https", "api.test", 443, true),
            ("api.test", "http", "api.test", 80, true),
            ("api.test", "http", "api.test", 8080, false),
            ("api.test:8080", "http", "api.test", 8080, true),
            ("https://api.test", "http", "api.test", 80, false),
            ("https://api.test/", "https", "API.test", 443, true),
            ("api.test", "https", "api.test.evil", 443, false),
            ("127.0.0.1:9000", "http", "127.0.0.1", 9000, true),
            ("[::1]:9000", "http", "[::1]", 9000, true),
            ("*", "http", "anything", 1, true),
        ];
        for (rule, scheme, host, port, allowed) in cases {
            assert_eq!(
                EgressRule::parse(rule).unwrap().allows(scheme, host, port),
                allowed,
                "{rule} {host}:{port}"
            );
        }
    }

    #[test]
    fn refuses_what_is_not_a_destination() {
        for bad in [
            "",
            "ftp://x",
            "http://a/b",
            "u:p@host",
            "*.example.com",
            "a b",
            "host:99999",
        ] {
            assert!(EgressRule::parse(bad).is_err(), "{bad}");
        }
    }
}
