//! Control's own documents on the bus, their keys, and the state of one app as it moves between releases.

use fermion_model::assignment::Problem;
use fermion_model::{AppName, Namespace, ReleaseNumber};
use serde::{Deserialize, Serialize};

use crate::limits::GOOD_RELEASES_MAX;
use crate::rollout::Quarantined;

/// The schema of `AppDocument` that this build writes and understands.
pub(crate) const APP_SCHEMA: u32 = 1;
/// Who returns an app to its last good release.
pub(crate) const AUTOMATIC: &str = "fermion";

pub(crate) const APPS: &str = "apps/";

pub(crate) fn app_key(namespace: &Namespace, app: &AppName) -> String {
    format!("apps/{namespace}/{app}")
}

pub(crate) fn releases_prefix(namespace: &Namespace, app: &AppName) -> String {
    format!("releases/{namespace}/{app}/")
}

pub(crate) fn release_key(namespace: &Namespace, app: &AppName, number: ReleaseNumber) -> String {
    format!("releases/{namespace}/{app}/{}", number.0)
}

/// What one app should run, and what is known of its releases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AppDocument {
    pub(crate) schema: u32,
    pub(crate) namespace: Namespace,
    pub(crate) app: AppName,
    /// The last number given out; numbers never repeat.
    pub(crate) latest: ReleaseNumber,
    /// What should run; none if nothing was ever good.
    pub(crate) active: Option<ReleaseNumber>,
    /// Releases that have served, the most recent first.
    pub(crate) good: Vec<ReleaseNumber>,
    pub(crate) failed: Vec<FailedRelease>,
    /// The release that is being rolled out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) canary: Option<ReleaseNumber>,
    /// The release that has its turn when the rollout is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) waiting: Option<ReleaseNumber>,
    /// Packages that were taken back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) quarantined: Vec<Quarantined>,
    pub(crate) changed: Change,
}

/// A release that could not be made ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FailedRelease {
    pub(crate) number: ReleaseNumber,
    pub(crate) problem: Problem,
}

/// Who last changed what should run, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Change {
    pub(crate) at: u64,
    pub(crate) by: String,
    pub(crate) kind: ChangeKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ChangeKind {
    Deploy,
    Rollback,
    /// A rollout came to its good end.
    Rollout,
    /// Back to the last good release, because the active one failed.
    Return,
    /// Out of service.
    Retire,
}

impl ChangeKind {
    /// As people and the API have it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Deploy => "deploy",
            Self::Rollback => "rollback",
            Self::Rollout => "rollout",
            Self::Return => "return",
            Self::Retire => "retire",
        }
    }
}

impl AppDocument {
    pub(crate) fn new(namespace: Namespace, app: AppName, change: Change) -> Self {
        Self {
            schema: APP_SCHEMA,
            namespace,
            app,
            latest: ReleaseNumber(0),
            active: None,
            good: Vec::new(),
            failed: Vec::new(),
            canary: None,
            waiting: None,
            quarantined: Vec::new(),
            changed: change,
        }
    }

    pub(crate) fn key(&self) -> String {
        app_key(&self.namespace, &self.app)
    }

    /// `namespace/app`, as assignments and statuses name it.
    pub(crate) fn name(&self) -> String {
        format!("{}/{}", self.namespace, self.app)
    }

    /// Makes `number` what should run; an earlier failure of it is forgotten, since it is tried anew.
    pub(crate) fn activate(&mut self, number: ReleaseNumber, change: Change) {
        self.failed.retain(|failed| failed.number != number);
        self.active = Some(number);
        self.changed = change;
    }

    /// The active release serves.
    pub(crate) fn mark_good(&mut self, number: ReleaseNumber) {
        self.good.retain(|&good| good != number);
        self.good.insert(0, number);
        self.good.truncate(GOOD_RELEASES_MAX);
    }

    /// The active release cannot be made ready: back to the last good one.
    pub(crate) fn mark_failed(&mut self, number: ReleaseNumber, problem: Problem, change: Change) {
        self.failed.retain(|failed| failed.number != number);
        self.failed.push(FailedRelease { number, problem });
        self.active = self.last_good();
        self.changed = change;
    }

    /// Nothing of it is to run.
    pub(crate) fn retire(&mut self, change: Change) {
        self.active = None;
        self.good.clear();
        self.waiting = None;
        self.changed = change;
    }

    pub(crate) fn last_good(&self) -> Option<ReleaseNumber> {
        self.good.first().copied()
    }

    /// What a node falls back to when the active release cannot be made ready there.
    pub(crate) fn fallback(&self) -> Option<ReleaseNumber> {
        self.good.iter().copied().find(|&good| Some(good) != self.active)
    }

    /// Releases that may serve at any moment, so whose routes and documents must stay.
    pub(crate) fn held(&self) -> Vec<ReleaseNumber> {
        let mut held = self.good.clone();
        for number in [self.active, self.canary, self.waiting].into_iter().flatten() {
            if !held.contains(&number) {
                held.push(number);
            }
        }
        held
    }

    pub(crate) fn problem_of(&self, number: ReleaseNumber) -> Option<&Problem> {
        self.failed
            .iter()
            .find(|failed| failed.number == number)
            .map(|failed| &failed.problem)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change() -> Change {
        Change {
            at: 1,
            by: "someone".to_owned(),
            kind: ChangeKind::Deploy,
        }
    }

    #[test]
    fn an_app_moves_between_releases() {
        let [r1, r2, r3] = [1, 2, 3].map(ReleaseNumber);
        let mut app = AppDocument::new(Namespace::default(), "a".parse().unwrap(), change());
        app.activate(r1, change());
        assert_eq!((app.last_good(), app.fallback()), (None, None));
        app.mark_good(r1);
        assert_eq!((app.last_good(), app.fallback()), (Some(r1), None));
        app.activate(r2, change());
        assert_eq!(app.fallback(), Some(r1));
        app.mark_good(r2);
        assert_eq!((app.last_good(), app.fallback()), (Some(r2), Some(r1)));

        app.activate(r3, change());
        let problem = Problem {
            code: "X".to_owned(),
            message: "y".to_owned(),
        };
        app.mark_failed(r3, problem.clone(), change());
        assert_eq!((app.active, app.fallback()), (Some(r2), Some(r1)));
        assert_eq!(app.problem_of(r3), Some(&problem));

        app.activate(r1, change());
        app.mark_good(r1);
        assert_eq!((app.last_good(), app.fallback()), (Some(r1), Some(r2)));
        app.activate(r3, change());
        assert_eq!(app.problem_of(r3), None, "it is tried anew");
        assert_eq!(app.held(), vec![r1, r2, r3]);
    }
}
