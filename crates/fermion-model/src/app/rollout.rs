//! `spec.rollout` of `app.yaml`: every rule of every key.

mod metric;
mod mirror;

use crate::document::{DocumentError, Node, Section};
use crate::limits::{BAKE_MAX, CONDITIONS_MAX, STEPS_MAX};
use crate::rollout::{
    Condition, Field, JudgeSpec, JudgedMetric, RolloutSpec, RolloutStep, Sticky, Strategy, WEIGHT_ALL,
};
use crate::units::parse_duration;

pub(super) const KEYS: &[&str] = &[
    "strategy",
    "mirror",
    "metric",
    "steps",
    "post_bake",
    "judge",
    "sticky",
    "testers",
    "audience",
];
/// What says nothing about a release that never has traffic.
const NOT_OF_A_SHADOW: &[&str] = &["steps", "post_bake", "judge", "sticky", "testers"];

/// Reads the table.
pub(super) fn read(mut section: Section<'_>, file: &str) -> Result<RolloutSpec, DocumentError> {
    let next = "write strategy: canary, blue-green, rolling, ab or shadow";
    let strategy = section
        .converted("strategy", next, read_strategy)?
        .ok_or_else(|| section.missing("strategy", next))?
        .value;
    let mut spec = RolloutSpec::of(strategy);
    if strategy == Strategy::Shadow {
        let meaningless = NOT_OF_A_SHADOW
            .iter()
            .find_map(|key| Some((*key, section.take(key)?)));
        if let Some((key, entry)) = meaningless {
            let what = format!("{} says nothing about a shadow", section.full(key));
            return Err(section.refuse(entry.at, what, "leave it out: a shadow never has traffic"));
        }
    }
    if strategy == Strategy::Ab {
        metric::refuse_others(&mut section)?;
    }
    if let Some(mirror) = mirror::read(&mut section)? {
        spec.mirror = Some(mirror);
    }
    if let Some(steps) = steps(&mut section, file)? {
        spec.steps = steps;
    }
    metric::read(&mut section, &mut spec)?;
    let next = "write a duration such as 10m";
    if let Some(placed) = section.converted("post_bake", next, read_seconds)? {
        spec.post_bake = placed.value;
    }
    if let Some(judge) = section.section("judge", &["pass", "marginal", "metrics"])? {
        spec.judge = read_judge(judge)?;
    }
    if let Some(mut sticky) = section.section("sticky", &["header"])? {
        let next = "write the name of a header such as x-user-id";
        if let Some(placed) = sticky.converted("header", next, header_name)? {
            spec.sticky = Sticky::Header(placed.value);
        }
    }
    spec.testers = conditions(&mut section, "testers", file)?;
    spec.audience = conditions(&mut section, "audience", file)?;
    Ok(spec)
}

fn read_strategy(text: &str) -> Result<Strategy, String> {
    match text {
        "canary" => Ok(Strategy::Canary),
        "blue-green" => Ok(Strategy::BlueGreen),
        "rolling" => Ok(Strategy::Rolling),
        "shadow" => Ok(Strategy::Shadow),
        "ab" => Ok(Strategy::Ab),
        _ => Err(format!("{text:?} is no strategy")),
    }
}

/// Whole seconds, at least one.
fn read_seconds(text: &str) -> Result<u64, String> {
    let duration = parse_duration(text).map_err(|error| error.to_string())?;
    if duration.subsec_nanos() != 0 || duration.is_zero() || duration > BAKE_MAX {
        return Err(format!("{text:?} is not a number of whole seconds up to 30 days"));
    }
    Ok(duration.as_secs())
}

fn steps(section: &mut Section<'_>, file: &str) -> Result<Option<Vec<RolloutStep>>, DocumentError> {
    let next = "write steps: [{weight: 5%, bake: 2m}, {weight: 50%, bake: 5m}]";
    let full = section.full("steps");
    let nodes = section.nodes("steps", STEPS_MAX, next)?;
    let mut steps: Vec<RolloutStep> = Vec::new();
    for (index, node) in nodes.into_iter().enumerate() {
        let at = node.at;
        let mut step = Section::open(file, format!("{full}[{index}]"), node, &["weight", "bake"])?;
        let next = "write a percentage such as 5% or 0.5%";
        let weight = step
            .converted("weight", next, read_weight)?
            .ok_or_else(|| step.missing("weight", next))?
            .value;
        let next = "write a duration such as 2m";
        let bake = step
            .converted("bake", next, read_seconds)?
            .ok_or_else(|| step.missing("bake", next))?
            .value;
        if steps.last().is_some_and(|last| last.weight >= weight) {
            let what = format!("{full}[{index}] has no more weight than the step before it");
            return Err(section.refuse(at, what, "let the weights grow"));
        }
        steps.push(RolloutStep { weight, bake });
    }
    Ok((!steps.is_empty()).then_some(steps))
}

/// `5%` or `0.05%` in hundredths of a percent.
fn read_weight(text: &str) -> Result<u16, String> {
    let refuse = || format!("{text:?} is not a percentage from 0.01% to 100%");
    let number = text.strip_suffix('%').ok_or_else(refuse)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || whole.len() > 3 || fraction.len() > 2 || !digits(whole) || !digits(fraction) {
        return Err(refuse());
    }
    let hundredths: u32 = format!("{whole}{fraction:0<2}").parse().map_err(|_| refuse())?;
    match u16::try_from(hundredths) {
        Ok(weight) if (1..=WEIGHT_ALL).contains(&weight) => Ok(weight),
        _ => Err(refuse()),
    }
}

fn read_judge(mut section: Section<'_>) -> Result<JudgeSpec, DocumentError> {
    let mut judge = JudgeSpec::default();
    let score = |value: u32| u8::try_from(value).unwrap_or(u8::MAX);
    let pass = section.whole("pass", 1, 100)?;
    if let Some(placed) = &pass {
        judge.pass = score(placed.value);
        judge.marginal = judge.marginal.min(judge.pass);
    }
    if let Some(placed) = section.whole("marginal", 0, 100)? {
        judge.marginal = score(placed.value);
        if judge.marginal > judge.pass {
            let what = format!("{} is above pass", section.full("marginal"));
            return Err(section.refuse(placed.at, what, "write less than pass, or the same"));
        }
    }
    let names: Vec<_> = JudgedMetric::ALL.iter().map(|(_, name)| *name).collect();
    let next = format!("metrics here: {}", names.join(", "));
    let metrics = section.list("metrics", JudgedMetric::ALL.len(), &next, |text| {
        let known = JudgedMetric::ALL.iter().find(|(_, name)| *name == text);
        known
            .map(|(metric, _)| *metric)
            .ok_or_else(|| format!("{text:?} is not a metric"))
    })?;
    if !metrics.is_empty() {
        judge.metrics = metrics;
    }
    Ok(judge)
}

fn header_name(text: &str) -> Result<String, String> {
    let name = http::HeaderName::from_bytes(text.as_bytes());
    name.map(|name| name.as_str().to_owned())
        .map_err(|_| format!("{text:?} is not the name of a header"))
}

fn conditions(section: &mut Section<'_>, key: &str, file: &str) -> Result<Vec<Condition>, DocumentError> {
    let next = "write a list such as [{header: x-tester, value: yes}, {cookie: beta}]";
    let full = section.full(key);
    let nodes = section.nodes(key, CONDITIONS_MAX, next)?;
    let indexed = nodes.into_iter().enumerate();
    indexed
        .map(|(index, node)| condition(&full, index, node, file))
        .collect()
}

fn condition(full: &str, index: usize, node: Node, file: &str) -> Result<Condition, DocumentError> {
    let (at, path) = (node.at, format!("{full}[{index}]"));
    let known = ["header", "cookie", "query", "value"];
    let mut section = Section::open(file, path.clone(), node, &known)?;
    let next = "write one of header, cookie and query, with a name";
    let mut found = Vec::new();
    if let Some(placed) = section.converted("header", next, header_name)? {
        found.push((Field::Header, placed.value));
    }
    for (key, field) in [("cookie", Field::Cookie), ("query", Field::Query)] {
        let token = |text: &str| {
            let is_token = text
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && !b"=;,&\"".contains(&byte));
            is_token
                .then(|| text.to_owned())
                .ok_or_else(|| format!("{text:?} is not a name"))
        };
        if let Some(placed) = section.converted(key, next, token)? {
            found.push((field, placed.value));
        }
    }
    let value = section.text("value", "write the value as text, or leave it out for any")?;
    match <[_; 1]>::try_from(found) {
        Ok([(field, name)]) => Ok(Condition {
            field,
            name,
            value: value.map(|placed| placed.value),
        }),
        Err(_) => Err(section.refuse(at, format!("{path} does not look at exactly one thing"), next)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::yaml;
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
audience: [{query: lang, value: no}]
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

    #[test]
    fn each_refusal_says_where_and_what() {
        for (text, part) in [
            ("steps: []", "rollout.strategy is missing"),
            ("strategy: ab", "rollout.metric is missing"),
            ("{strategy: ab, metric: {goal: increase}}", "rollout.metric.header is missing"),
            ("{strategy: ab, metric: {header: x, goal: more}}", "is neither"),
            ("{strategy: ab, metric: {header: x}, testers: [{header: a}]}", "says nothing about an experiment"),
            ("{strategy: ab, metric: {header: x}, judge: {pass: 9}}", "says nothing about an experiment"),
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
            (
                "{strategy: canary, sticky: {header: 'a b'}}",
                "not the name of a header",
            ),
        ] {
            let refusal = parse(text).expect_err(text);
            assert!(refusal.contains(part), "{text}: {refusal}");
        }
    }
}
