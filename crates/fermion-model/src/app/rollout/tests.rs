//! The format of rollouts, and each of its refusals.

use super::*;
use crate::document::yaml;
use crate::gate::Before;
use crate::rollout::{Compared, Goal, Keep, MetricKind, MirrorSpec};

fn parse(text: &str) -> Result<RolloutSpec, String> {
    let node = yaml::read(text, "a").map_err(|error| error.to_string())?;
    let section = Section::open("a", "rollout", node, KEYS).map_err(|error| error.to_string())?;
    read(section, "a").map_err(|error| error.to_string())
}

#[test]
fn reads_the_whole_format() {
    let spec = parse(
        "strategy: canary
steps: [{weight: 0.5%, bake: 90s}, {weight: 50%, bake: 5m}, {weight: 100%, bake: 1h}]
post_bake: 1m
judge: {pass: 90, marginal: 60, metrics: [errors, memory]}
sticky: {header: X-User}
testers: [{header: X-Tester, value: 'yes'}, {cookie: beta}]
audience: [{query: lang, value: no}, {country: [DE, FR]}]
gates:
  - {before: promotion, approval: true}
  - {before: step, window: {days: [mon, fri], from: \"09:00\", until: \"16:30\", zone: Europe/Berlin}}
  - {before: rollout, ask: change-board}
",
    )
    .unwrap();
    let steps: Vec<_> = spec.steps.iter().map(|step| (step.weight, step.bake)).collect();
    assert_eq!(steps, [(50, 90), (5_000, 300), (10_000, 3_600)]);
    assert_eq!(
        (spec.post_bake, spec.judge.pass, spec.judge.marginal),
        (60, 90, 60)
    );
    assert_eq!(spec.judge.metrics, [JudgedMetric::Errors, JudgedMetric::Memory]);
    assert_eq!(spec.sticky, Sticky::Header("x-user".to_owned()));
    assert_eq!(spec.testers[0].name, "x-tester");
    assert_eq!(
        (spec.testers[1].field, spec.testers[1].value.clone()),
        (Field::Cookie, None)
    );
    assert_eq!(spec.audience[0].value.as_deref(), Some("no"));
    assert_eq!(spec.audience[1].countries, ["DE", "FR"]);
    assert!(spec.asks_country());
    let needs: Vec<_> = spec
        .gates
        .iter()
        .map(|gate| (gate.before, gate.need.text()))
        .collect();
    assert_eq!(
        needs,
        [
            (Before::Promotion, "an approval".to_owned()),
            (
                Before::Step,
                "the time mon,fri 09:00-16:30 Europe/Berlin".to_owned()
            ),
            (Before::Rollout, "the word of change-board".to_owned()),
        ]
    );
    assert_eq!(spec.validate(), Ok(()));
    let json = serde_json::to_string(&spec).unwrap();
    assert_eq!(serde_json::from_str::<RolloutSpec>(&json).unwrap(), spec);
}

#[test]
fn a_strategy_alone_has_defaults() {
    assert_eq!(
        parse("strategy: canary").unwrap(),
        RolloutSpec::of(Strategy::Canary)
    );
    assert_eq!(parse("strategy: blue-green").unwrap().steps[0].weight, WEIGHT_ALL);
    assert_eq!(parse("strategy: rolling").unwrap().steps.len(), 4);
}

#[test]
fn a_shadow_has_no_steps_and_any_other_may_be_mirrored_first() {
    let shadow = parse("strategy: shadow").unwrap();
    assert_eq!(
        (shadow.steps.len(), shadow.mirror),
        (0, Some(MirrorSpec::default()))
    );
    let spec = parse(
        "strategy: canary
mirror: {for: 90s, methods: [GET, POST], compare: [status], max_different: 0%, min_compared: 7}
",
    )
    .unwrap();
    let mirror = spec.mirror.clone().unwrap();
    assert_eq!(
        (mirror.seconds, mirror.different_max, mirror.compared_min),
        (90, 0, 7)
    );
    assert_eq!(mirror.copies.methods, ["GET", "POST"]);
    assert_eq!(mirror.copies.compare, [Compared::Status]);
    assert_eq!(spec.steps, RolloutSpec::of(Strategy::Canary).steps);
    let json = serde_json::to_string(&spec).unwrap();
    assert_eq!(serde_json::from_str::<RolloutSpec>(&json).unwrap(), spec);
}

#[test]
fn an_experiment_has_one_step_and_a_metric() {
    let spec = parse("{strategy: ab, metric: {header: X-Conversion}}").unwrap();
    assert_eq!(
        (spec.steps.len(), spec.steps[0].weight, spec.steps[0].bake),
        (1, 5_000, 1_209_600)
    );
    let mut metric = spec.metric.clone().unwrap();
    assert_eq!(metric.header, "x-conversion");
    assert_eq!(
        (metric.goal, metric.kind, metric.strip, metric.keep),
        (Goal::Increase, MetricKind::Conversion, false, Keep::A)
    );
    let spec = parse(
        "strategy: ab
steps: [{weight: 10%, bake: 2d}]
metric: {header: x-conversion, goal: decrease, kind: value, strip: true, keep: b}
audience: [{header: x-beta}]
",
    )
    .unwrap();
    (metric.goal, metric.kind) = (Goal::Decrease, MetricKind::Value);
    (metric.strip, metric.keep) = (true, Keep::B);
    assert_eq!(spec.metric, Some(metric));
    let json = serde_json::to_string(&spec).unwrap();
    assert_eq!(serde_json::from_str::<RolloutSpec>(&json).unwrap(), spec);
}

fn refuses(cases: &[(&str, &str)]) {
    for (text, part) in cases {
        let refusal = parse(text).expect_err(text);
        assert!(refusal.contains(part), "{text}: {refusal}");
    }
}

#[test]
fn each_refusal_says_where_and_what() {
    refuses(&[
        ("steps: []", "rollout.strategy is missing"),
        ("strategy: canarry", "is no strategy"),
        ("{strategy: canary, stepz: 1}", "did you mean \"steps\"?"),
        ("{strategy: canary, steps: [{weight: 5%}]}", "a:1:"),
        ("{strategy: canary, steps: [{weight: 5, bake: 1m}]}", "not text"),
        (
            "{strategy: canary, steps: [{weight: 0%, bake: 1m}]}",
            "from 0.01% to 100%",
        ),
        (
            "{strategy: canary, steps: [{weight: 101%, bake: 1m}]}",
            "from 0.01% to 100%",
        ),
        (
            "{strategy: canary, steps: [{weight: 0.001%, bake: 1m}]}",
            "from 0.01% to 100%",
        ),
        (
            "{strategy: canary, steps: [{weight: 5%, bake: 1m}, {weight: 5%, bake: 1m}]}",
            "no more weight",
        ),
        (
            "{strategy: canary, steps: [{weight: 5%, bake: 10ms}]}",
            "whole seconds",
        ),
        (
            "{strategy: canary, judge: {pass: 60, marginal: 70}}",
            "is above pass",
        ),
        ("{strategy: canary, judge: {metrics: [speed]}}", "is not a metric"),
        (
            "{strategy: canary, testers: [{header: a, cookie: b}]}",
            "exactly one thing",
        ),
        ("{strategy: canary, testers: [{value: b}]}", "exactly one thing"),
        ("{strategy: canary, testers: [{country: [de]}]}", "two letters"),
        (
            "{strategy: canary, testers: [{country: [DE], cookie: b}]}",
            "exactly one thing",
        ),
        (
            "{strategy: canary, testers: [{country: [DE], value: b}]}",
            "beside its countries",
        ),
        (
            "{strategy: canary, sticky: {header: 'a b'}}",
            "not the name of a header",
        ),
    ]);
}

#[test]
fn what_a_strategy_does_not_have_is_refused() {
    refuses(&[
        ("strategy: ab", "rollout.metric is missing"),
        (
            "{strategy: ab, metric: {goal: increase}}",
            "rollout.metric.header is missing",
        ),
        ("{strategy: ab, metric: {header: x, goal: more}}", "is neither"),
        (
            "{strategy: ab, metric: {header: x}, testers: [{header: a}]}",
            "says nothing about an experiment",
        ),
        (
            "{strategy: ab, metric: {header: x}, judge: {pass: 9}}",
            "says nothing about an experiment",
        ),
        (
            "{strategy: ab, metric: {header: x}, steps: [{weight: 100%, bake: 1d}]}",
            "is not one step",
        ),
        ("{strategy: canary, metric: {header: x}}", "only of an experiment"),
        (
            "{strategy: shadow, steps: [{weight: 5%, bake: 1m}]}",
            "rollout.steps says nothing about a shadow",
        ),
        (
            "{strategy: canary, mirror: {methods: [get]}}",
            "is not a method that can be copied",
        ),
        (
            "{strategy: canary, mirror: {compare: [latency]}}",
            "cannot be compared",
        ),
        ("{strategy: canary, mirror: {min_compared: 0}}", "min_compared"),
    ]);
}

#[test]
fn refusals_of_gates_say_where_and_what() {
    for (text, part) in [
        (
            "{strategy: canary, gates: [{before: promotion}]}",
            "exactly one thing",
        ),
        (
            "{strategy: canary, gates: [{before: lunch, approval: true}]}",
            "write before: rollout, step or promotion",
        ),
        (
            "{strategy: canary, gates: [{before: step, window: {from: '09:00', until: '16:00', zone: Mars}}]}",
            "no place",
        ),
        (
            "{strategy: canary, gates: [{before: step, window: {from: '9', until: '16:00'}}]}",
            "not a time of day",
        ),
    ] {
        let refusal = parse(text).expect_err(text);
        assert!(refusal.contains(part), "{text}: {refusal}");
    }
}
