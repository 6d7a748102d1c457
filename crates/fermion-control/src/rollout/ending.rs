//! What the end of a rollout means: for its app, for what is remembered, and for what was deployed meanwhile.

use std::collections::BTreeSet;

use fermion_bus::{Expect, Op};
use fermion_model::assignment::Problem;
use fermion_model::limits::STEPS_MAX;
use fermion_model::rollout::Strategy;
use fermion_planner::rollout::{Phase, Reason};

use super::controller::{Controller, ROLLED_BACK};
use super::document::{RolloutDocument, history_prefix, judgements_prefix};
use super::{Quarantined, words};
use crate::documents::{Change, ChangeKind};
use crate::limits::{QUARANTINED_MAX, ROLLOUTS_KEPT_MAX};
use crate::plan::{KnownApp, State};
use crate::{Control, Error};

impl Controller {
    /// What the end of a rollout means for its app.
    pub(super) fn end(&self, app: &KnownApp, document: &RolloutDocument, now: u64) -> Result<Op, Error> {
        let mut next = app.document.clone();
        next.canary = None;
        let why = words::why(document);
        match document.state.phase {
            // What was only tried leaves everything as it is.
            Phase::Succeeded if document.spec.strategy == Strategy::Shadow => {}
            Phase::Succeeded => {
                let change = Change {
                    at: now,
                    by: document.begun_by.clone(),
                    kind: ChangeKind::Rollout,
                };
                next.activate(document.canary, change);
                next.mark_good(document.canary);
            }
            Phase::RolledBack(reason) => {
                next.failed.retain(|failed| failed.number != document.canary);
                next.failed.push(crate::documents::FailedRelease {
                    number: document.canary,
                    problem: Problem {
                        code: ROLLED_BACK.to_owned(),
                        message: why.clone(),
                    },
                });
                let is_its_fault = !matches!(
                    reason,
                    // What differs may be meant to.
                    Reason::Person
                        | Reason::Deadline
                        | Reason::NoProgress
                        | Reason::Superseded
                        | Reason::Differs
                        | Reason::Loses
                        | Reason::Undecided
                );
                if let Some(release) = app.releases.get(&document.canary).filter(|_| is_its_fault) {
                    next.quarantined.retain(|known| known.digest != release.digest);
                    next.quarantined.push(Quarantined {
                        digest: release.digest,
                        release: document.canary,
                        why,
                    });
                    let surplus = next.quarantined.len().saturating_sub(QUARANTINED_MAX);
                    next.quarantined.drain(..surplus);
                }
            }
            _ => {}
        }
        Ok(Op::put_json(next.key(), &next, Expect::unchanged(app.revision))?)
    }

    /// Keeps what is over, and lets the oldest go.
    pub(super) async fn archive(&self, document: &RolloutDocument) -> Result<Vec<Op>, Error> {
        let prefix = history_prefix(&document.namespace, &document.app);
        let mut kept: Vec<(u64, String)> = Vec::new();
        for entry in self.control.bus().list(&prefix).await? {
            let id = entry.key.strip_prefix(&prefix).and_then(|id| id.parse().ok());
            kept.push((id.unwrap_or(0), entry.key));
        }
        kept.sort();
        let surplus = (kept.len() + 1).saturating_sub(ROLLOUTS_KEPT_MAX);
        let delete = |(_, key): (u64, String)| Op::Delete {
            key,
            expect: Expect::Any,
        };
        let mut ops: Vec<Op> = kept.iter().take(surplus).cloned().map(delete).collect();
        let summary = RolloutDocument {
            evidence: document.evidence.summary(),
            ..document.clone()
        };
        let kept: BTreeSet<u64> = kept.into_iter().skip(surplus).map(|(id, _)| id).collect();
        ops.extend(self.old_judgements(document, &kept).await?);
        ops.push(Op::put_json(
            format!("{prefix}{}", document.id),
            &summary,
            Expect::Any,
        )?);
        Ok(ops)
    }

    /// The removal of verdicts whose rollouts are not remembered any more.
    async fn old_judgements(
        &self,
        document: &RolloutDocument,
        kept: &BTreeSet<u64>,
    ) -> Result<Vec<Op>, Error> {
        let prefix = judgements_prefix(&document.namespace, &document.app);
        let of = |key: &str| key.strip_prefix(&prefix)?.split_once('-')?.0.parse::<u64>().ok();
        let is_old = |key: &str| of(key).is_none_or(|id| id != document.id && !kept.contains(&id));
        let old = self.control.bus().list(&prefix).await?.into_iter();
        let old = old.map(|entry| entry.key).filter(|key| is_old(key));
        let delete = |key| Op::Delete {
            key,
            expect: Expect::Any,
        };
        Ok(old.take(STEPS_MAX).map(delete).collect())
    }

    /// What was deployed while a rollout was under way has its turn when that is over.
    pub(super) fn follow_up(
        &self,
        app: &KnownApp,
        ended: &RolloutDocument,
        revision: Option<u64>,
        now: u64,
    ) -> Result<Vec<Op>, Error> {
        let Some(number) = ended.next else {
            return Ok(Vec::new());
        };
        let mut document = app.document.clone();
        let mut rollout = RolloutDocument {
            next: None,
            ..ended.clone()
        };
        if let Some(release) = app.releases.get(&number) {
            match self.control.begins(&document, release, now)? {
                Some(next) => {
                    document.canary = Some(number);
                    rollout = next;
                }
                None => {
                    let change = Change {
                        at: now,
                        by: release.created_by.clone(),
                        kind: ChangeKind::Deploy,
                    };
                    document.canary = None;
                    document.activate(number, change);
                }
            }
        }
        document.waiting = None;
        Ok(vec![
            Op::put_json(document.key(), &document, Expect::unchanged(app.revision))?,
            Op::put_json(rollout.key(), &rollout, Expect::unchanged(revision))?,
        ])
    }
}

impl Control {
    /// Counts an app's rollout that the change which was just stored has ended.
    pub(super) async fn count_ended(&self, before: &State, name: &str) {
        let phase = |state: &State| state.rollouts.get(name).map(|known| known.document.state.phase);
        // What is stored is stored; if it cannot be read now, one end is not counted.
        let Ok(after) = self.read_state().await else {
            return;
        };
        let after = phase(&after);
        let outcome = match after {
            Some(Phase::Succeeded) => "succeeded",
            Some(Phase::RolledBack(_)) => "rolled_back",
            Some(Phase::Superseded) => "superseded",
            _ => return,
        };
        if !phase(before).is_some_and(Phase::ended) {
            self.shared.parts.telemetry.control().rolled_out(outcome);
        }
    }
}
