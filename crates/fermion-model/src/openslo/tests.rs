//! What is mapped, and that everything else is refused by name.

use super::*;

const SUCCESS: &str = "apiVersion: openslo/v1
kind: SLO
metadata:
  name: checkout
  displayName: Checkout works
spec:
  description: What customers feel
  service: shop
  indicatorRef: success
  timeWindow:
    - duration: 4w
      isRolling: true
  budgetingMethod: Occurrences
  objectives:
    - displayName: most of them
      target: 0.9995
";

const LATENCY: &str = "apiVersion: openslo/v1
kind: SLO
metadata: {name: quick}
spec:
  service: shop
  indicatorRef: latency
  timeWindow: [{duration: 30d, isRolling: true}]
  budgetingMethod: Occurrences
  objectives:
    - {op: lte, value: 0.1, targetPercent: 95}
    - {op: lt, value: 1, target: 0.99}
";

fn read(text: &str) -> Result<Vec<ObjectiveSpec>, String> {
    parse(text, "f", &"shop".parse().unwrap()).map_err(|error| error.to_string())
}

#[test]
fn documents_become_objectives() {
    let objectives = read(&format!("{SUCCESS}---\n{LATENCY}")).unwrap();
    let of = |name: &str, indicator, ppm, days: u64| ObjectiveSpec {
        name: name.to_owned(),
        indicator,
        target: Target(ppm),
        window: days * 24 * 3600,
    };
    assert_eq!(
        objectives,
        [
            of("checkout", Indicator::Success, 999_500, 28),
            of("quick-1", Indicator::LatencyBelow(100_000), 950_000, 30),
            of("quick-2", Indicator::LatencyBelow(1_000_000), 990_000, 30),
        ]
    );
    for (name, indicator) in [
        ("availability", Indicator::Availability),
        ("cold_starts", Indicator::ColdStarts),
    ] {
        let text = SUCCESS.replace("indicatorRef: success", &format!("indicatorRef: {name}"));
        assert_eq!(read(&text).unwrap()[0].indicator, indicator);
    }
}

#[test]
fn shares_are_taken_digit_by_digit() {
    for (share, percent) in [
        ("0.999", "99.9"),
        ("0.99", "99"),
        ("0.9", "90"),
        (".95", "95"),
        ("0.99999", "99.999"),
        ("1", "100"),
    ] {
        assert_eq!(as_percent(share), percent, "{share}");
    }
}

#[test]
fn what_cannot_be_kept_is_named_with_its_place() {
    let with = |from: &str, to: &str| SUCCESS.replace(from, to);
    for (text, part) in [
        (
            with("kind: SLO", "kind: Service"),
            "f:2:7: kind: Service has no effect here",
        ),
        (with("kind: SLO", "kind: SLI"), "spec.indicatorRef"),
        (with("openslo/v1", "openslo/v2"), "not a version"),
        (with("service: shop", "service: cart"), "is not the app shop"),
        (
            with("Occurrences", "Timeslices"),
            "\"Timeslices\" is not in this version",
        ),
        (
            with("indicatorRef: success", "indicator: {spec: {}}"),
            "spec.indicator describes data",
        ),
        (
            with("indicatorRef: success", "indicatorRef: freshness"),
            "nothing that Fermion measures",
        ),
        (
            with("  service", "  alertPolicies: []\n  service"),
            "f:8:3: spec.alertPolicies",
        ),
        (with("isRolling: true", "isRolling: false"), "windows roll here"),
        (with("isRolling: true", "calendar: {timeZone: UTC}"), "calendar"),
        (with("4w", "1Q"), "not a window"),
        (with("4w", "5w"), "not a window"),
        (with("target: 0.9995", "target: 0.3"), "not a percentage"),
        (with("target: 0.9995", "target: '0.9'"), "not a number"),
        (
            with("target: 0.9995", "target: 0.9\n      targetPercent: 90"),
            "both there",
        ),
        (with("target: 0.9995", "timeSliceTarget: 0.9"), "unknown key"),
        (
            with("target: 0.9995", "target: 0.9\n      op: lte"),
            "of a latency alone",
        ),
        (LATENCY.replace("op: lte, ", ""), "op is missing"),
        (LATENCY.replace("value: 0.1, ", ""), "value is missing"),
        (LATENCY.replace("lte", "gt"), "no bound of a latency"),
        (
            LATENCY.replace("value: 0.1,", "value: 0,"),
            "not from a microsecond",
        ),
        (format!("{SUCCESS}---\n{SUCCESS}"), "is there twice"),
        (
            format!(
                "---\n{SUCCESS}---\n{}",
                LATENCY.replace("kind: SLO", "kind: Thing")
            ),
            "f:20:7",
        ),
        (String::new(), "no document of kind: SLO"),
    ] {
        let refusal = read(&text).expect_err(&text);
        assert!(refusal.contains(part), "{part}: {refusal}");
    }
}
