//! The node's loop: reads its assignment, makes what is new ready, swaps the route table once, says what happened. A
//! release that cannot be made ready never displaces one that serves.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use fermion_bus::{Bus, Event, Expect};
use fermion_gateway::{Dispatch, RouteTable};
use fermion_model::Release;
use fermion_model::assignment::{ASSIGNMENT_SCHEMA, AppStatus, AssignedApp, Assignment, NodeStatus};
use fermion_model::record::Served;
use fermion_telemetry::Telemetry;
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::limits;
use crate::prepare::Preparer;
use crate::target::{Routes, Target};

/// One node with what it serves.
pub struct Node {
    name: String,
    bus: Bus,
    preparer: Preparer,
    routes: Routes,
    telemetry: Arc<Telemetry>,
    serving: BTreeMap<String, Serving>,
    status: NodeStatus,
}

/// One app as it serves now.
#[derive(Clone)]
struct Serving {
    release: Release,
    target: Arc<Target>,
    measured: VecDeque<Arc<Served>>,
}

impl Node {
    /// A node that serves nothing yet. `routes` is the table that the gateway reads.
    pub fn new(name: &str, bus: Bus, preparer: Preparer, routes: Routes, telemetry: Arc<Telemetry>) -> Self {
        let status = NodeStatus::default();
        Self {
            name: name.to_owned(),
            bus,
            preparer,
            routes,
            telemetry,
            serving: BTreeMap::new(),
            status,
        }
    }

    /// Takes back what an earlier process said of itself: it is not true of this one. To be done before anybody reads
    /// the node's status, or a stale one is believed.
    ///
    /// # Errors
    /// When the bus fails.
    pub async fn announce(&self) -> Result<(), Error> {
        self.report().await
    }

    /// Follows the assignment until cancelled. A bus that fails does not stop what serves.
    pub async fn run(mut self, shutdown: CancellationToken) {
        while shutdown.run_until_cancelled(self.follow()).await.is_some() {
            let pause = tokio::time::sleep(limits::BUS_RETRY_AFTER);
            if shutdown.run_until_cancelled(pause).await.is_none() {
                break;
            }
        }
    }

    async fn follow(&mut self) {
        let mut watch = self.bus.watch(&format!("assignments/{}", self.name));
        loop {
            let assignment: Assignment = match watch.next().await {
                Ok(Event::Put(entry)) => match entry.json() {
                    Ok(assignment) => assignment,
                    Err(error) => {
                        tracing::error!(%error, "assignment cannot be read, the last one stays in force");
                        continue;
                    }
                },
                Ok(Event::Delete { .. } | Event::Current) => continue,
                Err(error) => {
                    tracing::error!(%error, "bus failed, what serves goes on serving");
                    return;
                }
            };
            if let Err(error) = self.apply(assignment).await {
                tracing::error!(code = error.code(), %error, "assignment cannot be put in force, what serves goes on serving");
                return;
            }
        }
    }

    /// Makes the node match an assignment, as far as it can be matched.
    async fn apply(&mut self, assignment: Assignment) -> Result<(), Error> {
        if assignment.schema > ASSIGNMENT_SCHEMA || assignment.generation < self.status.generation {
            tracing::warn!(
                generation = assignment.generation,
                "assignment refused: older than the one in force, or newer format"
            );
            return Ok(());
        }
        let mut status = NodeStatus {
            generation: assignment.generation,
            ..NodeStatus::default()
        };
        let mut next = BTreeMap::new();
        for (key, wanted) in &assignment.apps {
            let (serving, report) = self.one(key, wanted).await;
            status.apps.insert(key.clone(), report);
            if let Some(serving) = serving {
                next.insert(key.clone(), serving);
            }
        }
        self.swap(next)?;
        self.status = status;
        self.report().await
    }

    async fn report(&self) -> Result<(), Error> {
        self.bus
            .put_json(&format!("status/{}", self.name), &self.status, Expect::Any)
            .await?;
        Ok(())
    }

    /// Brings one app to its wanted release, or keeps or restores the last good one.
    async fn one(&mut self, key: &str, wanted: &AssignedApp) -> (Option<Serving>, AppStatus) {
        let current = self.serving.get(key).cloned();
        if let Some(current) = current
            .as_ref()
            .filter(|current| current.release == wanted.release)
        {
            let mut report = AppStatus {
                serving: Some(current.release.number),
                wanted: wanted.release.number,
                problem: None,
                steps: Vec::new(),
            };
            if let Some(earlier) = self
                .status
                .apps
                .get(key)
                .filter(|earlier| earlier.wanted == report.wanted)
            {
                report.steps.clone_from(&earlier.steps);
            }
            return (Some(current.clone()), report);
        }
        let (made, steps) = self.preparer.prepare(&wanted.release).await;
        let mut report = AppStatus {
            serving: None,
            wanted: wanted.release.number,
            problem: None,
            steps,
        };
        let serving = match made {
            Ok(target) => Some(self.take_over(current, &wanted.release, target)),
            Err(error) => {
                tracing::error!(app = key, release = %wanted.release.number, code = error.code(), %error, "release cannot be made ready");
                report.problem = Some(error.to_problem());
                match current {
                    Some(current) => Some(current),
                    None => self.last_good(key, wanted).await,
                }
            }
        };
        report.serving = serving.as_ref().map(|serving| serving.release.number);
        (serving, report)
    }

    async fn last_good(&mut self, key: &str, wanted: &AssignedApp) -> Option<Serving> {
        let release = wanted
            .last_good
            .as_ref()
            .filter(|release| release.number != wanted.release.number)?;
        let (made, _) = self.preparer.prepare(release).await;
        match made {
            Ok(target) => Some(self.take_over(None, release, target)),
            Err(error) => {
                tracing::error!(app = key, release = %release.number, code = error.code(), %error, "last good release cannot be made ready either");
                None
            }
        }
    }

    fn take_over(&self, before: Option<Serving>, release: &Release, target: Target) -> Serving {
        let target = Arc::new(target);
        let mut measured = before.map(|before| before.measured).unwrap_or_default();
        let read = {
            let target = Arc::downgrade(&target);
            move || {
                target
                    .upgrade()
                    .map_or(0, |target| u64::from(target.permits().in_use()))
            }
        };
        self.telemetry.watch_instances(target.served(), read);
        measured.push_back(target.served().clone());
        while measured.len() > limits::RELEASES_MEASURED_MAX {
            if let Some(old) = measured.pop_front() {
                self.telemetry.retire(&old);
            }
        }
        Serving {
            release: release.clone(),
            target,
            measured,
        }
    }

    /// Puts the new table in force, in one step. If it cannot be built, the old one stays.
    fn swap(&mut self, next: BTreeMap<String, Serving>) -> Result<(), Error> {
        let routes = next.values().flat_map(|serving| {
            serving
                .release
                .routes
                .iter()
                .map(|route| (route.clone(), serving.target.clone()))
        });
        let table = RouteTable::build(routes.collect())?;
        self.routes.store(Arc::new(table));
        self.serving = next;
        Ok(())
    }
}
