//! Objectives as arithmetic: how fast an error budget burns, what is left of it, when it will be gone, and which of that
//! somebody must know. (Google SRE workbook, "Alerting on SLOs".) Windows are averages; zero requests are no data, never
//! a success.

mod level;
mod predicate;
mod series;
#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use predicate::{
    Action, BAD_MIN, EXPECTED_BAD_MIN, Evaluation, Outcome, PRODUCT, Predicate, WORKBOOK, decide, evaluate,
    pyrra, workbook,
};
pub use series::{Ledger, Recent, Series};

/// How much was good, of how much.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Events that met the indicator.
    pub good: u64,
    /// All of them.
    pub total: u64,
}

impl Counts {
    /// Events that did not meet the indicator.
    pub fn bad(self) -> u64 {
        self.total.saturating_sub(self.good)
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            good: self.good.saturating_add(other.good),
            total: self.total.saturating_add(other.total),
        }
    }
}

/// What is promised, over which time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Objective {
    /// The share of events that have to be good: above 0, below 1.
    pub target: f64,
    /// The rolling window that the promise is about.
    pub period: Duration,
}

impl Objective {
    /// How many times as fast as allowed the budget burns: 1 uses it up exactly at the period's end. None without data.
    pub fn burn(&self, counts: Counts) -> Option<f64> {
        (counts.total > 0).then(|| counts.bad() as f64 / counts.total as f64 / (1.0 - self.target))
    }

    /// The share of the period's budget that a window of this length uses up at this burn.
    pub fn spent(&self, burn: f64, window: Duration) -> f64 {
        burn * window.as_secs_f64() / self.period.as_secs_f64()
    }

    /// The burn at which a window of this length uses up this share of the period's budget.
    pub fn factor(&self, share: f64, window: Duration) -> f64 {
        share * self.period.as_secs_f64() / window.as_secs_f64()
    }

    /// What is left of the budget, as a share of it; below 0 when it is overdrawn. `counts` are those of a whole period.
    /// None without data.
    pub fn left(&self, counts: Counts) -> Option<f64> {
        self.burn(counts).map(|burn| 1.0 - burn)
    }

    /// How long the budget lasts if it goes on burning like this. Zero when nothing is left, none when it never ends
    /// within a hundred periods.
    pub fn exhausted_in(&self, left: f64, burn: f64) -> Option<Duration> {
        const PERIODS_MAX: f64 = 100.0;
        if left <= 0.0 {
            return Some(Duration::ZERO);
        }
        let periods = left / burn;
        (burn > 0.0 && periods <= PERIODS_MAX).then(|| self.period.mul_f64(periods))
    }
}
