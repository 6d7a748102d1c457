//! One live instantiation of a component with its store, and what one request brings to it.

use std::sync::Arc;

use http::HeaderValue;
use wasmtime::Store;
use wasmtime_wasi_http::p2::bindings::Proxy;
use wasmtime_wasi_http::p3::bindings::Service;

use super::ledger::Entry;
use crate::limits;
use crate::meter::Meter;
use crate::output::GuestOutput;
use crate::state::State;

/// The exports of an instance.
pub(crate) enum Bound {
    P2(Proxy),
    P3(Service),
}

/// An instance with its store.
pub(crate) struct Instance {
    pub(crate) store: Store<State>,
    pub(crate) bound: Bound,
    /// Requests it has answered; the warm-up is none.
    pub(crate) served: u32,
    pub(crate) is_warmed: bool,
    /// Its pool's time when it was put there.
    pub(super) since: u32,
    pub(super) entry: Option<Entry>,
    /// Entries of its resource table after the last request.
    resources: usize,
}

/// What one request brings: nothing of it is left for the next one.
pub(crate) struct Turn {
    pub(crate) meter: Arc<Meter>,
    pub(crate) output: Arc<dyn GuestOutput>,
    pub(crate) traceparent: Option<HeaderValue>,
    /// Nobody's request: the instance counts as new afterwards.
    pub(crate) is_warmup: bool,
    /// Nobody gets the answer, and nothing may come of it: it has an instance of its own that nobody else gets, with
    /// nothing to write to.
    pub(crate) is_copy: bool,
    /// The request has a body, of which a guest may keep its end.
    pub(crate) has_body: bool,
}

impl Turn {
    /// Making an instance, or warming it up, in nobody's name.
    pub(crate) fn warmup() -> Self {
        Self {
            meter: Arc::new(Meter::default()),
            output: Arc::new(()),
            traceparent: None,
            is_warmup: true,
            is_copy: false,
            has_body: false,
        }
    }
}

impl Instance {
    pub(crate) fn new(store: Store<State>, bound: Bound) -> Self {
        Self {
            store,
            bound,
            served: 0,
            is_warmed: false,
            since: 0,
            entry: None,
            resources: 0,
        }
    }

    /// Whether another request may find it after this one: what it was refused, what it left behind.
    pub(crate) fn may_stay(&mut self, had_body: bool) -> bool {
        let state = self.store.data_mut();
        let resources = state.resources();
        let left = resources > self.resources;
        self.resources = resources;
        // A body that is not let go of holds a client's connection.
        let is_clean = resources <= limits::RESOURCES_KEPT_MAX && !(left && had_body);
        is_clean && !state.meter.growth_refused()
    }

    /// Linear memory, bytes.
    pub(super) fn memory_bytes(&self) -> u64 {
        self.store.data().memory_bytes()
    }
}
