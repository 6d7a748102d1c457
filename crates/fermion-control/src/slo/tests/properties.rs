//! Whatever happens to frames on their way, budgets say the same.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::slo::observe::Sources;
use crate::slo::tally::Tally;

fn observed() -> Observed {
    let mut observed = Observed::default();
    observed.follow([(NAME.to_owned(), app_facts(ObjectiveSpec::defaults()))].into());
    observed
}

fn frames() -> impl Strategy<Value = Vec<Frame>> {
    let one = (0u64..40 * 24 * 3600, 1u32..4, 1u64..200, 0u64..20, 0u64..50);
    prop::collection::vec(one, 1..60).prop_map(|rows| {
        let numbered = (0..).zip(rows);
        numbered
            .map(|(sequence, (ago, release, requests, failures, slow))| {
                let share = Share {
                    release,
                    arm: Arm::Stable,
                    requests,
                    failures: failures.min(requests),
                };
                let mut frame = frame(sequence, NOW - ago, &[share]);
                frame.series[0].slow_starts = slow.min(requests);
                frame.series[0]
                    .duration
                    .add(0.05, requests - failures.min(requests));
                frame.series[0].duration.add(0.3, failures.min(requests));
                frame
            })
            .collect()
    })
}

fn answers(observed: &Observed) -> Vec<(String, Vec<(u64, u64)>)> {
    let windows = [300, 3_600, 6 * 3_600, 3 * 24 * 3_600, 30 * 24 * 3_600];
    let of = |spec: &ObjectiveSpec| {
        let counts = windows.map(|window| {
            let nothing = Tally::default();
            let tally = observed.tally(NAME, spec).unwrap_or(&nothing);
            let counts = tally.window(Duration::from_secs(window), NOW);
            (counts.good, counts.total)
        });
        (spec.name.clone(), counts.to_vec())
    };
    ObjectiveSpec::defaults().iter().map(of).collect()
}

proptest! {
    /// Order, repetition, lateness, a restart in the middle, a clock that is set back: none changes an answer.
    #[test]
    fn nothing_on_the_way_changes_an_answer(
        frames in frames(),
        seeds in prop::collection::vec(any::<u32>(), 60),
        split in 0usize..60,
        back in prop::collection::vec(0u64..7_200, 60),
    ) {
        let mut plain = observed();
        for frame in &frames {
            prop_assert!(plain.take(frame, NOW));
        }
        let mut order: Vec<usize> = (0..frames.len()).collect();
        order.sort_by_key(|index| seeds[*index]);
        let mut other = observed();
        // The clock has been right once; then it is set back and on.
        other.take(&frame(1_000, NOW, &[]), NOW);
        for (place, index) in order.iter().enumerate() {
            if place == split {
                // A restart: everything goes through its stored form.
                let mut again = observed();
                again.sources = stored(&other.sources);
                for (name, kept) in &other.kept {
                    for (objective, kept) in kept {
                        let mut read = crate::slo::observe::Kept::new(kept.indicator);
                        read.whole = stored(&kept.whole);
                        again.kept.entry(name.clone()).or_default().insert(objective.clone(), read);
                    }
                }
                again.take(&frame(1_001, NOW, &[]), NOW);
                other = again;
            }
            let now = NOW - back[place];
            prop_assert!(other.take(&frames[*index], now));
            prop_assert!(!other.take(&frames[*index], now), "a frame counts once");
        }
        prop_assert_eq!(answers(&plain), answers(&other));
    }

    /// Two halves of a node's frames, added up apart and merged, are the whole.
    #[test]
    fn halves_merge_to_the_whole(frames in frames(), split in 0usize..60) {
        let split = split.min(frames.len());
        let sum = |frames: &[Frame]| {
            let mut observed = observed();
            for frame in frames {
                observed.take(frame, NOW);
            }
            observed
        };
        let (left, right, mut whole) = (sum(&frames[..split]), sum(&frames[split..]), sum(&frames));
        for spec in ObjectiveSpec::defaults() {
            let nothing = Tally::default();
            let mut merged = left.tally(NAME, &spec).unwrap_or(&nothing).clone();
            merged.merge(right.tally(NAME, &spec).unwrap_or(&nothing));
            let kept = whole.kept.get_mut(NAME).and_then(|kept| kept.remove(&spec.name));
            prop_assert_eq!(merged, kept.map(|kept| kept.whole).unwrap_or_default());
        }
    }
}

fn stored<T: serde::Serialize + serde::de::DeserializeOwned>(value: &T) -> T {
    serde_json::from_slice(&serde_json::to_vec(value).unwrap()).unwrap()
}

#[test]
fn frames_of_lives_that_are_over_are_refused_rather_than_counted_twice() {
    let mut observed = observed();
    let of = |incarnation: u64, sequence: u64| Frame {
        incarnation,
        ..frame(sequence, NOW, &[stable(1, 0)])
    };
    assert!(observed.take(&of(5, 0), NOW));
    assert!(observed.take(&of(9, 0), NOW), "a restart begins at 0 again");
    assert!(
        observed.take(&of(5, 1), NOW),
        "the last frames of a life may be late"
    );
    assert!(observed.take(&of(12, 0), NOW));
    assert!(!observed.take(&of(5, 2), NOW), "but not by two lives");
    let future = frame(0, NOW + 3_600, &[stable(1, 0)]);
    let total = answers(&observed)[0].1[0].1;
    observed.take(
        &Frame {
            incarnation: 13,
            ..future
        },
        NOW,
    );
    assert_eq!(
        answers(&observed)[0].1[0].1,
        total,
        "what cannot be true is not counted"
    );
    assert_eq!(stored::<Sources>(&observed.sources), observed.sources);
}

/// A thousand apps with what they get without asking, every bucket of a month in use: below 300 MiB of memory, and 150 KiB
/// on the bus for each objective at the very worst. What has come since the last full document is next to nothing, and
/// as much again if a month of late frames comes at once.
#[test]
fn a_month_of_a_thousand_apps_is_bounded() {
    const APPS: usize = 1_000;
    const MEBIBYTES_MAX: usize = 300;
    let mut tally = Tally::default();
    let mut series = frame(0, NOW, &[stable(400_000_000, 200_000_000)]).series;
    for bucket in (0..(31 * 24 * 360)).rev() {
        series[0].release = 1 + (bucket / 36) % 9;
        let at = NOW - u64::from(bucket) * 10;
        let shares: Vec<_> = series.iter().collect();
        assert!(tally.add(Indicator::Success, &shares, at, NOW).is_some());
    }
    let bytes = tally.bytes() * ObjectiveSpec::defaults().len() * APPS;
    assert!(bytes < MEBIBYTES_MAX << 20, "{} MiB", bytes >> 20);
    let text = serde_json::to_vec(&tally).unwrap();
    assert!(text.len() < 150 * 1024, "{}", text.len());
    assert!(text.len() < fermion_bus::limits::VALUE_BYTES_MAX);
}
