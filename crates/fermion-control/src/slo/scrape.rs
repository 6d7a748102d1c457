//! What a scraper sees of objectives: counts as they are, and how promises stood at the last evaluation.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use fermion_model::objective::ObjectiveSpec;
use fermion_planner::alert::Severity;
use fermion_telemetry::{BURN_WINDOWS, ObjectiveReading, Standing};

use super::Slo;
use super::desk::AppAlerts;
use super::evaluate::objective;
use super::facts::AppFacts;
use super::observe::Observed;
use crate::Control;
use crate::limits::TALLIES_MAX;

impl Control {
    /// Lets scrapers read objectives for as long as this control plane is there.
    pub(crate) fn show_objectives(&self) {
        let shared = Arc::downgrade(&self.shared);
        let read = move || {
            let shared = shared.upgrade();
            shared.map(|shared| shared.slo.readings()).unwrap_or_default()
        };
        self.shared.parts.telemetry.watch_objectives(read);
    }
}

impl Slo {
    /// Every promise that is made at the moment, also one that nothing has happened of: a counter that is at zero from the
    /// start loses nothing.
    fn readings(&self) -> Vec<ObjectiveReading> {
        let observed = self.observed();
        let standings = self.standings.lock().unwrap_or_else(PoisonError::into_inner);
        let promises = observed.facts.iter().flat_map(|(name, facts)| {
            let each = facts.objectives.iter();
            each.map(move |spec| (name, facts, spec))
        });
        let reading = |(name, facts, spec): (&String, &AppFacts, &ObjectiveSpec)| {
            let counted = observed.counted(name, spec);
            ObjectiveReading {
                namespace: facts.namespace.to_string(),
                app: facts.app.to_string(),
                objective: spec.name.clone(),
                target: spec.target.share(),
                window: objective(spec).period,
                events: counted.total,
                bad: counted.bad(),
                standing: standings.get(name).and_then(|of| of.get(&spec.name)).cloned(),
            }
        };
        promises.take(TALLIES_MAX).map(reading).collect()
    }

    /// Takes in how everything stands now.
    pub(super) fn stand(&self, standings: BTreeMap<String, BTreeMap<String, Standing>>) {
        *self.standings.lock().unwrap_or_else(PoisonError::into_inner) = standings;
    }
}

/// How the promises of one app stand.
pub(super) fn standings(
    observed: &Observed,
    name: &str,
    facts: &AppFacts,
    alerts: &AppAlerts,
    now: u64,
) -> BTreeMap<String, Standing> {
    let stand = |spec: &ObjectiveSpec| {
        let fires = |severity| {
            let mut open = alerts.incidents.iter().filter(|one| one.resolved_at.is_none());
            open.any(|one| one.key.slo == spec.name && one.key.severity == severity)
        };
        let mut standing = Standing {
            pages: fires(Severity::Page),
            tickets: fires(Severity::Ticket),
            notifies: fires(Severity::Notify),
            ..Standing::default()
        };
        if let Some(tally) = observed.tally(name, spec) {
            let objective = objective(spec);
            standing.left = objective.left(tally.window(objective.period, now));
            standing.burns = BURN_WINDOWS.map(|(_, window)| objective.burn(tally.window(window, now)));
        }
        (spec.name.clone(), standing)
    };
    facts.objectives.iter().map(stand).collect()
}
