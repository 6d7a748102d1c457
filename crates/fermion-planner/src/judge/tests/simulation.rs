//! How often the tests are wrong and how soon they are right, by simulation with a seed. The figures stand in
//! docs/rollouts.md.

use super::super::ratio::Ratio;
use super::super::sequential::{ALPHA, Arm, Failures};
use super::super::*;

const RUNS: u32 = 10_000;
/// The share of traffic of a usual first step.
const EXPOSURE: f64 = 0.05;

/// Seeded random numbers: splitmix64. (Steele, Lea, Flood, 2014)
pub(super) struct Random(pub(super) u64);

impl Random {
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    pub(super) fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// A latency: log-normal around 40 ms, spread as requests of one route usually are.
    pub(super) fn latency(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        let normal = radius * (std::f64::consts::TAU * self.unit()).cos();
        40.0 * (0.5 * normal).exp()
    }

    /// Requests until one fails.
    fn until_failure(&mut self, rate: f64) -> f64 {
        ((1.0 - self.unit()).ln() / (1.0 - rate).ln()).floor() + 1.0
    }
}

/// The share of runs in which something happened is at most `alpha`, allowing for the luck of so many runs.
pub(super) fn at_most(count: u32, runs: u32, alpha: f64) {
    let (runs, share) = (f64::from(runs), f64::from(count) / f64::from(runs));
    let luck = 3.0 * (alpha * (1.0 - alpha) / runs).sqrt();
    println!("{count} of {runs}: {share}, alpha {alpha}");
    assert!(share <= alpha + luck, "{share} of runs, {alpha} allowed");
}

#[test]
fn an_equal_release_is_seldom_aborted_however_often_one_looks() {
    let mut random = Random(1);
    let mut aborted = [0; 3];
    let alphas = [0.05, 0.01, ALPHA];
    for _ in 0..RUNS {
        let mut failures = Failures::default();
        for failure in 0..300 {
            // Three steps of a rollout; the exposure changes, the evidence stays.
            let exposure = [0.05, 0.25, 0.5][failure / 100];
            let arm = if random.chance(exposure) {
                Arm::Canary
            } else {
                Arm::Baseline
            };
            failures.observe(arm, exposure);
        }
        for (count, alpha) in aborted.iter_mut().zip(alphas) {
            *count += u32::from(failures.evidence().aborts(alpha));
        }
    }
    for (count, alpha) in aborted.into_iter().zip(alphas) {
        at_most(count, RUNS, alpha);
    }
}

#[test]
fn an_equally_slow_release_and_a_true_ratio_are_seldom_aborted() {
    let mut random = Random(2);
    let (mut slow_aborts, mut mismatches) = (0, 0);
    for _ in 0..RUNS {
        let mut slow = Failures::default();
        let mut ratio = Ratio::new(vec![0.05, 0.95], Some(vec![5.0, 95.0]));
        // For a third of the time half of all requests are slow, of both arms.
        for request in 0..3_000 {
            let share = if (1_000..2_000).contains(&request) {
                0.5
            } else {
                0.05
            };
            let arm = if random.chance(0.05) {
                Arm::Canary
            } else {
                Arm::Baseline
            };
            if random.chance(share) {
                slow.observe(arm, 0.05);
            }
        }
        for _ in 0..20 {
            let canary = (0..50).filter(|_| random.chance(0.05)).count() as u64;
            ratio.observe(&[canary, 50 - canary]);
        }
        slow_aborts += u32::from(slow.evidence().aborts(0.05));
        mismatches += u32::from(ratio.p() <= 0.05);
    }
    at_most(slow_aborts, RUNS, 0.05);
    at_most(mismatches, RUNS, 0.05);
}

/// Median failures and requests, of both arms, until a canary that fails `worse` times as often is aborted, where the
/// old release fails once in a thousand requests.
fn until_abort(worse: f64, runs: usize) -> (f64, f64) {
    const RATE: f64 = 0.001;
    let mut random = Random(3);
    let spread = 1.0 - EXPOSURE + EXPOSURE * worse;
    let mut needed: Vec<(f64, f64)> = (0..runs)
        .map(|_| {
            let mut failures = Failures::default();
            let (mut count, mut requests) = (0.0, 0.0);
            while !failures.evidence().aborts(ALPHA) {
                requests += random.until_failure(RATE * spread);
                count += 1.0;
                let on_canary = random.chance(EXPOSURE * worse / spread);
                failures.observe(if on_canary { Arm::Canary } else { Arm::Baseline }, EXPOSURE);
            }
            (count, requests)
        })
        .collect();
    let mut median = |key: fn(&(f64, f64)) -> f64| {
        needed.sort_by(|a, b| key(a).total_cmp(&key(b)));
        key(&needed[runs / 2])
    };
    (median(|run| run.0), median(|run| run.1))
}

#[test]
fn a_worse_release_is_aborted_as_soon_as_it_should_be() {
    // From an independent calculation of the same test, thousands of runs each.
    for (worse, failures, requests) in [
        (2.0, 456.0, 434_000.0),
        (5.0, 49.0, 41_200.0),
        (20.0, 9.0, 4_480.0),
    ] {
        let found = until_abort(worse, 2_001);
        println!(
            "{worse} times worse: {found:?}, of which on the canary {}",
            found.1 * EXPOSURE
        );
        for (found, expected) in [(found.0, failures), (found.1, requests)] {
            let off: f64 = found / expected - 1.0;
            assert!(
                off.abs() <= 0.2,
                "{worse} times worse: {found}, expected {expected}"
            );
        }
    }
}

/// How often a release whose latencies are changed by `change` fails at the score, with `count` requests an arm.
fn failed_by_score(count: usize, runs: u32, change: fn(f64) -> f64) -> u32 {
    let mut random = Random(4);
    let mut failed = 0;
    for _ in 0..runs {
        let baseline: Vec<f64> = (0..count).map(|_| random.latency()).collect();
        let canary: Vec<f64> = (0..count).map(|_| change(random.latency())).collect();
        let metric = Metric {
            canary,
            baseline,
            direction: Direction::Increase,
            ..Metric::named("latency")
        };
        failed += u32::from(classify(&metric, &Rules::default()).classification == Classification::High);
    }
    failed
}

#[test]
fn a_release_that_is_a_tenth_slower_is_caught_by_the_score() {
    let runs = 500;
    let share = |failed: u32| f64::from(failed) / f64::from(runs);
    let slower = share(failed_by_score(2_000, runs, |latency| latency * 1.1));
    println!("a tenth slower, 2,000 requests an arm: {slower}");
    assert!(slower >= 0.8, "power {slower}");
    let few = share(failed_by_score(500, runs, |latency| latency * 1.1));
    println!("a tenth slower, 500 requests an arm: {few}");
    // Only the slowest twentieth: p99 is a tenth slower, the rest is not. Ranks hardly move.
    let tail = share(failed_by_score(2_000, runs, |latency| {
        if latency > 40.0 * (0.5f64 * 1.645).exp() {
            latency * 1.1
        } else {
            latency
        }
    }));
    println!("the slowest twentieth a tenth slower: {tail}");
}

#[test]
fn an_equal_release_seldom_fails_by_the_score() {
    at_most(failed_by_score(200, RUNS, |latency| latency), RUNS, 0.01);
}
