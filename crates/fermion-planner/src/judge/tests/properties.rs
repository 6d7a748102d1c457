//! What holds for any samples.

use proptest::prelude::*;

use super::super::sequential::{Absolute, Arm, Call, Failures, Rates, Watch};
use super::super::*;
use crate::limits::SAMPLES_MIN;

fn request(metrics: Vec<Metric>) -> Request {
    Request {
        rules: Rules::default(),
        pass: 80.0,
        marginal: 50.0,
        groups: BTreeMap::new(),
        metrics,
    }
}

fn metric(canary: &[f64], baseline: &[f64]) -> Metric {
    Metric {
        canary: canary.to_vec(),
        baseline: baseline.to_vec(),
        ..Metric::named("metric")
    }
}

#[test]
fn what_cannot_be_told_is_inconclusive_and_never_promotes() {
    use Classification::{High, Inconclusive, Nodata, NodataFail, Pass};
    let good: Vec<f64> = (0..20).map(f64::from).collect();
    let bad: Vec<f64> = (100..120).map(f64::from).collect();
    let fine = || metric(&good, &good);
    let worse = || metric(&bad, &good);
    let thin = || metric(&bad[..7], &good);
    let none_measured = Metric {
        nan: Missing::Replace,
        ..metric(&[], &good)
    };
    let silent = || metric(&[], &good);
    let silent_but_critical = Metric {
        critical: true,
        ..silent()
    };
    let silent_but_needed = Metric {
        must_have_data: true,
        ..silent()
    };
    let overflow = metric(&[f64::MAX; 8], &[f64::MIN; 8]);
    for (metrics, classes, verdict) in [
        (vec![fine()], vec![Pass], Verdict::Pass),
        (vec![worse()], vec![High], Verdict::Fail),
        (vec![thin()], vec![Inconclusive], Verdict::Inconclusive),
        (
            vec![fine(), thin()],
            vec![Pass, Inconclusive],
            Verdict::Inconclusive,
        ),
        (vec![worse(), thin()], vec![High, Inconclusive], Verdict::Fail),
        (vec![none_measured], vec![Inconclusive], Verdict::Inconclusive),
        (vec![silent()], vec![Nodata], Verdict::Inconclusive),
        (vec![silent_but_critical], vec![Nodata], Verdict::Inconclusive),
        (vec![silent_but_needed], vec![NodataFail], Verdict::Fail),
        (vec![overflow], vec![Inconclusive], Verdict::Inconclusive),
        (
            vec![fine(), fine(), worse()],
            vec![Pass, Pass, High],
            Verdict::Marginal,
        ),
    ] {
        let report = judge(&request(metrics));
        let found: Vec<_> = report
            .metrics
            .iter()
            .map(|finding| finding.classification)
            .collect();
        assert_eq!((found, report.verdict), (classes, verdict), "{report:?}");
    }
}

#[test]
fn constants_are_compared_as_they_are() {
    let report = judge(&request(vec![metric(&[10.0; 8], &[1.0; 8])]));
    assert_eq!(report.metrics[0].classification, Classification::High);
    assert_eq!(report.metrics[0].interval, Some([9.0, 9.0]));
}

#[test]
fn reasons_say_how_much_how_sure_and_how_many() {
    let good: Vec<f64> = (0..20).map(|i| 100.0 + f64::from(i)).collect();
    let slow: Vec<f64> = good.iter().map(|value| value * 2.0).collect();
    let reason = |canary: &[f64], change: fn(&mut Metric)| {
        let mut metric = metric(canary, &good);
        change(&mut metric);
        judge(&request(vec![metric])).metrics[0].reason.clone()
    };
    for (found, expected) in [
        (
            reason(&slow, |m| m.critical = true),
            "the canary is higher by 109.5 (98 % sure: between 101 and 118); mean 219 against 109.5, 2 times; \
             20 canary and 20 baseline samples; this fails the release",
        ),
        (
            reason(&slow, |m| m.direction = Direction::Decrease),
            "the canary is higher by 109.5 (98 % sure: between 101 and 118), but an increase of this metric is not for \
             the worse; mean 219 against 109.5, 2 times; 20 canary and 20 baseline samples",
        ),
        (
            reason(&slow, |m| m.effect.allowed_increase = 3.0),
            "the canary is higher by 109.5 (98 % sure: between 101 and 118), but its size is below the 3 at which it \
             counts; mean 219 against 109.5, 2 times; 20 canary and 20 baseline samples",
        ),
        (
            reason(&slow[..3], |_| {}),
            "too few samples to tell: 3 canary and 20 baseline samples, and 8 of each are needed",
        ),
        (
            reason(&[], |m| m.must_have_data = true),
            "the canary does not have a single sample, and this metric must have some; 0 canary and 20 baseline samples",
        ),
    ] {
        assert_eq!(found, expected);
    }
}

#[test]
fn failures_of_the_canary_alone_abort_after_the_published_number() {
    for (exposure, count) in [(0.05, 3), (0.25, 7)] {
        let mut failures = Failures::default();
        let needed = (1..100)
            .find(|_| {
                failures.observe(Arm::Canary, exposure);
                failures.evidence().aborts(0.001)
            })
            .unwrap();
        assert_eq!(needed, count, "at {exposure}");
    }
}

#[test]
fn the_test_without_a_baseline_has_the_published_bounds() {
    let mut test = Absolute::new(Rates::default());
    test.observe(true);
    assert!((test.ln_ratio() - 2.9957).abs() < 1e-4);
    test.observe(false);
    assert!((test.ln_ratio() - (2.9957 - 0.019_202)).abs() < 1e-4);
    let steps = |failed: bool, call: Call| {
        let mut test = Absolute::new(Rates::default());
        (1..1_000)
            .find(|_| {
                test.observe(failed);
                test.call() == call
            })
            .unwrap()
    };
    assert_eq!((steps(true, Call::Abort), steps(false, Call::Clear)), (3, 156));
}

#[test]
fn a_canary_alone_is_aborted_by_its_rate_and_beside_a_baseline_by_the_comparison() {
    let mut alone = Watch::new(0.001);
    let mut beside = Watch::new(0.001);
    for _ in 0..3 {
        alone.observe(Arm::Canary, true, 1.0);
        beside.observe(Arm::Canary, true, 0.5);
        beside.observe(Arm::Baseline, true, 0.5);
    }
    assert_eq!((alone.call(), beside.call()), (Call::Abort, Call::Continue));
    // An abort stays, whatever comes.
    for _ in 0..10_000 {
        alone.observe(Arm::Canary, false, 1.0);
    }
    assert_eq!(alone.call(), Call::Abort);
}

fn arms() -> impl Strategy<Value = (Vec<f64>, Vec<f64>)> {
    // Few distinct values make ties, the hard part.
    let value = prop_oneof![(0i32..6).prop_map(f64::from), -1e3..1e3];
    (
        prop::collection::vec(value.clone(), 2..40),
        prop::collection::vec(value, 2..40),
    )
}

proptest! {
    #[test]
    fn an_interval_holds_its_estimate_and_turns_with_its_arms((canary, baseline) in arms()) {
        let there = shift(&canary, &baseline, 0.98).unwrap();
        let back = shift(&baseline, &canary, 0.98).unwrap();
        // A stair may stop on either edge of a step, so equal only up to the search's tolerance.
        let near = 2e-4;
        prop_assert!(there.low <= there.estimate + near && there.estimate <= there.high + near, "{there:?}");
        let gap = (there.low + back.high).abs().max((there.high + back.low).abs());
        prop_assert!(gap <= near, "{there:?} {back:?}");
    }

    #[test]
    fn order_does_not_matter((canary, baseline) in arms(), seed in any::<usize>()) {
        let mut turned = canary.clone();
        turned.rotate_left(seed % canary.len());
        let one = judge(&request(vec![metric(&canary, &baseline)]));
        prop_assert_eq!(one, judge(&request(vec![metric(&turned, &baseline)])));
    }

    #[test]
    fn silence_never_passes(count in 0usize..SAMPLES_MIN, arm in any::<bool>(), replace in any::<bool>()) {
        let some: Vec<f64> = (0..30).map(f64::from).collect();
        let few = &some[..count];
        let mut metric = if arm { metric(few, &some) } else { metric(&some, few) };
        if replace {
            metric.nan = Missing::Replace;
        }
        let report = judge(&request(vec![metric]));
        prop_assert!(matches!(report.verdict, Verdict::Inconclusive | Verdict::Fail), "{report:?}");
    }

    #[test]
    fn p_never_grows_and_state_survives_storage(events in prop::collection::vec((any::<bool>(), any::<bool>(), 1u32..1000), 1..200)) {
        let mut watch = Watch::new(0.001);
        let mut p = 1.0;
        for (canary, failed, exposure) in events {
            let arm = if canary { Arm::Canary } else { Arm::Baseline };
            watch.observe(arm, failed, f64::from(exposure) / 1000.0);
            prop_assert!(watch.evidence().p() <= p);
            p = watch.evidence().p();
        }
        let stored = serde_json::to_string(&watch).unwrap();
        let again: Watch = serde_json::from_str(&stored).unwrap();
        prop_assert_eq!(again.call(), watch.call());
        prop_assert!((again.evidence().e() - watch.evidence().e()).abs() <= 1e-9 * watch.evidence().e());
    }
}
