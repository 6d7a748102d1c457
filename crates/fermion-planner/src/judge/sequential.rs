//! Tests that may be looked at after every request, and that still blame an innocent release no more often than they
//! say. They only ever abort early; to promote takes the score.
//!
//! With a baseline: if both arms fail equally often, the next failure falls on the canary with the probability of the
//! canary's share of traffic at that moment, whatever the load does. (M. Lindon, A. Malek, NeurIPS 2022.) Each failure
//! multiplies the evidence of several alternatives, "the canary fails r times as often"; their mean is an e-value, and
//! by Ville's inequality it reaches 1/alpha with a probability of at most alpha, ever.
//!
//! Without one: Wald's test between a fine and a bad failure rate.

use serde::{Deserialize, Serialize};

/// How many times as often the canary may fail, under the alternatives that are watched.
pub const RATIOS: [f64; 7] = [1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0];
/// The chance of ever aborting a release that is as good as the old one.
pub const ALPHA: f64 = 0.001;

/// Which release served a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arm {
    /// The new one.
    Canary,
    /// The old one.
    Baseline,
}

/// What a sequential test says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Call {
    /// Nothing is sure yet.
    Continue,
    /// The canary is worse.
    Abort,
    /// The canary's failure rate is fine.
    Clear,
}

/// Evidence for several alternatives at once, as logarithms, and the most there ever was. Stored and taken up again,
/// never begun anew: beginning anew would double the chance of a false alarm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence<const N: usize> {
    #[serde(with = "array")]
    ln: [f64; N],
    ln_max: f64,
}

impl<const N: usize> Default for Evidence<N> {
    fn default() -> Self {
        Self {
            ln: [0.0; N],
            ln_max: 0.0,
        }
    }
}

impl<const N: usize> Evidence<N> {
    pub(super) fn add(&mut self, ln_factors: [f64; N]) {
        for (ln, factor) in self.ln.iter_mut().zip(ln_factors) {
            *ln += factor;
        }
        self.ln_max = self.ln_max.max(self.ln_e());
    }

    /// The logarithm of the mean, without overflow.
    fn ln_e(&self) -> f64 {
        let most = self.ln.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = self.ln.iter().map(|ln| (ln - most).exp()).sum();
        most + (sum / N as f64).ln()
    }

    /// The evidence against "no worse": how many times one's stake would be worth in a fair game against it.
    pub fn e(&self) -> f64 {
        self.ln_e().exp().min(f64::MAX)
    }

    /// The chance of ever having seen so much evidence against a release that is no worse.
    pub fn p(&self) -> f64 {
        (-self.ln_max).exp().min(1.0)
    }

    /// Whether the evidence has ever reached 1/alpha.
    pub fn aborts(&self, alpha: f64) -> bool {
        // The tolerance is that of a sum of logarithms, not of the decision.
        self.ln_max >= -alpha.ln() - 1e-9
    }
}

/// By what one event of this arm multiplies the evidence for the canary's having `ratio` times as many, as a logarithm.
/// `exposure` is the canary's share of all that could have had it.
pub(super) fn ln_factor(arm: Arm, exposure: f64, ratio: f64) -> f64 {
    let spread = 1.0 - exposure + exposure * ratio;
    match arm {
        Arm::Canary => (ratio / spread).ln(),
        Arm::Baseline => -spread.ln(),
    }
}

/// Failures of a canary against those of a baseline.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Failures(Evidence<7>);

impl Failures {
    /// Takes in one failure. `exposure` is the canary's share of traffic when it happened. At 0 or 1 there is nothing to
    /// compare, and nothing is learnt.
    pub fn observe(&mut self, arm: Arm, exposure: f64) {
        if exposure <= 0.0 || exposure >= 1.0 {
            return;
        }
        self.0.add(RATIOS.map(|ratio| ln_factor(arm, exposure, ratio)));
    }

    /// The evidence so far.
    pub fn evidence(&self) -> &Evidence<7> {
        &self.0
    }
}

/// The two failure rates that Wald's test tells apart, and how often it may be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    /// A rate that is fine.
    pub fine: f64,
    /// A rate that is not.
    pub bad: f64,
    /// How often a fine release may be aborted.
    pub alpha: f64,
    /// How often a bad one may be cleared.
    pub beta: f64,
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            fine: 0.001,
            bad: 0.02,
            alpha: ALPHA,
            beta: 0.05,
        }
    }
}

/// Wald's sequential test of a canary's failure rate, where there is no baseline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Absolute {
    rates: Rates,
    ln_ratio: f64,
}

impl Absolute {
    /// A test that has seen nothing.
    pub fn new(rates: Rates) -> Self {
        Self { rates, ln_ratio: 0.0 }
    }

    /// Takes in one of the canary's requests.
    pub fn observe(&mut self, failed: bool) {
        let Rates { fine, bad, .. } = self.rates;
        self.ln_ratio += if failed {
            (bad / fine).ln()
        } else {
            ((1.0 - bad) / (1.0 - fine)).ln()
        };
    }

    /// Takes in that many of the canary's requests that did not fail.
    pub fn succeed(&mut self, count: u64) {
        let Rates { fine, bad, .. } = self.rates;
        self.ln_ratio += count as f64 * ((1.0 - bad) / (1.0 - fine)).ln();
    }

    /// The logarithm of how much likelier the bad rate is than the fine one.
    pub fn ln_ratio(&self) -> f64 {
        self.ln_ratio
    }

    /// What it says now. Whoever acts on an abort keeps it; a clearance is taken back when failures follow.
    pub fn call(&self) -> Call {
        let Rates { alpha, beta, .. } = self.rates;
        if self.ln_ratio >= ((1.0 - beta) / alpha).ln() {
            Call::Abort
        } else if self.ln_ratio <= (beta / (1.0 - alpha)).ln() {
            Call::Clear
        } else {
            Call::Continue
        }
    }
}

/// Both tests of one rollout: failures against the baseline, and the canary's own rate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Watch {
    alpha: f64,
    failures: Failures,
    absolute: Absolute,
    alone_aborted: bool,
}

impl Watch {
    /// A watch that may blame an innocent release with a chance of `alpha`.
    pub fn new(alpha: f64) -> Self {
        let rates = Rates {
            alpha,
            ..Rates::default()
        };
        Self {
            alpha,
            failures: Failures::default(),
            absolute: Absolute::new(rates),
            alone_aborted: false,
        }
    }

    /// Takes in one request. `exposure` is the canary's share of traffic at that moment; 1 where there is no baseline.
    pub fn observe(&mut self, arm: Arm, failed: bool, exposure: f64) {
        if failed {
            self.failures.observe(arm, exposure);
        }
        if arm == Arm::Canary {
            self.absolute.observe(failed);
            // Beside a baseline a failing canary may share its fault with it; only the comparison tells.
            self.alone_aborted |= exposure >= 1.0 && self.absolute.call() == Call::Abort;
        }
    }

    /// Takes in that many of the canary's requests that did not fail.
    pub fn succeed(&mut self, count: u64) {
        self.absolute.succeed(count);
    }

    /// The evidence of the comparison.
    pub fn evidence(&self) -> &Evidence<7> {
        self.failures.evidence()
    }

    /// What both say together.
    pub fn call(&self) -> Call {
        if self.alone_aborted || self.evidence().aborts(self.alpha) {
            Call::Abort
        } else if self.absolute.call() == Call::Clear {
            Call::Clear
        } else {
            Call::Continue
        }
    }
}

/// Arrays of any length as JSON lists; serde itself stops at fixed lengths.
mod array {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer, const N: usize>(
        values: &[f64; N],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        values.as_slice().serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>, const N: usize>(
        from: D,
    ) -> Result<[f64; N], D::Error> {
        let values = Vec::<f64>::deserialize(from)?;
        let length = values.len();
        values
            .try_into()
            .map_err(|_| D::Error::custom(format!("{length} alternatives; expected {N}")))
    }
}
