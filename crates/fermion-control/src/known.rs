//! What the control plane knows of the bus: a copy in memory that catches up before every use, so that a decision costs
//! what has changed since the last one, not what there is.

use std::collections::BTreeSet;
use std::sync::Arc;

use fermion_bus::{Entry, Error as BusError, Event};
use fermion_model::assignment::{
    ASSIGNMENT_SCHEMA, AppStatus, AssignedApp, Assignment, NodeStatus, assignment_key, status_key,
};
use serde::de::DeserializeOwned;

use crate::control::check_schema;
use crate::documents::APPS;
use crate::plan::{KnownRollout, State};
use crate::rollout::{ROLLOUT_SCHEMA, ROLLOUTS, RolloutDocument};
use crate::{Control, Error};

const RELEASES: &str = "releases/";

/// The copy, and what the reconciler has not looked at yet. Behind the lock of whoever decides and writes.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Shared with readers; changed in place as long as nobody reads.
    pub(crate) state: Arc<State>,
    /// The revision up to which it is known.
    through: u64,
    /// Apps whose intent or report has changed.
    pub(crate) unjudged: BTreeSet<String>,
    /// True if what is assigned may differ from what is intended.
    pub(crate) is_unassigned: bool,
}

impl Control {
    /// Brings the copy up to the present. What cannot be read is logged and named, and stops nothing else.
    pub(crate) async fn catch_up(&self, known: &mut Known) -> Result<(), Error> {
        let node = &self.config().node;
        let (assignment, status) = (assignment_key(node), status_key(node));
        let prefixes = [APPS, RELEASES, ROLLOUTS, &assignment, &status];
        loop {
            let changes = self.bus().changes(known.through, &prefixes).await?;
            let mut names = BTreeSet::new();
            for event in changes.events {
                let Some(key) = event.key() else { continue };
                if let Some(name) = key.strip_prefix(APPS) {
                    names.insert(name.to_owned());
                } else if let Some((name, _)) =
                    key.strip_prefix(RELEASES).and_then(|rest| rest.rsplit_once('/'))
                {
                    names.insert(name.to_owned());
                } else if let Some(name) = key.strip_prefix(ROLLOUTS) {
                    known.takes_rollout(name.to_owned(), &event);
                } else if let Some(name) = below(key, &assignment) {
                    known.takes_assigned(name.to_owned(), &event);
                } else if let Some(name) = below(key, &status) {
                    known.takes_report(name.to_owned(), &event);
                } else if key == assignment {
                    known.takes_assignment(&event)?;
                } else if key == status {
                    known.takes_status(&event);
                }
            }
            for name in names {
                self.look_at(known, name).await?;
            }
            known.through = changes.through;
            if changes.is_all {
                return Ok(());
            }
        }
    }

    /// Reads one app and the releases that it holds.
    async fn look_at(&self, known: &mut Known, name: String) -> Result<(), Error> {
        let key = format!("{APPS}{name}");
        let read = match self.bus().get(&key).await? {
            None => None,
            Some(document) => {
                let entry = Entry {
                    key,
                    revision: document.revision,
                    bytes: document.bytes,
                };
                Some(self.read_known(&entry).await)
            }
        };
        let state = Arc::make_mut(&mut known.state);
        state.apps.remove(&name);
        state.unreadable.remove(&name);
        match read {
            None => {}
            Some(Ok(app)) => drop(state.apps.insert(name.clone(), app)),
            Some(Err(error @ (Error::Schema { .. } | Error::Bus(BusError::Decode { .. })))) => {
                tracing::error!(app = name, %error, "an app's document cannot be read; it is left as it is");
                state.unreadable.insert(name.clone());
            }
            Some(Err(error)) => return Err(error),
        }
        known.unjudged.insert(name);
        known.is_unassigned = true;
        Ok(())
    }
}

impl Known {
    fn takes_assignment(&mut self, event: &Event) -> Result<(), Error> {
        let state = Arc::make_mut(&mut self.state);
        match event {
            Event::Put(entry) => {
                let assignment: Assignment = entry.json()?;
                check_schema(&entry.key, assignment.schema, ASSIGNMENT_SCHEMA)?;
                state.assignment_revision = Some(entry.revision);
                state.generation = assignment.generation;
            }
            // The generation is kept: the next one is greater.
            _ => state.assignment_revision = None,
        }
        self.is_unassigned = true;
        Ok(())
    }

    /// One that cannot be read is as good as none: it is written again.
    fn takes_assigned(&mut self, name: String, event: &Event) {
        let state = Arc::make_mut(&mut self.state);
        match read::<AssignedApp>(event, |app| app.schema) {
            Some(app) => drop(state.assigned.insert(name.clone(), app)),
            None => drop(state.assigned.remove(&name)),
        }
        self.unjudged.insert(name);
        self.is_unassigned = true;
    }

    /// Of one that cannot be read, nodes have nothing: all traffic goes to the old release.
    fn takes_rollout(&mut self, name: String, event: &Event) {
        let state = Arc::make_mut(&mut self.state);
        let revision = match event {
            Event::Put(entry) => Some(entry.revision),
            _ => None,
        };
        match read_as::<RolloutDocument>(event, ROLLOUT_SCHEMA, |rollout| rollout.schema) {
            Some(document) => {
                let rollout = KnownRollout {
                    revision,
                    document: Arc::new(document),
                };
                state.rollouts.insert(name, rollout);
            }
            None => drop(state.rollouts.remove(&name)),
        }
        self.is_unassigned = true;
    }

    fn takes_status(&mut self, event: &Event) {
        let status = read::<NodeStatus>(event, |status| status.schema);
        Arc::make_mut(&mut self.state).status = status.unwrap_or_default();
    }

    fn takes_report(&mut self, name: String, event: &Event) {
        let state = Arc::make_mut(&mut self.state);
        match read::<AppStatus>(event, |report| report.schema) {
            Some(report) => drop(state.reports.insert(name.clone(), report)),
            None => drop(state.reports.remove(&name)),
        }
        self.unjudged.insert(name);
    }
}

/// What stands below a folder of keys.
fn below<'k>(key: &'k str, folder: &str) -> Option<&'k str> {
    key.strip_prefix(folder)?.strip_prefix('/')
}

/// The document after an event; none if it is gone, damaged, or of another format.
fn read<T: DeserializeOwned>(event: &Event, schema: impl FnOnce(&T) -> u32) -> Option<T> {
    read_as(event, ASSIGNMENT_SCHEMA, schema)
}

fn read_as<T: DeserializeOwned>(event: &Event, known: u32, schema: impl FnOnce(&T) -> u32) -> Option<T> {
    let Event::Put(entry) = event else { return None };
    let document = entry.json::<T>().map_err(Error::from);
    let checked = document.and_then(|document| {
        check_schema(&entry.key, schema(&document), known)?;
        Ok(document)
    });
    checked
        .inspect_err(|error| tracing::error!(key = entry.key, %error, "a document cannot be read"))
        .ok()
}
