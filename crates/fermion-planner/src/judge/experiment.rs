//! Which of two releases does better by what its operator counts. It may be looked at at any moment and as often as one
//! likes, and still calls a difference that is none with a chance of at most alpha.
//!
//! Conversions are counted once a caller. Who is a caller of the new release was drawn by lot, so if both persuade
//! equally many, each caller who converts is one of the new release's with the probability of its share of callers,
//! however many requests either of them makes. Each conversion multiplies the evidence of several alternatives, "the new
//! one persuades r times as many"; their mean is an e-value for each direction. (M. Lindon, A. Malek, "Anytime-valid
//! inference for multinomial count data", NeurIPS 2022, as in [`super::sequential`].)
//!
//! Values, one a caller, are compared by their means: the likelihood of the difference under a normal mixture of
//! differences, by that under none. (R. Johari, P. Koomen, L. Pekelis, D. Walsh, "Always valid inference: continuous
//! monitoring of A/B tests", Operations Research 70(3), 2022, equation 6, with the variance of the difference estimated
//! from both samples.) It leans on means being nearly normal, so it says nothing before there are enough of them.

use serde::{Deserialize, Serialize};

use super::sequential::{Arm, Evidence, ln_factor};

/// The chance of ever calling one release better when neither is.
pub const EXPERIMENT_ALPHA: f64 = 0.05;
/// How many times as many callers the better release may persuade, under the alternatives that are watched.
const TIMES: [f64; 6] = [1.05, 1.1, 1.2, 1.5, 2.0, 4.0];
/// Values of each release before their means are nearly normal.
const VALUES_MIN: u64 = 100;
/// The differences that are looked for, in standard deviations of a value: a tenth is small, and what there mostly is.
const SPREAD: f64 = 0.1;
/// Below this part of the mean a variance is lost in rounding.
const VARIANCE_PART_MIN: f64 = 1e-12;

/// The release that does better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Choice {
    /// The new one.
    New,
    /// The old one.
    Old,
}

/// How many values there were, their sum, and the sum of their squares.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Values {
    /// How many.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// The sum of their squares.
    pub squares: f64,
}

impl Values {
    /// Adds others.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.sum += other.sum;
        self.squares += other.squares;
    }

    /// Their mean, if there are any.
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }

    /// The variance of one of them, if there are enough and they are not all alike.
    fn variance(&self) -> Option<f64> {
        let mean = self.mean().filter(|_| self.count >= VALUES_MIN)?;
        let count = self.count as f64;
        let variance = (self.squares - count * mean * mean) / (count - 1.0);
        (variance > VARIANCE_PART_MIN * mean * mean).then_some(variance)
    }
}

/// What an experiment has shown so far. Stored and taken up again, never begun anew.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Experiment {
    more: Evidence<6>,
    fewer: Evidence<6>,
    /// The most evidence that there ever was of different means, as a logarithm.
    ln_means_max: f64,
    /// Of the new release.
    pub new: Values,
    /// Of the old one.
    pub old: Values,
    /// Whether the new one has more of what is counted, once that is found. Final.
    found: Option<bool>,
}

impl Experiment {
    /// Takes in callers who converted, each counted once. `share` is the new release's share of callers.
    pub fn convert(&mut self, new: &Values, old: &Values, share: f64) {
        self.new.merge(new);
        self.old.merge(old);
        if share <= 0.0 || share >= 1.0 {
            return;
        }
        let factors = |invert: bool| {
            TIMES.map(|times| {
                let times = if invert { 1.0 / times } else { times };
                new.count as f64 * ln_factor(Arm::Canary, share, times)
                    + old.count as f64 * ln_factor(Arm::Baseline, share, times)
            })
        };
        self.more.add(factors(false));
        self.fewer.add(factors(true));
        // Either direction has half of the chance to err.
        if self.found.is_none() {
            self.found = match (
                self.more.aborts(EXPERIMENT_ALPHA / 2.0),
                self.fewer.aborts(EXPERIMENT_ALPHA / 2.0),
            ) {
                (true, _) => Some(true),
                (false, true) => Some(false),
                (false, false) => None,
            };
        }
    }

    /// Takes in values, one a caller.
    pub fn value(&mut self, new: &Values, old: &Values) {
        self.new.merge(new);
        self.old.merge(old);
        let Some((ln, difference)) = self.ln_means() else {
            return;
        };
        self.ln_means_max = self.ln_means_max.max(ln);
        if self.found.is_none() && ln >= -EXPERIMENT_ALPHA.ln() {
            self.found = Some(difference > 0.0);
        }
    }

    /// The evidence of different means, as a logarithm, and by how much they differ.
    fn ln_means(&self) -> Option<(f64, f64)> {
        let (new, old) = (self.new.variance()?, self.old.variance()?);
        let (news, olds) = (self.new.count as f64, self.old.count as f64);
        let pooled = (new * (news - 1.0) + old * (olds - 1.0)) / (news + olds - 2.0);
        let variance = new / news + old / olds;
        let prior = SPREAD * SPREAD * pooled;
        let difference = self.new.mean()? - self.old.mean()?;
        let ln = 0.5 * (variance / (variance + prior)).ln()
            + prior * difference * difference / (2.0 * variance * (variance + prior));
        Some((ln, difference))
    }

    /// The better release, once that is sure. `more_is_better` says what better means.
    pub fn choice(&self, more_is_better: bool) -> Option<Choice> {
        let has_more = self.found?;
        Some(if has_more == more_is_better {
            Choice::New
        } else {
            Choice::Old
        })
    }

    /// The chance of ever having seen so much of a difference if there is none.
    pub fn p(&self) -> f64 {
        let either = (2.0 * self.more.p().min(self.fewer.p())).min(1.0);
        either.min((-self.ln_means_max).exp())
    }
}
