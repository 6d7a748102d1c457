//! Published factors, and what holds for any order of events.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::limits::FRAMES_AHEAD_MAX;

const HOUR: u64 = 3_600;

fn days(count: u64) -> Duration {
    Duration::from_secs(count * 24 * HOUR)
}

fn objective(target: f64, period_days: u64) -> Objective {
    Objective {
        target,
        period: days(period_days),
    }
}

#[test]
fn factors_are_those_of_the_workbook_and_of_sloth() {
    for (period, factors) in [
        (30, [14.4, 6.0, 3.0, 1.0]),
        (28, [13.44, 5.6, 2.8, 0.933_333_333_333_333_4]),
    ] {
        let objective = objective(0.999, period);
        for (predicate, factor) in workbook(&objective).iter().zip(factors) {
            assert!((predicate.factor - factor).abs() < 1e-12, "{predicate:?}");
        }
    }
    let objective = objective(0.999, 30);
    for (burn, hours, spent) in [(14.4, 1, 0.02), (6.0, 6, 0.05), (1.0, 72, 0.1), (1.0, 720, 1.0)] {
        let found = objective.spent(burn, Duration::from_secs(hours * HOUR));
        assert!((found - spent).abs() < 1e-12, "{burn} for {hours} h: {found}");
    }
}

#[test]
fn windows_are_those_of_pyrra() {
    let minutes = |period| {
        pyrra(&objective(0.99, period)).map(|predicate| {
            let minutes = |window: Duration| window.as_secs() / 60;
            (minutes(predicate.long), minutes(predicate.short))
        })
    };
    assert_eq!(minutes(28), [(60, 5), (360, 30), (1_440, 120), (5_760, 360)]);
    assert_eq!(minutes(14), [(30, 3), (180, 15), (720, 60), (2_880, 180)]);
    assert_eq!(minutes(7), [(15, 1), (90, 8), (360, 30), (1_440, 90)]);
    assert_eq!(
        pyrra(&objective(0.99, 28)).map(|p| p.factor),
        [14.0, 7.0, 2.0, 1.0]
    );
}

#[test]
fn budgets_and_forecasts() {
    let objective = objective(0.999, 30);
    let counts = |bad, total| Counts {
        good: total - bad,
        total,
    };
    let near =
        |found: Option<f64>, expected: f64| assert!((found.unwrap() - expected).abs() < 1e-9, "{found:?}");
    near(objective.burn(counts(2, 1_000)), 2.0);
    near(objective.left(counts(25, 100_000)), 0.75);
    near(objective.left(counts(200, 100_000)), -1.0);
    assert_eq!(objective.burn(counts(0, 0)), None);
    assert_eq!(objective.left(counts(0, 0)), None);
    assert_eq!(objective.exhausted_in(0.5, 1.0), Some(days(15)));
    assert_eq!(
        objective.exhausted_in(1.0, 14.4),
        Some(Duration::from_secs(50 * HOUR))
    );
    assert_eq!(objective.exhausted_in(-0.1, 1.0), Some(Duration::ZERO));
    assert_eq!(objective.exhausted_in(0.5, 0.0), None);
}

/// A steady share of failures since so long ago, at so many requests a minute, 99.9 % promised.
fn steady(bad_share: f64, since: u64, per_minute: f64) -> impl Fn(Duration) -> Counts {
    move |window: Duration| {
        let whole = |count: f64| format!("{count:.0}").parse().unwrap();
        let minutes = window.as_secs_f64() / 60.0;
        let total: u64 = whole(minutes * per_minute);
        let bad_minutes = minutes.min(since as f64 / 60.0);
        let bad: u64 = whole(bad_minutes * per_minute * bad_share);
        Counts {
            good: total - bad.min(total),
            total,
        }
    }
}

#[test]
fn actions_follow_the_table() {
    use Action::{Mitigate, Notify, Page, Rollback};
    let objective = objective(0.999, 30);
    let decided = |share, since| decide(&objective, &PRODUCT, steady(share, since, 600.0));
    let night = |_: Duration| Counts { good: 9, total: 10 };
    for (name, found, expected) in [
        ("nothing wrong", decided(0.0, 0), vec![]),
        ("burns at 2", decided(0.002, 6 * HOUR), vec![]),
        (
            "burns at 3.5 for ten minutes",
            decided(0.0035, 600),
            vec![Notify, Mitigate],
        ),
        (
            "burns at 4.5 for an hour",
            decided(0.0045, HOUR),
            vec![Notify, Mitigate],
        ),
        (
            "burns at 6 for an hour",
            decided(0.006, HOUR),
            vec![Notify, Mitigate, Rollback],
        ),
        (
            "burns at 20 for a quarter",
            decided(0.02, 900),
            vec![Mitigate, Page],
        ),
        (
            "burns at 20 for an hour",
            decided(0.02, HOUR),
            vec![Mitigate, Page, Rollback],
        ),
        (
            "one bad request at night",
            decide(&objective, &PRODUCT, night),
            vec![],
        ),
    ] {
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn little_traffic_is_asked_over_a_wider_window_and_none_is_no_data() {
    let objective = objective(0.999, 30);
    let page = PRODUCT[0];
    // One request in ten minutes, all failing: two in the quarter of an hour are too few, six in the hour are not.
    let found = evaluate(&objective, &page, steady(1.0, 24 * HOUR, 0.1));
    assert_eq!(
        (found.outcome, found.long),
        (Outcome::Met, Duration::from_secs(24 * HOUR))
    );
    let silent = evaluate(&objective, &page, |_| Counts::default());
    assert_eq!((silent.outcome, silent.burn), (Outcome::NoData, None));
    // It failed yesterday, and nobody has asked since.
    let stopped = evaluate(&objective, &page, |window| {
        let total = if window > Duration::from_secs(12 * HOUR) {
            1_000
        } else {
            0
        };
        Counts { good: 0, total }
    });
    assert_eq!(stopped.outcome, Outcome::NoData);
}

const NOW: u64 = 1_800_000_000;

fn frames() -> impl Strategy<Value = Vec<(u64, Counts)>> {
    let frame = (0u64..40 * 24 * HOUR, 0u64..50, 0u64..50).prop_map(|(age, good, bad)| {
        let counts = Counts {
            good,
            total: good + bad,
        };
        (NOW - age, counts)
    });
    prop::collection::vec(frame, 0..200)
}

fn series(frames: &[(u64, Counts)]) -> Series {
    let mut series = Series::default();
    for (at, counts) in frames {
        assert!(series.add(*at, *counts, NOW));
    }
    series
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn neither_order_nor_parts_nor_storage_change_the_answer(frames in frames(), cut in any::<prop::sample::Index>()) {
        let whole = series(&frames);
        let mut backwards = frames.clone();
        backwards.reverse();
        prop_assert_eq!(&series(&backwards), &whole);
        let (one, two) = frames.split_at(if frames.is_empty() { 0 } else { cut.index(frames.len()) });
        let (mut left, right) = (series(one), series(two));
        let mut turned = right.clone();
        turned.merge(&left);
        left.merge(&right);
        prop_assert_eq!(&left, &whole);
        prop_assert_eq!(&turned, &whole);
        let stored: Series = serde_json::from_str(&serde_json::to_string(&whole).unwrap()).unwrap();
        prop_assert_eq!(stored, whole);
    }

    #[test]
    fn a_window_holds_what_lies_in_it_to_within_a_bucket(frames in frames(), minutes in 2u64..30 * 24 * 60) {
        let series = series(&frames);
        let newest = frames.iter().map(|(at, _)| *at).max().unwrap_or(NOW);
        let window = minutes * 60;
        let sum = |from: u64| {
            frames
                .iter()
                .filter(|(at, _)| *at >= from)
                .fold(Counts::default(), |sum, (_, counts)| sum.plus(*counts))
        };
        let found = series.window(Duration::from_secs(window), newest);
        prop_assert!(found.total <= sum(newest - window).total);
        prop_assert!(found.total >= sum(newest - window + 3_600.min(window)).total);
    }

    #[test]
    fn a_frame_counts_once_whatever_the_order(mut order in prop::collection::vec(0u64..60, 0..200)) {
        let mut ledger = Ledger::default();
        let taken: Vec<u64> = order.iter().copied().filter(|&sequence| ledger.take(7, sequence)).collect();
        let mut unique = taken.clone();
        unique.sort_unstable();
        unique.dedup();
        prop_assert_eq!(taken.len(), unique.len());
        order.sort_unstable();
        order.dedup();
        prop_assert_eq!(unique, order);
    }
}

#[test]
fn space_is_bounded_and_the_future_is_refused() {
    let mut series = Series::default();
    for at in (NOW - 60 * 24 * HOUR..NOW).step_by(10) {
        series.add(at, Counts { good: 1, total: 1 }, NOW);
    }
    assert_eq!(series.buckets(), 1_080 + 1_560 + 576 + 800);
    let before = series.clone();
    assert!(!series.add(NOW + HOUR, Counts { good: 0, total: 9 }, NOW));
    assert_eq!(series, before);
    let month = series.window(days(30), NOW).total;
    assert!(month.abs_diff(30 * 24 * 360) <= 360, "{month}");
    let mut ledger = Ledger::default();
    assert!(ledger.take(1, 0));
    for sequence in 2..1_000_000 {
        assert!(ledger.take(1, sequence));
    }
    assert!(
        !ledger.take(1, 1),
        "the gap was given up after {FRAMES_AHEAD_MAX}"
    );
}

#[test]
fn what_is_stored_is_what_was_there_and_small() {
    let mut series = Series::default();
    let mut recent = Recent::default();
    for bucket in 0..(31 * 24 * 360) {
        let at = NOW - bucket * 10;
        let counts = Counts {
            good: 4_000_000_000,
            total: 4_294_967_295,
        };
        assert!(series.add(at, counts, NOW));
        recent.add(at, counts);
    }
    assert!(series.bytes() <= 48 * 1024, "{}", series.bytes());
    assert!(recent.bytes() <= 6 * 1024, "{}", recent.bytes());
    let text = serde_json::to_vec(&series).unwrap();
    assert!(text.len() < 96 * 1024, "{}", text.len());
    assert_eq!(serde_json::from_slice::<Series>(&text).unwrap(), series);
    let text = serde_json::to_vec(&recent).unwrap();
    assert_eq!(serde_json::from_slice::<Recent>(&text).unwrap(), recent);
    let hour = recent.window(Duration::from_secs(HOUR), NOW);
    assert_eq!(
        hour.total,
        7 * u64::from(u32::MAX),
        "six whole buckets and the one that has begun"
    );
}
