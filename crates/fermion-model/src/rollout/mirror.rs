//! Copies of requests for a release that answers nobody yet: what `spec.rollout.mirror` of `app.yaml` says of them.

use serde::{Deserialize, Serialize};

/// Seconds for which requests are copied where nothing else is said.
const SECONDS_DEFAULT: u64 = 600;
/// How many of the answers may differ, in hundredths of a percent.
const DIFFERENT_MAX_DEFAULT: u16 = 100;
/// Answers that must have been compared before they say anything.
const COMPARED_MIN_DEFAULT: u32 = 50;

/// What of two answers is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compared {
    /// The status.
    Status,
    /// Header fields by which clients and caches act.
    Headers,
    /// The body, byte for byte.
    Body,
}

impl Compared {
    /// Each with the name that `app.yaml` has for it.
    pub const ALL: [(Self, &'static str); 3] = [
        (Self::Status, "status"),
        (Self::Headers, "headers"),
        (Self::Body, "body"),
    ];
}

/// What is copied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Copies {
    /// Requests of these methods.
    pub methods: Vec<String>,
    /// What is compared of the two answers.
    pub compare: Vec<Compared>,
}

impl Default for Copies {
    fn default() -> Self {
        Self {
            methods: ["GET", "HEAD"].map(str::to_owned).to_vec(),
            compare: Compared::ALL.map(|(compared, _)| compared).to_vec(),
        }
    }
}

/// How long requests are copied, and what the answers must be like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MirrorSpec {
    /// For so many seconds.
    pub seconds: u64,
    /// Which requests.
    pub copies: Copies,
    /// How many of the answers may differ or fail, in hundredths of a percent of those that were compared.
    pub different_max: u16,
    /// Below so many nothing is known.
    pub compared_min: u32,
}

impl Default for MirrorSpec {
    fn default() -> Self {
        Self {
            seconds: SECONDS_DEFAULT,
            copies: Copies::default(),
            different_max: DIFFERENT_MAX_DEFAULT,
            compared_min: COMPARED_MIN_DEFAULT,
        }
    }
}
