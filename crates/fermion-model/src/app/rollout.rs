//! `spec.rollout` of `app.yaml`: every rule of every key.

mod metric;
mod mirror;

use super::gates;
use crate::document::{DocumentError, Node, Section};
use crate::limits::{BAKE_MAX, CONDITION_COUNTRIES_MAX, CONDITIONS_MAX, STEPS_MAX};
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
    "gates",
];
/// What says nothing about a release that never has traffic.
const NOT_OF_A_SHADOW: &[&str] = &["steps", "post_bake", "judge", "sticky", "testers", "gates"];

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
    spec.gates = gates::read(&mut section, file)?;
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

/// Whole seconds, at least one. Experiments last for days, which nothing else does.
fn read_seconds(text: &str) -> Result<u64, String> {
    let days = text.strip_suffix('d').and_then(|days| days.parse::<u64>().ok());
    let hours = days
        .and_then(|days| days.checked_mul(24))
        .map(|hours| format!("{hours}h"));
    let duration = parse_duration(hours.as_deref().unwrap_or(text)).map_err(|error| error.to_string())?;
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
    let known = ["header", "cookie", "query", "country", "value"];
    let mut section = Section::open(file, path.clone(), node, &known)?;
    let next = "write one of header, cookie and query with a name, or country with a list";
    let mut found = Vec::new();
    let list = "write a list such as [DE, FR]";
    let countries = section.list("country", CONDITION_COUNTRIES_MAX, list, country)?;
    if !countries.is_empty() {
        found.push((Field::Country, String::new()));
    }
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
    if let (Some(value), false) = (&value, countries.is_empty()) {
        let what = format!("{path} has a value beside its countries");
        return Err(section.refuse(value.at, what, "leave the value out"));
    }
    match <[_; 1]>::try_from(found) {
        Ok([(field, name)]) => Ok(Condition {
            field,
            name,
            countries,
            value: value.map(|placed| placed.value),
        }),
        Err(_) => Err(section.refuse(at, format!("{path} does not look at exactly one thing"), next)),
    }
}

/// Two capital letters.
fn country(text: &str) -> Result<String, String> {
    let is_code = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_uppercase());
    is_code
        .then(|| text.to_owned())
        .ok_or_else(|| format!("{text:?} is not a country's two letters"))
}

#[cfg(test)]
mod tests;
