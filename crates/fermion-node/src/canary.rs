//! A release that is rolled out beside the one that serves: made ready like any other, and then given the share of
//! requests that the assignment says. When it takes over it is moved, not made again.

use std::sync::Arc;

use fermion_gateway::{Countries, Dispatch as _, Share, Trial};
use fermion_model::assignment::{Canary as Wanted, CanaryStatus, Problem};
use fermion_model::rollout::RolloutSpec;
use fermion_telemetry::Telemetry;

use crate::app::{App, Attempt, Serving};
use crate::error::Error;
use crate::prepare::{Depth, Ready};
use crate::reconcile::{Node, Prepared};
use crate::target::Target;

/// One app's release on its way.
#[derive(Debug)]
pub(crate) struct Canary {
    pub(crate) wanted: Wanted,
    pub(crate) ready: Option<Ready>,
    /// Why it is not ready.
    problem: Option<Problem>,
    attempt: Option<Attempt>,
    /// What the gateway remembers of the rollout.
    trial: Arc<Trial>,
}

impl Canary {
    fn new(wanted: Wanted) -> Self {
        Self {
            wanted,
            ready: None,
            problem: None,
            attempt: None,
            trial: Arc::default(),
        }
    }

    pub(crate) fn status(&self) -> CanaryStatus {
        let split = &self.wanted.split;
        CanaryStatus {
            release: self.wanted.release.number,
            ready: self.ready.is_some(),
            // What is not ready has no requests, whatever is wanted.
            weight: if self.ready.is_some() { split.weight } else { 0 },
            epoch: split.epoch,
            problem: self.problem.clone(),
        }
    }

    /// Takes it out of service at once.
    pub(crate) fn stop(&mut self, error: &Error) {
        if let Some(ready) = self.ready.take() {
            ready.target.stop();
        }
        self.problem = Some(error.to_problem());
    }

    /// True if it is this preparation that it waits for.
    pub(crate) fn awaits(&self, number: u64) -> bool {
        self.attempt
            .as_ref()
            .is_some_and(|attempt| attempt.number == number)
    }
}

impl App {
    /// Takes what is to be rolled out, as the assignment has it now. Gives what was rolled out and ready, if it is what
    /// serves from now on.
    pub(crate) fn take_canary(&mut self) -> Option<Serving> {
        let before = self.canary.take();
        let wanted = self.wanted.canary.clone();
        match (before, wanted) {
            (Some(canary), Some(wanted)) if canary.wanted.release == wanted.release => {
                self.canary = Some(Canary { wanted, ..canary });
                None
            }
            (before, wanted) => {
                self.canary = wanted.map(Canary::new);
                let canary = before.filter(|canary| canary.wanted.release == self.wanted.release)?;
                let release = canary.wanted.release;
                canary.ready.map(|ready| Serving { release, ready })
            }
        }
    }

    /// What the canary gets of the app's requests; none while it is not ready. Its own routes come with it when it takes
    /// over: until then those of the release that serves lead to both.
    pub(crate) fn share(
        &self,
        countries: Option<&Arc<Countries>>,
    ) -> Result<Option<Arc<Share<Target>>>, Error> {
        let Some(canary) = &self.canary else {
            return Ok(None);
        };
        let Some(ready) = &canary.ready else {
            return Ok(None);
        };
        let share = Share::new(
            &canary.wanted.split,
            ready.target.clone(),
            &canary.trial,
            countries,
        )?;
        Ok(Some(Arc::new(share)))
    }

    /// Counts a release that is ready, and keeps the counters of the last few readable.
    pub(crate) fn measure(&mut self, ready: &Ready, telemetry: &Telemetry) {
        let target = &ready.target;
        crate::app::watch(target, telemetry);
        if let Some(upstreams) = &ready.plan.upstreams {
            telemetry.watch_upstreams(target.served(), upstreams.clone());
        }
        self.remember(target.served(), telemetry);
    }
}

impl Node {
    /// Begins to make an app's canary ready, unless it is, or has failed, or that is under way.
    pub(crate) fn begin_canary(&mut self, key: &str) {
        let number = self.next_attempt();
        let Some(canary) = self.apps.get_mut(key).and_then(|app| app.canary.as_mut()) else {
            return;
        };
        if canary.ready.is_some() || canary.problem.is_some() || canary.attempt.is_some() {
            return;
        }
        let asks = canary.wanted.release.rollout.as_ref();
        if asks.is_some_and(RolloutSpec::asks_country) && self.preparer.countries.is_none() {
            canary.problem = Some(Error::NoCountries.to_problem());
            self.changed.app(key);
            return;
        }
        let (key, preparer, release) = (
            key.to_owned(),
            self.preparer.clone(),
            canary.wanted.release.clone(),
        );
        let handle = self.work.spawn(async move {
            let (made, steps) = preparer.prepare(&release, Depth::Loaded).await;
            Prepared {
                key,
                number,
                release,
                made,
                steps,
                fallback: None,
            }
        });
        canary.attempt = Some(Attempt::new(number, handle));
    }

    /// Takes what the preparation of a canary has come to.
    pub(crate) fn settle_canary(&mut self, prepared: Prepared) {
        let Prepared {
            key, release, made, ..
        } = prepared;
        let made = self.preparer.admit(&release, made);
        let Some(app) = self.apps.get_mut(&key) else {
            return;
        };
        let Some(canary) = app.canary.as_mut() else { return };
        canary.attempt = None;
        match made {
            Ok(ready) => {
                app.measure(&ready, &self.telemetry);
                if let Some(canary) = app.canary.as_mut() {
                    canary.ready = Some(ready);
                }
            }
            Err(error) => {
                tracing::error!(app = key, release = %release.number, code = error.code(), %error, "a release that is to be rolled out cannot be made ready");
                canary.problem = Some(error.to_problem());
            }
        }
        self.changed.app(&key);
    }
}
