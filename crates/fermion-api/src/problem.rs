//! Refusals on the wire: RFC 9457 problem details with a stable `code`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The media type of every refusal.
pub const PROBLEM_CONTENT_TYPE: &str = "application/problem+json";

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// `about:blank`: the code says what a type URI would.
    #[serde(rename = "type")]
    pub kind: String,
    /// The HTTP status's own words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// Stable, upper case; programs decide by it.
    #[schema(example = "ROUTE_COLLISION")]
    pub code: String,
    /// What failed, where, why, and what to do next; for people.
    pub detail: String,
}

impl Problem {
    /// A problem with the standard title of its status.
    pub fn new(status: http::StatusCode, code: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            kind: "about:blank".to_owned(),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            code: code.into(),
            detail: detail.into(),
        }
    }
}
