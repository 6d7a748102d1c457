//! The rules that are generated fire on the same events as our own predicates: scenes of three days, written down twice, once
//! for `promtool test rules` and once for the planner.

use std::fmt::Write as _;
use std::time::Duration;

use fermion_planner::slo::{
    Action, Counts, Objective, Outcome, PRODUCT, Predicate, Series, evaluate, workbook,
};
use fermion_telemetry::prometheus::rules;

use super::write;
use crate::support::prometheus::promtool;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// Minutes of each scene.
const MINUTES: u64 = (3 * DAY + 6 * HOUR) / MINUTE;
/// When alerts are asked, in minutes: at times when rules are evaluated.
const ASKED: [u64; 4] = [MINUTES - 90, MINUTES - 60, MINUTES - 30, MINUTES];

/// Events and bad ones of a minute, counted back from the end.
type Scene = (&'static str, fn(u64) -> (u64, u64));

const SCENES: [Scene; 9] = [
    ("healthy", |_| (1_000, 0)),
    ("a-little", |_| (2_000, 1)),
    ("fast", |left| if left < 45 { (100, 30) } else { (100, 0) }),
    ("over", |left| {
        if (65..125).contains(&left) {
            (100, 30)
        } else {
            (100, 0)
        }
    }),
    (
        "hours",
        |left| if left < 8 * 60 { (1_000, 9) } else { (1_000, 0) },
    ),
    ("a-day", |left| {
        if left < 2 * 24 * 60 {
            (2_000, 7)
        } else {
            (2_000, 0)
        }
    }),
    ("always", |_| (2_000, 3)),
    ("trickle", |left| {
        if left % 20 == 0 {
            (1, u64::from(left < 5 * 60))
        } else {
            (0, 0)
        }
    }),
    ("one-at-night", |left| {
        if left % 30 == 0 {
            (1, u64::from(left == 30))
        } else {
            (0, 0)
        }
    }),
];

const TARGET: f64 = 0.999;

fn objective() -> Objective {
    Objective {
        target: TARGET,
        period: Duration::from_secs(30 * DAY),
    }
}

fn predicates() -> Vec<Predicate> {
    let all = PRODUCT.into_iter().chain(workbook(&objective()));
    all.filter(|predicate| predicate.action != Action::Rollback)
        .collect()
}

/// A scene as our own series.
fn series(events: fn(u64) -> (u64, u64)) -> Series {
    let mut series = Series::default();
    for minute in 1..=MINUTES {
        let (total, bad) = events(MINUTES - minute);
        let good = total - bad;
        let at = minute * MINUTE - MINUTE / 2;
        assert!(series.add(at, Counts { good, total }, at));
    }
    series
}

/// A counter of Prometheus, a sample a minute.
fn counter(events: fn(u64) -> (u64, u64), of: impl Fn((u64, u64)) -> u64) -> String {
    let mut sum = 0;
    let mut text = "0".to_owned();
    for minute in 1..=MINUTES {
        sum += of(events(MINUTES - minute));
        write!(text, " {sum}").unwrap();
    }
    text
}

fn severity(action: Action) -> &'static str {
    match action {
        Action::Page => "page",
        Action::Ticket => "ticket",
        _ => "notify",
    }
}

fn time(window: Duration) -> String {
    match window.as_secs() {
        seconds if seconds % DAY == 0 => format!("{}d", seconds / DAY),
        seconds if seconds % HOUR == 0 => format!("{}h", seconds / HOUR),
        seconds => format!("{}m", seconds / MINUTE),
    }
}

/// What `promtool` must find, as labels alone: how fast it burns is in the annotation, and extrapolated.
fn expected(minute: u64, fired: &mut [usize]) -> String {
    let mut text = String::new();
    for (app, events) in SCENES {
        let series = series(events);
        // What came later has not happened yet.
        let now = minute * MINUTE;
        let window = |window: Duration| past(&series, window, now);
        for (place, predicate) in predicates().iter().enumerate() {
            if evaluate(&objective(), predicate, window).outcome == Outcome::Met {
                fired[place] += 1;
                let labels = [
                    ("job", "fermion".to_owned()),
                    ("namespace", "default".to_owned()),
                    ("app", app.to_owned()),
                    ("objective", "success".to_owned()),
                    ("alertname", "FermionErrorBudgetBurn".to_owned()),
                    ("alertstate", "firing".to_owned()),
                    ("severity", severity(predicate.action).to_owned()),
                    ("long_window", time(predicate.long)),
                    ("short_window", time(predicate.short)),
                ];
                let labels: Vec<_> = labels
                    .iter()
                    .map(|(name, value)| format!("{name}=\"{value}\""))
                    .collect();
                writeln!(
                    text,
                    "          - {{labels: 'ALERTS{{{}}}', value: 1}}",
                    labels.join(",")
                )
                .unwrap();
            }
        }
    }
    text
}

/// A window that ends in the past of a series.
fn past(series: &Series, window: Duration, now: u64) -> Counts {
    let end = MINUTES * MINUTE;
    let back = Duration::from_secs(end - now);
    let (whole, later) = (series.window(window + back, end), series.window(back, end));
    Counts {
        good: whole.good - later.good,
        total: whole.total - later.total,
    }
}

#[test]
fn rules_fire_on_what_our_predicates_fire_on() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), "rules.yml", &rules());
    let checked = promtool(&["check", "rules"], &file);
    assert!(checked.contains("SUCCESS"), "{checked}");
    let mut text =
        "rule_files: [rules.yml]\nevaluation_interval: 30m\ntests:\n  - interval: 1m\n    input_series:\n"
            .to_owned();
    for (app, events) in SCENES {
        let labels = format!(
            "job=\"fermion\",instance=\"one\",namespace=\"default\",app=\"{app}\",objective=\"success\""
        );
        for (name, values) in [
            ("fermion_slo_events_total", counter(events, |(total, _)| total)),
            ("fermion_slo_bad_events_total", counter(events, |(_, bad)| bad)),
            ("fermion_slo_target_ratio", format!("{TARGET}x{MINUTES}")),
            ("fermion_slo_window_seconds", format!("{}x{MINUTES}", 30 * DAY)),
        ] {
            writeln!(
                text,
                "      - {{series: '{name}{{{labels}}}', values: '{values}'}}"
            )
            .unwrap();
        }
    }
    text.push_str("    promql_expr_test:\n");
    let mut fired = vec![0; predicates().len()];
    for minute in ASKED {
        let expected = expected(minute, &mut fired);
        let list = if expected.is_empty() {
            " []\n".to_owned()
        } else {
            format!("\n{expected}")
        };
        write!(
            text,
            "      - expr: ALERTS\n        eval_time: {minute}m\n        exp_samples:{list}"
        )
        .unwrap();
    }
    // A test in which something never fires says nothing of it.
    assert!(fired.iter().all(|count| *count > 0), "{fired:?}");
    promtool(&["test", "rules"], &write(folder.path(), "tests.yml", &text));
}
