//! What the API shows of a rollout.

use fermion_api::{
    ArmView, CopiesView, CopyExample, ExperimentView, RolloutEventView, RolloutFinding, RolloutStepView,
    RolloutVerdict, RolloutView,
};
use fermion_model::ReleaseNumber;
use fermion_model::copies::{CopyCounts, Example};
use fermion_model::rollout::MetricSpec;
use fermion_model::sketch::Sketch;
use fermion_planner::rollout::Phase;

use super::arms::Window;
use super::document::{Event, Judged, RolloutDocument};
use super::{orders, words};

pub(crate) fn rollout_view(document: &RolloutDocument) -> RolloutView {
    let state = &document.state;
    let timed = matches!(
        state.phase,
        Phase::Baking | Phase::PostBake | Phase::Paused(_) | Phase::Mirroring
    );
    let step = |step: &fermion_model::rollout::RolloutStep| RolloutStepView {
        weight: step.weight,
        bake_seconds: step.bake,
    };
    let total = &document.evidence.total;
    RolloutView {
        id: document.id,
        namespace: document.namespace.clone(),
        app: document.app.clone(),
        strategy: orders::strategy(document.spec.strategy).to_owned(),
        stable: document.stable,
        canary: document.canary,
        phase: words::phase(state.phase),
        why: words::why(document),
        over: document.is_over(),
        step: state.step,
        steps: document.spec.steps.iter().map(step).collect(),
        weight: state.weight,
        until: Some(state.deadline).filter(|&deadline| timed && deadline != u64::MAX),
        begun_at: document.begun_at,
        begun_by: document.begun_by.clone(),
        ended_at: document.ended_at,
        next: document.next,
        stable_arm: arm(document.stable, &total.stable),
        canary_arm: arm(document.canary, &total.canary),
        failing_more_p: state.watch.evidence().p(),
        slower_p: document.evidence.frozen.map(|_| state.slowness.evidence().p()),
        copies: document.spec.mirror.as_ref().map(|_| copies(&document.copies)),
        experiment: document
            .spec
            .metric
            .as_ref()
            .map(|metric| experiment(document, metric)),
        verdicts: document.verdicts.iter().map(verdict).collect(),
        events: document.events.iter().map(event).collect(),
    }
}

fn experiment(document: &RolloutDocument, metric: &MetricSpec) -> ExperimentView {
    let experiment = document.experiment.clone().unwrap_or_default();
    ExperimentView {
        header: metric.header.clone(),
        stable_callers: experiment.old.count,
        canary_callers: experiment.new.count,
        stable_mean: experiment.old.mean(),
        canary_mean: experiment.new.mean(),
        p: experiment.p(),
    }
}

fn copies(counts: &CopyCounts) -> CopiesView {
    let quantile = |sketch: &Sketch| sketch.quantile(0.5).map(|seconds| seconds * 1e3);
    let example = |example: &Example| {
        let likeness = serde_json::to_value(example.likeness).unwrap_or_default();
        CopyExample {
            path: example.path.clone(),
            differs: likeness.as_str().unwrap_or_default().to_owned(),
            stable_status: example.old,
            canary_status: example.new,
        }
    };
    CopiesView {
        same: counts.same,
        status: counts.status,
        headers: counts.headers,
        body: counts.body,
        failed: counts.failed,
        dropped: counts.dropped,
        skipped: counts.skipped,
        stable_p50_ms: quantile(&counts.old),
        canary_p50_ms: quantile(&counts.new),
        examples: counts.examples.iter().map(example).collect(),
    }
}

fn arm(release: ReleaseNumber, window: &Window) -> ArmView {
    let quantile = |q: f64| window.duration.quantile(q).map(|seconds| seconds * 1e3);
    ArmView {
        release,
        requests: window.requests,
        failures: window.failures,
        p50_ms: quantile(0.5),
        p99_ms: quantile(0.99),
    }
}

fn verdict(judged: &Judged) -> RolloutVerdict {
    let name = |value: Result<serde_json::Value, serde_json::Error>| {
        let value = value.unwrap_or_default();
        value.as_str().unwrap_or_default().to_owned()
    };
    let findings = judged.report.metrics.iter().map(|finding| RolloutFinding {
        metric: finding.name.clone(),
        found: name(serde_json::to_value(finding.classification)),
        reason: finding.reason.clone(),
    });
    RolloutVerdict {
        step: judged.step,
        at: judged.at,
        verdict: name(serde_json::to_value(judged.report.verdict)),
        score: judged.report.score,
        findings: findings.collect(),
    }
}

fn event(event: &Event) -> RolloutEventView {
    RolloutEventView {
        at: event.at,
        phase: event.phase.clone(),
        weight: event.weight,
        by: event.by.clone(),
        why: event.why.clone(),
    }
}
