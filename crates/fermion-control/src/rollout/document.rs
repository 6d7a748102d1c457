//! What is stored of a rollout.

use fermion_model::assignment::Canary;
use fermion_model::copies::CopyCounts;
use fermion_model::rollout::{Keep, RolloutSpec, Split, Strategy};
use fermion_model::{AppName, Digest, Namespace, Release, ReleaseNumber};
use fermion_planner::judge::experiment::Experiment;
use fermion_planner::judge::{Report, Request};
use fermion_planner::rollout::{Aim, Command, Phase, Spec, State, Step};
use serde::{Deserialize, Serialize};

use crate::limits::{ROLLOUT_EVENTS_MAX, ROLLOUT_VERDICTS_MAX};

use super::arms::Evidence;

/// The schema of [`RolloutDocument`] that this build writes and understands.
pub(crate) const ROLLOUT_SCHEMA: u32 = 1;
/// Where an app's newest rollout lies.
pub(crate) const ROLLOUTS: &str = "rollouts/";
/// Where the ended ones before it lie, by number.
const HISTORY: &str = "rollout-history/";
/// Where verdicts lie with their input, by rollout and step.
const JUDGEMENTS: &str = "rollout-judgements/";

pub(crate) fn rollout_key(namespace: &Namespace, app: &AppName) -> String {
    format!("{ROLLOUTS}{namespace}/{app}")
}

/// The folder of an app's ended rollouts.
pub(super) fn history_prefix(namespace: &Namespace, app: &AppName) -> String {
    format!("{HISTORY}{namespace}/{app}/")
}

/// The folder of an app's verdicts with their input.
pub(super) fn judgements_prefix(namespace: &Namespace, app: &AppName) -> String {
    format!("{JUDGEMENTS}{namespace}/{app}/")
}

/// One rollout of one app: the newest, whether it is under way or over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RolloutDocument {
    pub(crate) schema: u32,
    pub(crate) namespace: Namespace,
    pub(crate) app: AppName,
    /// Counts up per app.
    pub(crate) id: u64,
    /// What serves everybody else.
    pub(crate) stable: ReleaseNumber,
    /// What is rolled out.
    pub(crate) canary: ReleaseNumber,
    pub(crate) spec: RolloutSpec,
    /// 32 hexadecimal digits, drawn for this rollout.
    pub(crate) salt: String,
    /// Seconds since the Unix epoch.
    pub(crate) begun_at: u64,
    pub(crate) begun_by: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ended_at: Option<u64>,
    pub(crate) state: State,
    /// True while nodes are to have the canary.
    pub(crate) deployed: bool,
    /// What comes after it, because it was deployed meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<ReleaseNumber>,
    /// What keeps it at a gate, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) held_by: Vec<String>,
    /// What a person wants, until it is looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) order: Option<Order>,
    #[serde(default)]
    pub(crate) evidence: Evidence,
    /// What became of copies of requests.
    #[serde(default)]
    pub(crate) copies: CopyCounts,
    /// What an experiment has counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) experiment: Option<Experiment>,
    /// The newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) verdicts: Vec<Judged>,
    /// The newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) events: Vec<Event>,
}

/// What a person wants of a rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Order {
    pub(crate) command: Command,
    pub(crate) by: String,
}

/// One step's verdict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Judged {
    pub(crate) at: u64,
    pub(crate) step: usize,
    pub(crate) report: Report,
}

/// A verdict with all that led to it, in a document of its own: the same input gives the same report again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Judgement {
    pub(crate) schema: u32,
    pub(crate) judged: Judged,
    pub(crate) request: Request,
}

/// One transition: what, when, who, why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Event {
    pub(crate) at: u64,
    /// The phase that was entered, as it is stored.
    pub(crate) phase: String,
    pub(crate) weight: u16,
    pub(crate) by: String,
    /// In words, with figures.
    pub(crate) why: String,
}

/// A package that was taken back, and is not taken again unasked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Quarantined {
    pub(crate) digest: Digest,
    pub(crate) release: ReleaseNumber,
    pub(crate) why: String,
}

impl RolloutDocument {
    pub(crate) fn key(&self) -> String {
        rollout_key(&self.namespace, &self.app)
    }

    /// `namespace/app`.
    pub(crate) fn name(&self) -> String {
        format!("{}/{}", self.namespace, self.app)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.state.phase.ended()
    }

    /// As the planner has it.
    pub(super) fn plan_spec(&self) -> Spec {
        let step = |step: &fermion_model::rollout::RolloutStep| Step {
            weight: step.weight,
            bake: step.bake,
        };
        Spec {
            id: self.id,
            salt: 0,
            aim: match self.spec.strategy {
                Strategy::Shadow => Aim::Shadow,
                Strategy::Ab => Aim::Choose {
                    keep_new: self.spec.metric.as_ref().map(|metric| metric.keep) == Some(Keep::B),
                },
                Strategy::Canary | Strategy::BlueGreen | Strategy::Rolling => Aim::TakeOver,
            },
            steps: self.spec.steps.iter().map(step).collect(),
            mirror: self.spec.mirror.as_ref().map(|mirror| mirror.seconds),
            post_bake: self.spec.post_bake,
            scored: self.spec.strategy == Strategy::Canary,
        }
    }

    /// What nodes are to have of it.
    pub(crate) fn assigned(&self, release: &Release) -> Option<Canary> {
        if !self.deployed {
            return None;
        }
        Some(Canary {
            release: release.clone(),
            split: Split {
                rollout: self.id,
                epoch: self.state.epoch,
                weight: self.state.weight,
                salt: self.salt.clone(),
                sticky: self.spec.sticky.clone(),
                testers: self.spec.testers.clone(),
                audience: self.audience(),
                copies: (self.state.phase == Phase::Mirroring)
                    .then(|| self.spec.mirror.as_ref().map(|mirror| mirror.copies.clone()))
                    .flatten(),
                metric: self.spec.metric.clone(),
            },
        })
    }

    /// Once everybody is to have the new release, nobody is left out.
    fn audience(&self) -> Vec<fermion_model::rollout::Condition> {
        match self.state.phase {
            Phase::Promoting | Phase::PostBake | Phase::Succeeded => Vec::new(),
            _ => self.spec.audience.clone(),
        }
    }

    pub(crate) fn note(&mut self, event: Event) {
        self.events.push(event);
        let surplus = self.events.len().saturating_sub(ROLLOUT_EVENTS_MAX);
        // The first event says who began it.
        self.events.drain(1..1 + surplus);
    }

    /// Where the verdict on a step lies with its input.
    pub(super) fn judgement_key(&self, step: usize) -> String {
        format!(
            "{}{}-{step}",
            judgements_prefix(&self.namespace, &self.app),
            self.id
        )
    }

    /// A step that is judged again has its newest verdict only.
    pub(super) fn judged(&mut self, judged: Judged) {
        self.verdicts.retain(|earlier| earlier.step != judged.step);
        self.verdicts.push(judged);
        let surplus = self.verdicts.len().saturating_sub(ROLLOUT_VERDICTS_MAX);
        self.verdicts.drain(..surplus);
    }
}
