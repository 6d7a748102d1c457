//! The reconciler's decisions, without any effect: what the node's report means for an app, and what the node must
//! run. Pure functions of what is on the bus.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fermion_model::assignment::{AppStatus, AssignedApp, Canary, NodeStatus, Problem};
use fermion_model::{Release, ReleaseNumber};

use crate::claims::Claims;
use crate::documents::AppDocument;
use crate::rollout::RolloutDocument;

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

/// An app's newest rollout.
#[derive(Debug, Clone)]
pub(crate) struct KnownRollout {
    /// The document's revision.
    pub(crate) revision: Option<u64>,
    /// Shared, because it may be large and is copied with the rest.
    pub(crate) document: Arc<RolloutDocument>,
}

/// What is on the bus.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    /// By `namespace/app`, as everything here.
    pub(crate) apps: BTreeMap<String, KnownApp>,
    /// By `namespace/app`, the newest of each.
    pub(crate) rollouts: BTreeMap<String, KnownRollout>,
    /// Apps whose documents cannot be read: what they have is left to them.
    pub(crate) unreadable: BTreeSet<String>,
    /// The assignment's revision, if there is one.
    pub(crate) assignment_revision: Option<u64>,
    /// The assignment's generation.
    pub(crate) generation: u64,
    pub(crate) assigned: BTreeMap<String, AssignedApp>,
    pub(crate) status: NodeStatus,
    /// Of any of the node's processes: see [`State::report`].
    pub(crate) reports: BTreeMap<String, AppStatus>,
}

/// What a node must run of one app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part<'s> {
    pub(crate) release: &'s Release,
    pub(crate) last_good: Option<&'s Release>,
    /// What is rolled out beside it.
    pub(crate) canary: Option<Canary>,
}

/// What the node's report says of a release on trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Good(ReleaseNumber),
    Failed(ReleaseNumber, Problem),
}

impl State {
    /// The outcome of the app's active release, if it is on trial and the node has dealt with the assignment that
    /// holds it. A report on an older assignment, or by an earlier process, says nothing about this one.
    pub(crate) fn outcome(&self, name: &str) -> Option<Outcome> {
        let document = &self.apps.get(name)?.document;
        let number = document
            .active
            .filter(|&active| document.last_good() != Some(active))?;
        let assigned = self.assigned.get(name)?;
        let report = self
            .report(name)
            .filter(|report| report.wanted == number && report.generation >= assigned.generation)
            .filter(|_| assigned.release.number == number)?;
        match &report.problem {
            Some(problem) => Some(Outcome::Failed(number, problem.clone())),
            None if report.serving == Some(number) => Some(Outcome::Good(number)),
            None => None,
        }
    }

    /// What the node says of an app; none if it has said nothing since it was started.
    pub(crate) fn report(&self, name: &str) -> Option<&AppStatus> {
        let report = self.reports.get(name)?;
        (report.incarnation == self.status.incarnation).then_some(report)
    }

    /// True if the node reports that it cannot make this release of the app ready.
    pub(crate) fn refuses(&self, name: &str, number: ReleaseNumber) -> bool {
        let report = self.report(name);
        report.is_some_and(|report| report.wanted == number && report.problem.is_some())
    }

    /// True if the node has come to an end, good or bad, with all that is assigned.
    pub(crate) fn is_settled(&self) -> bool {
        self.assigned.iter().all(|(name, assigned)| {
            let report = self.report(name);
            report.is_some_and(|report| report.wanted == assigned.release.number && !report.is_pending())
        })
    }

    /// Who has which requests: every release of every app that serves, or may next.
    pub(crate) fn claims(&self) -> Claims {
        let mut claims = Claims::default();
        for (name, known) in &self.apps {
            let (active, good) = (known.document.active, known.document.last_good());
            let (canary, waiting) = (known.document.canary, known.document.waiting);
            for number in [active, good.filter(|_| good != active), canary, waiting] {
                if let Some(release) = known.release(number) {
                    claims.add(name, &release.routes);
                }
            }
        }
        for name in &self.unreadable {
            if let Some(assigned) = self.assigned.get(name) {
                claims.add(name, &assigned.release.routes);
            }
        }
        claims
    }

    /// What the node must run.
    pub(crate) fn assign(&self) -> BTreeMap<&str, Part<'_>> {
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
            let canary = self.canary(name, known);
            let part = Part {
                release,
                last_good,
                canary,
            };
            assigned.insert(name.as_str(), part);
        }
        for name in &self.unreadable {
            self.keep(name, &mut assigned);
        }
        assigned
    }

    /// What is rolled out of an app, if nodes are to have it.
    fn canary(&self, name: &str, known: &KnownApp) -> Option<Canary> {
        let rollout = &self.rollouts.get(name)?.document;
        let is_current =
            known.document.canary == Some(rollout.canary) && known.document.active == Some(rollout.stable);
        let release = known.release(Some(rollout.canary)).filter(|_| is_current)?;
        rollout.assigned(release)
    }

    fn keep<'s>(&'s self, name: &'s str, assigned: &mut BTreeMap<&'s str, Part<'s>>) {
        if let Some(app) = self.assigned.get(name) {
            assigned.insert(name, part(app));
        }
    }

    /// What is to be changed to get there: an app's new part, or none if it is to be taken away.
    pub(crate) fn reassign(&self) -> Vec<(&str, Option<Part<'_>>)> {
        let wanted = self.assign();
        let gone = self
            .assigned
            .keys()
            .filter(|name| !wanted.contains_key(name.as_str()));
        let gone: Vec<_> = gone.map(|name| (name.as_str(), None)).collect();
        let differs =
            |(name, wanted): &(&str, Part<'_>)| self.assigned.get(*name).map(part).as_ref() != Some(wanted);
        let changed = wanted.into_iter().filter(differs);
        changed
            .map(|(name, part)| (name, Some(part)))
            .chain(gone)
            .collect()
    }

    /// The generation of the next assignment: greater than any that the node may have seen.
    pub(crate) fn next_generation(&self) -> u64 {
        let assigned = self.assigned.values().map(|app| app.generation);
        assigned.fold(self.generation.max(self.status.generation), u64::max) + 1
    }
}

fn part(app: &AssignedApp) -> Part<'_> {
    Part {
        release: &app.release,
        last_good: app.last_good.as_ref(),
        canary: app.canary.clone(),
    }
}

#[cfg(test)]
mod tests;
