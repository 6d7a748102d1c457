//! Counts rollouts that have come to an end, once each: after the end is stored.

use fermion_planner::rollout::Phase;

use crate::Control;
use crate::plan::State;

impl Control {
    /// Looks whether the change that was just stored has ended an app's rollout.
    pub(super) async fn count_ended(&self, before: &State, name: &str) {
        let phase = |state: &State| state.rollouts.get(name).map(|known| known.document.state.phase);
        // What is stored is stored; if it cannot be read now, one end is not counted.
        let Ok(after) = self.read_state().await else {
            return;
        };
        let after = phase(&after);
        let outcome = match after {
            Some(Phase::Succeeded) => "succeeded",
            Some(Phase::RolledBack(_)) => "rolled_back",
            Some(Phase::Superseded) => "superseded",
            _ => return,
        };
        if !phase(before).is_some_and(Phase::ended) {
            self.shared.parts.telemetry.control().rolled_out(outcome);
        }
    }
}
