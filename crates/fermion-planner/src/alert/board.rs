//! All alerts at once: what is sent to people, and what is kept from them, for how long and why.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Alert, Change, Key, Severity, Sign};
use crate::limits::{ALERT_ROLLOUT_GRACE, ALERTS_MAX};

/// A time in which alerts that match are kept: a silence, or a maintenance window. It always ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// Whose alerts.
    pub tenant: String,
    /// Of which app; of all without.
    pub app: Option<String>,
    /// About which objective; about all without.
    pub slo: Option<String>,
    /// From when on, in seconds.
    pub from: u64,
    /// Until when.
    pub until: u64,
}

/// A rollout that is going on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    /// Whose app.
    pub tenant: String,
    /// Which app.
    pub app: String,
    /// When its step began, in seconds.
    pub since: u64,
    /// How long the step bakes, in seconds.
    pub bake: u64,
}

/// A region that is down as a whole.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Region(pub String);

/// What else goes on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    /// Silences and maintenance windows.
    pub silences: Vec<Silence>,
    /// Rollouts.
    pub rollouts: Vec<Rollout>,
    /// Regions that are down; one alert of the region stands for all of its apps.
    pub down: Vec<Region>,
}

/// Something to tell somebody. Key, incident and change together name it, so that a receiver can tell a repetition.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Message {
    /// About what.
    pub key: Key,
    /// Which incident; 0 for one about data.
    pub incident: u64,
    /// What happened.
    pub change: Change,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    alert: Alert,
    /// The incident that people know to be open.
    told: Option<u64>,
    /// The incident that they were last told of; to open it again is a relapse to them.
    told_before: Option<u64>,
    acknowledged: Option<u64>,
    /// Whether it is about a canary only.
    canary: bool,
}

/// Every alert there is. Its whole state, to be stored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(Key, Entry)>", into = "Vec<(Key, Entry)>")]
pub struct Board {
    entries: BTreeMap<Key, Entry>,
}

impl From<Vec<(Key, Entry)>> for Board {
    fn from(entries: Vec<(Key, Entry)>) -> Self {
        Self {
            entries: entries.into_iter().collect(),
        }
    }
}

impl From<Board> for Vec<(Key, Entry)> {
    fn from(board: Board) -> Self {
        board.entries.into_iter().collect()
    }
}

impl Board {
    /// Takes in one evaluation of one condition. `canary` says that it is about a canary's requests only. Gives false
    /// for a condition too many, which is then not watched.
    pub fn observe(
        &mut self,
        key: &Key,
        sign: Sign,
        canary: bool,
        now: u64,
        pending: u64,
    ) -> (bool, Option<Message>) {
        if !self.entries.contains_key(key) && self.entries.len() >= ALERTS_MAX {
            return (false, None);
        }
        let entry = self.entries.entry(key.clone()).or_default();
        entry.canary = canary;
        let change = entry.alert.step(sign, now, pending);
        let about_data = change.filter(|change| matches!(change, Change::NoData | Change::DataBack));
        let message = about_data.map(|change| Message {
            key: key.clone(),
            incident: 0,
            change,
        });
        (true, message)
    }

    /// What people have to be told now: what fires and is not kept from them, and the end of what they know of.
    pub fn announce(&mut self, context: &Context, now: u64) -> Vec<Message> {
        let firing: Vec<Key> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.alert.incident().is_some())
            .map(|(key, _)| key.clone())
            .collect();
        let mut messages = Vec::new();
        for (key, entry) in &mut self.entries {
            let open = entry.alert.incident();
            if let Some(incident) = entry.told.filter(|told| open != Some(*told)) {
                entry.told = None;
                messages.push(message(key, incident, Change::Resolved));
            }
            let Some(incident) = open.filter(|open| entry.told != Some(*open)) else {
                continue;
            };
            if held(key, entry.canary, &firing, context, now) {
                continue;
            }
            let change = if entry.told_before == Some(incident) {
                Change::Reopened
            } else {
                Change::Fired
            };
            (entry.told, entry.told_before) = (Some(incident), Some(incident));
            messages.push(message(key, incident, change));
        }
        messages
    }

    /// Notes that somebody has taken an incident on. False if it is not open.
    pub fn acknowledge(&mut self, key: &Key) -> bool {
        let Some(entry) = self.entries.get_mut(key) else {
            return false;
        };
        entry.acknowledged = entry.alert.incident();
        entry.acknowledged.is_some()
    }

    /// Whether somebody has taken on the incident that is open.
    pub fn acknowledged(&self, key: &Key) -> bool {
        self.entries
            .get(key)
            .is_some_and(|entry| entry.acknowledged.is_some() && entry.acknowledged == entry.alert.incident())
    }

    /// The alerts that fire, grouped as people see them: by app and objective.
    pub fn groups(&self) -> BTreeMap<(&str, &str, &str), Vec<&Key>> {
        let mut groups: BTreeMap<(&str, &str, &str), Vec<&Key>> = BTreeMap::new();
        for (key, entry) in &self.entries {
            if entry.alert.incident().is_some() {
                groups
                    .entry((&key.tenant, &key.app, &key.slo))
                    .or_default()
                    .push(key);
            }
        }
        groups
    }

    /// The alerts that fire: which, in which incident, and whether people have been told.
    pub fn firing(&self) -> impl Iterator<Item = (&Key, u64, bool)> {
        self.entries.iter().filter_map(|(key, entry)| {
            let incident = entry.alert.incident()?;
            Some((key, incident, entry.told == Some(incident)))
        })
    }

    /// Forgets the alerts of what does not exist any more.
    pub fn retain(&mut self, keep: impl Fn(&Key) -> bool) {
        self.entries.retain(|key, _| keep(key));
    }
}

fn message(key: &Key, incident: u64, change: Change) -> Message {
    Message {
        key: key.clone(),
        incident,
        change,
    }
}

/// Whether an alert is kept from people for now. A rollback never is. A page gives way only to the page of its whole
/// region, and to a silence that somebody has ordered.
fn held(key: &Key, canary: bool, firing: &[Key], context: &Context, now: u64) -> bool {
    if key.severity == Severity::Rollback {
        return false;
    }
    let region_down = context.down.iter().any(|region| region.0 == key.region);
    let silenced = context.silences.iter().any(|silence| {
        (silence.from..silence.until).contains(&now)
            && silence.tenant == key.tenant
            && silence.app.as_ref().is_none_or(|app| *app == key.app)
            && silence.slo.as_ref().is_none_or(|slo| *slo == key.slo)
    });
    if region_down || silenced {
        return true;
    }
    if key.severity.urgent() {
        return false;
    }
    let same_group = |other: &Key| {
        (&other.tenant, &other.app, &other.region, &other.slo)
            == (&key.tenant, &key.app, &key.region, &key.slo)
    };
    let paged = firing
        .iter()
        .any(|other| other.severity.urgent() && same_group(other));
    let rolling_out = canary
        && context.rollouts.iter().any(|rollout| {
            let until = rollout
                .since
                .saturating_add(rollout.bake)
                .saturating_add(ALERT_ROLLOUT_GRACE.as_secs());
            (&rollout.tenant, &rollout.app) == (&key.tenant, &key.app) && now < until
        });
    paged || rolling_out
}
