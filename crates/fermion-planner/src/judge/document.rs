//! The documents that `fermion judge` reads: samples, events, counts. Strict: an unknown key is refused with the name
//! that was probably meant, a wrong value with its place.

mod reader;
pub mod schema;

use std::collections::BTreeMap;

use serde_json::Value;

use self::reader::{Bounds, Object};
use super::ratio::Ratio;
use super::sequential::{ALPHA, Arm};
use super::{Compatibility, Direction, Effect, Measure, Metric, Missing, Outliers, Request, Rules};
use crate::Error;
use crate::limits::{
    ARMS_MAX, BATCHES_MAX, CONFIDENCE, EVENTS_MAX, JUDGE_DOCUMENT_BYTES_MAX, MARGINAL_SCORE, METRICS_MAX,
    NAME_CHARACTERS_MAX, OUTLIER_FACTOR, PASS_SCORE, SAMPLES_MAX, TOLERANCE,
};

pub(super) const COMPATIBILITIES: [(&str, Compatibility); 2] = [
    ("fermion", Compatibility::Fermion),
    ("kayenta", Compatibility::Kayenta),
];
pub(super) const DIRECTIONS: [(&str, Direction); 3] = [
    ("increase", Direction::Increase),
    ("decrease", Direction::Decrease),
    ("either", Direction::Either),
];
pub(super) const MISSING: [(&str, Missing); 2] = [("remove", Missing::Remove), ("replace", Missing::Replace)];
pub(super) const OUTLIERS: [(&str, Outliers); 2] = [("keep", Outliers::Keep), ("remove", Outliers::Remove)];
pub(super) const MEASURES: [(&str, Measure); 2] =
    [("mean-ratio", Measure::MeanRatio), ("cles", Measure::Cles)];
const ARMS: [(&str, Arm); 2] = [("canary", Arm::Canary), ("baseline", Arm::Baseline)];

pub(super) const SCORE: Bounds = Bounds::between(0.0, 100.0);
pub(super) const CHANCE: Bounds = Bounds::inside(0.0, 1.0);
pub(super) const SHARE: Bounds = Bounds::between(0.0, 1.0);
pub(super) const POSITIVE: Bounds = Bounds::inside(0.0, f64::MAX);
pub(super) const NOT_NEGATIVE: Bounds = Bounds::between(0.0, f64::MAX);

/// How far the sum of shares may be from 1, or of weights from 100, as a share of it: what decimals lose.
const SUM_TOLERANCE: f64 = 1e-6;

/// A sequential test as a document says it.
#[derive(Debug, Clone, PartialEq)]
pub struct Events {
    /// How often an innocent release may be aborted.
    pub alpha: f64,
    /// What happened, in order.
    pub events: Vec<Event>,
}

/// One request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Event {
    /// Which release served it.
    pub arm: Arm,
    /// Whether it failed.
    pub failed: bool,
    /// The canary's share of traffic at that moment.
    pub exposure: f64,
}

/// A sample-ratio check as a document says it: the check that has seen nothing, and what it is to see.
#[derive(Debug, Clone, PartialEq)]
pub struct Counts {
    /// The check.
    pub ratio: Ratio,
    /// Requests of each arm, batch by batch.
    pub batches: Vec<Vec<u64>>,
}

/// Reads a file's bytes as JSON.
pub fn text(bytes: &[u8]) -> Result<Value, Error> {
    if bytes.len() as u64 > JUDGE_DOCUMENT_BYTES_MAX {
        return Err(Error::Size {
            bytes_max: JUDGE_DOCUMENT_BYTES_MAX,
        });
    }
    serde_json::from_slice(bytes).map_err(|error| {
        let said = error.to_string();
        let what = said.split(" at line ").next().unwrap_or_default().to_owned();
        Error::Syntax {
            line: error.line(),
            column: error.column(),
            what,
        }
    })
}

/// Reads samples of metrics.
pub fn request(document: &Value) -> Result<Request, Error> {
    let root = Object::root(
        document,
        &[
            "compatibility",
            "confidence",
            "tolerance",
            "pass",
            "marginal",
            "groups",
            "metrics",
        ],
    )?;
    let rules = Rules {
        compatibility: root.choice("compatibility", &COMPATIBILITIES, Compatibility::Fermion)?,
        confidence: root.number("confidence", CONFIDENCE, CHANCE)?,
        tolerance: root.number("tolerance", TOLERANCE, NOT_NEGATIVE)?,
    };
    let pass = root.number("pass", PASS_SCORE, SCORE)?;
    let marginal = root.number("marginal", MARGINAL_SCORE.min(pass), SCORE)?;
    if marginal > pass {
        return Err(root.fault("marginal", "is above \"pass\"", format!("at most {pass}")));
    }
    let mut groups = BTreeMap::new();
    for (name, weight) in root.entries("groups")? {
        groups.insert(name.clone(), weight.number_within(SCORE)?);
    }
    let sum: f64 = groups.values().sum();
    if sum > 100.0 * (1.0 + SUM_TOLERANCE) {
        return Err(root.fault(
            "groups",
            &format!("sum to {sum}"),
            "weights that sum to at most 100",
        ));
    }
    let metrics = root
        .list("metrics", METRICS_MAX)?
        .into_iter()
        .map(|item| metric(&item.object(&METRIC_KEYS)?))
        .collect::<Result<Vec<_>, _>>()?;
    if metrics.is_empty() {
        return Err(root.fault("metrics", "is empty", "at least one metric"));
    }
    Ok(Request {
        rules,
        pass,
        marginal,
        groups,
        metrics,
    })
}

pub(super) const METRIC_KEYS: [&str; 11] = [
    "name",
    "group",
    "canary",
    "baseline",
    "direction",
    "nan",
    "outliers",
    "outlier_factor",
    "critical",
    "must_have_data",
    "effect",
];

fn metric(object: &Object<'_>) -> Result<Metric, Error> {
    let samples = |key: &str| -> Result<Vec<f64>, Error> {
        object
            .list(key, SAMPLES_MAX)?
            .iter()
            .map(reader::Item::sample)
            .collect()
    };
    let name = object.text("name", NAME_CHARACTERS_MAX)?;
    let name = name.ok_or_else(|| object.fault("name", "is missing", "the metric's name"))?;
    let defaults = Metric::named(&name);
    Ok(Metric {
        group: object
            .text("group", NAME_CHARACTERS_MAX)?
            .unwrap_or(defaults.group),
        canary: samples("canary")?,
        baseline: samples("baseline")?,
        direction: object.choice("direction", &DIRECTIONS, Direction::Either)?,
        nan: object.choice("nan", &MISSING, Missing::Remove)?,
        outliers: object.choice("outliers", &OUTLIERS, Outliers::Keep)?,
        outlier_factor: object.number("outlier_factor", OUTLIER_FACTOR, POSITIVE)?,
        critical: object.flag("critical", false)?,
        must_have_data: object.flag("must_have_data", false)?,
        effect: effect(object)?,
        name,
    })
}

fn effect(metric: &Object<'_>) -> Result<Effect, Error> {
    const KEYS: [&str; 5] = [
        "measure",
        "allowed_increase",
        "allowed_decrease",
        "critical_increase",
        "critical_decrease",
    ];
    let Some(item) = metric.item("effect") else {
        return Ok(Effect::neutral(Measure::MeanRatio));
    };
    let object = item.object(&KEYS)?;
    let measure = object.choice("measure", &MEASURES, Measure::MeanRatio)?;
    let threshold = |key: &str| object.number(key, measure.neutral(), NOT_NEGATIVE);
    Ok(Effect {
        measure,
        allowed_increase: threshold("allowed_increase")?,
        allowed_decrease: threshold("allowed_decrease")?,
        critical_increase: threshold("critical_increase")?,
        critical_decrease: threshold("critical_decrease")?,
    })
}

/// Reads a sequential test.
pub fn events(document: &Value) -> Result<Events, Error> {
    let root = Object::root(document, &["alpha", "events"])?;
    let alpha = root.number("alpha", ALPHA, CHANCE)?;
    let events = root
        .list("events", EVENTS_MAX)?
        .into_iter()
        .map(|item| {
            let object = item.object(&["arm", "failed", "exposure"])?;
            let arm = object
                .choice_of("arm", &ARMS)?
                .ok_or_else(|| object.fault("arm", "is missing", "\"canary\" or \"baseline\""))?;
            let failed = object
                .flag_of("failed")?
                .ok_or_else(|| object.fault("failed", "is missing", "true or false"))?;
            let exposure = object
                .number_of("exposure", SHARE)?
                .ok_or_else(|| object.fault("exposure", "is missing", SHARE.words()))?;
            let impossible = match arm {
                Arm::Canary => exposure == 0.0,
                Arm::Baseline => exposure == 1.0,
            };
            if impossible {
                return Err(object.fault(
                    "exposure",
                    &format!("is {exposure} for an arm that had a request"),
                    SHARE.words(),
                ));
            }
            Ok(Event {
                arm,
                failed,
                exposure,
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Events { alpha, events })
}

/// Reads a sample-ratio check.
pub fn counts(document: &Value) -> Result<Counts, Error> {
    let root = Object::root(document, &["expected", "prior", "batches"])?;
    let numbers = |key: &str, bounds: Bounds| -> Result<Vec<f64>, Error> {
        root.list(key, ARMS_MAX)?
            .iter()
            .map(|item| item.number_within(bounds))
            .collect()
    };
    let expected = numbers("expected", SHARE)?;
    let sum: f64 = expected.iter().sum();
    if expected.len() < 2 || (sum - 1.0).abs() > SUM_TOLERANCE {
        let what = format!("has {} shares that sum to {sum}", expected.len());
        return Err(root.fault("expected", &what, "two or more shares that sum to 1"));
    }
    let arms = expected.len();
    let length = |what: &str, found: usize| {
        Err(root.fault(
            what,
            &format!("has {found} entries"),
            format!("{arms}, one for each arm of \"expected\""),
        ))
    };
    let prior = match root.item("prior") {
        None if expected.contains(&0.0) => {
            return Err(root.fault(
                "prior",
                "is missing",
                "one number above 0 for each arm, because an expected share is 0",
            ));
        }
        None => None,
        Some(_) => Some(numbers("prior", POSITIVE)?),
    };
    if let Some(prior) = &prior
        && prior.len() != arms
    {
        return length("prior", prior.len());
    }
    let mut batches = Vec::new();
    for (index, item) in root.list("batches", BATCHES_MAX)?.into_iter().enumerate() {
        let batch = item
            .items(ARMS_MAX)?
            .iter()
            .map(reader::Item::count)
            .collect::<Result<Vec<_>, _>>()?;
        if batch.len() != arms {
            return length(&format!("batches[{index}]"), batch.len());
        }
        batches.push(batch);
    }
    Ok(Counts {
        ratio: Ratio::new(expected, prior),
        batches,
    })
}
