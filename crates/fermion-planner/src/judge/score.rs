//! From findings to a score: the share of a group's metrics that pass, and the groups by their weights.

use std::collections::BTreeMap;

use super::{Classification, GroupScore};
use crate::limits::NODATA_PERCENT_MAX;

/// What the score needs to know of a metric.
#[derive(Debug, Clone, Copy)]
pub struct Judged<'a> {
    /// Which group it belongs to.
    pub group: &'a str,
    /// What was found out.
    pub classification: Classification,
    /// Whether it alone fails the release.
    pub critical: bool,
}

/// The score of a release.
#[derive(Debug, Clone, PartialEq)]
pub struct Score {
    /// 0 to 100, to two decimals.
    pub summary: f64,
    /// Group by group, by name.
    pub groups: Vec<GroupScore>,
}

/// How many metrics of a group pass, of how many that could be told.
#[derive(Default, Clone, Copy)]
struct Tally {
    passed: u32,
    told: u32,
}

impl Tally {
    fn count(&mut self, classification: Classification) {
        match classification {
            Classification::Pass => {
                self.passed += 1;
                self.told += 1;
            }
            Classification::High | Classification::Low | Classification::NodataFail => self.told += 1,
            Classification::Nodata | Classification::Error | Classification::Inconclusive => {}
        }
    }

    fn percent(self) -> Option<f64> {
        (self.told > 0).then(|| 100.0 * f64::from(self.passed) / f64::from(self.told))
    }
}

/// Scores findings. `weights` are percents by group; what they leave of 100 is shared evenly by the groups without one.
/// A group of which nothing could be told shows 0 and counts as 100. One critical failure, or no data for half of the
/// metrics, makes the score 0.
pub fn score(metrics: &[Judged<'_>], weights: &BTreeMap<String, f64>) -> Score {
    let mut tallies: BTreeMap<&str, Tally> = BTreeMap::new();
    for metric in metrics {
        tallies
            .entry(metric.group)
            .or_default()
            .count(metric.classification);
    }
    let groups = tallies
        .iter()
        .map(|(name, tally)| GroupScore {
            name: (*name).to_owned(),
            score: tally.percent().unwrap_or(0.0),
        })
        .collect();
    let failed = metrics
        .iter()
        .any(|metric| metric.critical && metric.classification != Classification::Pass);
    let silent = metrics
        .iter()
        .filter(|metric| metric.classification == Classification::Nodata)
        .count();
    let silent_percent = 100.0 * silent as f64 / metrics.len() as f64;
    let summary = if failed || silent_percent >= NODATA_PERCENT_MAX {
        0.0
    } else {
        weighted(&tallies, weights)
    };
    Score { summary, groups }
}

fn weighted(tallies: &BTreeMap<&str, Tally>, weights: &BTreeMap<String, f64>) -> f64 {
    let unweighted = tallies
        .keys()
        .filter(|name| !weights.contains_key(**name))
        .count();
    let rest = (100.0 - weights.values().sum::<f64>()) / unweighted as f64;
    let sum: f64 = tallies
        .iter()
        .map(|(name, tally)| {
            let weight = weights.get(*name).copied().unwrap_or(rest);
            tally.percent().unwrap_or(100.0) * weight / 100.0
        })
        .sum();
    (sum * 100.0).round() / 100.0
}
