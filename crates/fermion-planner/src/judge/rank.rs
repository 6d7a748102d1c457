//! Ranks: the U statistic, the common-language effect size, and p-values by statrs.

use statrs::stats_tests::Alternative;
use statrs::stats_tests::mannwhitneyu::{MannWhitneyUMethod, mannwhitneyu};

/// What is asked of a p-value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// Are the samples different?
    TwoSided,
    /// Is the first the greater?
    Greater,
    /// Is the first the less?
    Less,
}

/// How a p-value is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// By counting all arrangements; only without ties, and slow beyond some twenty samples.
    Exact,
    /// By the normal approximation, corrected for continuity and ties.
    Asymptotic,
}

/// U of the first sample: in how many pairs its value is the greater one, ties counting half.
pub fn u(x: &[f64], y: &[f64]) -> f64 {
    let mut sorted = y.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    x.iter()
        .map(|value| {
            let below = sorted.partition_point(|other| other < value);
            let up_to = sorted.partition_point(|other| other <= value);
            (below + up_to) as f64 / 2.0
        })
        .sum()
}

/// The chance that a value of the first sample is above one of the second, ties counting half. NaN for no values.
pub fn common_language_effect(x: &[f64], y: &[f64]) -> f64 {
    u(x, y) / (x.len() as f64 * y.len() as f64)
}

/// U of the first sample and the probability of at least such a difference between equal distributions. None where the
/// method does not apply: no values, or ties for the exact one.
pub fn p_value(x: &[f64], y: &[f64], tail: Tail, method: Method) -> Option<(f64, f64)> {
    let method = match method {
        Method::Exact => MannWhitneyUMethod::Exact,
        Method::Asymptotic => MannWhitneyUMethod::AsymptoticInclContinuityCorrection,
    };
    let alternative = match tail {
        Tail::TwoSided => Alternative::TwoSided,
        Tail::Greater => Alternative::Greater,
        Tail::Less => Alternative::Less,
    };
    mannwhitneyu(x, y, method, alternative).ok()
}
