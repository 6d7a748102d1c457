//! What is wrong with an app now: gathers what is known of it, from frames, the bus and refusals, and lets the planner
//! judge. Refuses to do: deciding what a cause is.

mod recent;
mod top;

use std::sync::{Mutex, MutexGuard, PoisonError};

use fermion_api::{WhyFinding, WhyView};
use fermion_model::frame::Frame;
use fermion_model::{AppName, Namespace, ReleaseNumber};
use fermion_planner::why::{
    Changed, Finding, Promise, Refused, Rollout, Signals, Trust, Unready, diagnose, summary,
};

use crate::documents::{AppDocument, ChangeKind};
use crate::limits::WHY_MESSAGE_BYTES_MAX;
use crate::plan::State;
use crate::{Control, Error, problem};
use recent::Recent;

/// The windows of objectives by which a promise counts as broken now.
const BURN_WINDOW: u64 = 300;

/// What frames said lately, and what was refused.
#[derive(Debug, Default)]
pub(crate) struct Why {
    recent: Mutex<Recent>,
}

impl Why {
    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in a frame that has not been taken in before.
    pub(crate) fn take(&self, frame: &Frame, now: u64) {
        self.recent().take(frame, now);
    }
}

impl Control {
    /// Remembers why a deploy was refused, or that one was not.
    pub(crate) fn note_deploy<T>(
        &self,
        namespace: &Namespace,
        app: &AppName,
        (by, source): (&str, Option<String>),
        outcome: &Result<T, Error>,
    ) {
        let name = format!("{namespace}/{app}");
        let refused = outcome.as_ref().err().map(|error| {
            let said = problem(error);
            let mut message = said.detail;
            message.truncate(message.floor_char_boundary(WHY_MESSAGE_BYTES_MAX));
            Refused {
                at: self.now(),
                by: by.to_owned(),
                source,
                code: said.code,
                message,
            }
        });
        self.shared.why.recent().deployed(&name, refused);
    }

    /// What is wrong with an app, the gravest first.
    ///
    /// # Errors
    /// `NoSuchApp`, unless a deploy of it was refused: then that is what is wrong.
    pub async fn why(&self, namespace: &Namespace, app: &AppName) -> Result<WhyView, Error> {
        let name = format!("{namespace}/{app}");
        let signals = self.signals(namespace, app, &name).await?;
        let findings = diagnose(&signals);
        Ok(WhyView {
            namespace: namespace.clone(),
            app: app.clone(),
            at: signals.now,
            window_seconds: signals.window,
            summary: summary(&signals),
            findings: findings.into_iter().map(finding).collect(),
        })
    }

    async fn signals(&self, namespace: &Namespace, app: &AppName, name: &str) -> Result<Signals, Error> {
        let now = self.now();
        let mut signals = Signals {
            app: name.to_owned(),
            now,
            trust: self.trust_signal(),
            ..Signals::default()
        };
        self.shared.why.recent().fill(&mut signals, name);
        let state = self.read_state().await?;
        if !state.apps.contains_key(name) {
            if signals.refused.is_some() {
                return Ok(signals);
            }
            // Says what is wrong: there is none, or it cannot be read.
            self.read_app(namespace, app).await?;
        }
        of_state(&mut signals, &state, name);
        drop(state);
        let objectives = self.objectives(namespace, app).await?;
        signals.promises = objectives.objectives.iter().map(promise).collect();
        Ok(signals)
    }

    fn trust_signal(&self) -> Option<Trust> {
        let trust = self.shared.parts.trust.current();
        let document = trust.root()?.document();
        Some(Trust {
            expires_at: document.expires.unix_seconds(),
            grace: document.grace_seconds,
        })
    }
}

/// What intent and the node's report say.
fn of_state(signals: &mut Signals, state: &State, name: &str) {
    let Some(known) = state.apps.get(name) else { return };
    let document = &known.document;
    let report = state.report(name);
    signals.active = document.active.map(|number| number.0);
    signals.serving = report.and_then(|report| report.serving).map(|number| number.0);
    signals.unready = report
        .and_then(|report| {
            let problem = report.problem.as_ref()?;
            Some(unready(report.wanted, problem))
        })
        .or_else(|| returned(document));
    let changed = &document.changed;
    signals.changed = Some(Changed {
        at: changed.at,
        by: changed.by.clone(),
        kind: changed.kind.word().to_owned(),
    });
    // What was deployed after it has answered a refusal.
    if signals
        .refused
        .as_ref()
        .is_some_and(|refused| refused.at < changed.at)
    {
        signals.refused = None;
    }
    // A release that could not be made ready is said once.
    if signals.unready.is_some() {
        let is_same = |refused: &Refused| {
            let unready = signals.unready.as_ref();
            unready.is_some_and(|unready| unready.code == refused.code)
        };
        if signals.refused.as_ref().is_some_and(is_same) {
            signals.refused = None;
        }
    }
    signals.rollout = state.rollouts.get(name).map(|known| {
        let view = crate::rollout::rollout_view(&known.document);
        Rollout {
            canary: view.canary.0,
            phase: view.phase,
            why: view.why,
            ended_at: view.ended_at,
        }
    });
}

fn unready(release: ReleaseNumber, problem: &fermion_model::assignment::Problem) -> Unready {
    let mut message = problem.message.clone();
    message.truncate(message.floor_char_boundary(WHY_MESSAGE_BYTES_MAX));
    Unready {
        release: release.0,
        code: problem.code.clone(),
        message,
    }
}

/// The newest release, if the app went back from it.
fn returned(document: &AppDocument) -> Option<Unready> {
    let problem = document.problem_of(document.latest)?;
    (document.changed.kind == ChangeKind::Return).then(|| unready(document.latest, problem))
}

fn promise(view: &fermion_api::ObjectiveView) -> Promise {
    let burn = view.burns.iter().find(|burn| burn.window_seconds == BURN_WINDOW);
    Promise {
        name: view.objective.name.clone(),
        is_latency: matches!(view.objective.indicator, fermion_api::Indicator::LatencyBelow(_)),
        burn: burn.and_then(|burn| burn.burn),
        left: view.budget_left,
        actions: view.actions.clone(),
    }
}

fn finding(finding: Finding) -> WhyFinding {
    WhyFinding {
        cause: finding.cause.code().to_owned(),
        grade: finding.grade.as_str().to_owned(),
        sentence: finding.sentence,
        evidence: finding.evidence,
        next: finding.next,
    }
}
