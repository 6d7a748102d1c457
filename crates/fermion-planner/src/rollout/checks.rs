//! Checks that run again and again beside a rollout, like a webhook: how often each may fail. (Argo Rollouts)

use serde::{Deserialize, Serialize};

/// How often is too often. A count above the limit ends the checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Failed checks, in all.
    pub failed: u32,
    /// Checks that said neither, in all.
    pub inconclusive: u32,
    /// Checks that could not be made, in a row.
    pub errors_in_a_row: u32,
    /// How many checks there are; without end if none.
    pub count: Option<u32>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            failed: 0,
            inconclusive: 0,
            errors_in_a_row: 4,
            count: None,
        }
    }
}

/// What checks have found so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checks {
    /// How many passed.
    pub passed: u32,
    /// How many failed.
    pub failed: u32,
    /// How many said neither.
    pub inconclusive: u32,
    /// How many could not be made, in a row up to now.
    pub errors_in_a_row: u32,
}

/// What follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Assessment {
    /// They go on.
    Running,
    /// All are made.
    Successful,
    /// Too many failed.
    Failed,
    /// Too many could not be made.
    Error,
    /// Too many said neither.
    Inconclusive,
}

impl Checks {
    /// What follows from what was found.
    pub fn assess(&self, limits: &Limits) -> Assessment {
        if self.failed > limits.failed {
            Assessment::Failed
        } else if self.inconclusive > limits.inconclusive {
            Assessment::Inconclusive
        } else if self.errors_in_a_row > limits.errors_in_a_row {
            Assessment::Error
        } else if limits
            .count
            .is_some_and(|count| self.passed + self.failed + self.inconclusive >= count)
        {
            Assessment::Successful
        } else {
            Assessment::Running
        }
    }
}
