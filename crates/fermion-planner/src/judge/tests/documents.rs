//! Documents: defaults, refusals with their places, and the schema beside the reader.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::super::document::{counts, events, request, schema};
use super::super::*;

#[test]
fn a_short_document_has_the_defaults() {
    let document = json!({"metrics": [{"name": "p99", "canary": [1, null, "NaN"], "baseline": []}]});
    let request = request(&document).unwrap();
    assert_eq!(
        (request.rules, request.pass, request.marginal),
        (Rules::default(), 80.0, 50.0)
    );
    let metric = &request.metrics[0];
    assert!(metric.canary[0] == 1.0 && metric.canary[1].is_nan() && metric.canary[2].is_nan());
    let defaults = Metric {
        canary: Vec::new(),
        ..metric.clone()
    };
    assert_eq!(defaults, Metric::named("p99"));
}

#[test]
fn thresholds_of_a_chance_begin_at_a_half() {
    let document = json!({"metrics": [{"name": "m", "canary": [], "baseline": [], "effect": {"measure": "cles", "allowed_increase": 0.8}}]});
    let effect = request(&document).unwrap().metrics[0].effect.clone();
    let expected = Effect {
        allowed_increase: 0.8,
        ..Effect::neutral(Measure::Cles)
    };
    assert_eq!(effect, expected);
}

fn with(key: &str, value: Value) -> Value {
    let mut document = json!({"metrics": [{"name": "m", "canary": [1], "baseline": [1]}]});
    document[key] = value;
    document
}

fn metric_with(key: &str, value: Value) -> Value {
    let mut document = json!({"metrics": [{"name": "m", "canary": [1], "baseline": [1]}]});
    document["metrics"][0][key] = value;
    document
}

fn refused(rows: &[(crate::Error, &str)]) {
    for (refusal, text) in rows {
        assert_eq!(refusal.to_string(), *text);
        assert_eq!(refusal.code(), "JUDGE_INPUT_INVALID");
    }
}

#[test]
fn refusals_of_samples_say_where_and_what_was_expected() {
    refused(&[
        (
            request(&json!([])).unwrap_err(),
            "the document is a list; expected an object",
        ),
        (
            request(&json!({})).unwrap_err(),
            "metrics is missing; expected a list",
        ),
        (
            request(&with("metrics", json!([]))).unwrap_err(),
            "metrics is empty; expected at least one metric",
        ),
        (
            request(&with("confidence", json!(98))).unwrap_err(),
            "confidence is 98; expected a number between 0 and 1",
        ),
        (
            request(&with("marginal", json!(90))).unwrap_err(),
            "marginal is above \"pass\"; expected at most 80",
        ),
        (
            request(&with("groups", json!({"a": 60, "b": 50}))).unwrap_err(),
            "groups sum to 110; expected weights that sum to at most 100",
        ),
        (
            request(&with("groups", json!({"a": "x"}))).unwrap_err(),
            "groups.a is \"x\"; expected a number from 0 to 100",
        ),
        (
            request(&with("group", json!({}))).unwrap_err(),
            "group is unknown; expected \"groups\", probably; known here: compatibility, confidence, tolerance, pass, marginal, groups, metrics",
        ),
        (
            request(&metric_with("canary", json!([1, 2, true]))).unwrap_err(),
            "metrics[0].canary[2] is true; expected a number, or null or \"NaN\" where nothing was measured",
        ),
        (
            request(&metric_with("direction", json!("up"))).unwrap_err(),
            "metrics[0].direction is \"up\"; expected \"increase\" or \"decrease\" or \"either\"",
        ),
        (
            request(&metric_with("effect", json!({"measure": 1}))).unwrap_err(),
            "metrics[0].effect.measure is 1; expected \"mean-ratio\" or \"cles\"",
        ),
        (
            request(&metric_with("name", json!(""))).unwrap_err(),
            "metrics[0].name is \"\"; expected a text of 1 to 200 characters",
        ),
        (
            request(&metric_with("outlier_factor", json!(0))).unwrap_err(),
            "metrics[0].outlier_factor is 0; expected a number above 0",
        ),
        (
            request(&metric_with("canary", json!(vec![0; 100_001]))).unwrap_err(),
            "metrics[0].canary has 100001 entries; expected at most 100000",
        ),
    ]);
}

#[test]
fn refusals_of_events_and_counts_do_too() {
    let event = |event: Value| events(&json!({"events": [event]})).unwrap_err();
    let ratio = |document: Value| counts(&document).unwrap_err();
    refused(&[
        (
            event(json!({"failed": true, "exposure": 0.1})),
            "events[0].arm is missing; expected \"canary\" or \"baseline\"",
        ),
        (
            event(json!({"arm": "canary", "failed": true, "exposure": 0})),
            "events[0].exposure is 0 for an arm that had a request; expected a number from 0 to 1",
        ),
        (
            ratio(json!({"expected": [0.5, 0.4], "batches": []})),
            "expected has 2 shares that sum to 0.9; expected two or more shares that sum to 1",
        ),
        (
            ratio(json!({"expected": [1, 0], "batches": []})),
            "prior is missing; expected one number above 0 for each arm, because an expected share is 0",
        ),
        (
            ratio(json!({"expected": [0.5, 0.5], "prior": [1], "batches": []})),
            "prior has 1 entries; expected 2, one for each arm of \"expected\"",
        ),
        (
            ratio(json!({"expected": [0.5, 0.5], "batches": [[1, 2], [1]]})),
            "batches[1] has 1 entries; expected 2, one for each arm of \"expected\"",
        ),
        (
            ratio(json!({"expected": [0.5, 0.5], "batches": [[1, -2]]})),
            "batches[0][1] is -2; expected a whole number of requests",
        ),
    ]);
}

#[test]
fn the_published_schema_is_the_one_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/judge-1.schema.json");
    let text = format!("{}\n", serde_json::to_string_pretty(&schema::schema()).unwrap());
    if std::env::var_os("UPDATE_REFERENCES").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let published = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        published, text,
        "run `UPDATE_REFERENCES=1 cargo test -p fermion-planner schema`"
    );
}

/// Every key that the schema names is one that the reader takes, and the other way round: the reader lists what it knows
/// when it refuses.
#[test]
fn schema_and_reader_know_the_same_keys() {
    let schema = schema::schema();
    let keys =
        |table: &Value| -> Vec<String> { table["properties"].as_object().unwrap().keys().cloned().collect() };
    let metric = &schema["$defs"]["metric"];
    let event = &schema["$defs"]["sequential"]["properties"]["events"]["items"];
    let unknown = json!({"zzz": 0});
    for (table, refusal) in [
        (&schema, request(&with("zzz", json!(0))).unwrap_err()),
        (metric, request(&metric_with("zzz", json!(0))).unwrap_err()),
        (
            &metric["properties"]["effect"],
            request(&metric_with("effect", unknown.clone())).unwrap_err(),
        ),
        (&schema["$defs"]["sequential"], events(&unknown).unwrap_err()),
        (event, events(&json!({"events": [unknown]})).unwrap_err()),
        (&schema["$defs"]["ratio"], counts(&unknown).unwrap_err()),
    ] {
        let text = refusal.to_string();
        let (_, known) = text
            .split_once("expected one of ")
            .unwrap_or_else(|| panic!("{text}"));
        let mut known: Vec<_> = known.split(", ").map(str::to_owned).collect();
        known.sort();
        assert_eq!(known, keys(table), "{text}");
    }
}
