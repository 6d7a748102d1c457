//! Incidents: what an alert was about when it was opened, what became of it, and what people are told.

use fermion_api::{AcknowledgementView, AlertView, BlameView, BurnView, ChangedView};
use fermion_planner::alert::{Change, Key, Severity};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::evaluate::Ground;
use super::facts::AppFacts;
use crate::limits::TOLD_KEPT_MAX;

/// Hexadecimal digits of an incident's name: unique among all that are ever open, and still read out on the phone.
const ID_DIGITS: usize = 12;
/// Of a message's key, which has to be unique for all time.
const KEY_DIGITS: usize = 32;

/// One incident, as it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Incident {
    pub(super) id: String,
    pub(super) key: Key,
    /// The incident's number on the board: when it was opened.
    pub(super) number: u64,
    pub(super) resolved_at: Option<u64>,
    /// The predicates that have held in it, one bit each.
    pub(super) burnt: u16,
    pub(super) burn: BurnView,
    pub(super) threshold: f64,
    pub(super) owner: Option<String>,
    pub(super) runbook: Option<String>,
    pub(super) changed: ChangedView,
    pub(super) releases: Vec<BlameView>,
    pub(super) acknowledged: Option<AcknowledgementView>,
    /// Messages made of it so far: the next one's number.
    pub(super) messages: u32,
    /// What people were told, and when: the first and the newest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) told: Vec<(u64, Transition)>,
}

/// What people are told of an incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Transition {
    /// It was opened.
    Fired,
    /// It goes on after a short recovery.
    Reopened,
    /// It is over.
    Resolved,
    /// Nothing tells any more whether it is over.
    NoData,
    /// Something does again.
    DataBack,
    /// Somebody has taken it on.
    Acknowledged,
}

impl Transition {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Fired => "fired",
            Self::Reopened => "reopened",
            Self::Resolved => "resolved",
            Self::NoData => "no-data",
            Self::DataBack => "data-back",
            Self::Acknowledged => "acknowledged",
        }
    }
}

impl From<Change> for Transition {
    fn from(change: Change) -> Self {
        match change {
            Change::Fired => Self::Fired,
            Change::Reopened => Self::Reopened,
            Change::Resolved => Self::Resolved,
            Change::NoData => Self::NoData,
            Change::DataBack => Self::DataBack,
        }
    }
}

/// A message to people, before anybody knows how it will be delivered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Notice {
    /// The same for every attempt to deliver this message, and for no other one.
    pub(crate) key: String,
    pub(crate) transition: Transition,
    /// Seconds since the Unix epoch.
    pub(crate) at: u64,
    pub(crate) alert: AlertView,
}

impl Incident {
    pub(super) fn open(
        key: &Key,
        number: u64,
        facts: &AppFacts,
        ground: Ground,
        releases: Vec<BlameView>,
    ) -> Self {
        let name = format!(
            "{}/{}/{}/{}/{}/{number}",
            key.tenant,
            key.app,
            key.region,
            key.slo,
            severity_word(key.severity)
        );
        Self {
            id: digits(&name, ID_DIGITS),
            key: key.clone(),
            number,
            resolved_at: None,
            burnt: 0,
            burn: ground.burn,
            threshold: ground.threshold,
            owner: facts.owner.clone(),
            runbook: facts.runbook.clone(),
            changed: facts.changed.clone(),
            releases,
            acknowledged: None,
            messages: 0,
            told: Vec::new(),
        }
    }

    /// Makes the next message of it.
    pub(super) fn notice(&mut self, facts: &AppFacts, transition: Transition, at: u64) -> Notice {
        let name = format!("{}/{}/{}", self.id, self.messages, transition.word());
        self.messages += 1;
        if self.told.len() >= TOLD_KEPT_MAX {
            // The first ones stay: they say how it began.
            self.told.remove(TOLD_KEPT_MAX / 2);
        }
        self.told.push((at, transition));
        Notice {
            key: digits(&name, KEY_DIGITS),
            transition,
            at,
            alert: self.view(facts, false, at),
        }
    }

    /// Whether somebody has it in hand.
    pub(super) fn is_acknowledged(&self, now: u64) -> bool {
        self.acknowledged.as_ref().is_some_and(|by| now < by.until)
    }

    pub(super) fn view(&self, facts: &AppFacts, held: bool, now: u64) -> AlertView {
        let state = if self.resolved_at.is_some() {
            "resolved"
        } else {
            "firing"
        };
        AlertView {
            id: self.id.clone(),
            namespace: facts.namespace.clone(),
            app: facts.app.clone(),
            objective: self.key.slo.clone(),
            severity: severity_word(self.key.severity).to_owned(),
            state: state.to_owned(),
            held,
            opened_at: self.number,
            resolved_at: self.resolved_at,
            burn: self.burn.clone(),
            threshold: self.threshold,
            owner: self.owner.clone(),
            runbook: self.runbook.clone(),
            changed: self.changed.clone(),
            releases: self.releases.clone(),
            acknowledged: self.acknowledged.clone().filter(|by| now < by.until),
        }
    }
}

pub(super) fn severity_word(severity: Severity) -> &'static str {
    match severity {
        Severity::Notify => "notify",
        Severity::Ticket => "ticket",
        Severity::Page => "page",
        Severity::Rollback => "rollback",
    }
}

pub(crate) fn digits(text: &str, count: usize) -> String {
    let mut digits = hex::encode(Sha256::digest(text));
    digits.truncate(count);
    digits
}
