//! Objectives: what nodes measured is added up by app and promise, kept on the bus in bounded documents, and held against
//! error budgets every few seconds. What burns becomes an incident with owner, runbook, what changed last and the release
//! most to blame. Frames carry their own time and their own number: late, repeated or reordered ones change no answer.
//! Refuses to do: sending anything (see `receivers`), reading a clock, taking silence for success.

mod desk;
mod evaluate;
mod facts;
mod incident;
mod keep;
mod observe;
mod post_mortem;
mod run;
mod scrape;
mod tally;
#[cfg(test)]
mod tests;
mod view;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use desk::Desk;
pub(crate) use evaluate::objective;
use fermion_telemetry::Standing;
pub(crate) use incident::{Notice, Transition, digits};
use observe::Observed;
pub(crate) use view::least_left;

/// Everything that is known of objectives in this process.
#[derive(Debug, Default)]
pub(crate) struct Slo {
    observed: Mutex<Observed>,
    /// How promises stood at the last evaluation, by `namespace/app` and the objective's name: for scrapers.
    standings: Mutex<BTreeMap<String, BTreeMap<String, Standing>>>,
    /// Held by whoever changes alerts, until the change is on the bus.
    desk: tokio::sync::Mutex<Desk>,
}

impl Slo {
    fn observed(&self) -> MutexGuard<'_, Observed> {
        self.observed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
