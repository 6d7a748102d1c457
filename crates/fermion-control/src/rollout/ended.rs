//! Counts rollouts that have come to an end, once each: after the end is stored.

use fermion_planner::rollout::Phase;

use crate::plan::State;
use crate::{Control, Error};

impl Control {
    /// Looks whether the change that was just stored has ended an app's rollout.
    pub(super) async fn count_ended(&self, before: &State, name: &str) -> Result<(), Error> {
        let phase = |state: &State| state.rollouts.get(name).map(|known| known.document.state.phase);
        let after = phase(&*self.read_state().await?);
        let outcome = match after {
            Some(Phase::Succeeded) => "succeeded",
            Some(Phase::RolledBack(_)) => "rolled_back",
            Some(Phase::Superseded) => "superseded",
            _ => return Ok(()),
        };
        if !phase(before).is_some_and(Phase::ended) {
            self.shared.parts.telemetry.control().rolled_out(outcome);
        }
        Ok(())
    }
}
