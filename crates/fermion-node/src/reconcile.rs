//! The node's loop: reads its assignment, makes what is new ready, swaps the route table, says what happened. Releases
//! are made ready beside each other and beside what serves: one that takes its time keeps no other app from a deploy,
//! and one that cannot be made ready never displaces one that serves.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use fermion_bus::{Bus, Event, Expect};
use fermion_gateway::RouteTable;
use fermion_model::assignment::{ASSIGNMENT_SCHEMA, Assignment, NodeStatus, Step};
use fermion_model::{Digest, Release};
use fermion_telemetry::Telemetry;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::app::{App, Attempt};
use crate::error::Error;
use crate::limits;
use crate::prepare::{Preparer, Ready};
use crate::target::Routes;

/// One node with what it serves.
pub struct Node {
    pub(crate) name: String,
    pub(crate) bus: Bus,
    pub(crate) preparer: Preparer,
    pub(crate) routes: Routes,
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) apps: BTreeMap<String, App>,
    /// The assignment in force.
    generation: u64,
    /// The trust by which everything that serves was judged last.
    pub(crate) trust_epoch: u64,
    /// Every package that must stay, and the component in it if that is known.
    pub(crate) pinned: HashMap<Digest, Option<Digest>>,
    /// What the bus holds of it.
    reported: Option<NodeStatus>,
    work: JoinSet<Prepared>,
    attempts: u64,
}

/// What became of a preparation.
pub(crate) struct Prepared {
    key: String,
    number: u64,
    release: Release,
    made: Result<Ready, Error>,
    steps: Vec<Step>,
    /// Made ready because the release could not be, and nothing serves.
    fallback: Option<(Release, Result<Ready, Error>)>,
}

impl Node {
    /// A node that serves nothing yet. `routes` is the table that the gateway reads.
    pub fn new(name: &str, bus: Bus, preparer: Preparer, routes: Routes, telemetry: Arc<Telemetry>) -> Self {
        Self {
            name: name.to_owned(),
            bus,
            preparer,
            routes,
            telemetry,
            apps: BTreeMap::new(),
            generation: 0,
            trust_epoch: 0,
            pinned: HashMap::new(),
            reported: None,
            work: JoinSet::new(),
            attempts: 0,
        }
    }

    /// Takes back what an earlier process said of itself: it is not true of this one. To be done before anybody reads
    /// the node's status, or a stale one is believed.
    ///
    /// # Errors
    /// When the bus fails.
    pub async fn announce(&mut self) -> Result<(), Error> {
        self.trust_epoch = self.preparer.trust.borrow_and_update().epoch();
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
        self.work.shutdown().await;
    }

    async fn follow(&mut self) {
        let mut watch = self.bus.watch(&format!("assignments/{}", self.name));
        let (mut trust, mut is_kept) = (self.preparer.trust.clone(), true);
        let mut again = interval(limits::TRUST_RECHECK_EVERY);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // Who may run comes before what else is to be done.
            tokio::select! {
                biased;
                changed = trust.changed(), if is_kept => match changed {
                    Ok(()) => self.judge(true).await,
                    // Whoever keeps the trust is gone: what was trusted last stays so.
                    Err(_) => is_kept = false,
                },
                _ = again.tick() => self.judge(false).await,
                Some(ended) = self.work.join_next() => self.settle(ended),
                event = watch.next() => match event {
                    Ok(Event::Put(entry)) => match entry.json() {
                        Ok(assignment) => self.assign(assignment),
                        Err(error) => {
                            tracing::error!(%error, "assignment cannot be read, the last one stays in force");
                        }
                    },
                    Ok(Event::Delete { .. } | Event::Current) => {}
                    Err(error) => {
                        tracing::error!(%error, "bus failed, what serves goes on serving");
                        return;
                    }
                },
            }
            if let Err(error) = self.publish().await {
                tracing::error!(code = error.code(), %error, "what is ready cannot be put in force or reported, what serves goes on serving");
                return;
            }
        }
    }

    /// Takes an assignment as what is wanted, and begins to make ready what is not.
    fn assign(&mut self, assignment: Assignment) {
        if assignment.schema > ASSIGNMENT_SCHEMA || assignment.generation < self.generation {
            tracing::warn!(
                generation = assignment.generation,
                "assignment refused: older than the one in force, or newer format"
            );
            return;
        }
        self.generation = assignment.generation;
        self.apps.retain(|key, _| assignment.apps.contains_key(key));
        for (key, wanted) in assignment.apps {
            let app = self
                .apps
                .entry(key.clone())
                .or_insert_with(|| App::new(wanted.clone()));
            let is_new = app.wanted.release != wanted.release;
            app.wanted = wanted;
            if is_new {
                app.attempt = None;
                app.steps.clear();
            }
            if app.is_as_wanted() {
                app.attempt = None;
                app.problem = None;
            } else if app.attempt.is_none() {
                app.problem = None;
                self.begin(&key);
            }
        }
    }

    /// Makes an app's wanted release ready, or what it falls back to if nothing serves.
    pub(crate) fn begin(&mut self, key: &str) {
        let Some(app) = self.apps.get_mut(key) else { return };
        self.attempts += 1;
        let number = self.attempts;
        let (key, preparer, release) = (key.to_owned(), self.preparer.clone(), app.wanted.release.clone());
        let fallback = app.fallback().filter(|_| app.serving.is_none()).cloned();
        let handle = self.work.spawn(async move {
            let (made, steps) = preparer.prepare(&release).await;
            let fallback = match (&made, fallback) {
                (Err(_), Some(fallback)) => {
                    let (made, _) = preparer.prepare(&fallback).await;
                    Some((fallback, made))
                }
                _ => None,
            };
            Prepared {
                key,
                number,
                release,
                made,
                steps,
                fallback,
            }
        });
        app.attempt = Some(Attempt::new(number, handle));
    }

    /// Takes what a preparation has come to, unless something else is wanted by now.
    fn settle(&mut self, ended: Result<Prepared, JoinError>) {
        let prepared = match ended {
            Ok(prepared) => prepared,
            Err(error) => {
                // One that was given up, or a bug: the app is tried again with the next assignment.
                if !error.is_cancelled() {
                    tracing::error!(%error, "making a release ready ended unexpectedly");
                }
                return;
            }
        };
        let Prepared {
            key,
            number,
            release,
            made,
            steps,
            fallback,
        } = prepared;
        let is_current = |app: &&mut App| {
            app.attempt
                .as_ref()
                .is_some_and(|attempt| attempt.number == number)
        };
        let Some(app) = self.apps.get_mut(&key).filter(is_current) else {
            return;
        };
        app.attempt = None;
        match self.preparer.admit(&release, made) {
            Ok(ready) => {
                app.take_over(&release, ready, &self.telemetry);
                app.problem = None;
                app.steps = steps;
            }
            Err(error) => {
                tracing::error!(app = key, release = %release.number, code = error.code(), %error, "release cannot be made ready");
                app.fails(&error, steps);
            }
        }
        let Some((release, made)) = fallback.filter(|_| app.serving.is_none()) else {
            return;
        };
        match self.preparer.admit(&release, made) {
            Ok(ready) => app.take_over(&release, ready, &self.telemetry),
            Err(error) => {
                tracing::error!(app = key, release = %release.number, code = error.code(), %error, "last good release cannot be made ready either");
            }
        }
    }

    /// Puts in force what is ready and says so, as far as either has changed.
    async fn publish(&mut self) -> Result<(), Error> {
        self.swap()?;
        self.pin().await;
        self.report().await
    }

    async fn report(&mut self) -> Result<(), Error> {
        let status = NodeStatus {
            schema: ASSIGNMENT_SCHEMA,
            generation: self.generation,
            trust_epoch: self.trust_epoch,
            apps: self
                .apps
                .iter()
                .map(|(key, app)| (key.clone(), app.status()))
                .collect(),
        };
        if self.reported.as_ref() != Some(&status) {
            let key = format!("status/{}", self.name);
            self.bus.put_json(&key, &status, Expect::Any).await?;
            self.reported = Some(status);
        }
        Ok(())
    }

    /// Puts the new table in force, in one step. If it cannot be built, the old one stays.
    fn swap(&mut self) -> Result<(), Error> {
        let routes = self.apps.values().flat_map(|app| {
            let (release, target) = match (&app.serving, &app.stopped) {
                (Some(serving), _) => (&serving.release, Some(&serving.ready.target)),
                (None, stopped) => (&app.wanted.release, stopped.as_ref()),
            };
            target
                .into_iter()
                .flat_map(|target| release.routes.iter().map(|route| (route.clone(), target.clone())))
        });
        let table = RouteTable::build(routes.collect())?;
        self.routes.store(Arc::new(table));
        Ok(())
    }
}
