//! The life of an alert: when it fires, whom it is kept from, when it is over. One condition is one alert, whichever
//! release causes it; one incident lasts through short recoveries. What is sent is decided here, sending it is not.

mod board;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use board::{Board, Context, Message, Region, Rollout, Silence};

use crate::limits::{ALERT_CLEAR_COUNT, ALERT_NO_DATA_COUNT, ALERT_REOPEN};

/// How much it matters, the gravest last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Good to know.
    Notify,
    /// To be looked at in working hours.
    Ticket,
    /// To be looked at now.
    Page,
    /// The release is taken back, and somebody looks at it now.
    Rollback,
}

impl Severity {
    /// Whether it may never be held back.
    pub fn urgent(self) -> bool {
        self >= Self::Page
    }
}

/// What makes two alerts the same. The release is not part of it: it is an annotation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    /// Whose app it is.
    pub tenant: String,
    /// Which app.
    pub app: String,
    /// Where.
    pub region: String,
    /// Which objective.
    pub slo: String,
    /// How much it matters.
    pub severity: Severity,
}

/// What one evaluation of the condition found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sign {
    /// Both windows burn.
    Burning,
    /// The short window burns alone, or the long one still remembers: no reason to fire, none to resolve.
    Lingering,
    /// The short window is clear.
    Clear,
    /// There is nothing to tell it by.
    NoData,
}

/// Where an alert stands. Times are seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Nothing is wrong.
    #[default]
    Inactive,
    /// Something is, and not yet for long enough.
    Pending {
        /// Since when.
        since: u64,
    },
    /// Something is wrong.
    Firing {
        /// The incident, named by when it was opened.
        incident: u64,
        /// Evaluations in a row that were clear.
        clear: u32,
    },
    /// It was, and is over.
    Resolved {
        /// Which incident.
        incident: u64,
        /// Since when.
        at: u64,
    },
}

/// One alert. Its whole state, to be stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// Where it stands.
    pub phase: Phase,
    /// The last incident, and when it was over: a relapse soon after belongs to it.
    last: Option<(u64, u64)>,
    /// Evaluations in a row that had no data.
    silent: u32,
}

/// What happened to an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// It fires.
    Fired,
    /// It fires again, so soon that it is the same incident.
    Reopened,
    /// It is over.
    Resolved,
    /// There is nothing to tell it by any more. Not the same as being over.
    NoData,
    /// There is data again.
    DataBack,
}

impl Alert {
    /// Takes in one evaluation. `pending` is for how many seconds a condition has to hold before the alert fires.
    pub fn step(&mut self, sign: Sign, now: u64, pending: u64) -> Option<Change> {
        if sign == Sign::NoData {
            // Silence neither fires nor resolves; a condition that was pending has to begin anew.
            // Counted no further than needed, so that an app without requests is not stored again and again.
            self.silent = self.silent.saturating_add(1).min(ALERT_NO_DATA_COUNT + 1);
            if matches!(self.phase, Phase::Pending { .. }) {
                self.phase = Phase::Inactive;
            }
            return (self.silent == ALERT_NO_DATA_COUNT).then_some(Change::NoData);
        }
        let back = self.silent >= ALERT_NO_DATA_COUNT;
        self.silent = 0;
        self.follow(sign, now, pending)
            .or_else(|| back.then_some(Change::DataBack))
    }

    fn follow(&mut self, sign: Sign, now: u64, pending: u64) -> Option<Change> {
        match (self.phase, sign) {
            (Phase::Firing { incident, clear }, Sign::Clear) if clear + 1 >= ALERT_CLEAR_COUNT => {
                self.phase = Phase::Resolved { incident, at: now };
                self.last = Some((incident, now));
                Some(Change::Resolved)
            }
            (Phase::Firing { incident, clear }, Sign::Clear) => {
                self.phase = Phase::Firing {
                    incident,
                    clear: clear + 1,
                };
                None
            }
            (Phase::Firing { incident, .. }, _) => {
                self.phase = Phase::Firing { incident, clear: 0 };
                None
            }
            (Phase::Pending { since }, Sign::Burning) => self.ripen(since, now, pending),
            (Phase::Inactive | Phase::Resolved { .. }, Sign::Burning) => {
                self.phase = Phase::Pending { since: now };
                self.ripen(now, now, pending)
            }
            (Phase::Pending { .. }, _) => {
                self.phase = Phase::Inactive;
                None
            }
            (Phase::Inactive | Phase::Resolved { .. }, _) => None,
        }
    }

    /// Fires if the condition has held for long enough. A clock that was set back only makes it wait.
    fn ripen(&mut self, since: u64, now: u64, pending: u64) -> Option<Change> {
        if now.saturating_sub(since) < pending {
            return None;
        }
        let relapse = self
            .last
            .filter(|(_, over)| since <= over + ALERT_REOPEN.as_secs());
        let (incident, change) = match relapse {
            Some((incident, _)) => (incident, Change::Reopened),
            None => (now, Change::Fired),
        };
        self.phase = Phase::Firing { incident, clear: 0 };
        Some(change)
    }

    /// The incident that is open, if any.
    pub fn incident(&self) -> Option<u64> {
        match self.phase {
            Phase::Firing { incident, .. } => Some(incident),
            _ => None,
        }
    }
}
