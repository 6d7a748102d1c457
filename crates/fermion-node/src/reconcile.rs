//! The node's loop: reads its assignment, makes what is new ready, swaps the route table, says what happened. Releases
//! are made ready beside each other and beside what serves: one that takes its time keeps no other app from a deploy,
//! and one that cannot be made ready never displaces one that serves.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use fermion_bus::{Bus, Entry, Event};
use fermion_gateway::{RouteTable, Routed};
use fermion_model::assignment::{
    ASSIGNMENT_SCHEMA, AppStatus, AssignedApp, Assignment, Canary, NodeStatus, Step, assignment_key,
};
use fermion_model::{Digest, Release};
use fermion_telemetry::Telemetry;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::app::{App, Attempt};
use crate::error::Error;
use crate::limits;
use crate::prepare::{Depth, Preparer, Ready};
use crate::sleep::Lost;
use crate::target::Routes;

/// One node with what it serves.
pub struct Node {
    pub(crate) name: String,
    pub(crate) bus: Bus,
    pub(crate) preparer: Arc<Preparer>,
    pub(crate) routes: Routes,
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) apps: BTreeMap<String, App>,
    /// The assignment in force.
    generation: u64,
    /// The trust by which everything that serves was judged last.
    pub(crate) trust_epoch: u64,
    /// Every package that must stay, and the component in it if that is known.
    pub(crate) pinned: HashMap<Digest, Option<Digest>>,
    /// Tells this process from the node's earlier ones.
    pub(crate) incarnation: u64,
    /// What the bus holds of it.
    pub(crate) reported: Option<NodeStatus>,
    pub(crate) reported_apps: HashMap<String, AppStatus>,
    pub(crate) changed: Changed,
    /// Until every app that is assigned has been seen, and what a restart loads first is known: none is begun.
    arriving: Option<BTreeSet<String>>,
    pub(crate) work: JoinSet<Prepared>,
    attempts: u64,
    /// Releases that could not be loaded again.
    lost: mpsc::Receiver<Lost>,
}

/// What has changed since it was last put in force and reported.
#[derive(Debug, Default)]
pub(crate) struct Changed {
    pub(crate) routes: bool,
    pub(crate) pins: bool,
    pub(crate) apps: BTreeSet<String>,
}

impl Changed {
    /// An app serves something else, or fails in another way.
    pub(crate) fn app(&mut self, key: &str) {
        self.routes = true;
        self.pins = true;
        self.apps.insert(key.to_owned());
    }
}

/// What became of a preparation.
pub(crate) struct Prepared {
    pub(crate) key: String,
    pub(crate) number: u64,
    pub(crate) release: Release,
    pub(crate) made: Result<Ready, Error>,
    pub(crate) steps: Vec<Step>,
    /// Made ready because the release could not be, and nothing serves.
    pub(crate) fallback: Option<(Release, Result<Ready, Error>)>,
}

impl Node {
    /// A node that serves nothing yet. `routes` is the table that the gateway reads.
    pub fn new(name: &str, bus: Bus, preparer: Preparer, routes: Routes, telemetry: Arc<Telemetry>) -> Self {
        let lost = preparer.wakes.hears();
        Self {
            lost,
            name: name.to_owned(),
            bus,
            preparer: Arc::new(preparer),
            routes,
            telemetry,
            apps: BTreeMap::new(),
            generation: 0,
            trust_epoch: 0,
            pinned: HashMap::new(),
            incarnation: 0,
            reported: None,
            reported_apps: HashMap::new(),
            changed: Changed::default(),
            arriving: None,
            work: JoinSet::new(),
            attempts: 0,
        }
    }

    /// Which of the node's processes this is, once it has been announced.
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// Takes back what an earlier process said of itself: it is not true of this one. To be done before anybody reads
    /// the node's status, or a stale one is believed.
    ///
    /// # Errors
    /// When the bus fails.
    pub async fn announce(&mut self) -> Result<(), Error> {
        self.trust_epoch = self.preparer.trust.borrow().epoch();
        // Every announcement is a commit, so each has a greater one.
        self.incarnation = self.bus.revision() + 1;
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
        self.preparer.wakes.shutdown().await;
    }

    async fn follow(&mut self) {
        let mut watch = self.bus.watch(&assignment_key(&self.name));
        self.arriving = Some(BTreeSet::new());
        let (mut trust, mut is_kept) = (self.preparer.trust.clone(), true);
        let mut again = interval(limits::TRUST_RECHECK_EVERY);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut look = interval(self.preparer.idle_after / limits::IDLE_LOOKS);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
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
                Some(lost) = self.lost.recv() => self.lose(&lost),
                _ = look.tick() => self.rest(),
                event = watch.next() => match event {
                    Ok(event) => self.take(event).await,
                    Err(error) => {
                        tracing::error!(%error, "bus failed, what serves goes on serving");
                        return;
                    }
                },
            }
            // What is done by now is put in force together.
            while let Some(ended) = self.work.try_join_next() {
                self.settle(ended);
            }
            // What is still arriving is put in force as a whole.
            if self.arriving.is_some() {
                continue;
            }
            if let Err(error) = self.publish().await {
                tracing::error!(code = error.code(), %error, "what is ready cannot be put in force or reported, what serves goes on serving");
                return;
            }
        }
    }

    /// Takes one document of the assignment.
    async fn take(&mut self, event: Event) {
        let folder = assignment_key(&self.name);
        let app = |key: &str| Some(key.strip_prefix(&folder)?.strip_prefix('/')?.to_owned());
        match event {
            Event::Current => self.arrived().await,
            Event::Delete { key, .. } => {
                if let Some(app) = app(&key) {
                    self.remove(&app);
                }
            }
            Event::Put(entry) => {
                let taken = match app(&entry.key) {
                    Some(app) => self.take_app(&app, &entry),
                    None if entry.key == folder => self.take_whole(&entry),
                    None => Ok(()),
                };
                if let Err(error) = taken {
                    tracing::error!(%error, "assignment cannot be read, the last one stays in force");
                }
            }
        }
    }

    fn take_whole(&mut self, entry: &Entry) -> Result<(), fermion_bus::Error> {
        let assignment: Assignment = entry.json()?;
        self.generation = self.generation.max(assignment.generation);
        Ok(())
    }

    fn take_app(&mut self, key: &str, entry: &Entry) -> Result<(), fermion_bus::Error> {
        let assigned: AssignedApp = entry.json()?;
        let in_force = self.apps.get(key).map_or(0, |app| app.wanted.generation);
        if let Some(arriving) = &mut self.arriving {
            arriving.insert(key.to_owned());
        }
        let epoch = |canary: &Option<Canary>| canary.as_ref().map_or(0, |canary| canary.split.epoch);
        let heard = self.apps.get(key).map_or(0, |app| epoch(&app.wanted.canary));
        let is_fenced = assigned.canary.is_some() && epoch(&assigned.canary) < heard;
        if assigned.schema > ASSIGNMENT_SCHEMA || assigned.generation < in_force || is_fenced {
            tracing::warn!(
                app = key,
                generation = assigned.generation,
                "assignment refused: older than the one in force, or newer format"
            );
            return Ok(());
        }
        self.generation = self.generation.max(assigned.generation);
        self.assign(key, assigned);
        Ok(())
    }

    /// Every app that is assigned is known. Those whose code was used last are loaded; of the others it is made sure
    /// that they can be, and the first request loads them.
    async fn arrived(&mut self) {
        let Some(arrived) = self.arriving.take() else {
            return;
        };
        // What was taken away while nobody watched.
        let gone = self.apps.keys().filter(|key| !arrived.contains(*key));
        for key in gone.cloned().collect::<Vec<_>>() {
            self.remove(&key);
        }
        let waits = |app: &&App| !app.is_as_wanted() && app.attempt.is_none();
        let waiting = self.apps.iter().filter(|(_, app)| waits(app));
        let waiting = waiting.map(|(key, app)| (key.clone(), app.wanted.release.digest));
        let (first, others) = self.preparer.order(waiting.collect()).await;
        for key in first {
            self.begin(&key, Depth::Loaded);
        }
        for key in others {
            self.begin(&key, Depth::Verified);
        }
        for key in arrived {
            self.begin_canary(&key);
        }
    }

    fn remove(&mut self, key: &str) {
        self.apps.remove(key);
        self.changed.app(key);
    }

    /// Takes an app's part of the assignment as what is wanted, and begins to make it ready if it is not.
    fn assign(&mut self, key: &str, wanted: AssignedApp) {
        let app = self
            .apps
            .entry(key.to_owned())
            .or_insert_with(|| App::new(wanted.clone()));
        let is_new = app.wanted.release != wanted.release;
        app.wanted = wanted;
        self.changed.pins = true;
        if is_new {
            app.attempt = None;
            app.steps.clear();
        }
        let had_canary = app.canary.is_some();
        if let Some(serving) = app.take_canary() {
            app.serve(serving);
        }
        if had_canary || app.canary.is_some() {
            self.changed.app(key);
        }
        if app.is_as_wanted() {
            app.attempt = None;
            app.problem = None;
            self.changed.apps.insert(key.to_owned());
        } else if app.attempt.is_none() && self.arriving.is_none() {
            app.problem = None;
            self.begin(key, Depth::Loaded);
        }
        if self.arriving.is_none() {
            self.begin_canary(key);
        }
    }

    /// Numbers a preparation, so that one that is not wanted any more is told from one that is.
    pub(crate) fn next_attempt(&mut self) -> u64 {
        self.attempts += 1;
        self.attempts
    }

    /// Makes an app's wanted release ready, or what it falls back to if nothing serves.
    pub(crate) fn begin(&mut self, key: &str, depth: Depth) {
        let number = self.next_attempt();
        let Some(app) = self.apps.get_mut(key) else { return };
        let (key, preparer, release) = (key.to_owned(), self.preparer.clone(), app.wanted.release.clone());
        let fallback = app.fallback().filter(|_| app.serving.is_none()).cloned();
        let handle = self.work.spawn(async move {
            let (made, steps) = preparer.prepare(&release, depth).await;
            let fallback = match (&made, fallback) {
                (Err(_), Some(fallback)) => {
                    let (made, _) = preparer.prepare(&fallback, depth).await;
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
        let awaits = |app: &App| {
            app.canary
                .as_ref()
                .is_some_and(|canary| canary.awaits(prepared.number))
        };
        if self.apps.get(&prepared.key).is_some_and(awaits) {
            return self.settle_canary(prepared);
        }
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
        self.changed.app(&key);
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
        if self.changed.routes {
            self.swap()?;
            self.changed.routes = false;
        }
        if self.changed.pins {
            self.pin().await;
            self.changed.pins = false;
        }
        self.report().await
    }

    /// What the bus should hold of the node as a whole.
    pub(crate) fn status(&self) -> NodeStatus {
        NodeStatus {
            schema: ASSIGNMENT_SCHEMA,
            generation: self.generation,
            incarnation: self.incarnation,
            trust_epoch: self.trust_epoch,
        }
    }

    /// Puts the new table in force, in one step. If it cannot be built, the old one stays.
    fn swap(&mut self) -> Result<(), Error> {
        let mut routes = Vec::new();
        for app in self.apps.values() {
            let (release, target) = match (&app.serving, &app.stopped) {
                (Some(serving), _) => (&serving.release, Some(serving.ready.target.awake())),
                (None, stopped) => (&app.wanted.release, stopped.as_ref()),
            };
            let Some(target) = target else { continue };
            let share = app.share(self.preparer.countries.as_ref())?;
            routes.extend(release.routes.iter().map(|route| Routed {
                route: route.clone(),
                target: target.clone(),
                share: share.clone(),
            }));
        }
        let table = RouteTable::build(routes)?;
        self.routes.store(Arc::new(table));
        Ok(())
    }
}
