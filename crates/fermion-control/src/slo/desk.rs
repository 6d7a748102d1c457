//! All alerts of one app, and how one evaluation changes them. Pure: what comes out is stored and sent elsewhere.

use std::collections::BTreeMap;
use std::time::Duration;

use fermion_api::BlameView;
use fermion_model::objective::ObjectiveSpec;
use fermion_planner::alert::{Board, Change, Context, Key, Rollout, Severity, Silence};
use serde::{Deserialize, Serialize};

use super::evaluate::{Ground, objective, signs};
use super::facts::AppFacts;
use super::incident::{Incident, Notice};
use super::tally::Tally;
use crate::limits::{BLAMED_SHARE_MIN, INCIDENTS_KEPT_MAX};

/// A silence with its paperwork.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ordered {
    pub(super) id: String,
    pub(super) silence: Silence,
    pub(super) by: String,
    pub(super) reason: String,
}

/// Everything about alerts, as it is on the bus.
#[derive(Debug, Default)]
pub(super) struct Desk {
    /// By `namespace/app`, with the revision of the document.
    pub(super) apps: BTreeMap<String, (Option<u64>, AppAlerts)>,
    pub(super) silences: Vec<Ordered>,
    pub(super) silences_revision: Option<u64>,
}

/// The step of a rollout, since it was first seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Watched {
    rollout: u64,
    weight: u16,
    since: u64,
}

/// The alerts of one app.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AppAlerts {
    board: Board,
    /// Newest first; those that are open are never dropped.
    pub(super) incidents: Vec<Incident>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    watched: Option<Watched>,
}

/// Where an evaluation looks.
pub(super) struct Look<'l> {
    pub(super) facts: &'l AppFacts,
    pub(super) silences: Vec<Silence>,
    /// Seconds since the Unix epoch.
    pub(super) now: u64,
}

impl AppAlerts {
    /// Takes in one look at every promise of an app. Gives what people have to be told.
    pub(super) fn evaluate<'t>(
        &mut self,
        look: &Look<'_>,
        tally: impl Fn(&ObjectiveSpec) -> Option<&'t Tally>,
    ) -> Vec<Notice> {
        let (facts, now) = (look.facts, look.now);
        self.watch(facts, now);
        let mut grounds = BTreeMap::new();
        let (mut told, mut holding) = (Vec::new(), Vec::new());
        for spec in &facts.objectives {
            // What has never happened is not watched: an app without requests is no news.
            let Some(tally) = tally(spec) else { continue };
            let objective = objective(spec);
            let burnt = |severity| self.burnt(&key(facts, spec, severity));
            for signed in signs(&objective, burnt, |window| tally.window(window, now)) {
                let key = key(facts, spec, signed.severity);
                holding.push((key.clone(), signed.holds));
                let releases = signed
                    .ground
                    .as_ref()
                    .map(|ground| tally.blame(Duration::from_secs(ground.burn.window_seconds), now));
                let is_canary = releases.as_ref().is_some_and(|releases| {
                    releases.first().is_some_and(|worst| {
                        worst.share >= BLAMED_SHARE_MIN
                            && facts.canary.is_some_and(|canary| canary.release == worst.release)
                    })
                });
                let (_, about_data) = self.board.observe(&key, signed.sign, is_canary, now, 0);
                told.extend(about_data);
                if let (Some(ground), Some(releases)) = (signed.ground, releases) {
                    grounds.insert(key, (ground, releases));
                }
            }
        }
        self.open(facts, grounds);
        for incident in self.incidents.iter_mut().filter(|one| one.resolved_at.is_none()) {
            let holds = holding.iter().filter(|(key, _)| *key == incident.key);
            incident.burnt = holds.fold(incident.burnt, |burnt, (_, holds)| burnt | holds);
        }
        told.extend(self.board.announce(&self.context(look), now));
        self.board.retain(|key| is_promised(facts, key));
        let mut notices = self.close(facts, now);
        for message in told {
            notices.extend(self.notice(look, &message.key, message.incident, message.change));
        }
        self.forget();
        notices
    }

    /// The predicates that have held in an alert's open incident.
    fn burnt(&self, key: &Key) -> u16 {
        let mut incidents = self.incidents.iter();
        let open = incidents.find(|incident| incident.key == *key && incident.resolved_at.is_none());
        open.map_or(0, |incident| incident.burnt)
    }

    /// When a step of a rollout began is when it was first seen.
    fn watch(&mut self, facts: &AppFacts, now: u64) {
        let is_known = |watched: &Watched| {
            facts
                .canary
                .is_some_and(|canary| (canary.rollout, canary.weight) == (watched.rollout, watched.weight))
        };
        if !self.watched.as_ref().is_some_and(is_known) {
            self.watched = facts.canary.map(|canary| Watched {
                rollout: canary.rollout,
                weight: canary.weight,
                since: now,
            });
        }
    }

    fn context(&self, look: &Look<'_>) -> Context {
        let rollout = self.watched.as_ref().zip(look.facts.canary);
        let rollouts = rollout.map(|(watched, canary)| Rollout {
            tenant: look.facts.namespace.to_string(),
            app: look.facts.app.to_string(),
            since: watched.since,
            bake: canary.bake,
        });
        Context {
            silences: look.silences.clone(),
            rollouts: rollouts.into_iter().collect(),
            down: Vec::new(),
        }
    }

    /// Every alert that fires has an incident, also one that is kept from people.
    fn open(&mut self, facts: &AppFacts, mut grounds: BTreeMap<Key, (Ground, Vec<BlameView>)>) {
        for (key, number, _) in self.board.firing() {
            let known = self
                .incidents
                .iter_mut()
                .find(|incident| incident.key == *key && incident.number == number);
            if let Some(incident) = known {
                incident.resolved_at = None;
                continue;
            }
            // What has just been opened has burnt in this very look.
            let Some((ground, releases)) = grounds.remove(key) else {
                continue;
            };
            let incident = Incident::open(key, number, facts, ground, releases);
            self.incidents.insert(0, incident);
        }
    }

    /// Ends the incidents whose alert fires no more. Of those whose promise was withdrawn, people have to be told here.
    fn close(&mut self, facts: &AppFacts, now: u64) -> Vec<Notice> {
        let mut notices = Vec::new();
        for incident in self.incidents.iter_mut().filter(|one| one.resolved_at.is_none()) {
            let mut firing = self.board.firing();
            if !firing.any(|(key, number, _)| *key == incident.key && number == incident.number) {
                incident.resolved_at = Some(now);
                if !is_promised(facts, &incident.key) && incident.messages > 0 {
                    notices.push(incident.notice(facts, Change::Resolved.into(), now));
                }
            }
        }
        notices
    }

    /// The message that a change is worth. News about data is news only of an incident that people know to be open, and
    /// what somebody has in hand is not news again.
    fn notice(&mut self, look: &Look<'_>, key: &Key, number: u64, change: Change) -> Option<Notice> {
        if !is_promised(look.facts, key) {
            return None;
        }
        let is_about_data = matches!(change, Change::NoData | Change::DataBack);
        let incident = self.incidents.iter_mut().find(|incident| {
            incident.key == *key
                && if is_about_data {
                    incident.resolved_at.is_none() && incident.messages > 0
                } else {
                    incident.number == number
                }
        })?;
        let is_minor = is_about_data || change == Change::Reopened;
        if is_minor && incident.is_acknowledged(look.now) {
            return None;
        }
        Some(incident.notice(look.facts, change.into(), look.now))
    }

    fn forget(&mut self) {
        let mut over = self.incidents.len().saturating_sub(INCIDENTS_KEPT_MAX);
        let mut place = self.incidents.len();
        while over > 0 && place > 0 {
            place -= 1;
            if self.incidents[place].resolved_at.is_some() {
                self.incidents.remove(place);
                over -= 1;
            }
        }
    }

    /// True if it fires and people have not been told.
    pub(super) fn is_held(&self, incident: &Incident) -> bool {
        self.board
            .firing()
            .any(|(key, number, told)| *key == incident.key && number == incident.number && !told)
    }
}

fn key(facts: &AppFacts, spec: &ObjectiveSpec, severity: Severity) -> Key {
    Key {
        tenant: facts.namespace.to_string(),
        app: facts.app.to_string(),
        region: String::new(),
        slo: spec.name.clone(),
        severity,
    }
}

fn is_promised(facts: &AppFacts, key: &Key) -> bool {
    facts.objectives.iter().any(|spec| spec.name == key.slo)
}
