//! `fermion judge` on files, as an operator runs it.

use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::platform::Ran;

/// `fermion judge WORDS... FILE` on a file with this text.
fn judge(words: &[&str], text: &str) -> Ran {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("figures.json");
    fs::write(&file, text).unwrap();
    Ran::new(
        ["judge"]
            .iter()
            .chain(words)
            .copied()
            .chain([file.to_str().unwrap()]),
    )
}

#[test]
fn samples_are_judged_with_reasons() {
    let good: Vec<f64> = (0..20).map(|i| 100.0 + f64::from(i)).collect();
    let slow: Vec<f64> = good.iter().map(|value| value * 2.0).collect();
    let document = json!({
        "groups": {"latency": 60},
        "metrics": [
            {"name": "p99", "group": "latency", "canary": slow, "baseline": good, "direction": "increase"},
            {"name": "errors", "group": "errors", "canary": good, "baseline": good},
            {"name": "orders", "group": "errors", "canary": [1, null, "NaN"], "baseline": good},
        ],
    });
    let report = judge(&["--json"], &document.to_string()).json();
    assert_eq!(report["verdict"], "fail");
    assert_eq!(report["score"], 40.0);
    assert_eq!(
        report["groups"],
        json!([{"name": "errors", "score": 100.0}, {"name": "latency", "score": 0.0}])
    );
    let found: Vec<&Value> = (0..3).map(|i| &report["metrics"][i]["classification"]).collect();
    assert_eq!(found, ["high", "pass", "inconclusive"]);
    assert_eq!(report["metrics"][0]["effect"], 2.0);
    assert_eq!(report["metrics"][2]["interval"], Value::Null);

    let shown = judge(&[], &document.to_string());
    for words in [
        "fail: score 40 of 100 (passes from 80, fails below 50)",
        "p99     high",
        "the canary is higher by 109.5 (98 % sure: between",
        "too few samples to tell: 1 canary and 20 baseline samples, and 8 of each are needed",
    ] {
        assert!(shown.done().contains(words), "{words}: {}", shown.stdout);
    }
}

#[test]
fn published_vectors_apply_unchanged_under_the_originals_rules() {
    let document = json!({
        "compatibility": "kayenta",
        "confidence": 0.95,
        "metrics": [{"name": "m", "canary": [10, 20, 30, 40], "baseline": [1, 2, 3, 4]}],
    });
    let report = judge(&["--json"], &document.to_string()).json();
    let metric = &report["metrics"][0];
    let near = |value: &Value, expected: f64| (value.as_f64().unwrap() - expected).abs() < 1e-6;
    assert!(
        near(&metric["interval"][0], 6.0) && near(&metric["interval"][1], 39.0),
        "{report}"
    );
    assert!(
        near(&metric["estimate"], 22.5) && near(&metric["effect"], 10.0),
        "{report}"
    );
    assert_eq!(
        (&report["verdict"], &metric["critical"]),
        (&json!("fail"), &json!(false))
    );
}

#[test]
fn failures_are_followed_in_order_and_shares_are_checked() {
    let failure = json!({"arm": "canary", "failed": true, "exposure": 0.05});
    let document = json!({"alpha": 0.001, "events": [failure, failure, failure]}).to_string();
    let sequence = judge(&["sequential", "--json"], &document).json();
    assert_eq!(sequence["verdict"], "abort");
    let p: Vec<f64> = (0..3)
        .map(|i| sequence["steps"][i]["p"].as_f64().unwrap())
        .collect();
    assert!(p[0] > p[1] && p[1] > 0.001 && p[2] <= 0.001, "{p:?}");
    assert!(
        judge(&["sequential"], &document)
            .done()
            .starts_with("abort: at event 3 of 3")
    );

    let document = json!({
        "expected": [0.4, 0.4, 0.2],
        "prior": [1, 1, 1],
        "batches": [[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]],
    });
    let ratio = judge(&["ratio", "--json"], &document.to_string()).json();
    assert!(
        (ratio["ln_m1"].as_f64().unwrap() + 6.445_719_819_385_578).abs() < 1e-9,
        "{ratio}"
    );
    assert!(
        (ratio["ln_m0"].as_f64().unwrap() + 5.274_600_839_930_72).abs() < 1e-9,
        "{ratio}"
    );
    assert_eq!(ratio["p"], 1.0);
}

#[test]
fn a_bad_file_is_refused_with_file_path_and_what_was_expected() {
    for (words, text, expected) in [
        (
            vec!["--json"],
            r#"{"metrics": [{"name": "m", "canary": [1, "x"], "baseline": []}]}"#,
            "metrics[0].canary[1] is \"x\"; expected a number, or null or \"NaN\"",
        ),
        (
            vec!["--json"],
            r#"{"metrics": [NaN]}"#,
            "line 1, column 14 is no JSON",
        ),
        (
            vec!["--json", "sequential"],
            r#"{"alfa": 1, "events": []}"#,
            "alfa is unknown; expected one of alpha, events",
        ),
        (
            vec!["--json", "ratio"],
            r#"{"expected": [0.5, 0.5], "batches": [[1]]}"#,
            "batches[0] has 1 entries; expected 2",
        ),
    ] {
        let refused = judge(&words, text).refused("JUDGE_INPUT_INVALID");
        assert!(refused.contains("figures.json cannot be judged"), "{refused}");
        assert!(refused.contains(expected), "{expected}: {refused}");
    }
}
