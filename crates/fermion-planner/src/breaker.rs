//! The circuit breaker in front of an upstream. Seven failures in a row (linkerd's failure accrual) or five answers of
//! the 5xx class in a row (Envoy's outlier detection) open it; then nothing passes for a penalty that begins at a second
//! and doubles up to a minute, with jitter, as linkerd's exponential backoff has it; then a single probe decides.

use std::time::Duration;

/// When a breaker opens and for how long.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BreakerRules {
    /// Failures in a row, answers of the 5xx class among them.
    pub failures_max: u32,
    /// Answers of the 5xx class in a row, whatever failed in between.
    pub server_errors_max: u32,
    /// The first penalty.
    pub penalty_min: Duration,
    /// The longest penalty, jitter included.
    pub penalty_max: Duration,
    /// How much of itself a penalty may be longer by.
    pub jitter: f64,
}

impl Default for BreakerRules {
    fn default() -> Self {
        Self {
            failures_max: 7,
            server_errors_max: 5,
            penalty_min: Duration::from_secs(1),
            penalty_max: Duration::from_secs(60),
            jitter: 0.5,
        }
    }
}

impl BreakerRules {
    /// The penalty after so many that were in vain, with a draw from [0, 1).
    pub fn penalty(&self, in_vain: u32, draw: f64) -> Duration {
        let doubled = self.penalty_min.saturating_mul(2_u32.saturating_pow(in_vain));
        let base = doubled.min(self.penalty_max);
        (base + base.mul_f64(self.jitter * draw.clamp(0.0, 1.0))).min(self.penalty_max)
    }
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// With an answer that is not of the 5xx class.
    Success,
    /// With an answer of the 5xx class.
    ServerError,
    /// Without an answer, or with half of one.
    Failure,
}

/// What a breaker does at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Everything passes.
    Closed,
    /// Nothing passes before this time.
    Open(Duration),
    /// One call is or may be on its way to find out.
    Probing,
}

/// The right to make one call. Given back by `record` or `abandon`.
#[derive(Debug, PartialEq, Eq)]
pub struct Pass {
    term: u64,
    is_probe: bool,
}

impl Pass {
    /// True if everything else waits for how this call ends.
    pub fn is_probe(&self) -> bool {
        self.is_probe
    }
}

#[derive(Debug, Clone, Copy)]
enum State {
    Closed { failures: u32, server_errors: u32 },
    Open { until: Duration, in_vain: u32 },
    Probing { in_vain: u32, is_out: bool },
}

/// One upstream's breaker. Times are since any fixed moment.
#[derive(Debug, Clone)]
pub struct Breaker {
    rules: BreakerRules,
    state: State,
    /// Counts changes of state, so that a call which began before one says nothing about what came after.
    term: u64,
    seed: u64,
}

impl Breaker {
    /// A closed breaker; `seed` decides the jitter.
    pub fn new(rules: BreakerRules, seed: u64) -> Self {
        Self {
            rules,
            state: CLOSED,
            term: 0,
            seed,
        }
    }

    /// Whether a call may be made. If not: until when.
    pub fn admit(&mut self, now: Duration) -> Result<Pass, Duration> {
        if let State::Open { until, in_vain } = self.state
            && now >= until
        {
            self.enter(State::Probing {
                in_vain,
                is_out: false,
            });
        }
        let is_probe = match &mut self.state {
            State::Closed { .. } => false,
            State::Open { until, .. } => return Err(*until),
            State::Probing { is_out: true, .. } => return Err(now),
            State::Probing { is_out, .. } => {
                *is_out = true;
                true
            }
        };
        Ok(Pass {
            term: self.term,
            is_probe,
        })
    }

    /// Takes note of how a call ended. What began under an earlier state changes nothing.
    pub fn record(&mut self, pass: &Pass, outcome: Outcome, now: Duration) {
        if pass.term != self.term {
            return;
        }
        match (&mut self.state, outcome) {
            (
                State::Closed {
                    failures,
                    server_errors,
                },
                Outcome::Success,
            ) => {
                (*failures, *server_errors) = (0, 0);
            }
            (
                State::Closed {
                    failures,
                    server_errors,
                },
                _,
            ) => {
                *failures += 1;
                *server_errors += u32::from(outcome == Outcome::ServerError);
                if *failures >= self.rules.failures_max || *server_errors >= self.rules.server_errors_max {
                    self.open(0, now);
                }
            }
            (State::Probing { .. }, Outcome::Success) => self.enter(CLOSED),
            (State::Probing { in_vain, .. }, _) => {
                let in_vain = in_vain.saturating_add(1);
                self.open(in_vain, now);
            }
            (State::Open { .. }, _) => {}
        }
    }

    /// A call ended without saying anything of the upstream: its caller left, or never sent it.
    pub fn abandon(&mut self, pass: &Pass) {
        if pass.term == self.term
            && let State::Probing { is_out, .. } = &mut self.state
        {
            *is_out = false;
        }
    }

    /// What it does at the moment.
    pub fn standing(&self) -> Standing {
        match self.state {
            State::Closed { .. } => Standing::Closed,
            State::Open { until, .. } => Standing::Open(until),
            State::Probing { .. } => Standing::Probing,
        }
    }

    fn open(&mut self, in_vain: u32, now: Duration) {
        let draw = self.draw();
        let until = now + self.rules.penalty(in_vain, draw);
        self.enter(State::Open { until, in_vain });
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        self.term += 1;
    }

    /// SplitMix64 (Steele, Lea, Flood 2014), as a number in [0, 1).
    fn draw(&mut self) -> f64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let high = u32::try_from((z ^ (z >> 31)) >> 32).unwrap_or_default();
        f64::from(high) / (f64::from(u32::MAX) + 1.0)
    }
}

const CLOSED: State = State::Closed {
    failures: 0,
    server_errors: 0,
};

#[cfg(test)]
mod tests;
