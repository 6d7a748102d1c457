//! One app on this node: what is wanted of it, what serves, and what is being made ready.

use std::collections::VecDeque;
use std::sync::Arc;

use fermion_gateway::Dispatch;
use fermion_model::Release;
use fermion_model::assignment::{ASSIGNMENT_SCHEMA, AppStatus, AssignedApp, Problem, Step};
use fermion_model::record::Served;
use fermion_telemetry::{InstanceReading, Telemetry};
use tokio::task::AbortHandle;

use crate::error::Error;
use crate::limits;
use crate::prepare::Ready;
use crate::target::Target;

/// One app as this node has it.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) wanted: AssignedApp,
    pub(crate) serving: Option<Serving>,
    /// Why the wanted release does not serve.
    pub(crate) problem: Option<Problem>,
    /// What making it ready took.
    pub(crate) steps: Vec<Step>,
    pub(crate) attempt: Option<Attempt>,
    /// Stands in the route of an app that was let in once and may not run now, so that its callers are told so.
    pub(crate) stopped: Option<Arc<Target>>,
    measured: VecDeque<Arc<Served>>,
}

/// A release that serves.
#[derive(Debug, Clone)]
pub(crate) struct Serving {
    pub(crate) release: Release,
    pub(crate) ready: Ready,
}

/// A preparation that is under way. Given up when dropped.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) number: u64,
    handle: AbortHandle,
}

impl Attempt {
    pub(crate) fn new(number: u64, handle: AbortHandle) -> Self {
        Self { number, handle }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

impl App {
    pub(crate) fn new(wanted: AssignedApp) -> Self {
        Self {
            wanted,
            serving: None,
            problem: None,
            steps: Vec::new(),
            attempt: None,
            stopped: None,
            measured: VecDeque::new(),
        }
    }

    /// True if the release that should serve does.
    pub(crate) fn is_as_wanted(&self) -> bool {
        self.serving
            .as_ref()
            .is_some_and(|serving| serving.release == self.wanted.release)
    }

    /// The release to go back to, if it is another than the wanted one.
    pub(crate) fn fallback(&self) -> Option<&Release> {
        let number = self.wanted.release.number;
        self.wanted
            .last_good
            .as_ref()
            .filter(|release| release.number != number)
    }

    pub(crate) fn status(&self, incarnation: u64) -> AppStatus {
        AppStatus {
            schema: ASSIGNMENT_SCHEMA,
            incarnation,
            generation: self.wanted.generation,
            serving: self.serving.as_ref().map(|serving| serving.release.number),
            wanted: self.wanted.release.number,
            problem: self.problem.clone(),
            steps: self.steps.clone(),
            canary: None,
        }
    }

    /// The wanted release may not run, or cannot. Callers of one that was let in once are told that nothing is ready.
    pub(crate) fn fails(&mut self, error: &Error, steps: Vec<Step>) {
        self.problem = Some(error.to_problem());
        self.steps = steps;
        if self.serving.is_none() && matches!(error, Error::Package(_)) {
            self.stopped = Some(Arc::new(Target::stopped(&self.wanted.release)));
        }
    }

    /// Puts a release in the place of what served. Counters of the last few stay readable.
    pub(crate) fn take_over(&mut self, release: &Release, ready: Ready, telemetry: &Telemetry) {
        let target = &ready.target;
        watch(target, telemetry);
        if let Some(upstreams) = &ready.plan.upstreams {
            telemetry.watch_upstreams(target.served(), upstreams.clone());
        }
        self.measured.push_back(target.served().clone());
        while self.measured.len() > limits::RELEASES_MEASURED_MAX {
            if let Some(old) = self.measured.pop_front() {
                telemetry.retire(&old);
            }
        }
        self.stopped = None;
        self.serving = Some(Serving {
            release: release.clone(),
            ready,
        });
    }

    /// Takes the release that serves out of service at once: also requests that already found it and still wait.
    pub(crate) fn stop(&mut self, error: &Error) {
        if let Some(serving) = self.serving.take() {
            serving.ready.target.stop();
        }
        let steps = std::mem::take(&mut self.steps);
        self.fails(error, steps);
    }
}

/// Reads a release's instances where they are now. What sleeps is another target, and is to be watched anew; the permits
/// stay the same.
pub(crate) fn watch(target: &Arc<Target>, telemetry: &Telemetry) {
    let (permits, weak) = (target.permits().clone(), Arc::downgrade(target));
    let read = move || InstanceReading {
        in_use: u64::from(permits.in_use()),
        kept: weak.upgrade().map_or(0, |target| target.awake().kept()),
    };
    telemetry.watch_instances(target.served(), read);
}
