//! What both arms of a rollout were like: frames of nodes, added up for the sequential tests, and by windows of time for
//! the judge. Bounded: windows become wider as a step grows longer.

use fermion_model::Release;
use fermion_model::copies::CopyCounts;
use fermion_model::frame::FrameSeries;
use fermion_model::objective::Indicator;
use fermion_model::sketch::Sketch;
use fermion_planner::judge::sequential::Arm;
use fermion_planner::slo::{Counts, Evaluation, Objective, Outcome, PRODUCT, Series, evaluate};
use serde::{Deserialize, Serialize};

use crate::limits::{
    ROLLOUT_AWAKE_MIN, ROLLOUT_EVENTS_A_LOOK_MAX, ROLLOUT_FROZEN_MIN, ROLLOUT_RECENT_FRAMES,
    ROLLOUT_WINDOWS_MAX,
};
use crate::slo::objective;

/// The share of requests that the frozen quantile leaves above it.
const SLOW_SHARE: f64 = 0.05;
/// The old release's share of failures from which it counts as failing.
const FAILING_SHARE: f64 = 0.1;
/// Failures from which a share says something.
const FAILING_MIN: u64 = 3;
/// How many times as often as the old release the new one must fail to be the one to blame.
const BLAME_RATIO: f64 = 2.0;
/// What an error budget is measured by where the app promises nothing about success: 99.9 % of 30 days.
const BUDGET: Objective = Objective {
    target: 0.999,
    period: std::time::Duration::from_secs(30 * 24 * 3600),
};

/// The error budget that a release may spend: that of its strictest objective of success.
pub(super) fn budget(release: Option<&Release>) -> Objective {
    let objectives = release.and_then(|release| release.objectives.as_ref());
    let of_success = objectives
        .into_iter()
        .flatten()
        .filter(|spec| spec.indicator == Indicator::Success)
        .max_by_key(|spec| spec.target);
    of_success.map_or(BUDGET, objective)
}

/// One arm in one stretch of time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Window {
    pub(crate) requests: u64,
    pub(crate) failures: u64,
    pub(crate) slow_starts: u64,
    pub(crate) cpu_nanos: u64,
    pub(crate) memory: u64,
    pub(crate) duration: Sketch,
}

impl Window {
    fn add(&mut self, series: &FrameSeries) {
        self.requests += series.requests;
        self.failures += series.failures();
        self.slow_starts += series.slow_starts;
        self.cpu_nanos = self.cpu_nanos.saturating_add(series.cpu_nanos);
        self.memory = self.memory.max(series.memory_bytes_max);
        self.duration.merge(&series.duration);
    }

    fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.failures += other.failures;
        self.slow_starts += other.slow_starts;
        self.cpu_nanos = self.cpu_nanos.saturating_add(other.cpu_nanos);
        self.memory = self.memory.max(other.memory);
        self.duration.merge(&other.duration);
    }

    fn failing(&self) -> Option<f64> {
        (self.requests > 0).then(|| self.failures as f64 / self.requests as f64)
    }
}

/// Both arms in one stretch of time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pair {
    pub(crate) canary: Window,
    pub(crate) stable: Window,
}

impl Pair {
    fn merge(&mut self, other: &Self) {
        self.canary.merge(&other.canary);
        self.stable.merge(&other.stable);
    }
}

/// What arrived of one app since the last look.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) canary: FrameSeries,
    pub(super) stable: FrameSeries,
    /// Of requests to the old release that were copied to the new one.
    pub(super) copies: Option<CopyCounts>,
}

/// What is kept of a rollout's requests.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Evidence {
    /// The step that the windows are of.
    step: usize,
    /// Looks in one window; doubles when there are too many windows.
    looks: u32,
    /// Looks in the last window.
    filled: u32,
    /// The newest last.
    pub(crate) windows: Vec<Pair>,
    /// The last few looks.
    recent: Vec<Pair>,
    /// Both arms since the rollout began.
    pub(crate) total: Pair,
    /// What the old release was like until enough was known.
    before: Sketch,
    /// Its 95th percentile then, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) frozen: Option<f64>,
    /// Good and total of the new release.
    series: Series,
}

/// What a look tells the sequential tests.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Told {
    pub(super) failures: Vec<(Arm, f64)>,
    pub(super) successes: u64,
    pub(super) slow: Vec<(Arm, f64)>,
    pub(super) burning: bool,
    pub(super) both_fail: bool,
}

impl Evidence {
    /// What is kept of a rollout that is over.
    pub(super) fn summary(&self) -> Self {
        Self {
            total: self.total.clone(),
            frozen: self.frozen,
            ..Self::default()
        }
    }

    /// Begins the windows of another step.
    pub(super) fn enter(&mut self, step: usize) {
        self.step = step;
        self.windows.clear();
        (self.looks, self.filled) = (1, 0);
    }

    /// Takes in what was heard since the last look, which is `seconds` by the controller's clock.
    pub(super) fn take(&mut self, heard: &Heard, budget: &Objective, seconds: u64) -> Told {
        let mut pair = Pair::default();
        pair.canary.add(&heard.canary);
        pair.stable.add(&heard.stable);
        let told = self.tell(heard, &pair, budget, seconds);
        self.total.merge(&pair);
        if pair.canary.requests > 0 {
            self.window(&pair);
        }
        self.recent.push(pair);
        if self.recent.len() > ROLLOUT_RECENT_FRAMES {
            self.recent.remove(0);
        }
        told
    }

    fn window(&mut self, pair: &Pair) {
        self.looks = self.looks.max(1);
        match self
            .windows
            .last_mut()
            .filter(|_| self.filled < self.looks && self.filled > 0)
        {
            Some(last) => last.merge(pair),
            None => {
                self.windows.push(pair.clone());
                self.filled = 0;
            }
        }
        self.filled += 1;
        if self.windows.len() > ROLLOUT_WINDOWS_MAX {
            let wider = self.windows.chunks(2).map(|two| {
                let mut merged = two[0].clone();
                two[1..].iter().for_each(|other| merged.merge(other));
                merged
            });
            self.windows = wider.collect();
            self.looks *= 2;
            self.filled = self.looks;
        }
    }

    fn tell(&mut self, heard: &Heard, pair: &Pair, budget: &Objective, seconds: u64) -> Told {
        let Heard { canary, stable, .. } = heard;
        let together = canary.requests + stable.requests;
        let exposure = if together == 0 {
            0.0
        } else {
            canary.requests as f64 / together as f64
        };
        let mut failures = vec![(Arm::Baseline, exposure); count(stable.distinct_failures)];
        failures.extend(vec![(Arm::Canary, exposure); count(canary.distinct_failures)]);
        let good = canary.requests.saturating_sub(canary.failures());
        let slow = self.slowness(heard, exposure);
        let counts = Counts {
            good,
            total: canary.requests,
        };
        if canary.requests > 0 {
            self.series.add(seconds, counts, seconds);
        }
        Told {
            failures,
            successes: good,
            slow,
            burning: self.burns(budget, seconds),
            both_fail: self.both_fail(pair),
        }
    }

    /// Requests of both arms above the quantile that the old release had when enough was known of it. Both are counted at
    /// the same time, so that what makes everything slow blames neither.
    fn slowness(&mut self, heard: &Heard, exposure: f64) -> Vec<(Arm, f64)> {
        let Heard { canary, stable, .. } = heard;
        let Some(frozen) = self.frozen else {
            self.before.merge(&stable.duration);
            if self.before.count() >= ROLLOUT_FROZEN_MIN {
                self.frozen = self.before.quantile(1.0 - SLOW_SHARE);
            }
            return Vec::new();
        };
        // What a release's first requests take is what waking it up takes.
        if self.total.canary.requests < ROLLOUT_AWAKE_MIN {
            return Vec::new();
        }
        let mut slow = vec![(Arm::Baseline, exposure); count(above(&stable.duration, frozen))];
        slow.extend(vec![
            (Arm::Canary, exposure);
            count(above(&canary.duration, frozen))
        ]);
        slow
    }

    /// Whether the canary spends the error budget too fast, and more of it than the old release does.
    fn burns(&self, budget: &Objective, seconds: u64) -> bool {
        let rollback = PRODUCT
            .iter()
            .find(|predicate| predicate.action == fermion_planner::slo::Action::Rollback);
        let Some(rollback) = rollback else { return false };
        let Evaluation { outcome, .. } =
            evaluate(budget, rollback, |window| self.series.window(window, seconds));
        let worse = match (self.total.canary.failing(), self.total.stable.failing()) {
            (Some(canary), Some(stable)) => canary > BLAME_RATIO * stable,
            _ => true,
        };
        outcome == Outcome::Met && worse
    }

    /// Whether the old release fails too, and the new one no more than it does: what both depend on is broken.
    fn both_fail(&self, now: &Pair) -> bool {
        let mut recent = now.clone();
        for pair in &self.recent {
            recent.merge(pair);
        }
        let (Some(canary), Some(stable)) = (recent.canary.failing(), recent.stable.failing()) else {
            return false;
        };
        recent.stable.failures >= FAILING_MIN && stable >= FAILING_SHARE && canary <= BLAME_RATIO * stable
    }
}

/// As many entries as were counted, within what a frame can say at all.
fn count(events: u64) -> usize {
    usize::try_from(events)
        .unwrap_or(usize::MAX)
        .min(ROLLOUT_EVENTS_A_LOOK_MAX)
}

/// How many values lie above a limit.
fn above(sketch: &Sketch, limit: f64) -> u64 {
    sketch.count().saturating_sub(sketch.at_most(limit))
}
