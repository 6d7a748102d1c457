//! `spec.rollout.metric` of `app.yaml`, and what else an experiment asks for.

use super::header_name;
use crate::document::{DocumentError, Section};
use crate::rollout::{Goal, Keep, MetricKind, MetricSpec, RolloutSpec, Strategy, WEIGHT_ALL};

const KEYS: &[&str] = &["header", "goal", "kind", "strip", "keep"];
/// What tilts an experiment, or is not asked in one.
const NOT_OF_AN_EXPERIMENT: &[(&str, &str)] = &[
    (
        "testers",
        "who is part of an experiment is drawn by lot; audience says among whom",
    ),
    ("judge", "the metric decides"),
];

/// Refuses keys that an experiment does not have.
pub(super) fn refuse_others(section: &mut Section<'_>) -> Result<(), DocumentError> {
    for (key, why) in NOT_OF_AN_EXPERIMENT {
        if let Some(entry) = section.take(key) {
            let what = format!("{} says nothing about an experiment", section.full(key));
            return Err(section.refuse(entry.at, what, format!("leave it out: {why}")));
        }
    }
    Ok(())
}

/// Reads the table into the spec: an experiment has one, and nothing else has.
pub(super) fn read(section: &mut Section<'_>, spec: &mut RolloutSpec) -> Result<(), DocumentError> {
    let next = "write metric: {header: x-conversion, goal: increase}";
    let is_experiment = spec.strategy == Strategy::Ab;
    if is_experiment && (spec.steps.len() != 1 || spec.steps[0].weight == WEIGHT_ALL) {
        let what = format!("{} is not one step with a part of traffic", section.full("steps"));
        let next = "write steps: [{weight: 50%, bake: 14d}]: the new release's share, and the end";
        return Err(section.refuse(section.at(), what, next));
    }
    let Some(mut metric) = section.section("metric", KEYS)? else {
        return if is_experiment {
            Err(section.missing("metric", next))
        } else {
            Ok(())
        };
    };
    if !is_experiment {
        let what = format!("{} is only of an experiment", section.full("metric"));
        return Err(metric.refuse(metric.at(), what, "write strategy: ab, or leave it out"));
    }
    let header = metric
        .converted(
            "header",
            "write the name of a header such as x-conversion",
            header_name,
        )?
        .ok_or_else(|| metric.missing("header", next))?;
    let read = MetricSpec {
        header: header.value,
        goal: one_of(
            &mut metric,
            "goal",
            &[("increase", Goal::Increase), ("decrease", Goal::Decrease)],
        )?,
        kind: one_of(
            &mut metric,
            "kind",
            &[
                ("conversion", MetricKind::Conversion),
                ("value", MetricKind::Value),
            ],
        )?,
        strip: metric.boolean("strip")?.unwrap_or_default(),
        keep: one_of(&mut metric, "keep", &[("a", Keep::A), ("b", Keep::B)])?,
    };
    spec.metric = Some(read);
    Ok(())
}

/// One of a few words, or what is meant without any.
fn one_of<T: Copy + Default>(
    section: &mut Section<'_>,
    key: &str,
    known: &[(&str, T)],
) -> Result<T, DocumentError> {
    let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
    let next = format!("write {}", names.join(" or "));
    let placed = section.converted(key, &next, |text| {
        let found = known.iter().find(|(name, _)| *name == text);
        found
            .map(|(_, value)| *value)
            .ok_or_else(|| format!("{text:?} is neither"))
    })?;
    Ok(placed.map_or_else(T::default, |placed| placed.value))
}
