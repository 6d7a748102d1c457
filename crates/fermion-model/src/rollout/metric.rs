//! What an experiment counts: `spec.rollout.metric` of `app.yaml`.

use serde::{Deserialize, Serialize};

/// What is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Goal {
    /// More.
    #[default]
    Increase,
    /// Less.
    Decrease,
}

/// What a value of the metric says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MetricKind {
    /// Anything but 0: this caller did what was hoped for. How many do is compared.
    #[default]
    Conversion,
    /// So much. Means are compared.
    Value,
}

/// Which release is kept where neither is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keep {
    /// The old one.
    #[default]
    A,
    /// The new one.
    B,
}

/// The metric of an experiment: a field of answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricSpec {
    /// The field's name, in lower case.
    pub header: String,
    /// What is better.
    pub goal: Goal,
    /// What a value says.
    pub kind: MetricKind,
    /// Whether callers do not get the field.
    pub strip: bool,
    /// What is kept where the end comes first.
    pub keep: Keep,
}
