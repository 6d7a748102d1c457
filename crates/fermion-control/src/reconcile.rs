//! The reconciler: the only writer of assignments, and the only judge of releases. It takes no input, may run at any
//! time and any number of times, and does nothing if nothing is to be done.

use fermion_bus::{Bus, Event, Expect, Watch};
use fermion_model::assignment::{ASSIGNMENT_SCHEMA, Assignment};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::documents::{APPS, AUTOMATIC, Change, ChangeKind, assignment_key, status_key};
use crate::limits::RECONCILE_EVERY;
use crate::plan::{Outcome, State};
use crate::{Control, Error};

impl Control {
    /// Reconciles now, whenever a document it depends on changes, and every few seconds, until cancelled.
    pub(crate) async fn run_reconciler(&self, shutdown: CancellationToken) {
        let mut tick = interval(RECONCILE_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let node = &self.config().node;
        let [mut apps, mut assignment, mut status] =
            [APPS, &assignment_key(node), &status_key(node)].map(|prefix| Wake::new(self.bus(), prefix));
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                () = apps.wait() => {}
                () = assignment.wait() => {}
                () = status.wait() => {}
                _ = tick.tick() => {}
            }
            match self.reconcile().await {
                Ok(()) => {}
                // Someone else wrote meanwhile; that change wakes us again.
                Err(Error::Bus(error)) if error.is_conflict() => {
                    tracing::debug!(%error, "reconciled by another")
                }
                Err(error) => tracing::error!(%error, "cannot reconcile; trying again"),
            }
        }
    }

    /// One pass: judge the releases on trial by the node's report, then write the assignment if it differs. The
    /// reconciler does it by itself; at a start it is asked for, so that what was intended and not yet assigned when
    /// the process died is on its way before anybody says that all is ready.
    pub async fn reconcile(&self) -> Result<(), Error> {
        let _intent = self.shared.intent.lock().await;
        let mut state = self.read_state().await?;
        self.judge(&mut state).await?;
        let apps = state.assign();
        if state.assignment_revision.is_some() && apps == state.assignment.apps {
            return Ok(());
        }
        let assignment = Assignment {
            schema: ASSIGNMENT_SCHEMA,
            generation: state.next_generation(),
            apps,
        };
        let expect = Expect::unchanged(state.assignment_revision);
        self.bus()
            .put_json(&assignment_key(&self.config().node), &assignment, expect)
            .await?;
        tracing::debug!(generation = assignment.generation, "assignment written");
        Ok(())
    }

    async fn judge(&self, state: &mut State) -> Result<(), Error> {
        let names: Vec<String> = state.apps.keys().cloned().collect();
        for name in names {
            let Some(outcome) = state.outcome(&name) else {
                continue;
            };
            let Some(known) = state.apps.get_mut(&name) else {
                continue;
            };
            match outcome {
                Outcome::Good(release) => {
                    known.document.mark_good(release);
                    tracing::info!(app = name, %release, "release serves");
                }
                Outcome::Failed(release, problem) => {
                    tracing::warn!(app = name, %release, code = problem.code, message = problem.message, "release failed");
                    let change = Change {
                        at: self.now(),
                        by: AUTOMATIC.to_owned(),
                        kind: ChangeKind::Return,
                    };
                    known.document.mark_failed(release, problem, change);
                }
            }
            let expect = Expect::unchanged(known.revision);
            let revision = self
                .bus()
                .put_json(&known.document.key(), &known.document, expect)
                .await?;
            known.revision = Some(revision);
        }
        Ok(())
    }
}

/// A watch used only to be woken: what has changed is read from the bus anyway.
struct Wake {
    bus: Bus,
    prefix: String,
    watch: Watch,
    current: bool,
}

impl Wake {
    fn new(bus: &Bus, prefix: &str) -> Self {
        Self {
            bus: bus.clone(),
            prefix: prefix.to_owned(),
            watch: bus.watch(prefix),
            current: false,
        }
    }

    /// Returns when something under the prefix has changed since the last time, and once when the present is known.
    /// A watch that fails is begun again and never returns meanwhile: the periodic pass goes on without it.
    async fn wait(&mut self) {
        loop {
            match self.watch.next().await {
                Ok(Event::Current) => {
                    self.current = true;
                    return;
                }
                Ok(Event::Put(_) | Event::Delete { .. }) if self.current => return,
                Ok(Event::Put(_) | Event::Delete { .. }) => {}
                Err(error) => {
                    tracing::error!(%error, prefix = self.prefix, "cannot watch the bus");
                    self.watch = self.bus.watch(&self.prefix);
                    self.current = false;
                    tokio::time::sleep(RECONCILE_EVERY).await;
                }
            }
        }
    }
}
