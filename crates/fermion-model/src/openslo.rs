//! Objectives as OpenSLO v1 writes them: `kind: SLO` documents beside `app.yaml`. What Fermion measures by itself is named by
//! `indicatorRef`; what it cannot keep (indicators of other data sources, calendar windows, time slices, alert policies) is
//! refused by name, never passed over.

use crate::AppName;
use crate::document::{DocumentError, Node, START, Section, Value, check_size, yaml};
use crate::objective::{Indicator, ObjectiveSpec, Target, check_all, read_name, read_window};

/// The file's name, beside `app.yaml`.
pub const OPENSLO_FILE: &str = "openslo.yaml";

const VERSION: &str = "openslo/v1";
/// Kinds of the standard that have no meaning here, and why.
const KINDS_REFUSED: [(&str, &str); 6] = [
    ("Service", "the app is the service"),
    (
        "SLI",
        "Fermion measures by itself; name what it measures by spec.indicatorRef",
    ),
    ("DataSource", "Fermion measures by itself"),
    ("AlertPolicy", "alerts follow from the burn of the error budget"),
    (
        "AlertCondition",
        "alerts follow from the burn of the error budget",
    ),
    (
        "AlertNotificationTarget",
        "who is told is in alerts.toml of the platform",
    ),
];
const INDICATORS: &str = "write indicatorRef: success, latency, availability or cold_starts";
const SPEC: &[&str] = &[
    "description",
    "service",
    "indicatorRef",
    "timeWindow",
    "budgetingMethod",
    "objectives",
    "indicator",
    "alertPolicies",
];
const OBJECTIVE: &[&str] = &["displayName", "op", "value", "target", "targetPercent"];

/// Reads every document of the file; `file` only names it in refusals. `app` is whose objectives they are.
pub fn parse(text: &str, file: &str, app: &AppName) -> Result<Vec<ObjectiveSpec>, DocumentError> {
    check_size(text, file)?;
    let mut objectives = Vec::new();
    for document in documents(text) {
        let node = yaml::read(&document, file)?;
        if node.value != Value::Null {
            objectives.extend(document_objectives(node, file, app)?);
        }
    }
    let refuse = |why: String| START.refuse(file, why, "see docs/objectives.md");
    if objectives.is_empty() {
        return Err(refuse("there is no document of kind: SLO".to_owned()));
    }
    check_all(&objectives).map_err(refuse)?;
    Ok(objectives)
}

/// Each document with the lines of the others left blank, so that positions are those of the file.
fn documents(text: &str) -> Vec<String> {
    let mut documents = vec![String::new()];
    for (number, line) in text.lines().enumerate() {
        if line.trim_end() == "---" {
            documents.push("\n".repeat(number + 1));
        } else if let Some(document) = documents.last_mut() {
            document.push_str(line);
            document.push('\n');
        }
    }
    documents
}

fn document_objectives(node: Node, file: &str, app: &AppName) -> Result<Vec<ObjectiveSpec>, DocumentError> {
    let mut root = Section::open(file, "", node, &["apiVersion", "kind", "metadata", "spec"])?;
    let next = "write apiVersion: openslo/v1";
    root.converted("apiVersion", next, |text| match text {
        VERSION => Ok(()),
        _ => Err(format!("{text:?} is not a version this build reads")),
    })?
    .ok_or_else(|| root.missing("apiVersion", next))?;
    let next = "write kind: SLO";
    root.converted("kind", next, |text| {
        match KINDS_REFUSED.iter().find(|(kind, _)| *kind == text) {
            _ if text == "SLO" => Ok(()),
            Some((kind, why)) => Err(format!("{kind} has no effect here: {why}")),
            None => Err(format!("{text:?} is no kind of OpenSLO v1")),
        }
    })?
    .ok_or_else(|| root.missing("kind", next))?;
    let mut metadata = root
        .section("metadata", &["name", "displayName", "labels", "annotations"])?
        .ok_or_else(|| root.missing("metadata", "write metadata: {name: NAME}"))?;
    let next = "write a name of lower-case letters, digits and '-'";
    let name = metadata
        .converted("name", next, read_name)?
        .ok_or_else(|| metadata.missing("name", next))?;
    let mut spec = root
        .section("spec", SPEC)?
        .ok_or_else(|| root.missing("spec", "write spec: {indicatorRef: success, ...}"))?;
    let mut objectives = read_spec(&mut spec, file, app)?;
    let is_one = objectives.len() == 1;
    for (number, objective) in (1..).zip(&mut objectives) {
        objective.name = match is_one {
            true => name.value.clone(),
            false => format!("{}-{number}", name.value),
        };
        objective
            .check()
            .map_err(|why| spec.refuse(name.at, why, "see docs/objectives.md"))?;
    }
    Ok(objectives)
}

fn read_spec(spec: &mut Section<'_>, file: &str, app: &AppName) -> Result<Vec<ObjectiveSpec>, DocumentError> {
    if let Some(entry) = spec.take("indicator") {
        let what = "spec.indicator describes data of other systems, which Fermion does not ask";
        return Err(spec.refuse(entry.at, what, INDICATORS));
    }
    if let Some(entry) = spec.take("alertPolicies") {
        let what = "spec.alertPolicies has no effect here: alerts follow from the burn of the error budget";
        return Err(spec.refuse(entry.at, what, "leave it out"));
    }
    let next = "name the app of this folder";
    spec.converted("service", next, |text| match text == app.as_str() {
        true => Ok(()),
        false => Err(format!("{text:?} is not the app {app}")),
    })?;
    spec.converted(
        "budgetingMethod",
        "write budgetingMethod: Occurrences",
        |text| match text {
            "Occurrences" => Ok(()),
            _ => Err(format!(
                "{text:?} is not in this version: events are counted one by one"
            )),
        },
    )?;
    let indicator = spec
        .text("indicatorRef", INDICATORS)?
        .ok_or_else(|| spec.missing("indicatorRef", INDICATORS))?;
    if !["success", "latency", "availability", "cold_starts"].contains(&indicator.value.as_str()) {
        let what = format!(
            "spec.indicatorRef: {:?} is nothing that Fermion measures",
            indicator.value
        );
        return Err(spec.refuse(indicator.at, what, INDICATORS));
    }
    let window = window(spec, file)?;
    let mut objectives = Vec::new();
    let next = "write objectives: [{target: 0.999}]";
    for (index, node) in spec
        .nodes("objectives", crate::limits::OBJECTIVES_MAX, next)?
        .into_iter()
        .enumerate()
    {
        let section = Section::open(file, format!("spec.objectives[{index}]"), node, OBJECTIVE)?;
        let (indicator, target) = objective(section, &indicator.value)?;
        objectives.push(ObjectiveSpec {
            name: String::new(),
            indicator,
            target,
            window,
        });
    }
    if objectives.is_empty() {
        return Err(spec.missing("objectives", next));
    }
    Ok(objectives)
}

/// One rolling window, in seconds.
fn window(spec: &mut Section<'_>, file: &str) -> Result<u64, DocumentError> {
    let next = "write timeWindow: [{duration: 30d, isRolling: true}]";
    let mut nodes = spec.nodes("timeWindow", 1, next)?;
    let Some(node) = nodes.pop() else {
        return Err(spec.missing("timeWindow", next));
    };
    let at = node.at;
    let mut section = Section::open(
        file,
        "spec.timeWindow[0]",
        node,
        &["duration", "isRolling", "calendar"],
    )?;
    if let Some(entry) = section.take("calendar") {
        return Err(section.refuse(entry.at, "spec.timeWindow[0].calendar: windows roll here", next));
    }
    if section.boolean("isRolling")? != Some(true) {
        return Err(section.refuse(
            at,
            "spec.timeWindow[0].isRolling is not true: windows roll here",
            next,
        ));
    }
    let duration = section.converted("duration", next, |text| match text.strip_suffix('w') {
        Some(weeks) => read_window(&format!("{}d", 7 * weeks.parse::<u64>().unwrap_or(0).min(100))),
        None => read_window(text),
    })?;
    Ok(duration.ok_or_else(|| section.missing("duration", next))?.value)
}

fn objective(mut section: Section<'_>, indicator: &str) -> Result<(Indicator, Target), DocumentError> {
    let next = "write target: 0.999 or targetPercent: 99.9";
    let percent = match (
        number(&mut section, "targetPercent")?,
        number(&mut section, "target")?,
    ) {
        (Some(percent), None) => percent,
        (None, Some((at, share))) => (at, as_percent(&share)),
        (None, None) => return Err(section.missing("target", next)),
        (Some((at, _)), Some(_)) => {
            return Err(section.refuse(at, "target and targetPercent are both there", next));
        }
    };
    let target = format!("{}%", percent.1)
        .parse()
        .map_err(|why: String| section.refuse(percent.0, why, next))?;
    let below = "write op: lte and value: SECONDS";
    let operator = section.text("op", below)?;
    let value = number(&mut section, "value")?;
    let indicator = match (indicator, operator, value) {
        ("latency", Some(operator), Some((at, seconds))) => {
            if !["lt", "lte"].contains(&operator.value.as_str()) {
                let what = format!("op {:?} is no bound of a latency", operator.value);
                return Err(section.refuse(operator.at, what, below));
            }
            let micros = micros(&seconds).ok_or_else(|| {
                section.refuse(
                    at,
                    format!("value {seconds} is not from a microsecond to an hour"),
                    below,
                )
            })?;
            Indicator::LatencyBelow(micros)
        }
        ("latency", None, _) => return Err(section.missing("op", below)),
        ("latency", _, None) => return Err(section.missing("value", below)),
        (_, Some(operator), _) => {
            return Err(section.refuse(operator.at, "op is of a latency alone", "leave it out"));
        }
        (_, _, Some((at, _))) => {
            return Err(section.refuse(at, "value is of a latency alone", "leave it out"));
        }
        ("success", ..) => Indicator::Success,
        ("availability", ..) => Indicator::Availability,
        _ => Indicator::ColdStarts,
    };
    Ok((indicator, target))
}

/// A number as it is written.
fn number(
    section: &mut Section<'_>,
    key: &str,
) -> Result<Option<(crate::document::Position, String)>, DocumentError> {
    let full = section.full(key);
    let Some(entry) = section.take(key) else {
        return Ok(None);
    };
    match entry.node.value {
        Value::Number(text) => Ok(Some((entry.node.at, text))),
        other => {
            let what = format!("{full} is {}, not a number", other.kind());
            Err(section.refuse(entry.node.at, what, "write a number without quotes"))
        }
    }
}

/// `0.999` as `99.9`, digit by digit: a binary fraction would not be what was written.
fn as_percent(share: &str) -> String {
    let (whole, fraction) = share.split_once('.').unwrap_or((share, ""));
    let digits = format!("{fraction:0<2}");
    let (percent, rest) = digits.split_at_checked(2).unwrap_or(("", ""));
    let whole = whole.trim_start_matches('0');
    let percent = format!("{whole}{percent}");
    match rest {
        "" => percent,
        rest => format!("{percent}.{rest}"),
    }
}

fn micros(seconds: &str) -> Option<u64> {
    let micros = (seconds.parse::<f64>().ok()? * 1e6).round();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is whole and within these bounds"
    )]
    (1.0..=3.6e9).contains(&micros).then_some(micros as u64)
}

#[cfg(test)]
mod tests;
