//! What to do so that what is active is what Git says: which apps to bring in, in which order, what to change back, what
//! to leave alone. A commit comes in waves, and a later wave begins when everything of the earlier ones serves. What a
//! rollout is at work on is its own matter, and what went back stays back until Git says something else of that app.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::limits::{GIT_BACKOFF_FACTOR, GIT_BACKOFF_MAX, GIT_BACKOFF_MIN, GIT_JITTER_MAX};

/// What of an app counts as the same: two releases with the same print are one to Git. How a release takes over is not
/// part of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Print {
    /// The package's digest.
    pub digest: String,
    /// Stands for routes, config and objectives.
    pub settings: String,
}

/// What a commit says of one app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// What is to be active.
    pub print: Print,
    /// Lower waves come first.
    pub wave: u32,
}

/// What was done for one app by the word of Git. Stored before it is acted on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The commit that said so.
    pub commit: String,
    /// What it asked for.
    pub print: Print,
    /// True until the deploy has been taken.
    pub pending: bool,
    /// Why it is not asked for again until Git says something else of this app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<String>,
    /// How often it has been changed back of late.
    #[serde(default)]
    pub heals: u32,
    /// When that was last, in seconds since the Unix epoch.
    #[serde(default)]
    pub healed_at: u64,
    /// True if its document is gone and it has stayed.
    #[serde(default)]
    pub orphaned: bool,
}

/// How an app stands at the moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// What is active.
    pub active: Option<Print>,
    /// Whether that has served.
    pub is_good: bool,
    /// What is being rolled out, or waits for its turn.
    pub coming: Option<Print>,
    /// Why what the record asked for is not active: it failed, went back, or was taken back by a person.
    pub went_back: Option<String>,
    /// Why the package that is wanted was taken back once.
    pub quarantined: Option<String>,
}

/// What the source allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// An app whose document is gone goes out of service.
    pub prune: bool,
    /// What others changed is changed back.
    pub self_heal: bool,
}

/// The documents of a commit, all of them valid.
#[derive(Debug, Clone, Copy)]
pub struct Commit<'a> {
    /// Its id.
    pub id: &'a str,
    /// What it says, by app.
    pub wanted: &'a BTreeMap<String, Wanted>,
}

/// Everything a plan follows from.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    /// Seconds since the Unix epoch.
    pub now: u64,
    /// What the source allows.
    pub policy: Policy,
    /// The newest commit, if its documents are valid; with none, what was applied before is kept up.
    pub commit: Option<Commit<'a>>,
    /// What was done, by app.
    pub records: &'a BTreeMap<String, Record>,
    /// How apps stand; those that are not there have never been deployed.
    pub observed: &'a BTreeMap<String, Observed>,
    /// Before this time nothing new is deployed, because the last try failed for a reason that passes.
    pub not_before: u64,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Deploy what the commit says.
    Apply {
        /// Which app.
        app: String,
        /// Although the package was taken back once: Git asks for it anew.
        retry: bool,
    },
    /// Deploy again what was applied before.
    Heal {
        /// Which app.
        app: String,
    },
    /// Write down that it is not asked for again.
    Hold {
        /// Which app.
        app: String,
        /// Why.
        why: String,
    },
    /// Write down that it is as Git says.
    Adopt {
        /// Which app.
        app: String,
    },
    /// Write down that its document is gone and that it stays.
    Orphan {
        /// Which app.
        app: String,
    },
    /// Take it out of service.
    Prune {
        /// Which app.
        app: String,
    },
}

/// How an app stands towards Git.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// As Git says.
    InPlace,
    /// As Git says, and not ready yet.
    Starting,
    /// On its way by a rollout.
    Rolling,
    /// Something else is being rolled out, which is left alone.
    Busy,
    /// To be deployed.
    Due,
    /// Behind an earlier wave.
    Waiting,
    /// Changed by other hands.
    Drifted,
    /// Not as Git says, and not asked for again until Git says something else.
    Held,
    /// Its document is gone and it has stayed.
    Orphaned,
    /// Its document is gone and it goes.
    Pruned,
}

impl Standing {
    /// Whether the next wave may begin. What was given up before this commit keeps nobody waiting.
    fn is_settled(self) -> bool {
        matches!(self, Self::InPlace | Self::Drifted | Self::Held)
    }
}

/// How a commit stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// There is none that could be applied.
    Idle,
    /// It has no document at all, which is taken for a mistake.
    Empty,
    /// Not everything is in place yet.
    Progressing,
    /// An app could not be brought in, and what comes after it is not begun.
    Failed {
        /// Which app.
        app: String,
        /// Why.
        why: String,
    },
    /// Everything has been brought in.
    Done,
}

/// What to do, and what it looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// In this order.
    pub actions: Vec<Action>,
    /// Each app that Git says, or has said, something of.
    pub standings: BTreeMap<String, Standing>,
    /// How the commit stands.
    pub outcome: Outcome,
    /// When there is something to do although nothing has happened, in seconds since the Unix epoch.
    pub wake_at: Option<u64>,
}

/// Decides what to do.
pub fn plan(look: &Look<'_>) -> Plan {
    let mut plan = Planning {
        look: *look,
        actions: Vec::new(),
        standings: BTreeMap::new(),
        wake_at: None,
        failed: None,
    };
    let is_empty = look.commit.is_some_and(|commit| commit.wanted.is_empty());
    let outcome = match look.commit.filter(|_| !is_empty) {
        Some(commit) => plan.follow(commit),
        None => {
            plan.keep_up();
            if is_empty { Outcome::Empty } else { Outcome::Idle }
        }
    };
    Plan {
        actions: plan.actions,
        standings: plan.standings,
        outcome,
        wake_at: plan.wake_at,
    }
}

struct Planning<'a> {
    look: Look<'a>,
    actions: Vec<Action>,
    standings: BTreeMap<String, Standing>,
    wake_at: Option<u64>,
    /// What this very commit asked for in vain.
    failed: Option<(String, String)>,
}

impl Planning<'_> {
    /// Wave by wave, and at the end what the commit does not name any more.
    fn follow(&mut self, commit: Commit<'_>) -> Outcome {
        let mut waves: BTreeMap<u32, Vec<(&str, &Print)>> = BTreeMap::new();
        for (app, wanted) in commit.wanted {
            waves.entry(wanted.wave).or_default().push((app, &wanted.print));
        }
        let mut is_open = true;
        for apps in waves.values() {
            let mut is_settled = true;
            for (app, print) in apps {
                let standing = self.step(app, print, is_open);
                is_settled &= standing.is_settled();
            }
            is_open &= is_settled && self.failed.is_none();
        }
        let gone: Vec<String> = self
            .look
            .records
            .keys()
            .filter(|app| !commit.wanted.contains_key(*app))
            .cloned()
            .collect();
        for app in gone {
            is_open &= self.let_go(app, is_open);
        }
        match self.failed.take() {
            Some((app, why)) => Outcome::Failed { app, why },
            None if is_open => Outcome::Done,
            None => Outcome::Progressing,
        }
    }

    /// Without a commit, what was applied stays as it was applied.
    fn keep_up(&mut self) {
        for (app, record) in self.look.records {
            if record.orphaned {
                self.standings.insert(app.clone(), Standing::Orphaned);
            } else {
                self.step(app, &record.print, true);
            }
        }
    }

    fn step(&mut self, app: &str, wanted: &Print, is_open: bool) -> Standing {
        let (action, standing) = self.decide(app, wanted, is_open);
        if standing == Standing::Held {
            self.blame(app, action.as_ref());
        }
        self.actions.extend(action);
        self.standings.insert(app.to_owned(), standing);
        standing
    }

    /// What the commit itself asked for and did not get is its failure.
    fn blame(&mut self, app: &str, action: Option<&Action>) {
        let Some(commit) = self.look.commit else { return };
        let record = self.look.records.get(app);
        let is_of_this = record.is_none_or(|record| record.commit == commit.id);
        let why = match action {
            Some(Action::Hold { why, .. }) => Some(why.clone()),
            _ => record.and_then(|record| record.held.clone()),
        };
        if let Some(why) = why.filter(|_| is_of_this && self.failed.is_none()) {
            self.failed = Some((app.to_owned(), why));
        }
    }

    fn decide(&mut self, app: &str, wanted: &Print, is_open: bool) -> (Option<Action>, Standing) {
        let look = self.look;
        let nothing = Observed::default();
        let observed = look.observed.get(app).unwrap_or(&nothing);
        let record = look.records.get(app);
        let name = || app.to_owned();
        let same = record.filter(|record| record.print == *wanted);
        if observed.coming.as_ref() == Some(wanted) {
            return (None, Standing::Rolling);
        }
        if observed.active.as_ref() == Some(wanted) && observed.coming.is_none() {
            let is_noted =
                same.is_some_and(|record| !record.pending && record.held.is_none() && !record.orphaned);
            return match (observed.is_good, is_noted) {
                (false, _) => (None, Standing::Starting),
                (true, true) => (None, Standing::InPlace),
                (true, false) => (Some(Action::Adopt { app: name() }), Standing::InPlace),
            };
        }
        let Some(record) = same else {
            // Git says something new of this app.
            return match (&observed.quarantined, record) {
                _ if !is_open => (None, Standing::Waiting),
                // Nobody has asked for it through Git since it was taken back.
                (Some(why), None) => (hold(app, why), Standing::Held),
                (quarantined, _) => self.apply(app, quarantined.is_some()),
            };
        };
        if record.held.is_some() {
            return (None, Standing::Held);
        }
        if record.pending {
            return self.apply(app, observed.quarantined.is_some());
        }
        if let Some(why) = &observed.went_back {
            return (hold(app, why), Standing::Held);
        }
        if observed.coming.is_some() {
            return (None, Standing::Busy);
        }
        self.heal(app, record)
    }

    fn apply(&mut self, app: &str, retry: bool) -> (Option<Action>, Standing) {
        let app = app.to_owned();
        let action = self
            .is_time(self.look.not_before)
            .then_some(Action::Apply { app, retry });
        (action, Standing::Due)
    }

    fn heal(&mut self, app: &str, record: &Record) -> (Option<Action>, Standing) {
        if !self.look.policy.self_heal {
            return (None, Standing::Drifted);
        }
        // A clock that was set back since says nothing of how long ago it was.
        let is_known = record.healed_at <= self.look.now;
        let due = if is_known {
            record.healed_at + backoff(record.heals)
        } else {
            0
        };
        let app = app.to_owned();
        let action = self.is_time(due).then_some(Action::Heal { app });
        (action, Standing::Drifted)
    }

    /// Whether a deploy that is due may begin; otherwise there is a time to look again.
    fn is_time(&mut self, due: u64) -> bool {
        if due <= self.look.now {
            return true;
        }
        self.wake_at = Some(self.wake_at.map_or(due, |at| at.min(due)));
        false
    }

    /// An app whose document is gone. Gives whether nothing is left to be done with it.
    fn let_go(&mut self, app: String, is_open: bool) -> bool {
        let record = &self.look.records[&app];
        let is_busy = self
            .look
            .observed
            .get(&app)
            .is_some_and(|observed| observed.coming.is_some());
        let (action, standing) = match (self.look.policy.prune, record.orphaned) {
            (false, true) => (None, Standing::Orphaned),
            (false, false) => (Some(Action::Orphan { app: app.clone() }), Standing::Orphaned),
            // What comes in is in place before anything goes out, and a rollout ends first.
            (true, _) if !is_open || is_busy => (None, Standing::Waiting),
            (true, _) => (Some(Action::Prune { app: app.clone() }), Standing::Pruned),
        };
        self.actions.extend(action);
        self.standings.insert(app, standing);
        standing != Standing::Waiting
    }
}

fn hold(app: &str, why: &str) -> Option<Action> {
    Some(Action::Hold {
        app: app.to_owned(),
        why: why.to_owned(),
    })
}

/// Seconds before the next try after so many (Argo CD's self-heal: from 2 s by 3 to 300 s).
pub fn backoff(tries: u32) -> u64 {
    if tries == 0 {
        return 0;
    }
    let grown = GIT_BACKOFF_MIN.saturating_mul(GIT_BACKOFF_FACTOR.saturating_pow(tries - 1));
    grown.min(GIT_BACKOFF_MAX)
}

/// How often an app has been changed back of late, once more. What has been quiet for twice the longest pause begins
/// anew.
pub fn heals_after(record: &Record, now: u64) -> u32 {
    let is_quiet = record.healed_at > now || now - record.healed_at >= 2 * GIT_BACKOFF_MAX;
    if is_quiet {
        1
    } else {
        record.heals.saturating_add(1)
    }
}

/// Milliseconds until a source is looked at again: its interval, and some more that differs from source to source and
/// from look to look, so that they do not all ask at once. A short interval has little jitter.
pub fn next_look_millis(interval_seconds: u64, source: &str, looks: u64) -> u64 {
    let interval = interval_seconds.saturating_mul(1_000);
    let jitter = (GIT_JITTER_MAX * 1_000).min(interval / 2);
    interval + xxh3_64_with_seed(source.as_bytes(), looks) % (jitter + 1)
}
