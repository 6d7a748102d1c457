//! What the planner is told of the world: what nodes report, as far as it is about what they were assigned last.

use fermion_model::assignment::AppStatus;
use fermion_planner::judge::Verdict;
use fermion_planner::rollout::{Command, Observed, Telemetry};

use super::arms::Told;
use super::document::RolloutDocument;

/// The node's part of what is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    weight: Option<u16>,
    canary_ready: bool,
    canary_failed: bool,
    canary_running: bool,
    stable_ready: bool,
}

impl Seen {
    /// `generation` is that of the app's part of the assignment: an older report says nothing about it.
    pub(super) fn of(document: &RolloutDocument, report: Option<&AppStatus>, generation: u64) -> Self {
        let current = report.filter(|report| report.generation >= generation);
        let stable_ready = report.is_some_and(|report| report.serving == Some(document.stable));
        let canary = report
            .and_then(|report| report.canary.as_ref())
            .filter(|canary| canary.release == document.canary);
        let settled = current.is_some();
        // A node that has started anew, or has not heard yet, makes it ready again. What has come to nothing has a problem.
        let is_coming = canary.map_or(!settled, |canary| canary.problem.is_none());
        Self {
            // Without the canary all traffic goes to the old release.
            weight: match canary {
                None => settled.then_some(0),
                Some(canary) => (settled && canary.epoch == document.state.epoch).then_some(canary.weight),
            },
            canary_ready: canary.is_some_and(|canary| canary.ready)
                || document.state.phase.serving() && is_coming,
            canary_failed: settled && canary.is_some_and(|canary| !canary.ready && canary.problem.is_some()),
            canary_running: canary.is_some() || !settled,
            stable_ready,
        }
    }

    /// The whole, for one look.
    pub(super) fn observed(
        self,
        epoch: u64,
        told: Option<Told>,
        verdict: Option<(usize, Verdict)>,
        gate_open: bool,
        command: Option<Command>,
        newer: bool,
    ) -> Observed {
        Observed {
            epoch,
            weight: self.weight,
            // The gate was asked before the release was recorded.
            admitted: Some(true),
            canary_ready: self.canary_ready,
            canary_failed: self.canary_failed,
            stable_ready: self.stable_ready,
            // A node keeps packages and native code of all that it is assigned.
            stable_pinned: self.stable_ready,
            canary_running: self.canary_running,
            // Packages are pulled before a release is recorded, and lie in the platform's own store from then on.
            registry: true,
            gate_open,
            telemetry: told.map(|told| Telemetry {
                failures: told.failures,
                canary_successes: told.successes,
                slow: told.slow,
                verdict,
                copies: None,
                choice: None,
                burning: told.burning,
                both_fail: told.both_fail,
            }),
            command,
            newer,
        }
    }
}
