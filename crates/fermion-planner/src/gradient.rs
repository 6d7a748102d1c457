//! How many requests of one app may run at once, found from their latency: while more at once makes each no slower, the
//! limit grows; when they begin to wait for each other, it shrinks. The arithmetic is that of Envoy's gradient
//! controller (`envoy.filters.http.adaptive_concurrency`).

use std::time::Duration;

/// The fewest requests at once, and as many as run while the latency without waiting is measured.
pub const LIMIT_MIN: u32 = 3;
/// Requests that measure the latency without waiting.
pub const MEASURED: usize = 50;
/// How often it is measured anew: what an app does, and what it calls, changes.
pub const MEASURE_EVERY: Duration = Duration::from_secs(60);
/// How long latencies are gathered before the limit follows them.
pub const WINDOW: Duration = Duration::from_millis(100);
/// Latencies of one window that count; the rest of a busy window tells no more.
pub const WINDOW_SAMPLES_MAX: usize = 1_000;
/// By how much a latency may exceed the one without waiting before the limit shrinks.
const TOLERANCE: f64 = 1.25;
/// The least and the most by which one window changes the limit, before the allowance for growth.
const GRADIENT: (f64, f64) = (0.5, 2.0);

/// The limit of one app. Times are since any moment that stays the same.
#[derive(Debug, Clone)]
pub struct Gradient {
    limit: u32,
    ceiling: u32,
    /// The latency without waiting; none before it has been measured.
    fastest: Duration,
    /// The limit to go back to after measuring; none if nothing is being measured.
    measuring: Option<u32>,
    measured_at: Duration,
    window_ends: Duration,
    samples: Vec<Duration>,
}

impl Gradient {
    /// Starts by measuring; never allows more than `ceiling` at once.
    pub fn new(ceiling: u32) -> Self {
        let least = LIMIT_MIN.min(ceiling);
        Self {
            limit: least,
            ceiling,
            fastest: Duration::ZERO,
            measuring: Some(least),
            measured_at: Duration::ZERO,
            window_ends: Duration::ZERO,
            samples: Vec::new(),
        }
    }

    /// Requests that may run at once.
    pub fn limit(&self) -> u32 {
        self.limit
    }

    /// Takes one more latency into account; gives the limit from now on.
    pub fn observe(&mut self, took: Duration, now: Duration) -> u32 {
        if self.samples.len() < WINDOW_SAMPLES_MAX {
            self.samples.push(took);
        }
        match self.measuring {
            Some(before) => self.measure(before, now),
            None if now >= self.window_ends => self.follow(now),
            None => {}
        }
        self.limit
    }

    fn measure(&mut self, before: u32, now: Duration) {
        if self.samples.len() < MEASURED {
            return;
        }
        self.fastest = self.median();
        self.measuring = None;
        self.measured_at = now;
        self.limit = before;
        self.window_ends = now + WINDOW;
    }

    fn follow(&mut self, now: Duration) {
        let median = self.median();
        self.limit = next(self.limit, self.fastest, median, self.ceiling);
        self.window_ends = now + WINDOW;
        if now >= self.measured_at + MEASURE_EVERY {
            self.measuring = Some(self.limit);
            self.limit = LIMIT_MIN.min(self.ceiling);
        }
    }

    /// The median of what was gathered, which is forgotten.
    fn median(&mut self) -> Duration {
        let middle = self.samples.len() / 2;
        let median = *self.samples.select_nth_unstable(middle).1;
        self.samples.clear();
        median
    }
}

/// The limit after a window in which the median latency was `median`.
fn next(limit: u32, fastest: Duration, median: Duration, ceiling: u32) -> u32 {
    let ratio = fastest.as_secs_f64() / median.as_secs_f64().max(f64::MIN_POSITIVE);
    let gradient = (TOLERANCE * ratio).clamp(GRADIENT.0, GRADIENT.1);
    let wanted = f64::from(limit) * gradient;
    let wanted = (wanted + wanted.sqrt()).floor();
    // Counting up to it needs no cast, and the ceiling is small.
    let least = LIMIT_MIN.min(ceiling);
    (least..=ceiling)
        .rev()
        .find(|&count| f64::from(count) <= wanted)
        .unwrap_or(least)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_window_changes_the_limit_as_the_formula_says() {
        // limit, fastest, median, ceiling -> 1.25 fastest/median within 0.5..2, times limit, plus its root.
        for (limit, fastest, median, ceiling, expected) in [
            (100, 10, 10, 1_000, 136),
            (100, 10, 100, 1_000, 57),
            (100, 10, 1, 1_000, 214),
            (100, 8, 10, 1_000, 110),
            (16, 4, 10, 1_000, 10),
            (3, 10, 1_000, 1_000, 3),
            (900, 10, 5, 1_000, 1_000),
            (3, 10, 10, 2, 2),
        ] {
            assert_eq!(
                next(limit, fastest * MS, median * MS, ceiling),
                expected,
                "{limit} {median}"
            );
        }
        assert_eq!(next(10, MS, Duration::ZERO, 1_000), 24);
    }

    /// A server that does `at_once` requests of `each` at the same time, and makes the rest wait in turn.
    fn served(
        gradient: &mut Gradient,
        at_once: u32,
        each: Duration,
        from: Duration,
        until: Duration,
    ) -> Duration {
        let mut now = from;
        while now < until {
            let limit = gradient.limit();
            let took = each.mul_f64(f64::from(limit.max(at_once)) / f64::from(at_once));
            now += took;
            for _ in 0..limit {
                gradient.observe(took, now);
            }
        }
        now
    }

    #[test]
    fn it_finds_what_a_server_can_do_at_once_and_follows_when_that_changes() {
        for at_once in [4, 20, 100] {
            let mut gradient = Gradient::new(1_000);
            let now = served(&mut gradient, at_once, 10 * MS, Duration::ZERO, 20_000 * MS);
            let found = gradient.limit();
            assert!(found >= at_once, "{at_once}: {found}");
            // The allowance for growth and the tolerance together bound what waits.
            assert!(found <= 2 * at_once + 10, "{at_once}: {found}");
            served(&mut gradient, at_once * 4, 10 * MS, now, now + 20_000 * MS);
            assert!(gradient.limit() >= at_once * 4, "{at_once}: {}", gradient.limit());
        }
    }

    #[test]
    fn it_stays_within_its_bounds_whatever_it_sees() {
        for ceiling in [1, 2, 3, 50, 1_000] {
            let mut gradient = Gradient::new(ceiling);
            for n in 0..20_000_u32 {
                let took = MS * (n.wrapping_mul(2_654_435_761) >> 20);
                let limit = gradient.observe(took, n * 7 * MS);
                assert!((1..=ceiling).contains(&limit));
                assert!(gradient.samples.len() <= WINDOW_SAMPLES_MAX);
            }
        }
    }

    #[test]
    fn it_measures_at_the_least_concurrency_and_again_after_a_while() {
        let mut gradient = Gradient::new(1_000);
        let now = served(&mut gradient, 50, MS, Duration::ZERO, 30_000 * MS);
        let before = gradient.limit();
        assert!(before > LIMIT_MIN);
        let mut measured = 0;
        for n in 0..40_000 {
            if gradient.observe(MS, now + n * MS) == LIMIT_MIN {
                measured += 1;
            }
        }
        assert_eq!(measured, MEASURED, "once in a minute, for so many requests");
    }
}
