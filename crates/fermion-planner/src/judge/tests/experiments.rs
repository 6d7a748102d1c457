//! Experiments: seldom wrong however often one looks, and right in time.

use super::super::experiment::{Choice, Experiment, Values};
use super::simulation::{Random, at_most};

const ALPHA: f64 = super::super::experiment::EXPERIMENT_ALPHA;

fn one(value: f64) -> Values {
    Values {
        count: 1,
        sum: value,
        squares: value * value,
    }
}

/// One caller after the other, each of whom is the new release's with this chance.
fn converts(random: &mut Random, share: f64, times: f64, callers: u32) -> Experiment {
    let mut experiment = Experiment::default();
    for _ in 0..callers {
        let is_new = random.chance(share * times / (share * times + 1.0 - share));
        let (new, old) = if is_new {
            (one(1.0), Values::default())
        } else {
            (Values::default(), one(1.0))
        };
        experiment.convert(&new, &old, share);
    }
    experiment
}

/// Orders of callers: many small ones and a few large.
fn values(random: &mut Random, times: f64, callers: u32) -> Experiment {
    let mut experiment = Experiment::default();
    for _ in 0..callers {
        let (new, old) = (random.latency() * times, random.latency());
        experiment.value(&one(new), &one(old));
    }
    experiment
}

#[test]
fn equal_releases_are_seldom_told_apart() {
    let mut random = Random(11);
    let told = |experiment: Experiment| u32::from(experiment.choice(true).is_some());
    for share in [0.5, 0.1] {
        let wrong = (0..2_000)
            .map(|_| told(converts(&mut random, share, 1.0, 1_000)))
            .sum();
        at_most(wrong, 2_000, ALPHA);
    }
    let wrong = (0..1_000).map(|_| told(values(&mut random, 1.0, 1_000))).sum();
    at_most(wrong, 1_000, ALPHA);
}

#[test]
fn the_better_one_is_found_whichever_it_is() {
    let mut random = Random(12);
    for (times, choice) in [(1.3, Choice::New), (1.0 / 1.3, Choice::Old)] {
        let found = (0..200).filter(|_| {
            let experiment = converts(&mut random, 0.5, times, 2_000);
            experiment.choice(true) == Some(choice)
        });
        let found = found.count();
        println!("{found} of 200 with 2,000 conversions, {times} times as many");
        assert!(found > 180, "{found}");
        let found = (0..200).filter(|_| values(&mut random, times, 2_000).choice(true) == Some(choice));
        let found = found.count();
        println!("{found} of 200 with 2,000 values each, {times} times as high");
        assert!(found > 180, "{found}");
    }
    // Where less is better, the other one wins.
    let fewer = converts(&mut random, 0.5, 0.25, 2_000);
    assert_eq!(fewer.choice(false), Some(Choice::New));
    assert!(fewer.p() < ALPHA);
}

#[test]
fn what_cannot_be_compared_says_nothing() {
    let mut experiment = Experiment::default();
    assert_eq!((experiment.choice(true), experiment.p()), (None, 1.0));
    // All alike, and a share that is none.
    let alike = Values {
        count: 10_000,
        sum: 70_000.0,
        squares: 490_000.0,
    };
    experiment.value(&alike, &alike);
    experiment.convert(&one(1.0), &Values::default(), 1.0);
    experiment.convert(&one(1.0), &Values::default(), 0.0);
    assert_eq!((experiment.choice(true), experiment.p()), (None, 1.0));
    let mut few = Experiment::default();
    for value in 0..99 {
        few.value(&one(f64::from(value) + 1_000.0), &one(f64::from(value)));
    }
    assert_eq!(few.choice(true), None, "99 are too few, whatever they say");
    let stored = serde_json::to_string(&few).unwrap();
    assert_eq!(serde_json::from_str::<Experiment>(&stored).unwrap(), few);
}
