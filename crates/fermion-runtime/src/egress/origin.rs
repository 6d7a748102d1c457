//! Where a request goes: scheme, host and port, in one form.

/// An upstream. Connections, the breaker and what is known of its addresses belong to one of these.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    pub(crate) is_tls: bool,
    /// Lower case; an IPv6 address stands in brackets.
    pub(crate) host: Box<str>,
    pub(crate) port: u16,
}

impl Origin {
    pub(crate) fn new(is_tls: bool, host: &str, port: u16) -> Self {
        Self {
            is_tls,
            host: host.to_ascii_lowercase().into(),
            port,
        }
    }

    pub(crate) fn scheme(&self) -> &'static str {
        if self.is_tls { "https" } else { "http" }
    }

    /// The host without the brackets of an IPv6 address.
    pub(crate) fn bare_host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}:{}", self.scheme(), self.host, self.port)
    }
}
