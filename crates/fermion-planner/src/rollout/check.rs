//! What no plan may do, whoever made it: asked of every plan in tests, and before one is executed.

use super::{Action, Aim, Observed, Pause, Phase, Plan, Spec, State};
use crate::judge::experiment::Choice;
use crate::limits::{DRAIN, WEIGHT_MAX};

/// A rule that a plan breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Somebody else has the lead.
    #[error("it acts although a higher epoch is known")]
    NotTheWriter,
    /// More traffic than the step allows.
    #[error("it gives the canary more weight than its step allows")]
    TooMuchWeight,
    /// Another weight than the stored one.
    #[error("it sets a weight that is not stored")]
    NotStored,
    /// Traffic before there is a way back.
    #[error("it gives the canary weight while the stable release is not pinned")]
    NotPinned,
    /// Instances end while they may have traffic.
    #[error("it scales the canary down before weight 0 is confirmed and drained")]
    NotDrained,
    /// Forward without a reason.
    #[error("it goes forward without a passed judgement or a person's word")]
    Unjudged,
    /// Forward while a gate is closed.
    #[error("it goes forward through a closed gate")]
    Gated,
    /// Forward more than one step at a time, or back to an earlier one.
    #[error("it skips a step")]
    Skipped,
    /// The stable release is let go before the end.
    #[error("it lets the stable release go before the rollout has succeeded")]
    StableLost,
}

/// Whether a plan keeps the rules.
pub fn check(
    spec: &Spec,
    before: &State,
    observed: &Observed,
    plan: &Plan,
    now: u64,
) -> Result<(), Violation> {
    let Plan { next, actions } = plan;
    if observed.epoch > before.epoch {
        let idle = actions.is_empty() && next == before;
        return idle.then_some(()).ok_or(Violation::NotTheWriter);
    }
    let allowed = match next.phase {
        _ if spec.aim == Aim::Shadow => 0,
        Phase::Promoting | Phase::PostBake | Phase::Succeeded => WEIGHT_MAX,
        Phase::Shifting | Phase::Baking | Phase::Judging | Phase::Paused(_) => spec.steps[next.step].weight,
        // Frozen where it was.
        Phase::AbortBlocked(_) => before.weight,
        _ => 0,
    };
    if next.weight > allowed {
        return Err(Violation::TooMuchWeight);
    }
    forward(spec, before, observed, next)?;
    for action in actions {
        match action {
            Action::SetWeight { epoch, weight } => {
                if (*epoch, *weight) != (next.epoch, next.weight) {
                    return Err(Violation::NotStored);
                }
                if *weight > 0 && !observed.stable_pinned {
                    return Err(Violation::NotPinned);
                }
            }
            Action::ScaleDownCanary => {
                let drained = next
                    .drained_since
                    .is_some_and(|since| now >= since.saturating_add(DRAIN));
                if next.weight != 0 || observed.weight != Some(0) || !drained {
                    return Err(Violation::NotDrained);
                }
            }
            Action::Promote if next.phase != Phase::Succeeded => return Err(Violation::StableLost),
            _ => {}
        }
    }
    Ok(())
}

/// More weight, or a later step, only from where it is allowed and by one.
fn forward(spec: &Spec, before: &State, observed: &Observed, next: &State) -> Result<(), Violation> {
    let person = matches!(before.phase, Phase::Paused(_)) && observed.command.is_some();
    let alike = observed
        .telemetry
        .as_ref()
        .is_some_and(|telemetry| telemetry.copies == Some(crate::judge::Verdict::Pass));
    // Copies were made before the first step, or in its stead.
    let copied = before.phase == Phase::Mirroring && alike;
    if next.phase == Phase::Succeeded && before.phase != Phase::Succeeded && spec.aim == Aim::Shadow {
        return (copied || person).then_some(()).ok_or(Violation::Unjudged);
    }
    if next.weight <= before.weight && next.step == before.step {
        return Ok(());
    }
    if next.step != before.step && next.step != before.step + 1 {
        return Err(Violation::Skipped);
    }
    let unmirrored = before.phase == Phase::Prewarming && spec.mirror.is_none();
    let first = (unmirrored || copied) && next.step == 0;
    let passed = before.phase == Phase::Judging
        && observed.telemetry.as_ref().is_some_and(|telemetry| {
            let chosen = match (spec.aim, telemetry.choice) {
                (Aim::Choose { .. }, Some(choice)) => choice == Choice::New,
                (Aim::Choose { keep_new }, None) => keep_new,
                _ => true,
            };
            let told = (!spec.scored && chosen)
                || telemetry.verdict == Some((before.step, crate::judge::Verdict::Pass));
            told && !telemetry.both_fail
        });
    let waited = before.phase == Phase::Paused(Pause::Gate);
    if !(first || passed || waited || person) {
        return Err(Violation::Unjudged);
    }
    (person || observed.gate_open)
        .then_some(())
        .ok_or(Violation::Gated)
}
