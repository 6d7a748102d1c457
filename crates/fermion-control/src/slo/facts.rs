//! What evaluation has to know of an app, read from intent and assignment: nothing else of them is looked at.

use std::collections::BTreeMap;

use fermion_api::ChangedView;
use fermion_model::objective::ObjectiveSpec;
use fermion_model::{AppName, Namespace, Release, ReleaseNumber};

use crate::plan::{KnownApp, State};

/// One app.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct AppFacts {
    pub(super) namespace: Namespace,
    pub(super) app: AppName,
    pub(super) objectives: Vec<ObjectiveSpec>,
    pub(super) owner: Option<String>,
    pub(super) runbook: Option<String>,
    pub(super) changed: ChangedView,
    pub(super) canary: Option<CanaryFacts>,
}

/// A release that is being rolled out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CanaryFacts {
    pub(super) release: ReleaseNumber,
    pub(super) rollout: u64,
    pub(super) weight: u16,
    /// Seconds of the step that it is in.
    pub(super) bake: u64,
}

/// Every app that can be read, by `namespace/app`.
pub(super) fn facts(state: &State) -> BTreeMap<String, AppFacts> {
    let named = |(name, known): (&String, &KnownApp)| (name.clone(), app(state, name, known));
    state.apps.iter().map(named).collect()
}

fn app(state: &State, name: &str, known: &KnownApp) -> AppFacts {
    let document = &known.document;
    let release = document.active.and_then(|number| known.releases.get(&number));
    let objectives = release.and_then(|release| release.objectives.clone());
    let kind = document.changed.kind.word();
    AppFacts {
        namespace: document.namespace.clone(),
        app: document.app.clone(),
        objectives: objectives.unwrap_or_else(ObjectiveSpec::defaults),
        owner: release.and_then(|release| release.owner.clone()),
        runbook: release.and_then(|release| release.runbook.clone()),
        changed: ChangedView {
            at: document.changed.at,
            by: document.changed.by.clone(),
            kind: kind.to_owned(),
            release: document.active,
        },
        canary: state.assigned.get(name).and_then(|assigned| {
            let canary = assigned.canary.as_ref()?;
            Some(CanaryFacts {
                release: canary.release.number,
                rollout: canary.split.rollout,
                weight: canary.split.weight,
                bake: bake(&canary.release, canary.split.weight),
            })
        }),
    }
}

fn bake(release: &Release, weight: u16) -> u64 {
    let mut steps = release.rollout.iter().flat_map(|rollout| &rollout.steps);
    let step = steps.find(|step| step.weight == weight);
    step.map_or(0, |step| step.bake)
}
