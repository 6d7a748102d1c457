//! Every way a request can fail, under the name its caller sees. The code is part of the HTTP interface and never
//! changes meaning; the mapping to status, blame and RFC 9209 error type lives here so that it cannot drift.

use std::fmt;

/// Whose fault a failed request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Blame {
    /// The component.
    Guest,
    /// The caller.
    Client,
    /// A server the component called.
    Upstream,
    /// Fermion or the machine it runs on.
    Platform,
}

impl Blame {
    /// The lower-case word used in answers and metric labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Guest => "guest",
            Self::Client => "client",
            Self::Upstream => "upstream",
            Self::Platform => "platform",
        }
    }
}

macro_rules! faults {
    ($( $(#[$doc:meta])* $name:ident = $code:literal, $status:literal, $blame:ident, $proxy:literal, $title:literal; )*) => {
        /// A named reason for an answer that is not the guest's own.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Fault { $( $(#[$doc])* $name, )* }

        impl Fault {
            /// Every fault, for tables and metrics made ahead of time.
            pub const ALL: &'static [Fault] = &[ $( Fault::$name, )* ];

            /// The stable code, as in `Proxy-Status: fermion; details="GUEST_TRAP"`.
            pub const fn code(self) -> &'static str { match self { $( Self::$name => $code, )* } }

            /// The HTTP status the caller gets while the answer's head has not been sent.
            pub const fn status(self) -> u16 { match self { $( Self::$name => $status, )* } }

            /// Whose fault it is.
            pub const fn blame(self) -> Blame { match self { $( Self::$name => Blame::$blame, )* } }

            /// The registered RFC 9209 section 2.3 proxy error type.
            pub const fn proxy_error(self) -> &'static str { match self { $( Self::$name => $proxy, )* } }

            /// One sentence for people, without detail that belongs to the operator.
            pub const fn title(self) -> &'static str { match self { $( Self::$name => $title, )* } }
        }
    };
}

faults! {
    /// The component trapped or panicked.
    GuestTrap = "GUEST_TRAP", 502, Guest, "http_response_incomplete", "the component crashed while it handled this request";
    /// The component returned, or can never again make progress, without answering.
    GuestNoResponse = "GUEST_NO_RESPONSE", 502, Guest, "http_response_incomplete", "the component ended without answering";
    /// Linear memory or tables would have grown past the package's limit.
    GuestMemoryLimit = "GUEST_MEMORY_LIMIT", 502, Guest, "http_response_incomplete", "the component needed more memory than it may have";
    /// The guest's call stack is exhausted.
    GuestStackLimit = "GUEST_STACK_LIMIT", 502, Guest, "http_response_incomplete", "the component's call stack is exhausted";
    /// Handles, host-call buffers or another host resource ran out for this request.
    GuestResourceLimit = "GUEST_RESOURCE_LIMIT", 502, Guest, "http_response_incomplete", "the component used more host resources than it may";
    /// The guest's answer breaks HTTP or a limit (headers, declared length).
    GuestResponseInvalid = "GUEST_RESPONSE_INVALID", 502, Guest, "http_protocol_error", "the component's answer is not valid";
    /// The guest answered with a wasi:http error code.
    GuestError = "GUEST_ERROR", 502, Guest, "http_response_incomplete", "the component reported an error instead of an answer";
    /// The guest used its CPU time.
    GuestCpuLimit = "GUEST_CPU_LIMIT", 504, Guest, "http_response_timeout", "the component used up its CPU time";
    /// The guest did not finish within its wall time.
    GuestTimeout = "GUEST_TIMEOUT", 504, Guest, "http_response_timeout", "the component did not answer in time";
    /// The request queue is full or the wait was too long.
    Overloaded = "OVERLOADED", 503, Platform, "connection_limit_reached", "too many requests at once, try again shortly";
    /// The app has a route but nothing ready behind it.
    NotReady = "NOT_READY", 503, Platform, "destination_unavailable", "no release of this app is ready here";
    /// Fermion's own mistake.
    Internal = "INTERNAL", 500, Platform, "proxy_internal_error", "the platform failed to handle this request";
    /// No route matches host and path.
    NoRoute = "NO_ROUTE", 404, Client, "destination_not_found", "no app is routed at this host and path";
    /// A route matches host and path but not the method.
    MethodNotAllowed = "METHOD_NOT_ALLOWED", 405, Client, "http_request_denied", "the route does not accept this method";
    /// The request is not valid HTTP.
    BadRequest = "BAD_REQUEST", 400, Client, "http_request_error", "the request is not valid HTTP";
    /// The request's head or body came too slowly.
    RequestTimeout = "REQUEST_TIMEOUT", 408, Client, "http_request_error", "the request came too slowly";
    /// The request body is larger than the limit.
    BodyTooLarge = "BODY_TOO_LARGE", 413, Client, "http_request_denied", "the request body is too large";
    /// The request target is longer than the limit.
    UriTooLong = "URI_TOO_LONG", 414, Client, "http_request_denied", "the request URL is too long";
    /// Too many request header fields, or too large.
    HeadersTooLarge = "HEADERS_TOO_LARGE", 431, Client, "http_request_denied", "the request headers are too large";
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// A fault with what the operator should know of it. `detail` goes to the log, never to the caller.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{fault}: {detail}")]
pub struct Failure {
    /// The named reason.
    pub fault: Fault,
    /// For the operator: the trap's message, the limit and the value that passed it.
    pub detail: String,
}

impl Failure {
    /// A failure with its detail for the operator.
    pub fn new(fault: Fault, detail: impl Into<String>) -> Self {
        Self {
            fault,
            detail: detail.into(),
        }
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self {
            fault,
            detail: String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_agrees_with_blame() {
        for &fault in Fault::ALL {
            let client = (400..500).contains(&fault.status());
            assert_eq!(client, fault.blame() == Blame::Client, "{fault}");
        }
    }
}
