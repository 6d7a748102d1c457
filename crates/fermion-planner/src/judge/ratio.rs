//! The sample-ratio check: did each arm get the share of requests that it should? If not, nothing else about the arms
//! can be believed. A Bayes factor of a Dirichlet-multinomial against the expected shares, valid however often one
//! looks. (M. Lindon, A. Malek: Anytime-valid inference for multinomial count data, 2020; optimizely/ssrm)

use serde::{Deserialize, Serialize};
use statrs::function::gamma::ln_gamma;

/// How tightly the prior holds to the expected shares unless one is given: as after that many requests. (optimizely/ssrm)
pub const CONCENTRATION: f64 = 10_000.0;

/// The check so far. Stored and taken up again, never begun anew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ratio {
    expected: Vec<f64>,
    alpha: Vec<f64>,
    ln_m1: f64,
    ln_m0: f64,
    p: f64,
}

impl Ratio {
    /// A check against `expected` shares, which sum to 1. `prior` are the Dirichlet parameters of what the shares may
    /// be instead, one for each arm and above 0.
    pub fn new(expected: Vec<f64>, prior: Option<Vec<f64>>) -> Self {
        let alpha = prior.unwrap_or_else(|| expected.iter().map(|share| share * CONCENTRATION).collect());
        Self {
            expected,
            alpha,
            ln_m1: 0.0,
            ln_m0: 0.0,
            p: 1.0,
        }
    }

    /// Takes in how many requests each arm got since the last time.
    pub fn observe(&mut self, counts: &[u64]) {
        let counts: Vec<f64> = counts.iter().map(|&count| count as f64).collect();
        let total: f64 = counts.iter().sum();
        if total == 0.0 {
            return;
        }
        let arrangements = ln_gamma(total + 1.0) - counts.iter().map(|n| ln_gamma(n + 1.0)).sum::<f64>();
        let before: f64 = self.alpha.iter().sum();
        self.ln_m1 += arrangements + ln_gamma(before) - ln_gamma(before + total);
        self.ln_m0 += arrangements;
        for ((count, alpha), share) in counts.iter().zip(&mut self.alpha).zip(&self.expected) {
            self.ln_m1 += ln_gamma(*alpha + count) - ln_gamma(*alpha);
            *alpha += count;
            if *count > 0.0 {
                self.ln_m0 += count * share.ln();
            }
        }
        self.p = self.p.min((self.ln_m0 - self.ln_m1).exp());
    }

    /// The logarithm of how likely the counts are if the shares are something else.
    pub fn ln_m1(&self) -> f64 {
        self.ln_m1
    }

    /// The logarithm of how likely the counts are under the expected shares; minus infinity if one arm got requests and
    /// should have none.
    pub fn ln_m0(&self) -> f64 {
        self.ln_m0
    }

    /// The chance of ever seeing such a mismatch if there is none. It never grows.
    pub fn p(&self) -> f64 {
        self.p
    }
}
