//! What the control plane does: orders of people, rollouts that ended, frames that came, requests to the registry. All of
//! it is rare beside requests, so a lock for each count is cheap. Labels are words of the code.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use crate::format::Encoder;
use crate::reference::{self, Family};
use crate::release_metrics::CLASSES;

/// What somebody wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// A new release.
    Deploy,
    /// An earlier one.
    Rollback,
}

impl Order {
    pub(crate) const ALL: [&'static str; 2] = ["deploy", "rollback"];
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deployed {
    /// It serves, or a rollout has begun.
    Done,
    /// It was refused, or did not come up and was taken back.
    Refused,
    /// The platform failed.
    Failed,
}

impl Deployed {
    pub(crate) const ALL: [&'static str; 3] = ["done", "refused", "failed"];
}

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// It was added up.
    Taken,
    /// It was there before, is from the future, or cannot be read.
    Refused,
    /// The control plane did not keep up.
    Missed,
}

impl Heard {
    pub(crate) const ALL: [&'static str; 3] = ["taken", "refused", "missed"];
}

/// What the registry was asked for, by method.
pub(crate) const REGISTRY_OPERATIONS: [&str; 3] = ["pull", "push", "delete"];

/// How a rollout can end.
pub(crate) const ROLLOUT_OUTCOMES: [&str; 3] = ["succeeded", "rolled_back", "superseded"];

/// Counts by words.
#[derive(Debug, Default)]
struct Counts<const N: usize>(Mutex<BTreeMap<[&'static str; N], u64>>);

impl<const N: usize> Counts<N> {
    fn add(&self, words: [&'static str; N], by: u64) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(words).or_default() += by;
    }

    fn encode(&self, encoder: &mut Encoder, family: &Family) {
        let mut samples = encoder.family(family);
        for (words, count) in &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            let labels: Vec<_> = family.labels.iter().copied().zip(words.iter().copied()).collect();
            samples.put(&labels, count);
        }
    }
}

/// The counters.
#[derive(Debug, Default)]
pub struct ControlMetrics {
    deploys: Counts<2>,
    rollouts: Counts<1>,
    rollouts_running: AtomicU64,
    frames: Counts<1>,
    registry: Counts<2>,
}

impl ControlMetrics {
    /// An order has come to its end.
    pub fn deployed(&self, order: Order, outcome: Deployed) {
        let words = [Order::ALL[order as usize], Deployed::ALL[outcome as usize]];
        self.deploys.add(words, 1);
    }

    /// A rollout has come to its end: `succeeded`, `rolled_back` or `superseded`.
    pub fn rolled_out(&self, outcome: &'static str) {
        self.rollouts.add([outcome], 1);
    }

    /// How many rollouts are on their way.
    pub fn rolling_out(&self, count: u64) {
        self.rollouts_running.store(count, Relaxed);
    }

    /// Frames of nodes came, or did not.
    pub fn heard(&self, what: Heard, frames: u64) {
        self.frames.add([Heard::ALL[what as usize]], frames);
    }

    /// The registry answered.
    pub fn registry(&self, method: &http::Method, status: u16) {
        let operation = match *method {
            http::Method::GET | http::Method::HEAD => "pull",
            http::Method::DELETE => "delete",
            _ => "push",
        };
        let class = CLASSES[usize::from(status / 100).min(CLASSES.len() - 1)];
        self.registry.add([operation, class], 1);
    }

    pub(crate) fn encode(&self, encoder: &mut Encoder) {
        self.deploys.encode(encoder, &reference::DEPLOYS);
        self.rollouts.encode(encoder, &reference::ROLLOUTS);
        encoder
            .family(&reference::ROLLOUTS_RUNNING)
            .put(&[], self.rollouts_running.load(Relaxed));
        self.frames.encode(encoder, &reference::FRAMES);
        self.registry.encode(encoder, &reference::REGISTRY_REQUESTS);
    }
}
