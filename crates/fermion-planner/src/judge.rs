//! The canary judge: samples of a canary and of a baseline in, a verdict with its reasons out. The method is that of
//! Kayenta's NetflixACAJudge (spinnaker/kayenta): a Mann-Whitney interval for the shift between the arms of each metric,
//! a score for each group, a weighted score for the release. `Compatibility::Fermion` mends what that method gets wrong:
//! what cannot be told is inconclusive instead of left out, constants are compared instead of blurred with noise, and
//! too few samples never make a finding.

mod classify;
pub mod document;
pub mod experiment;
mod interval;
pub mod rank;
pub mod ratio;
mod root;
mod samples;
mod score;
pub mod sequential;
#[cfg(test)]
mod tests;
pub mod thinning;
mod words;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::limits;

pub use classify::classify;
pub use interval::{Shift, shift};
pub use samples::{quantile, without_outliers};
pub use score::{Judged, Score, score};

/// Whose rules hold where the original and we differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compatibility {
    /// Ours: fewer than eight samples an arm, or a metric that cannot be compared, are inconclusive.
    #[default]
    Fermion,
    /// The original's, so that its published results apply unchanged.
    Kayenta,
}

/// Which change of a metric is a change for the worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// Only more is worse: errors, latency.
    Increase,
    /// Only less is worse: orders a minute.
    Decrease,
    /// Any change is.
    #[default]
    Either,
}

/// What a missing sample means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Missing {
    /// Nothing was measured.
    #[default]
    Remove,
    /// Zero was measured: a counter that was never touched.
    Replace,
}

/// What becomes of values far from the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outliers {
    /// They count.
    #[default]
    Keep,
    /// They are dropped.
    Remove,
}

/// How the size of a difference is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// The canary's mean divided by the baseline's; 1 is no difference.
    #[default]
    MeanRatio,
    /// The chance that a canary's sample is above a baseline's; 0.5 is no difference. (Vargha and Delaney, 2000)
    Cles,
}

impl Measure {
    /// The value of no difference, which is also the default of every threshold.
    pub fn neutral(self) -> f64 {
        match self {
            Self::MeanRatio => 1.0,
            Self::Cles => 0.5,
        }
    }
}

/// From which size on a difference counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Effect {
    /// How it is measured.
    pub measure: Measure,
    /// An increase below this is let pass.
    pub allowed_increase: f64,
    /// A decrease above this is let pass.
    pub allowed_decrease: f64,
    /// An increase from here on fails the release, if the metric is critical.
    pub critical_increase: f64,
    /// A decrease from here on fails the release, if the metric is critical.
    pub critical_decrease: f64,
}

impl Effect {
    /// Every difference counts.
    pub fn neutral(measure: Measure) -> Self {
        let neutral = measure.neutral();
        Self {
            measure,
            allowed_increase: neutral,
            allowed_decrease: neutral,
            critical_increase: neutral,
            critical_decrease: neutral,
        }
    }
}

/// One metric of a judgement. Samples may be NaN: a window in which nothing was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// What people call it.
    pub name: String,
    /// The group whose score it is part of.
    pub group: String,
    /// Samples of the release under judgement.
    pub canary: Vec<f64>,
    /// Samples of the release that it is compared with.
    pub baseline: Vec<f64>,
    /// Which change is for the worse.
    pub direction: Direction,
    /// What a NaN means.
    pub nan: Missing,
    /// What becomes of outliers.
    pub outliers: Outliers,
    /// Interquartile ranges beyond the quartiles at which they begin.
    pub outlier_factor: f64,
    /// Whether its failure is the release's failure.
    pub critical: bool,
    /// Whether its silence counts against the release.
    pub must_have_data: bool,
    /// From which size on a difference counts.
    pub effect: Effect,
}

impl Metric {
    /// A metric with every default, without samples.
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            group: "default".to_owned(),
            canary: Vec::new(),
            baseline: Vec::new(),
            direction: Direction::default(),
            nan: Missing::default(),
            outliers: Outliers::default(),
            outlier_factor: limits::OUTLIER_FACTOR,
            critical: false,
            must_have_data: false,
            effect: Effect::neutral(Measure::default()),
        }
    }
}

/// How surely and how finely the samples of a metric are compared.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rules {
    /// Whose rules hold.
    pub compatibility: Compatibility,
    /// How sure the interval of the shift is, between 0 and 1.
    pub confidence: f64,
    /// Half-width of the band around zero in which a shift is no finding, as a share of the shift's estimate.
    pub tolerance: f64,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            compatibility: Compatibility::default(),
            confidence: limits::CONFIDENCE,
            tolerance: limits::TOLERANCE,
        }
    }
}

/// Everything that a verdict depends on; kept beside it, so that it can be judged again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// How each metric is judged.
    pub rules: Rules,
    /// The score from which the release passes.
    pub pass: f64,
    /// The score from which it is neither good nor bad.
    pub marginal: f64,
    /// Weights of groups in percent. What they leave of 100 is shared by the other groups.
    pub groups: BTreeMap<String, f64>,
    /// What is compared.
    pub metrics: Vec<Metric>,
}

/// What was found out about a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Classification {
    /// No difference for the worse.
    Pass,
    /// The canary is higher, and that is worse.
    High,
    /// The canary is lower, and that is worse.
    Low,
    /// An arm has no samples.
    Nodata,
    /// An arm has no samples, and has to.
    NodataFail,
    /// The samples cannot be compared. Only under the original's rules, which then leave the metric out.
    Error,
    /// There are too few samples, or they cannot be compared.
    Inconclusive,
}

/// A metric's part of the verdict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Which metric.
    pub name: String,
    /// What was found out.
    pub classification: Classification,
    /// Whether it alone fails the release.
    pub critical: bool,
    /// The size of the difference, in the metric's measure; none where it cannot be computed.
    pub effect: Option<f64>,
    /// The shift between the arms (Hodges-Lehmann), in the metric's unit.
    pub estimate: Option<f64>,
    /// Between which values the shift surely is.
    pub interval: Option<[f64; 2]>,
    /// The same in words, with figures.
    pub reason: String,
}

/// A group's part of the score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupScore {
    /// Which group.
    pub name: String,
    /// The share of its metrics that pass, in percent; 0 where none could be told.
    pub score: f64,
}

/// What to do with the release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Go on.
    Pass,
    /// Ask a person.
    Marginal,
    /// Go back.
    Fail,
    /// Not enough is known to say.
    Inconclusive,
}

/// The verdict with everything that led to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// What to do.
    pub verdict: Verdict,
    /// 0 to 100.
    pub score: f64,
    /// Group by group, by name.
    pub groups: Vec<GroupScore>,
    /// Metric by metric, in the request's order.
    pub metrics: Vec<Finding>,
}

/// Judges a release. It fails only for something that was found; otherwise one metric that cannot be told makes the whole
/// inconclusive, because leaving it out would promote on silence. (The original fails a release of which it knows nothing.)
pub fn judge(request: &Request) -> Report {
    let findings: Vec<Finding> = request
        .metrics
        .iter()
        .map(|metric| classify(metric, &request.rules))
        .collect();
    let judged: Vec<Judged<'_>> = request
        .metrics
        .iter()
        .zip(&findings)
        .map(|(metric, finding)| Judged {
            group: &metric.group,
            classification: finding.classification,
            critical: finding.critical,
        })
        .collect();
    let Score { summary, groups } = score(&judged, &request.groups);
    let has = |class: Classification| findings.iter().any(|finding| finding.classification == class);
    // A critical metric without data makes the score 0, and is still no finding.
    let worse = has(Classification::High) || has(Classification::Low) || has(Classification::NodataFail);
    let failed = summary < request.marginal;
    let verdict = if failed && (worse || request.rules.compatibility == Compatibility::Kayenta) {
        Verdict::Fail
    } else if failed || has(Classification::Inconclusive) {
        Verdict::Inconclusive
    } else if summary < request.pass {
        Verdict::Marginal
    } else {
        Verdict::Pass
    };
    Report {
        verdict,
        score: summary,
        groups,
        metrics: findings,
    }
}
