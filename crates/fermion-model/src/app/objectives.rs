//! `spec.objectives` of `app.yaml`: every rule of every key.

use crate::document::{DocumentError, Entry, Node, Section, Value};
use crate::limits::OBJECTIVES_MAX;
use crate::objective::{Indicator, ObjectiveSpec, Target, read_name, read_window};
use crate::units::parse_duration;

const KEYS: &[&str] = &["name", "indicator", "target", "window", "region", "route"];
/// Parts of an app that are not told apart yet, and why.
const PARTS_LATER: [(&str, &str); 2] = [
    ("region", "a platform is one region"),
    (
        "route",
        "requests are counted by app and release, not by route: make it an app of its own",
    ),
];
const INDICATORS: &str = "write success, availability, cold_starts, or {latency_below: 100ms}";

/// Reads the list. It stands for all of the app's objectives: an empty one is a promise of nothing.
pub(super) fn read(
    spec: &Section<'_>,
    entry: Entry,
    file: &str,
) -> Result<Vec<ObjectiveSpec>, DocumentError> {
    let (at, full) = (entry.node.at, spec.full("objectives"));
    let next = "write a list such as [{name: success, indicator: success, target: 99.9%, window: 30d}]";
    let Value::List(nodes) = entry.node.value else {
        let what = format!("{full} is {}, not a list", entry.node.value.kind());
        return Err(spec.refuse(at, what, next));
    };
    if nodes.len() > OBJECTIVES_MAX {
        let what = format!(
            "{full} has {} entries, the ceiling is {OBJECTIVES_MAX}",
            nodes.len()
        );
        return Err(spec.refuse(at, what, "write fewer"));
    }
    let mut objectives: Vec<ObjectiveSpec> = Vec::new();
    for (index, node) in nodes.into_iter().enumerate() {
        let at = node.at;
        let objective = one(format!("{full}[{index}]"), node, file)?;
        if objectives.iter().any(|other| other.name == objective.name) {
            let what = format!("{full} has {:?} twice", objective.name);
            return Err(spec.refuse(at, what, "write it once"));
        }
        objectives.push(objective);
    }
    Ok(objectives)
}

fn one(path: String, node: Node, file: &str) -> Result<ObjectiveSpec, DocumentError> {
    let mut section = Section::open(file, path, node, KEYS)?;
    for (key, why) in PARTS_LATER {
        if let Some(entry) = section.take(key) {
            let what = format!("{} is not in this version: {why}", section.full(key));
            return Err(section.refuse(entry.at, what, "leave it out"));
        }
    }
    let next = "write a name of lower-case letters, digits and '-'";
    let name = section
        .converted("name", next, read_name)?
        .ok_or_else(|| section.missing("name", next))?
        .value;
    let entry = section
        .take("indicator")
        .ok_or_else(|| section.missing("indicator", INDICATORS))?;
    let indicator = indicator(&section, entry, file)?;
    let next = "write a percentage such as 99.9%";
    let target = section
        .parsed::<Target>("target", next)?
        .ok_or_else(|| section.missing("target", next))?
        .value;
    let next = "write a window such as 30d";
    let window = section
        .converted("window", next, read_window)?
        .ok_or_else(|| section.missing("window", next))?
        .value;
    Ok(ObjectiveSpec {
        name,
        indicator,
        target,
        window,
    })
}

fn indicator(section: &Section<'_>, entry: Entry, file: &str) -> Result<Indicator, DocumentError> {
    let (at, full) = (entry.node.at, section.full("indicator"));
    if let Value::Text(text) = &entry.node.value {
        return match text.as_str() {
            "success" => Ok(Indicator::Success),
            "availability" => Ok(Indicator::Availability),
            "cold_starts" => Ok(Indicator::ColdStarts),
            "freshness" => {
                let what = format!("{full}: freshness is of queues, which this version does not have");
                Err(section.refuse(at, what, INDICATORS))
            }
            _ => Err(section.refuse(at, format!("{full}: {text:?} is no indicator"), INDICATORS)),
        };
    }
    let mut below = Section::open(file, full, entry.node, &["latency_below"])?;
    let next = "write a duration such as 100ms";
    let micros = below.converted("latency_below", next, |text| {
        let duration = parse_duration(text).map_err(|error| error.to_string())?;
        match u64::try_from(duration.as_micros()) {
            Ok(micros) if micros > 0 => Ok(micros),
            _ => Err(format!("{text:?} is not above zero")),
        }
    })?;
    let micros = micros.ok_or_else(|| below.missing("latency_below", next))?;
    Ok(Indicator::LatencyBelow(micros.value))
}

#[cfg(test)]
mod tests {
    use crate::app::App;
    use crate::objective::{Indicator, ObjectiveSpec, Target};

    const HEAD: &str = "apiVersion: fermion.dev/v1\nkind: App\nmetadata: {name: a}\nspec:\n  objectives: ";

    fn parse(list: &str) -> Result<Option<Vec<ObjectiveSpec>>, String> {
        let app = App::parse(&format!("{HEAD}{list}\n"), "f").map_err(|error| error.to_string())?;
        Ok(app.objectives)
    }

    #[test]
    fn reads_every_indicator() {
        let list = "[{name: success, indicator: success, target: 99.9%, window: 30d},
     {name: quick, indicator: {latency_below: 100ms}, target: 95%, window: 28d},
     {name: there, indicator: availability, target: 99.99%, window: 7d},
     {name: warm, indicator: cold_starts, target: 99%, window: 30d}]";
        let objectives = parse(list).unwrap().unwrap();
        let indicators: Vec<_> = objectives.iter().map(|objective| objective.indicator).collect();
        assert_eq!(
            indicators,
            [
                Indicator::Success,
                Indicator::LatencyBelow(100_000),
                Indicator::Availability,
                Indicator::ColdStarts
            ]
        );
        assert_eq!(objectives[1].target, Target(950_000));
        assert_eq!(objectives[1].window, 28 * 24 * 3600);
        let json = serde_json::to_string(&objectives).unwrap();
        assert_eq!(
            serde_json::from_str::<Vec<ObjectiveSpec>>(&json).unwrap(),
            objectives
        );
        assert_eq!(parse("[]"), Ok(Some(Vec::new())), "an app may promise nothing");
    }

    #[test]
    fn refusals_name_the_key() {
        let whole = "{name: a, indicator: success, target: 99%, window: 30d}";
        for (list, part) in [
            (format!("[{whole}, {whole}]"), "has \"a\" twice"),
            (whole.to_owned(), "is a table, not a list"),
            (format!("[{}]", [whole; 9].join(", ")), "the ceiling is 8"),
            (format!("[{}]", whole.replace("99%", "99.99999%")), "f:5:"),
            (format!("[{}]", whole.replace("99%", "0.99")), "target"),
            (format!("[{}]", whole.replace("30d", "40d")), "not a window"),
            (
                format!("[{}]", whole.replace("success", "speed")),
                "is no indicator",
            ),
            (
                format!("[{}]", whole.replace("success", "freshness")),
                "freshness is of queues",
            ),
            (
                format!("[{}]", whole.replace("name: a", "name: a, region: eu")),
                "objectives[0].region is not in this version: a platform is one region",
            ),
            (
                format!("[{}]", whole.replace("name: a", "name: a, route: /b")),
                "counted by app and release, not by route",
            ),
            (
                format!("[{}]", whole.replace("success", "{latency_under: 1ms}")),
                "known here: latency_below",
            ),
            (
                format!("[{}]", whole.replace("success", "{latency_below: 0ms}")),
                "above zero",
            ),
            (
                format!("[{}]", whole.replace("name: a", "name: A")),
                "is not a name",
            ),
            (
                format!("[{}]", whole.replace(", window: 30d", "")),
                "spec.objectives[0].window is missing",
            ),
            (
                format!("[{}]", whole.replace("window", "windows")),
                "did you mean \"window\"?",
            ),
        ] {
            let refusal = parse(&list).expect_err(&list);
            assert!(refusal.contains(part), "{list}: {refusal}");
        }
    }
}
