//! Which burn means what: pairs of windows, of which the long one says that it matters and the short one that it still
//! goes on.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Counts, Objective};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// Bad events that a window needs before it says anything.
pub const BAD_MIN: u64 = 3;
/// Bad events that a window's traffic would have at the threshold, before it says anything.
pub const EXPECTED_BAD_MIN: f64 = 1.0;
/// Long windows that are tried when a predicate's own has too little traffic. The short one grows with it.
const WIDER: [Duration; 4] = [
    Duration::from_secs(HOUR),
    Duration::from_secs(6 * HOUR),
    Duration::from_secs(DAY),
    Duration::from_secs(3 * DAY),
];

/// What is done when a predicate holds, the gravest last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Somebody is told.
    Notify,
    /// Somebody looks at it in working hours.
    Ticket,
    /// The rollout pauses and traffic goes back; somebody is told.
    Mitigate,
    /// Somebody is woken.
    Page,
    /// The release is taken back.
    Rollback,
}

/// A burn that calls for an action.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Predicate {
    /// What it calls for.
    pub action: Action,
    /// The burn that both windows have to exceed.
    pub factor: f64,
    /// The window that says that it matters.
    pub long: Duration,
    /// The window that says that it still goes on.
    pub short: Duration,
}

impl Predicate {
    /// The pairs of windows that are asked one after the other, long and short, until one has enough traffic to say
    /// something.
    pub fn looks(&self) -> impl Iterator<Item = (Duration, Duration)> + use<> {
        let Self { long, short, .. } = *self;
        let wider = WIDER.into_iter().filter(move |wider| *wider > long);
        std::iter::once(long).chain(wider).map(move |wide| {
            let scale = wide.as_secs_f64() / long.as_secs_f64();
            (wide, short.mul_f64(scale))
        })
    }
}

const fn predicate(action: Action, factor: f64, long: u64, short: u64) -> Predicate {
    Predicate {
        action,
        factor,
        long: Duration::from_secs(long),
        short: Duration::from_secs(short),
    }
}

/// Fermion's own, quick ones.
pub const PRODUCT: [Predicate; 4] = [
    predicate(Action::Page, 14.0, 15 * MINUTE, 5 * MINUTE),
    predicate(Action::Notify, 4.0, HOUR, 5 * MINUTE),
    predicate(Action::Mitigate, 3.0, 10 * MINUTE, 2 * MINUTE),
    predicate(Action::Rollback, 5.0, HOUR, 5 * MINUTE),
];

/// The workbook's, with the share of the budget that is gone when the long window has burnt so fast.
pub const WORKBOOK: [(f64, Predicate); 4] = [
    (0.02, predicate(Action::Page, 14.4, HOUR, 5 * MINUTE)),
    (0.05, predicate(Action::Page, 6.0, 6 * HOUR, 30 * MINUTE)),
    (0.10, predicate(Action::Ticket, 3.0, DAY, 2 * HOUR)),
    (0.10, predicate(Action::Ticket, 1.0, 3 * DAY, 6 * HOUR)),
];

/// The workbook's for an objective: for 30 days as they are, for 28 days 13.44, 5.6, 2.8 and 0.9333. (slok/sloth)
pub fn workbook(objective: &Objective) -> [Predicate; 4] {
    WORKBOOK.map(|(share, predicate)| Predicate {
        factor: objective.factor(share, predicate.long),
        ..predicate
    })
}

/// Those of pyrra-dev/pyrra: fixed factors, and windows that are parts of the period, to the minute.
pub fn pyrra(objective: &Objective) -> [Predicate; 4] {
    let part = |hours: f64| {
        let minutes = objective.period.as_secs_f64() * hours / (28.0 * 24.0) / 60.0;
        Duration::from_secs(MINUTE).mul_f64(minutes.round())
    };
    [
        (Action::Page, 14.0, 1.0, 1.0 / 12.0),
        (Action::Page, 7.0, 6.0, 0.5),
        (Action::Ticket, 2.0, 24.0, 2.0),
        (Action::Ticket, 1.0, 96.0, 6.0),
    ]
    .map(|(action, factor, long, short)| Predicate {
        action,
        factor,
        long: part(long),
        short: part(short),
    })
}

/// What a predicate says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Both windows burn faster than the factor.
    Met,
    /// They do not, or too little happened to say so.
    Quiet,
    /// Nothing happened at all.
    NoData,
}

/// What a predicate says, and what it saw.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// What it says.
    pub outcome: Outcome,
    /// The long window that was looked at in the end.
    pub long: Duration,
    /// Its burn.
    pub burn: Option<f64>,
    /// What happened in it.
    pub counts: Counts,
}

/// Asks a predicate. `window` gives what happened in the last so much time.
///
/// A window speaks only with at least three bad events and so much traffic that one would be expected at the threshold;
/// otherwise a wider pair of windows is asked. So one failure of ten requests at night wakes nobody, and a slow trickle
/// of failures is still found. One with so much traffic that three would be expected, and fewer came, has spoken: no wider
/// one may bring back what is over.
pub fn evaluate(
    objective: &Objective,
    predicate: &Predicate,
    window: impl Fn(Duration) -> Counts,
) -> Evaluation {
    let first = window(predicate.long);
    for (long, short) in predicate.looks() {
        let counts = if long == predicate.long {
            first
        } else {
            window(long)
        };
        let expected = counts.total as f64 * (1.0 - objective.target) * predicate.factor;
        if counts.bad() < BAD_MIN && expected >= BAD_MIN as f64 {
            return Evaluation {
                outcome: Outcome::Quiet,
                long,
                burn: objective.burn(counts),
                counts,
            };
        }
        if counts.bad() < BAD_MIN || expected < EXPECTED_BAD_MIN {
            continue;
        }
        let recent = objective.burn(window(short));
        let burn = objective.burn(counts);
        let exceeds = |burn: Option<f64>| burn.is_some_and(|burn| burn > predicate.factor);
        let outcome = if exceeds(burn) && exceeds(recent) {
            Outcome::Met
        } else if first.total == 0 {
            Outcome::NoData
        } else {
            Outcome::Quiet
        };
        return Evaluation {
            outcome,
            long,
            burn,
            counts,
        };
    }
    Evaluation {
        outcome: if first.total == 0 {
            Outcome::NoData
        } else {
            Outcome::Quiet
        },
        long: predicate.long,
        burn: objective.burn(first),
        counts: first,
    }
}

/// What is to be done, without duplicates, the gravest last. A page makes a ticket and a notification needless; a
/// mitigation notifies by itself.
pub fn decide(
    objective: &Objective,
    predicates: &[Predicate],
    window: impl Fn(Duration) -> Counts,
) -> Vec<Action> {
    let mut actions: Vec<Action> = predicates
        .iter()
        .filter(|predicate| evaluate(objective, predicate, &window).outcome == Outcome::Met)
        .map(|predicate| predicate.action)
        .collect();
    if actions.contains(&Action::Page) {
        actions.retain(|action| !matches!(action, Action::Notify | Action::Ticket));
    } else if actions.contains(&Action::Mitigate) {
        actions.push(Action::Notify);
    }
    actions.sort();
    actions.dedup();
    actions
}
