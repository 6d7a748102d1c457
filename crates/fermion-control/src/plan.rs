//! The reconciler's decisions, without any effect: what the node's report means for an app, and what the node must
//! run. Pure functions of what is on the bus.

use std::collections::{BTreeMap, BTreeSet};

use fermion_model::assignment::{AssignedApp, Assignment, NodeStatus, Problem};
use fermion_model::{Release, ReleaseNumber};

use crate::claims::Claims;
use crate::documents::AppDocument;

/// One app with the releases that it holds.
#[derive(Debug, Clone)]
pub(crate) struct KnownApp {
    /// The app document's revision.
    pub(crate) revision: Option<u64>,
    pub(crate) document: AppDocument,
    pub(crate) releases: BTreeMap<ReleaseNumber, Release>,
}

impl KnownApp {
    fn release(&self, number: Option<ReleaseNumber>) -> Option<&Release> {
        self.releases.get(&number?)
    }
}

/// What is on the bus.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    /// By `namespace/app`.
    pub(crate) apps: BTreeMap<String, KnownApp>,
    /// Apps whose documents cannot be read: what they have is left to them.
    pub(crate) unreadable: BTreeSet<String>,
    /// Its revision, if there is one.
    pub(crate) assignment_revision: Option<u64>,
    pub(crate) assignment: Assignment,
    pub(crate) status: NodeStatus,
}

/// What the node's report says of a release on trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Good(ReleaseNumber),
    Failed(ReleaseNumber, Problem),
}

impl State {
    /// The outcome of the app's active release, if it is on trial and the node has dealt with the assignment that
    /// holds it. A report on an older assignment says nothing about this one.
    pub(crate) fn outcome(&self, name: &str) -> Option<Outcome> {
        let document = &self.apps.get(name)?.document;
        let number = document
            .active
            .filter(|&active| document.last_good() != Some(active))?;
        let assigned = self.assignment.apps.get(name)?;
        if assigned.release.number != number || self.status.generation < self.assignment.generation {
            return None;
        }
        let report = self
            .status
            .apps
            .get(name)
            .filter(|report| report.wanted == number)?;
        match &report.problem {
            Some(problem) => Some(Outcome::Failed(number, problem.clone())),
            None if report.serving == Some(number) => Some(Outcome::Good(number)),
            None => None,
        }
    }

    /// True if the node reports that it cannot make this release of the app ready.
    pub(crate) fn refuses(&self, name: &str, number: ReleaseNumber) -> bool {
        let report = self.status.apps.get(name);
        report.is_some_and(|report| report.wanted == number && report.problem.is_some())
    }

    /// Who has which requests: the active and the last good release of every app, since either may serve.
    pub(crate) fn claims(&self) -> Claims {
        let mut claims = Claims::default();
        for (name, known) in &self.apps {
            let (active, good) = (known.document.active, known.document.last_good());
            for number in [active, good.filter(|_| good != active)] {
                if let Some(release) = known.release(number) {
                    claims.add(name, &release.routes);
                }
            }
        }
        for name in &self.unreadable {
            if let Some(assigned) = self.assignment.apps.get(name) {
                claims.add(name, &assigned.release.routes);
            }
        }
        claims
    }

    /// What the node must run.
    pub(crate) fn assign(&self) -> BTreeMap<String, AssignedApp> {
        let claims = self.claims();
        let mut assigned = BTreeMap::new();
        for (name, known) in &self.apps {
            let Some(active) = known.document.active else {
                continue;
            };
            let Some(release) = known.release(Some(active)) else {
                // Its document is damaged: better what the node has than nothing.
                self.keep(name, &mut assigned);
                continue;
            };
            // A fallback whose routes went to another app since would take them back.
            let last_good = known
                .release(known.document.fallback())
                .filter(|fallback| claims.collision(name, &fallback.routes).is_none());
            let app = AssignedApp {
                release: release.clone(),
                last_good: last_good.cloned(),
            };
            assigned.insert(name.clone(), app);
        }
        for name in &self.unreadable {
            self.keep(name, &mut assigned);
        }
        assigned
    }

    fn keep(&self, name: &str, assigned: &mut BTreeMap<String, AssignedApp>) {
        if let Some(app) = self.assignment.apps.get(name) {
            assigned.insert(name.to_owned(), app.clone());
        }
    }

    /// The generation of the next assignment: greater than any that the node may have seen.
    pub(crate) fn next_generation(&self) -> u64 {
        self.assignment.generation.max(self.status.generation) + 1
    }
}

#[cfg(test)]
mod tests;
