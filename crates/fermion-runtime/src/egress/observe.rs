//! What is told of calls to upstreams, to whoever counts them.

use std::time::Duration;

/// How a call to an upstream ended, as far as its answer's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EgressOutcome {
    /// An answer that is not of the 5xx class.
    Answered,
    /// An answer of the 5xx class.
    ServerError,
    /// No connection came about.
    Connect,
    /// The name could not be resolved.
    Dns,
    /// TLS failed, or the certificate is not trusted.
    Tls,
    /// Connecting, or waiting for the answer, took too long.
    Timeout,
    /// The connection broke before the answer.
    Reset,
    /// What came is not HTTP.
    Protocol,
    /// Not granted, or an address that must not be called.
    Denied,
    /// Too many calls or connections.
    Limit,
    /// The breaker is open: nothing was sent.
    BreakerOpen,
    /// The guest's own request was at fault.
    Guest,
    /// The guest or its caller left before the answer.
    Abandoned,
}

impl EgressOutcome {
    /// The lower-case name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::ServerError => "server_error",
            Self::Connect => "connect",
            Self::Dns => "dns",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Reset => "reset",
            Self::Protocol => "protocol",
            Self::Denied => "denied",
            Self::Limit => "limit",
            Self::BreakerOpen => "breaker",
            Self::Guest => "guest",
            Self::Abandoned => "abandoned",
        }
    }
}

/// Something that happened on the way to an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EgressEvent {
    /// A call is over, or its answer's head is there.
    Called(EgressOutcome, Duration),
    /// A connection was made.
    Connected,
    /// A connection was used again.
    Reused,
    /// A call was made a second time.
    Retried,
    /// A breaker opened that was closed.
    Opened,
    /// A breaker closed that was open.
    Closed,
}

/// Counts. Called on serving threads: must not block.
pub trait EgressObserver: Send + Sync + 'static {
    /// `rule` is the place in [`crate::Grants::http`] of the rule that granted the call; none granted it if it is None.
    fn observe(&self, rule: Option<usize>, event: EgressEvent);
}

/// Counts nothing.
impl EgressObserver for () {
    fn observe(&self, _rule: Option<usize>, _event: EgressEvent) {}
}
