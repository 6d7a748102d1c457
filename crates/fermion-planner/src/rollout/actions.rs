//! What makes the world match the stored state. Derived from the state alone, so that it can be derived again after a
//! crash.

use serde::{Deserialize, Serialize};

use super::{Aim, Observed, Phase, Spec, State};
use crate::limits::DRAIN;

/// One thing to do. Done twice it does no more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Have the release checked: package, signatures, policy.
    Validate,
    /// Have the nodes keep the stable release by themselves.
    PinStable,
    /// Have the nodes make the canary ready.
    Prewarm,
    /// Copy traffic to the canary, or cease to.
    Mirror(bool),
    /// Give the canary this share of traffic.
    SetWeight {
        /// By this epoch's word.
        epoch: u64,
        /// In hundredths of a percent.
        weight: u16,
    },
    /// End the canary's instances.
    ScaleDownCanary,
    /// Make the canary the stable release, and let the old one go.
    Promote,
    /// Wake somebody: there is nothing healthy to go back to.
    Alarm,
}

pub(super) fn actions(spec: &Spec, state: &State, observed: &Observed, now: u64) -> Vec<Action> {
    let mut actions = Vec::new();
    match state.phase {
        Phase::Pending | Phase::Superseded | Phase::RolledBack(_) => return actions,
        Phase::Validating => actions.push(Action::Validate),
        Phase::Prewarming => actions.push(Action::Prewarm),
        Phase::Mirroring => actions.push(Action::Mirror(true)),
        Phase::AbortBlocked(_) => actions.push(Action::Alarm),
        Phase::Succeeded => {
            if spec.aim != Aim::Shadow {
                actions.push(Action::Promote);
            }
            return actions;
        }
        Phase::Shifting
        | Phase::Baking
        | Phase::Judging
        | Phase::Promoting
        | Phase::PostBake
        | Phase::Paused(_)
        | Phase::Aborting(_) => {}
    }
    if !observed.stable_pinned {
        actions.push(Action::PinStable);
    }
    // Weight is given only when there is a way back; taken away it is always.
    let may_set = state.weight == 0 || observed.stable_pinned;
    if observed.weight != Some(state.weight) && may_set {
        actions.push(Action::SetWeight {
            epoch: state.epoch,
            weight: state.weight,
        });
    }
    if matches!(state.phase, Phase::Shifting | Phase::Aborting(_)) {
        actions.push(Action::Mirror(false));
    }
    let drained = state
        .drained_since
        .is_some_and(|since| now >= since.saturating_add(DRAIN));
    if matches!(state.phase, Phase::Aborting(_))
        && drained
        && observed.weight == Some(0)
        && observed.canary_running
    {
        actions.push(Action::ScaleDownCanary);
    }
    actions
}
