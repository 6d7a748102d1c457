//! A rollout as a state machine: from what is stored, what was seen and what time it is, to what is stored next and what
//! is done. Whoever executes it stores first and then acts; every action can be done again. So a controller that dies at
//! any point goes on where it was, and two of them never both act, because nodes refuse the older epoch.

mod actions;
mod advance;
mod check;
mod checks;
mod split;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::judge::Verdict;
use crate::judge::experiment::Choice;
use crate::judge::sequential::{ALPHA, Arm, Failures, Watch};

pub use actions::Action;
pub use check::{Violation, check};
pub use checks::{Assessment, Checks, Limits};
pub use split::{instances, is_canary};

/// One step: how much traffic, for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The canary's share of traffic, in hundredths of a percent.
    pub weight: u16,
    /// For how many seconds it is watched before it is judged.
    pub bake: u64,
}

/// What a rollout is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Aim {
    /// The release takes over.
    #[default]
    TakeOver,
    /// It is only tried with copies of requests, and never has traffic.
    Shadow,
    /// It takes over if it does better than the old one by what is counted. `keep_new` where that stays open.
    Choose {
        /// Whether it takes over then, too.
        keep_new: bool,
    },
}

/// What a rollout is to do. It never changes while the rollout lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// Which rollout.
    pub id: u64,
    /// Mixed into the key of sticky assignment. Another rollout has another one.
    pub salt: u64,
    /// What it is for.
    pub aim: Aim,
    /// Steps of growing weight; none of a shadow.
    pub steps: Vec<Step>,
    /// Seconds that traffic is mirrored before the first step; none without.
    pub mirror: Option<u64>,
    /// Seconds after promotion during which the old release stays ready.
    pub post_bake: u64,
    /// Whether a step goes on only with a score and a cleared failure rate. Without, it goes on when its bake is over and
    /// nothing was found, traffic or not: for strategies that only watch.
    pub scored: bool,
}

/// Why a rollout waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pause {
    /// A person said so. It waits until a person says otherwise.
    Person,
    /// The score is between good and bad. A person decides, or the deadline.
    Marginal,
    /// Nothing is known. A person decides, or the deadline.
    Inconclusive,
    /// Both releases fail: a dependency or the region is down. It goes on by itself when that is over.
    BothFail,
    /// It may go on, and a gate is closed. It goes on by itself when that opens, or when a person says so.
    Gate,
}

/// Why a rollout goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// The release cannot be admitted.
    Invalid,
    /// The judge said fail.
    Judge,
    /// It fails more often than the old release: the sequential test said abort.
    Sequential,
    /// It is slower than the old release was: the sequential test said abort.
    Slow,
    /// The answers to copies of requests are not those that callers got.
    Differs,
    /// The old release does better in the experiment.
    Loses,
    /// The experiment ended without a winner.
    Undecided,
    /// The error budget burns too fast.
    Burn,
    /// The canary does not stay ready.
    Unready,
    /// Nothing moved for too long.
    NoProgress,
    /// Nobody decided in time.
    Deadline,
    /// A person said so.
    Person,
    /// There is a newer spec.
    Superseded,
}

/// Where a rollout stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Stored, and nothing done.
    Pending,
    /// Package, signature and policy are checked.
    Validating,
    /// The nodes make the release ready, and pin the stable one.
    Prewarming,
    /// Traffic is copied to it, without effect.
    Mirroring,
    /// The step's weight is on its way to the nodes.
    Shifting,
    /// It serves, and is watched.
    Baking,
    /// The step's verdict is awaited.
    Judging,
    /// All traffic is on its way to it.
    Promoting,
    /// It serves everything, and the old release is still ready.
    PostBake,
    /// Done.
    Succeeded,
    /// It waits, with its weight frozen.
    Paused(Pause),
    /// It goes back: weight 0, drain, scale down.
    Aborting(Reason),
    /// It should go back, and there is nothing healthy to go back to.
    AbortBlocked(Reason),
    /// It went back.
    RolledBack(Reason),
    /// It made way for a newer spec.
    Superseded,
}

impl Phase {
    /// Whether nothing happens any more.
    pub fn ended(self) -> bool {
        matches!(self, Self::Succeeded | Self::RolledBack(_) | Self::Superseded)
    }

    /// Whether the canary may have traffic.
    pub fn serving(self) -> bool {
        matches!(
            self,
            Self::Shifting
                | Self::Baking
                | Self::Judging
                | Self::Promoting
                | Self::PostBake
                | Self::Paused(_)
        )
    }
}

/// A rollout's whole state, to be stored. Times are seconds by the controller's clock.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Which life of which controller writes; nodes refuse a lower one.
    pub epoch: u64,
    /// Where it stands.
    pub phase: Phase,
    /// The step it is at.
    pub step: usize,
    /// The weight that the nodes are to have.
    pub weight: u16,
    /// When the phase ends: the bake is over, or what should have happened has not.
    pub deadline: u64,
    /// When it was last looked at.
    pub seen: u64,
    /// Looks in a row without telemetry.
    pub missed: u32,
    /// Since when the nodes confirm weight 0, when going back.
    pub drained_since: Option<u64>,
    /// The evidence about failures. Never begun anew while the rollout lives.
    pub watch: Watch,
    /// The evidence about slow requests: one that takes longer than most of the old release's took when the rollout began
    /// counts like a failure, of either arm, so that what makes both slow blames neither. Never begun anew either.
    pub slowness: Failures,
}

/// The chance of a false alarm that each of a rollout's two sequential tests may have, so that both have alpha.
pub(crate) const ALPHA_EACH: f64 = ALPHA / 2.0;

impl State {
    /// A rollout that has done nothing.
    pub fn new(epoch: u64, now: u64) -> Self {
        Self {
            epoch,
            phase: Phase::Pending,
            step: 0,
            weight: 0,
            deadline: u64::MAX,
            seen: now,
            missed: 0,
            drained_since: None,
            watch: Watch::new(ALPHA_EACH),
            slowness: Failures::default(),
        }
    }
}

/// What telemetry says since the last look.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Telemetry {
    /// Failures, each with its arm and the canary's share of traffic at that moment.
    pub failures: Vec<(Arm, f64)>,
    /// The canary's requests that did not fail.
    pub canary_successes: u64,
    /// Slow requests, above the quantile of the old release that was frozen when the rollout began; each with its arm and
    /// the canary's share of traffic at that moment.
    pub slow: Vec<(Arm, f64)>,
    /// The judge's verdict on a step, if it has one.
    pub verdict: Option<(usize, Verdict)>,
    /// What copies of requests say of the canary, if they are made.
    pub copies: Option<Verdict>,
    /// Which release does better, if there is an experiment and it is sure.
    pub choice: Option<Choice>,
    /// Whether the canary's error budget burns as fast as calls for going back.
    pub burning: bool,
    /// Whether the old release fails as well.
    pub both_fail: bool,
}

/// What a person wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Command {
    /// To the next step, from this one and no other.
    Promote {
        /// Which rollout.
        rollout: u64,
        /// Of which epoch.
        epoch: u64,
        /// From which step.
        step: usize,
    },
    /// Wait.
    Pause,
    /// Go on.
    Resume,
    /// Go back.
    Abort,
}

/// What is seen of the world.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Observed {
    /// The highest epoch that anyone has claimed.
    pub epoch: u64,
    /// The weight that all nodes confirm; none while they differ or are not heard.
    pub weight: Option<u16>,
    /// Whether the release was admitted, once that is known.
    pub admitted: Option<bool>,
    /// Whether the canary is ready on its nodes.
    pub canary_ready: bool,
    /// Whether a node says that it cannot be made ready.
    pub canary_failed: bool,
    /// Whether the stable release is ready on its nodes.
    pub stable_ready: bool,
    /// Whether the nodes hold the stable release's package and native code themselves.
    pub stable_pinned: bool,
    /// Whether the canary has instances left.
    pub canary_running: bool,
    /// Whether the registry answers.
    pub registry: bool,
    /// Whether nothing that was asked for stands before the next step forward: an approval, a window, a freeze.
    pub gate_open: bool,
    /// What was measured since the last look; none if nothing came.
    pub telemetry: Option<Telemetry>,
    /// What a person wants.
    pub command: Option<Command>,
    /// Whether there is a newer spec.
    pub newer: bool,
}

/// What is stored, and then done.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// To be stored before anything is done. Unchanged if somebody else has the lead.
    pub next: State,
    /// To be done, in this order. Each may be done again.
    pub actions: Vec<Action>,
}

/// What to do about a rollout now.
pub fn plan(spec: &Spec, state: &State, observed: &Observed, now: u64) -> Plan {
    let is_empty = spec.steps.is_empty() && spec.aim != Aim::Shadow;
    if observed.epoch > state.epoch || is_empty {
        return Plan {
            next: state.clone(),
            actions: Vec::new(),
        };
    }
    let next = advance::advance(spec, state, observed, now);
    let actions = actions::actions(spec, &next, observed, now);
    Plan { next, actions }
}
