//! The reconciler: the only writer of assignments, and the only judge of releases. It takes no input, may run at any
//! time and any number of times, and does nothing if nothing is to be done.

use fermion_bus::{Expect, Op};
use fermion_model::assignment::{
    ASSIGNMENT_SCHEMA, AssignedApp, Assignment, assigned_app_key, assignment_key,
};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::documents::{AUTOMATIC, Change, ChangeKind};
use crate::known::Known;
use crate::limits::{ASSIGNED_AT_ONCE_MAX, RECONCILE_EVERY};
use crate::plan::{Outcome, State};
use crate::{Control, Error};

impl Control {
    /// Reconciles now, whenever something has changed, and every few seconds, until cancelled.
    pub(crate) async fn run_reconciler(&self, shutdown: CancellationToken) {
        let mut tick = interval(RECONCILE_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let seen = self.bus().revision();
            match self.reconcile().await {
                Ok(()) => {}
                // Someone else wrote meanwhile; that change wakes us again.
                Err(Error::Bus(error)) if error.is_conflict() => {
                    tracing::debug!(%error, "reconciled by another")
                }
                Err(error) => tracing::error!(%error, "cannot reconcile; trying again"),
            }
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                Ok(()) = self.bus().changed_since(seen) => {}
                _ = tick.tick() => {}
            }
        }
    }

    /// One pass: judge the releases on trial by the node's report, then write what is assigned as far as it differs.
    /// The reconciler does it by itself; at a start it is asked for, so that what was intended and not yet assigned
    /// when the process died is on its way before anybody says that all is ready.
    pub async fn reconcile(&self) -> Result<(), Error> {
        let mut known = self.shared.intent.lock().await;
        self.catch_up(&mut known).await?;
        self.judge(&mut known).await?;
        // The first assignment is written also if it is empty.
        if known.is_unassigned || known.state.assignment_revision.is_none() {
            self.assign(&mut known).await?;
        }
        Ok(())
    }

    /// Writes what is assigned until it is what is intended; many changes take several commits, each whole in itself.
    async fn assign(&self, known: &mut Known) -> Result<(), Error> {
        loop {
            let ops = self.assignment_ops(&known.state)?;
            if ops.is_empty() {
                known.is_unassigned = false;
                return Ok(());
            }
            self.bus().commit(ops).await?;
            self.catch_up(known).await?;
        }
    }

    /// The next commit of what is assigned; empty if it is what is intended.
    fn assignment_ops(&self, state: &State) -> Result<Vec<Op>, Error> {
        let (node, generation) = (&self.config().node, state.next_generation());
        let changes = state.reassign();
        if changes.is_empty() && state.assignment_revision.is_some() {
            return Ok(Vec::new());
        }
        let mut ops = Vec::new();
        for (name, part) in changes.into_iter().take(ASSIGNED_AT_ONCE_MAX) {
            let (key, expect) = (assigned_app_key(node, name), Expect::Any);
            ops.push(match part {
                None => Op::Delete { key, expect },
                Some(part) => {
                    let app = AssignedApp {
                        schema: ASSIGNMENT_SCHEMA,
                        generation,
                        release: part.release.clone(),
                        last_good: part.last_good.cloned(),
                        canary: None,
                    };
                    Op::put_json(key, &app, expect)?
                }
            });
        }
        // Whoever else writes assignments is found out here, for all of them.
        let assignment = Assignment {
            schema: ASSIGNMENT_SCHEMA,
            generation,
        };
        let expect = Expect::unchanged(state.assignment_revision);
        ops.push(Op::put_json(assignment_key(node), &assignment, expect)?);
        tracing::debug!(generation, "writing the assignment");
        Ok(ops)
    }

    async fn judge(&self, known: &mut Known) -> Result<(), Error> {
        for name in known.unjudged.clone() {
            let Some(outcome) = known.state.outcome(&name) else {
                continue;
            };
            let Some(app) = known.state.apps.get(&name) else {
                continue;
            };
            let (mut document, expect) = (app.document.clone(), Expect::unchanged(app.revision));
            match outcome {
                Outcome::Good(release) => {
                    document.mark_good(release);
                    tracing::info!(app = name, %release, "release serves");
                }
                Outcome::Failed(release, problem) => {
                    tracing::warn!(app = name, %release, code = problem.code, message = problem.message, "release failed");
                    let change = Change {
                        at: self.now(),
                        by: AUTOMATIC.to_owned(),
                        kind: ChangeKind::Return,
                    };
                    document.mark_failed(release, problem, change);
                }
            }
            self.bus().put_json(&document.key(), &document, expect).await?;
        }
        // What was just written puts its app on the list again, and is no trial any more.
        known.unjudged.clear();
        self.catch_up(known).await
    }
}
