//! Traces that a node keeps, as the API shows them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One request whose trace is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TraceSummary {
    /// The trace's id: 32 hexadecimal digits.
    pub id: String,
    /// The tenant; empty for what reached no app.
    pub namespace: String,
    /// The app.
    pub app: String,
    /// The release.
    pub release: u32,
    /// When its head had come, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// Until the end of the answer, in microseconds.
    pub micros: u64,
    /// The method.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// The answer's status; 0 if there was none.
    pub status: u16,
    /// Why the platform answered, or cut the answer, in the component's stead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// Whose fault a failure is: `guest`, `client`, `upstream`, `platform`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blame: Option<String>,
    /// Why it is kept: `error`, `slow`, `canary`, `caller`, `share`.
    pub kept: String,
}

/// Kept traces, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TraceList {
    /// The traces.
    pub traces: Vec<TraceSummary>,
}

/// One part of a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SpanView {
    /// `gateway`, `queue`, `instantiate`, `guest`, or what was called: `GET https://api.example.com:443`, `get cart`.
    pub name: String,
    /// How deep it lies below the gateway's span, which has 0.
    pub depth: u8,
    /// Microseconds from the first request's head to its beginning.
    pub start_micros: u64,
    /// How long it took, in microseconds.
    pub micros: u64,
    /// True if it failed.
    pub failed: bool,
    /// What else is known: `status`, `outcome`, `retries`, `cold`, `cpu`, ...
    pub attributes: BTreeMap<String, String>,
}

/// One request of a trace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TraceRequest {
    /// The request.
    pub request: TraceSummary,
    /// The operator's detail of its fault.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// What it was made of, the gateway's span first.
    pub spans: Vec<SpanView>,
    /// Calls to upstreams and stores beyond those that are listed.
    pub unlisted: u64,
}

/// One trace: the requests of this node that are in it, in the order in which they began.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TraceView {
    /// Its id: 32 hexadecimal digits.
    pub id: String,
    /// The requests.
    pub requests: Vec<TraceRequest>,
}
