//! The controller of rollouts: at each frame of telemetry it looks at every rollout that is under way, asks the planner,
//! checks the plan, and stores it. It acts through what it stores alone: the reconciler assigns what the document says.
//! Each life of a controller claims an epoch; one that finds a higher one leaves everything to its successor.

use std::collections::{BTreeSet, HashMap};

use fermion_bus::{Expect, Heard as Arrived, Op};
use fermion_model::frame::{Arm, FRAME_SCHEMA, Frame, FrameSeries};
use fermion_planner::judge::{Verdict, judge};
use fermion_planner::rollout::{Action, Phase, check, plan};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::arms::{Heard, Told, budget};
use super::document::{Event, Judged, Judgement, Order, ROLLOUT_SCHEMA, RolloutDocument};
use super::gates::Gates;
use super::observed::Seen;
use super::{copies, experiment, judging, words};
use crate::documents::AUTOMATIC;
use crate::limits::{CONFLICT_TRIES_MAX, ROLLOUT_SERIES_MAX, ROLLOUT_SILENCE};
use crate::plan::State;
use crate::receivers::{Message, RolloutNotice};
use crate::slo::digits;
use crate::{Control, Error};

/// Where the epoch of the newest controller lies.
const EPOCH: &str = "controllers/rollouts";
/// Hexadecimal digits of a message's key, which has to be unique for all time.
const KEY_DIGITS: usize = 32;
/// The code of a release that was taken back.
pub(crate) const ROLLED_BACK: &str = "ROLLED_BACK";

/// Who claimed to write last.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Claim {
    epoch: u64,
}

/// What one life of a controller knows that is not stored.
pub(super) struct Controller {
    pub(super) control: Control,
    epoch: u64,
    /// What frames said since it was last stored, by `namespace/app` and release; of copies apart.
    heard: HashMap<(String, u32, bool), FrameSeries>,
    gates: Gates,
}

/// What one look has found out before it plans.
struct Found {
    heard: Option<Heard>,
    told: Option<Told>,
    verdict: Option<(usize, Verdict)>,
    /// What stands before the next step.
    held_by: Vec<String>,
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
            gates: Gates::default(),
        };
        loop {
            let heard = tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                heard = tokio::time::timeout(ROLLOUT_SILENCE, frames.next()) => heard,
            };
            let telemetry = match heard {
                Ok(Ok(Arrived::Message(message))) => controller.hear(&message.bytes),
                Ok(Ok(Arrived::Missed(count))) => {
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
            let name = format!("{}/{}", series.namespace, series.app);
            let key = (name, series.release, series.arm == Arm::Mirror);
            if self.heard.len() >= ROLLOUT_SERIES_MAX && !self.heard.contains_key(&key) {
                continue;
            }
            self.heard.entry(key).or_default().merge(&series);
        }
        true
    }

    /// One look at every rollout. What was heard and is nobody's is let go; what could not be stored waits for the next.
    async fn look(&mut self, telemetry: bool) {
        let names = match self.under_way().await {
            Ok(names) => names,
            Err(error) => {
                tracing::error!(%error, "rollouts cannot be looked at now");
                return;
            }
        };
        let mut unstored = BTreeSet::new();
        for name in names {
            match self.look_at(&name, telemetry).await {
                Ok(true) => {}
                Ok(false) => {
                    tracing::warn!(
                        app = name,
                        "a rollout changes too often to be looked at; the next look tries again"
                    );
                    unstored.insert(name);
                }
                Err(error) => {
                    tracing::error!(app = name, %error, "a rollout cannot be looked at now");
                    unstored.insert(name);
                }
            }
        }
        self.heard.retain(|(app, ..), _| unstored.contains(app));
    }

    /// The apps whose rollouts are this controller's to look at now.
    async fn under_way(&self) -> Result<Vec<String>, Error> {
        let state = self.control.read_state().await?;
        let under_way = |document: &RolloutDocument| !document.is_over() || document.next.is_some();
        let names: Vec<String> = state
            .rollouts
            .iter()
            .filter(|(_, known)| under_way(&known.document))
            .map(|(name, _)| name.clone())
            .collect();
        if names.is_empty() || self.control.claimed().await? > self.epoch {
            return Ok(Vec::new());
        }
        Ok(names)
    }

    /// One look at one rollout, made again if its documents changed meanwhile. False if they never held still.
    async fn look_at(&mut self, name: &str, telemetry: bool) -> Result<bool, Error> {
        for _ in 0..CONFLICT_TRIES_MAX {
            let state = self.control.read_state().await?;
            let ops = self.next_ops(&state, name, telemetry).await?;
            if ops.is_empty() {
                return Ok(true);
            }
            match self.control.bus().commit(ops).await {
                Ok(_) => {
                    self.control.count_ended(&state, name).await;
                    return Ok(true);
                }
                Err(error) if error.is_conflict() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(false)
    }

    /// What one look stores.
    async fn next_ops(&mut self, state: &State, name: &str, telemetry: bool) -> Result<Vec<Op>, Error> {
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
        let heard = telemetry.then(|| self.heard_of(&document));
        let told = heard.as_ref().map(|heard| {
            let budget = budget(app.releases.get(&document.canary));
            document.evidence.take(heard, &budget, now)
        });
        let verdict = match (&told, document.state.phase) {
            (Some(_), Phase::Judging) => Some(verdict(&mut document, now, &mut ops).await?),
            _ => None,
        };
        let found = Found {
            heard,
            told,
            verdict,
            held_by: self.gates.closed(&self.control, &document).await,
        };
        let Some(event) = self.advance(&mut document, state, found, now) else {
            return Ok(Vec::new());
        };
        if let Some(event) = event {
            ops.extend(self.control.outbox_ops(&[message(&document, &event)]).await?);
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

    /// Plans and checks. None if the plan breaks a rule and must not be carried out; otherwise what happened, if anything.
    fn advance(
        &self,
        document: &mut RolloutDocument,
        state: &State,
        found: Found,
        now: u64,
    ) -> Option<Option<Event>> {
        let Found {
            heard,
            told,
            verdict,
            held_by,
        } = found;
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
        let order = document.order.take();
        let command = order.as_ref().map(|order| order.command);
        let newer = document.next.is_some();
        if newer && document.state.phase == Phase::PostBake {
            // It has all traffic and nothing was found: the grace time is over when something newer waits.
            document.state.deadline = now;
        }
        let newer = newer && document.state.phase != Phase::PostBake;
        let gate_open = held_by.is_empty();
        let mut observed = seen.observed(self.epoch, told, verdict, gate_open, command, newer);
        copies::look(document, heard.as_ref(), &mut observed);
        experiment::look(document, heard.as_ref(), &mut observed);
        let (spec, before) = (document.plan_spec(), document.state.clone());
        let planned = plan(&spec, &before, &observed, now);
        if let Err(violation) = check(&spec, &before, &observed, &planned, now) {
            tracing::error!(app = name, %violation, "a plan of a rollout breaks a rule, and is not carried out");
            return None;
        }
        document.state = planned.next;
        document.held_by = held_by;
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
        Some(transition(document, &before, order.as_ref(), now))
    }

    fn heard_of(&self, document: &RolloutDocument) -> Heard {
        let of = |release: u32, is_copies: bool| {
            let key = (document.name(), release, is_copies);
            self.heard.get(&key).cloned().unwrap_or_default()
        };
        Heard {
            canary: of(document.canary.0, false),
            stable: of(document.stable.0, false),
            copies: of(document.canary.0, true).copies,
        }
    }
}

/// Judges the step, and stores the verdict with its input. That takes milliseconds, so a thread of its own has them.
async fn verdict(
    document: &mut RolloutDocument,
    now: u64,
    ops: &mut Vec<Op>,
) -> Result<(usize, Verdict), Error> {
    let step = document.state.step;
    let request = judging::request(&document.spec.judge, &document.evidence);
    let work = move || {
        let report = judge(&request);
        (request, report)
    };
    let judged = tokio::task::spawn_blocking(work).await;
    let (request, report) = judged.map_err(|_| Error::Stopped {
        doing: "judge a release",
    })?;
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

/// Writes down what changed and why, and gives it.
fn transition(
    document: &mut RolloutDocument,
    before: &fermion_planner::rollout::State,
    order: Option<&Order>,
    now: u64,
) -> Option<Event> {
    let (phase, weight) = (document.state.phase, document.state.weight);
    if phase == before.phase && weight == before.weight {
        return None;
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
    let event = Event {
        at: now,
        phase: words::phase(phase),
        weight,
        by,
        why,
    };
    document.note(event.clone());
    Some(event)
}

/// What receivers are told of an event.
fn message(document: &RolloutDocument, event: &Event) -> Message {
    let name = document.name();
    let Event {
        at,
        phase,
        weight,
        by,
        why,
    } = event.clone();
    let key = digits(
        &format!("rollout/{name}/{}/{at}/{phase}/{weight}", document.id),
        KEY_DIGITS,
    );
    Message::Rollout(RolloutNotice {
        key,
        at,
        namespace: document.namespace.clone(),
        app: document.app.clone(),
        id: document.id,
        stable: document.stable,
        canary: document.canary,
        phase,
        weight,
        by,
        why,
    })
}
