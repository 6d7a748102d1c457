//! The controller of rollouts: at each frame of telemetry it looks at every rollout that is under way, asks the planner,
//! checks the plan, and stores it. It acts through what it stores alone: the reconciler assigns what the document says.
//! Each life of a controller claims an epoch; one that finds a higher one leaves everything to its successor.

use std::collections::{BTreeSet, HashMap};

use fermion_bus::{Expect, Heard as Message, Op};
use fermion_model::assignment::Problem;
use fermion_model::frame::{FRAME_SCHEMA, Frame, FrameSeries};
use fermion_model::limits::STEPS_MAX;
use fermion_planner::judge::{Verdict, judge};
use fermion_planner::rollout::{Action, Phase, Reason, check, plan};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::arms::Heard;
use super::document::{
    Event, Judged, Judgement, Order, ROLLOUT_SCHEMA, RolloutDocument, history_prefix, judgements_prefix,
};
use super::observed::Seen;
use super::{Quarantined, judging, words};
use crate::documents::{AUTOMATIC, Change, ChangeKind};
use crate::limits::{
    CONFLICT_TRIES_MAX, QUARANTINED_MAX, ROLLOUT_SERIES_MAX, ROLLOUT_SILENCE, ROLLOUTS_KEPT_MAX,
};
use crate::plan::{KnownApp, State};
use crate::{Control, Error};

/// Where the epoch of the newest controller lies.
const EPOCH: &str = "controllers/rollouts";
/// The code of a release that was taken back.
pub(crate) const ROLLED_BACK: &str = "ROLLED_BACK";

/// Who claimed to write last.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Claim {
    epoch: u64,
}

/// What one life of a controller knows that is not stored.
struct Controller {
    control: Control,
    epoch: u64,
    /// What frames said since it was last stored, by `namespace/app` and release.
    heard: HashMap<(String, u32), FrameSeries>,
}

impl Control {
    /// Looks after rollouts until cancelled.
    pub(crate) async fn run_rollouts(&self, shutdown: CancellationToken) {
        let mut frames = self.bus().listen("frames/");
        let Some(claimed) = shutdown.run_until_cancelled(self.claim_rollouts()).await else {
            return;
        };
        let epoch = match claimed {
            Ok(epoch) => epoch,
            Err(error) => {
                tracing::error!(%error, "rollouts cannot be taken over, and stay as they are");
                return;
            }
        };
        let mut controller = Controller {
            control: self.clone(),
            epoch,
            heard: HashMap::new(),
        };
        loop {
            let heard = tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                heard = tokio::time::timeout(ROLLOUT_SILENCE, frames.next()) => heard,
            };
            let telemetry = match heard {
                Ok(Ok(Message::Message(message))) => controller.hear(&message.bytes),
                Ok(Ok(Message::Missed(count))) => {
                    tracing::warn!(count, "frames of telemetry were missed");
                    continue;
                }
                Ok(Err(error)) => {
                    tracing::error!(%error, "no more telemetry; rollouts stay as they are");
                    return;
                }
                Err(_) => false,
            };
            controller.look(telemetry).await;
        }
    }

    /// Claims the next epoch: whoever had an earlier one writes no more.
    async fn claim_rollouts(&self) -> Result<u64, Error> {
        for _ in 0..CONFLICT_TRIES_MAX {
            let read = self.bus().get_json::<Claim>(EPOCH).await?;
            let (revision, claim) = read.map_or((None, Claim::default()), |(at, claim)| (Some(at), claim));
            let epoch = claim.epoch + 1;
            let claim = Claim { epoch };
            match self
                .bus()
                .put_json(EPOCH, &claim, Expect::unchanged(revision))
                .await
            {
                Ok(_) => return Ok(epoch),
                Err(error) if error.is_conflict() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Busy {
            what: "claims of rollouts",
        })
    }

    async fn claimed(&self) -> Result<u64, Error> {
        let read = self.bus().get_json::<Claim>(EPOCH).await?;
        Ok(read.map_or(0, |(_, claim)| claim.epoch))
    }
}

impl Controller {
    /// Adds a frame to what is not yet looked at. Says whether it was one.
    fn hear(&mut self, bytes: &[u8]) -> bool {
        let frame: Frame = match serde_json::from_slice(bytes) {
            Ok(frame) => frame,
            Err(error) => {
                tracing::warn!(%error, "a frame of telemetry cannot be read");
                return false;
            }
        };
        if frame.schema != FRAME_SCHEMA {
            return false;
        }
        for series in frame.series {
            let key = (format!("{}/{}", series.namespace, series.app), series.release);
            if self.heard.len() >= ROLLOUT_SERIES_MAX && !self.heard.contains_key(&key) {
                continue;
            }
            self.heard.entry(key).or_default().merge(&series);
        }
        true
    }

    /// One look at every rollout. What was heard and is nobody's is let go.
    async fn look(&mut self, telemetry: bool) {
        let looked = self.look_at_all(telemetry).await;
        match looked {
            Ok(()) => self.heard.clear(),
            Err(error) => tracing::error!(%error, "rollouts cannot be looked at now"),
        }
    }

    async fn look_at_all(&mut self, telemetry: bool) -> Result<(), Error> {
        let state = self.control.read_state().await?;
        let under_way = |document: &RolloutDocument| !document.is_over() || document.next.is_some();
        let names: Vec<String> = state
            .rollouts
            .iter()
            .filter(|(_, known)| under_way(&known.document))
            .map(|(name, _)| name.clone())
            .collect();
        if names.is_empty() {
            return Ok(());
        }
        let claimed = self.control.claimed().await?;
        if claimed > self.epoch {
            return Ok(());
        }
        for name in names {
            self.look_at(&name, telemetry).await?;
            // What is stored is not counted again, also where the next one fails.
            self.heard.retain(|(app, _), _| *app != name);
        }
        Ok(())
    }

    /// One look at one rollout, made again if its documents changed meanwhile.
    async fn look_at(&self, name: &str, telemetry: bool) -> Result<(), Error> {
        for _ in 0..CONFLICT_TRIES_MAX {
            let state = self.control.read_state().await?;
            let ops = self.next_ops(&state, name, telemetry).await?;
            if ops.is_empty() {
                return Ok(());
            }
            match self.control.bus().commit(ops).await {
                Ok(_) => return self.control.count_ended(&state, name).await,
                Err(error) if error.is_conflict() => {}
                Err(error) => return Err(error.into()),
            }
        }
        tracing::warn!(
            app = name,
            "a rollout changes too often to be looked at; the next look tries again"
        );
        Ok(())
    }

    /// What one look stores.
    async fn next_ops(&self, state: &State, name: &str, telemetry: bool) -> Result<Vec<Op>, Error> {
        let (Some(known), Some(app)) = (state.rollouts.get(name), state.apps.get(name)) else {
            return Ok(Vec::new());
        };
        let now = self.control.now();
        let mut document = RolloutDocument::clone(&known.document);
        if document.is_over() {
            return self.follow_up(app, &document, known.revision, now);
        }
        if document.state.epoch < self.epoch {
            // Taken over: by whose word things are so is stored first.
            document.state.epoch = self.epoch;
        }
        let mut ops = Vec::new();
        if !self.advance(&mut document, state, telemetry, now, &mut ops)? {
            return Ok(Vec::new());
        }
        if document.is_over() {
            document.ended_at = Some(now);
            ops.push(self.end(app, &document, now)?);
            ops.extend(self.archive(&document).await?);
        }
        ops.push(Op::put_json(
            document.key(),
            &document,
            Expect::unchanged(known.revision),
        )?);
        Ok(ops)
    }

    /// Plans and checks. False if the plan breaks a rule and must not be carried out.
    fn advance(
        &self,
        document: &mut RolloutDocument,
        state: &State,
        telemetry: bool,
        now: u64,
        ops: &mut Vec<Op>,
    ) -> Result<bool, Error> {
        let name = document.name();
        let generation = state.assigned.get(&name).map_or(u64::MAX, |assigned| {
            // What is assigned already says what the document says, or the report is about something else.
            let split = assigned
                .canary
                .as_ref()
                .map(|canary| (canary.split.epoch, canary.split.weight));
            let wanted = (document.state.epoch, document.state.weight);
            let is_current = split == document.deployed.then_some(wanted);
            if is_current { assigned.generation } else { u64::MAX }
        });
        let seen = Seen::of(document, state.report(&name), generation);
        let told = telemetry.then(|| {
            let heard = self.heard_of(document);
            document.evidence.take(&heard, now)
        });
        let verdict = match (&told, document.state.phase) {
            (Some(_), Phase::Judging) => Some(verdict(document, now, ops)?),
            _ => None,
        };
        let order = document.order.take();
        let command = order.as_ref().map(|order| order.command);
        let newer = document.next.is_some();
        if newer && document.state.phase == Phase::PostBake {
            // It has all traffic and nothing was found: the grace time is over when something newer waits.
            document.state.deadline = now;
        }
        let newer = newer && document.state.phase != Phase::PostBake;
        let observed = seen.observed(self.epoch, told, verdict, command, newer);
        let (spec, before) = (document.plan_spec(), document.state.clone());
        let planned = plan(&spec, &before, &observed, now);
        if let Err(violation) = check(&spec, &before, &observed, &planned, now) {
            tracing::error!(app = name, %violation, "a plan of a rollout breaks a rule, and is not carried out");
            return Ok(false);
        }
        document.state = planned.next;
        for action in planned.actions {
            match action {
                Action::Prewarm => document.deployed = true,
                Action::ScaleDownCanary => document.deployed = false,
                Action::Alarm => tracing::error!(app = name, "a rollout has nothing healthy to go back to"),
                // Assigned by what the document says, or done when it is over.
                Action::Validate
                | Action::PinStable
                | Action::Mirror(_)
                | Action::SetWeight { .. }
                | Action::Promote => {}
            }
        }
        transition(document, &before, order.as_ref(), now);
        Ok(true)
    }

    fn heard_of(&self, document: &RolloutDocument) -> Heard {
        let of = |release: u32| {
            self.heard
                .get(&(document.name(), release))
                .cloned()
                .unwrap_or_default()
        };
        Heard {
            canary: of(document.canary.0),
            stable: of(document.stable.0),
        }
    }

    /// What the end of a rollout means for its app.
    fn end(&self, app: &KnownApp, document: &RolloutDocument, now: u64) -> Result<Op, Error> {
        let mut next = app.document.clone();
        next.canary = None;
        let why = words::why(document);
        match document.state.phase {
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
                    Reason::Person | Reason::Deadline | Reason::NoProgress | Reason::Superseded
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
    async fn archive(&self, document: &RolloutDocument) -> Result<Vec<Op>, Error> {
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
    fn follow_up(
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

/// Judges the step, and stores the verdict with its input.
fn verdict(document: &mut RolloutDocument, now: u64, ops: &mut Vec<Op>) -> Result<(usize, Verdict), Error> {
    let step = document.state.step;
    let request = judging::request(&document.spec.judge, &document.evidence);
    let report = judge(&request);
    let verdict = report.verdict;
    let judged = Judged {
        at: now,
        step,
        report,
    };
    let judgement = Judgement {
        schema: ROLLOUT_SCHEMA,
        judged: judged.clone(),
        request,
    };
    ops.push(Op::put_json(
        document.judgement_key(step),
        &judgement,
        Expect::Any,
    )?);
    document.judged(judged);
    Ok((step, verdict))
}

/// Writes down what changed and why.
fn transition(
    document: &mut RolloutDocument,
    before: &fermion_planner::rollout::State,
    order: Option<&Order>,
    now: u64,
) {
    let (phase, weight) = (document.state.phase, document.state.weight);
    if phase == before.phase && weight == before.weight {
        return;
    }
    if phase == Phase::Baking && before.phase != Phase::Baking {
        let step = document.state.step;
        document.evidence.enter(step);
    }
    let by = order.map_or(AUTOMATIC, |order| order.by.as_str()).to_owned();
    let why = words::why(document);
    tracing::info!(
        app = document.name(),
        rollout = document.id,
        phase = words::phase(phase),
        weight,
        why,
        "rollout"
    );
    document.note(Event {
        at: now,
        phase: words::phase(phase),
        weight,
        by,
        why,
    });
}
