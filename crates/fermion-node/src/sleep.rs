//! Apps that nobody asks for give their memory back: code, images, instances. What stays is what had been verified, so
//! the next request only loads sealed native code, a millisecond's work, off the reactor and once however many wait.
//! Who may run is asked again before anything is loaded.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use fermion_gateway::Admission;
use fermion_model::fault::{Failure, Fault};
use fermion_model::record::Served;
use fermion_telemetry::Wake;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::error::Error;
use crate::limits;
use crate::prepare::{Plan, Preparer};
use crate::reconcile::Node;
use crate::target::Target;

/// Owns what is being loaded again, and hears of what could not be.
#[derive(Debug, Clone)]
pub struct Wakes {
    tasks: TaskTracker,
    stop: CancellationToken,
    lost: mpsc::Sender<Lost>,
    hears: Arc<Mutex<Option<mpsc::Receiver<Lost>>>>,
}

/// A release that was dormant and cannot be loaded again.
#[derive(Debug)]
pub(crate) struct Lost {
    plan: Arc<Plan>,
    error: Error,
}

impl Default for Wakes {
    fn default() -> Self {
        let (lost, hears) = mpsc::channel(limits::LOST_MAX);
        Self {
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            lost,
            hears: Arc::new(Mutex::new(Some(hears))),
        }
    }
}

impl Wakes {
    /// What the node is to see to. Can be taken once; a second taker hears nothing.
    pub(crate) fn hears(&self) -> mpsc::Receiver<Lost> {
        let taken = self.hears.lock().unwrap_or_else(PoisonError::into_inner).take();
        taken.unwrap_or_else(|| mpsc::channel(1).1)
    }

    /// Stops loading, and waits for what was at it.
    pub(crate) async fn shutdown(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// A release that is verified and not loaded, or was when this was made.
pub(crate) struct Sleeper {
    preparer: Arc<Preparer>,
    plan: Arc<Plan>,
    served: Arc<Served>,
    admission: Admission,
    awake: OnceLock<Arc<Target>>,
    /// Closed when the attempt that is under way has ended.
    waking: Mutex<Option<watch::Receiver<()>>>,
}

impl std::fmt::Debug for Sleeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sleeper")
            .field("served", &self.served)
            .field("is_awake", &self.awake.get().is_some())
            .finish_non_exhaustive()
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        if self.awake.get().is_none() {
            self.preparer.telemetry.doors().dormant_ends();
        }
    }
}

impl Sleeper {
    /// `admission` is that of the release: whoever is let in before it sleeps or after it wakes counts alike.
    pub(crate) fn new(
        preparer: Arc<Preparer>,
        plan: Arc<Plan>,
        served: Arc<Served>,
        admission: Admission,
    ) -> Self {
        preparer.telemetry.doors().dormant_begins();
        Self {
            preparer,
            plan,
            served,
            admission,
            awake: OnceLock::new(),
            waking: Mutex::new(None),
        }
    }

    /// The loaded release, if it is loaded.
    pub(crate) fn awake(&self) -> Option<&Arc<Target>> {
        self.awake.get()
    }

    /// The loaded release, and how long the caller has waited for it.
    ///
    /// # Errors
    /// `NOT_READY` if it cannot be loaded or that takes too long.
    pub(crate) async fn wake(self: &Arc<Self>) -> Result<(&Arc<Target>, Duration), Failure> {
        if let Some(awake) = self.awake.get() {
            return Ok((awake, Duration::ZERO));
        }
        let begun = Instant::now();
        let mut ended = self.begin();
        // Nothing is ever sent: the end of the attempt closes it.
        let is_over = tokio::time::timeout(limits::WAKE_WAIT_MAX, ended.changed())
            .await
            .is_ok();
        match self.awake.get() {
            Some(awake) => Ok((awake, begun.elapsed())),
            None if is_over => Err(Failure::new(
                Fault::NotReady,
                "the release cannot be loaded again",
            )),
            None => Err(Failure::new(
                Fault::NotReady,
                format!("the release is not loaded after {:?}", limits::WAKE_WAIT_MAX),
            )),
        }
    }

    /// Begins to load, unless that is under way.
    fn begin(self: &Arc<Self>) -> watch::Receiver<()> {
        let mut waking = self.waking.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(under_way) = waking.as_ref().filter(|ended| ended.has_changed().is_ok()) {
            return under_way.clone();
        }
        let (end, ended) = watch::channel(());
        *waking = Some(ended.clone());
        if self.awake.get().is_none() {
            let (sleeper, wakes) = (self.clone(), &self.preparer.wakes);
            let stop = wakes.stop.clone();
            wakes.tasks.spawn(async move {
                stop.run_until_cancelled(sleeper.load()).await;
                drop(end);
            });
        }
        ended
    }

    async fn load(&self) {
        let doors = self.preparer.telemetry.doors();
        match self.preparer.load_again(&self.plan).await {
            Ok((program, outcome)) => {
                let (served, admission) = (self.served.clone(), self.admission.clone());
                let target = Target::with(served, admission, program, self.preparer.logs.clone());
                if self.awake.set(Arc::new(target)).is_ok() {
                    doors.dormant_ends();
                    doors.woke(outcome);
                }
            }
            Err(error) => {
                tracing::error!(
                    namespace = self.served.namespace, app = self.served.app, release = self.served.release,
                    code = error.code(), %error, "a dormant release cannot be loaded again"
                );
                doors.woke(Wake::Lost);
                let plan = self.plan.clone();
                // With so many lost already, this one is found with its next request.
                drop(self.preparer.wakes.lost.try_send(Lost { plan, error }));
            }
        }
    }
}

impl Node {
    /// Lets those sleep whom nobody has asked for.
    pub(crate) fn rest(&mut self) {
        for app in self.apps.values_mut() {
            // What a rollout may go back to stays loaded.
            if app.canary.is_some() {
                continue;
            }
            let Some(serving) = &mut app.serving else { continue };
            let ready = &mut serving.ready;
            let is_quiet = ready.target.is_loaded() && ready.plan.may_sleep() && !ready.target.was_used();
            ready.quiet_looks = if is_quiet { ready.quiet_looks + 1 } else { 0 };
            if ready.quiet_looks >= limits::IDLE_LOOKS {
                ready.quiet_looks = 0;
                ready.target = Arc::new(ready.target.asleep(&self.preparer, &ready.plan));
                crate::app::watch(&ready.target, &self.telemetry);
                self.changed.routes = true;
            }
        }
    }

    /// A release that slept cannot be loaded: it stops, and is made ready from the beginning, or what its app falls
    /// back to.
    pub(crate) fn lose(&mut self, lost: &Lost) {
        let release = &lost.plan.release;
        let key = format!("{}/{}", release.namespace, release.app);
        let Some(app) = self.apps.get_mut(&key) else {
            return;
        };
        if app
            .serving
            .as_ref()
            .is_some_and(|serving| serving.release == *release)
        {
            app.stop(&lost.error);
            app.stopped = Some(Arc::new(Target::stopped(release)));
            self.changed.app(&key);
            self.begin(&key, crate::prepare::Depth::Loaded);
        }
    }
}
