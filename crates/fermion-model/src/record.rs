//! One request as it was measured on the hot path: plain values, no allocation beyond what is shared by `Arc`.
//! Everything telemetry knows of a request comes from this record; the guest adds nothing to it.

use std::sync::Arc;
use std::time::Duration;

use crate::calls::Calls;
use crate::copies::Copied;
use crate::frame::Arm;
use crate::{Blame, Fault};

/// Which release served: shared by every request of that release.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Served {
    /// The tenant.
    pub namespace: String,
    /// The app's name.
    pub app: String,
    /// The release number; 0 for a bare component under `fermion serve`.
    pub release: u32,
}

/// How one request went. Durations are measured by the host's monotonic clock.
#[derive(Debug, Clone)]
pub struct RequestRecord {
    /// Who served it; none if no route matched.
    pub served: Option<Arc<Served>>,
    /// 32 lower-case hex digits: the W3C trace id, which is also the request id.
    pub trace_id: [u8; 16],
    /// The span id given to the guest in `traceparent`.
    pub span_id: [u8; 8],
    /// The caller's span; none if the trace begins here.
    pub parent_id: Option<[u8; 8]>,
    /// True if the caller's trace is sampled.
    pub is_sampled: bool,
    /// The request method as sent.
    pub method: http::Method,
    /// The path without the query (queries may hold secrets).
    pub path: String,
    /// The answer's status; 0 if the connection ended before one was sent.
    pub status: u16,
    /// Why the platform answered, or cut the answer, instead of the guest.
    pub fault: Option<Fault>,
    /// The operator's detail of the fault; empty without one.
    pub detail: String,
    /// True if the client left before the answer's end.
    pub client_gone: bool,
    /// True if the instance was made while the request waited.
    pub cold: bool,
    /// Waiting for a permit.
    pub queue: Duration,
    /// Making or taking the instance.
    pub instantiate: Duration,
    /// From the request's head to the answer's head.
    pub first_byte: Duration,
    /// From the request's head to the end of the answer's body.
    pub total: Duration,
    /// Guest CPU time; zero when the guest ran for less than one epoch tick.
    pub cpu: Duration,
    /// The most linear memory that the instance had, in bytes; zero where nothing ran.
    pub memory_bytes: u64,
    /// Request body bytes read.
    pub bytes_in: u64,
    /// Response body bytes written.
    pub bytes_out: u64,
    /// What the host did for it.
    pub calls: Calls,
    /// As which part of a rollout it was served.
    pub arm: Arm,
    /// The caller as a rollout knows them again; 0 for nobody in particular.
    pub caller: u64,
    /// What an experiment counts of it.
    pub metric: Option<f64>,
    /// Of a copy: how its answer compares.
    pub copied: Option<Box<Copied>>,
}

impl RequestRecord {
    /// Whose fault a failed request is; none when it went well.
    pub fn blame(&self) -> Option<Blame> {
        if let Some(fault) = self.fault {
            return Some(fault.blame());
        }
        if self.client_gone {
            return Some(Blame::Client);
        }
        match self.status {
            400..=499 => Some(Blame::Client),
            500..=599 => Some(Blame::Guest),
            _ => None,
        }
    }
}
