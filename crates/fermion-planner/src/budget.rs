//! How many retries a caller may make: a share of the calls of the last seconds, and a few each second whatever they
//! are, so that retries never multiply the load of an upstream that is failing already. The arithmetic is that of
//! `tower` (`retry/budget/tps_budget.rs`), with time handed in.

use std::time::Duration;

/// Parts into which the time to live is cut: a call leaves the sum a tenth at a time.
const WINDOWS: usize = 10;

/// What a budget allows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BudgetRules {
    /// How long a call counts.
    pub ttl: Duration,
    /// Retries a second that are there without any call.
    pub per_second_min: u32,
    /// Retries for each call, such as 0.2.
    pub ratio: f64,
}

impl Default for BudgetRules {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(10),
            per_second_min: 10,
            ratio: 0.2,
        }
    }
}

/// What is left.
#[derive(Debug, Clone)]
pub struct Budget {
    window: Duration,
    deposit: i64,
    withdrawal: i64,
    reserve: i64,
    slots: [i64; WINDOWS],
    index: usize,
    since: Duration,
    current: i64,
}

impl Budget {
    /// A budget that begins at `now`. A ratio above one counts as one.
    pub fn new(rules: BudgetRules, now: Duration) -> Self {
        let (deposit, withdrawal) = if rules.ratio <= 0.0 {
            (0, 1)
        } else {
            (1, whole(1.0 / rules.ratio.min(1.0)))
        };
        let seconds = i64::try_from(rules.ttl.as_secs()).unwrap_or(i64::MAX);
        let reserve = i64::from(rules.per_second_min)
            .saturating_mul(seconds)
            .saturating_mul(withdrawal);
        Self {
            window: (rules.ttl / 10).max(Duration::from_millis(1)),
            deposit,
            withdrawal,
            reserve,
            slots: [0; WINDOWS],
            index: 0,
            since: now,
            current: 0,
        }
    }

    /// A call was made.
    pub fn deposit(&mut self, now: Duration) {
        self.expire(now);
        self.current = self.current.saturating_add(self.deposit);
    }

    /// True if a retry may be made; it is counted then.
    pub fn withdraw(&mut self, now: Duration) -> bool {
        self.expire(now);
        let slots = self.slots.iter().copied().fold(0, i64::saturating_add);
        let sum = self.current.saturating_add(slots).saturating_add(self.reserve);
        let is_allowed = sum >= self.withdrawal;
        if is_allowed {
            self.current = self.current.saturating_sub(self.withdrawal);
        }
        is_allowed
    }

    fn expire(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.since);
        if passed < self.window {
            return;
        }
        self.slots[self.index] = std::mem::take(&mut self.current);
        self.index = (self.index + 1) % WINDOWS;
        let windows = (passed.as_nanos() - 1) / self.window.as_nanos();
        // Once around clears everything but the slot that was written a moment ago, twice that one too.
        for _ in 0..windows.min(2 * WINDOWS as u128) {
            self.slots[self.index] = 0;
            self.index = (self.index + 1) % WINDOWS;
        }
        self.since = now;
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a ratio of at most one, and not absurdly small, has an inverse that fits"
)]
fn whole(number: f64) -> i64 {
    number as i64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    enum Do {
        Deposit(u64),
        Withdraw(u64, bool),
    }
    use Do::{Deposit, Withdraw};

    /// Each step at its millisecond.
    fn check(per_second_min: u32, ratio: f64, steps: &[Do]) {
        let rules = BudgetRules {
            ttl: Duration::from_secs(1),
            per_second_min,
            ratio,
        };
        let mut budget = Budget::new(rules, Duration::ZERO);
        for (n, step) in steps.iter().enumerate() {
            match *step {
                Deposit(at) => budget.deposit(Duration::from_millis(at)),
                Withdraw(at, allowed) => {
                    assert_eq!(budget.withdraw(Duration::from_millis(at)), allowed, "step {n}");
                }
            }
        }
    }

    #[test]
    fn agrees_with_tower() {
        // tower 0.5.3, src/retry/budget/tps_budget.rs: tps_empty, tps_leaky, tps_slots, tps_reserve.
        check(0, 1.0, &[Withdraw(0, false)]);
        check(0, 1.0, &[Deposit(0), Withdraw(3_000, false)]);
        check(
            0,
            0.5,
            &[
                Deposit(0),
                Deposit(0),
                Withdraw(901, true),
                Deposit(2_902),
                Deposit(3_203),
                Deposit(4_004),
                Withdraw(4_004, true),
            ],
        );
        check(
            5,
            1.0,
            &[
                Withdraw(0, true),
                Withdraw(0, true),
                Withdraw(0, true),
                Withdraw(0, true),
                Withdraw(0, true),
                Withdraw(0, false),
            ],
        );
    }

    #[test]
    fn a_fifth_of_the_calls_may_be_made_again() {
        let mut budget = Budget::new(
            BudgetRules {
                per_second_min: 0,
                ..BudgetRules::default()
            },
            Duration::ZERO,
        );
        for _ in 0..1_000 {
            budget.deposit(Duration::ZERO);
        }
        let allowed = (0..1_000).filter(|_| budget.withdraw(Duration::ZERO)).count();
        assert_eq!(allowed, 200);
        // What lies long back counts no more.
        assert!(!budget.withdraw(Duration::from_secs(60)));
    }

    proptest! {
        #[test]
        fn never_gives_more_than_reserve_and_share(
            steps in prop::collection::vec((0_u64..400, any::<bool>()), 1..400),
        ) {
            let rules = BudgetRules::default();
            let mut budget = Budget::new(rules, Duration::ZERO);
            let (mut now, mut retries) = (0, Vec::new());
            let mut calls = Vec::new();
            for (pause, is_call) in steps {
                now += pause;
                let at = Duration::from_millis(now);
                if is_call {
                    budget.deposit(at);
                    calls.push(now);
                } else if budget.withdraw(at) {
                    retries.push(now);
                }
                // Within any ttl. What was paid for in the ttl before may be spent in this one.
                let within = |all: &[u64], back: u64| all.iter().filter(|&&t| t + back > now).count();
                prop_assert!(within(&retries, 9_000) <= 100 + within(&calls, 21_000).div_ceil(5));
            }
        }
    }
}
