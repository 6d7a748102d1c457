//! The breaker through simulated time.

use proptest::prelude::*;

use super::*;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Without jitter, so that every moment is known.
fn plain() -> Breaker {
    let rules = BreakerRules {
        jitter: 0.0,
        ..BreakerRules::default()
    };
    Breaker::new(rules, 1)
}

/// At each millisecond a call that ends so, or one that is refused.
fn check(breaker: &mut Breaker, steps: &[(u64, Option<Outcome>)]) {
    for &(at, expected) in steps {
        match (breaker.admit(ms(at)), expected) {
            (Ok(pass), Some(outcome)) => breaker.record(&pass, outcome, ms(at)),
            (Err(_), None) => {}
            (admitted, _) => panic!("at {at} ms: {admitted:?}, not {expected:?}"),
        }
    }
}

const GOOD: Option<Outcome> = Some(Outcome::Success);
const BAD: Option<Outcome> = Some(Outcome::Failure);
const BURST: Option<Outcome> = Some(Outcome::ServerError);
const REFUSED: Option<Outcome> = None;

#[test]
fn seven_failures_in_a_row_open_it() {
    let mut breaker = plain();
    check(
        &mut breaker,
        &[(0, BAD), (0, BAD), (0, BAD), (0, BAD), (0, BAD), (0, BAD)],
    );
    check(&mut breaker, &[(1, GOOD)]);
    check(
        &mut breaker,
        &[
            (2, BAD),
            (2, BAD),
            (2, BAD),
            (2, BAD),
            (2, BAD),
            (2, BAD),
            (2, BAD),
        ],
    );
    assert_eq!(breaker.standing(), Standing::Open(ms(1_002)));
    check(
        &mut breaker,
        &[(3, REFUSED), (1_001, REFUSED), (1_002, GOOD), (1_003, GOOD)],
    );
    assert_eq!(breaker.standing(), Standing::Closed);
}

#[test]
fn five_answers_of_the_5xx_class_in_a_row_open_it() {
    let mut breaker = plain();
    check(
        &mut breaker,
        &[
            (0, BURST),
            (0, BURST),
            (0, BURST),
            (0, BURST),
            (0, GOOD),
            (0, BURST),
        ],
    );
    check(
        &mut breaker,
        &[(1, BURST), (1, BURST), (1, BURST), (1, BURST), (2, REFUSED)],
    );
}

#[test]
fn penalties_double_up_to_a_minute() {
    let mut breaker = plain();
    let mut now = 0;
    for _ in 0..7 {
        check(&mut breaker, &[(now, BAD)]);
    }
    for penalty in [1, 2, 4, 8, 16, 32, 60, 60, 60] {
        check(&mut breaker, &[(now + penalty * 1_000 - 1, REFUSED)]);
        now += penalty * 1_000;
        check(&mut breaker, &[(now, BAD)]);
    }
    // A probe that succeeds makes everything as new.
    now += 60_000;
    check(&mut breaker, &[(now, GOOD), (now, BAD), (now, GOOD)]);
    for _ in 0..7 {
        check(&mut breaker, &[(now, BAD)]);
    }
    assert_eq!(breaker.standing(), Standing::Open(ms(now + 1_000)));
}

#[test]
fn there_is_one_probe_at_a_time() {
    let mut breaker = plain();
    for _ in 0..7 {
        check(&mut breaker, &[(0, BAD)]);
    }
    let probe = breaker.admit(ms(1_000)).unwrap();
    assert!(probe.is_probe());
    assert!(breaker.admit(ms(5_000)).is_err());
    // Its caller left: the next call is the probe.
    breaker.abandon(&probe);
    let probe = breaker.admit(ms(5_000)).unwrap();
    assert!(breaker.admit(ms(5_000)).is_err());
    breaker.record(&probe, Outcome::Success, ms(5_001));
    assert_eq!(breaker.standing(), Standing::Closed);
}

#[test]
fn what_began_before_a_change_says_nothing_after_it() {
    let mut breaker = plain();
    let early: Vec<Pass> = (0..20).map(|_| breaker.admit(ms(0)).unwrap()).collect();
    for pass in &early[..7] {
        breaker.record(pass, Outcome::Failure, ms(10));
    }
    for pass in &early[7..] {
        breaker.record(pass, Outcome::Failure, ms(900));
    }
    assert_eq!(breaker.standing(), Standing::Open(ms(1_010)));
    let probe = breaker.admit(ms(1_010)).unwrap();
    breaker.record(&early[0], Outcome::Success, ms(1_011));
    assert_eq!(breaker.standing(), Standing::Probing);
    breaker.record(&probe, Outcome::Failure, ms(1_012));
    assert_eq!(breaker.standing(), Standing::Open(ms(3_012)));
}

proptest! {
    #[test]
    fn penalties_keep_their_bounds(in_vain in 0_u32..1_000, draw in 0.0..1.0_f64) {
        let rules = BreakerRules::default();
        let penalty = rules.penalty(in_vain, draw);
        let base = rules.penalty(in_vain, 0.0);
        prop_assert!(penalty >= base && penalty <= rules.penalty_max);
        prop_assert!(penalty <= base.mul_f64(1.5) + ms(1));
    }

    /// Whatever happens: never two probes, never open without a reason, never shut for longer than the longest penalty.
    #[test]
    fn holds_under_any_traffic(
        seed: u64,
        steps in prop::collection::vec((0_u64..3_000, 0_u8..5, 0_usize..8), 1..500),
    ) {
        let mut breaker = Breaker::new(BreakerRules::default(), seed);
        let (mut now, mut calls) = (0, Vec::<Pass>::new());
        let mut bad_in_a_row = 0_u32;
        for (pause, action, which) in steps {
            now += pause;
            let was = breaker.standing();
            if action < 2 || calls.is_empty() {
                match breaker.admit(ms(now)) {
                    Ok(pass) => calls.push(pass),
                    Err(until) => prop_assert!(until <= ms(now + 60_000)),
                }
            } else {
                let pass = calls.remove(which % calls.len());
                match action {
                    2 => breaker.record(&pass, Outcome::Success, ms(now)),
                    3 => breaker.record(&pass, Outcome::Failure, ms(now)),
                    _ => breaker.abandon(&pass),
                }
                bad_in_a_row = match action { 2 => 0, 3 => bad_in_a_row + 1, _ => bad_in_a_row };
            }
            if was == Standing::Closed && breaker.standing() != Standing::Closed {
                prop_assert!(bad_in_a_row >= 7);
            }
            let probes = calls.iter().filter(|pass| pass.is_probe && pass.term == breaker.term).count();
            prop_assert!(probes <= 1);
        }
        calls.clear();
        // However it was left, a minute later it lets somebody find out; a lost probe is given back by its owner.
        if !matches!(breaker.standing(), Standing::Probing) {
            prop_assert!(breaker.admit(ms(now + 60_001)).is_ok());
        }
    }
}
