//! The outgoing connections of one release: what is known of each upstream, the retry budget, and a pool for each
//! serving thread. Nothing of one release is used by another.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fermion_planner::breaker::{Breaker, BreakerRules, Standing};
use fermion_planner::budget::{Budget, BudgetRules};
use tokio::runtime;
use tokio::time::Instant;

use super::network::Network;
use super::observe::{EgressEvent, EgressObserver};
use super::origin::Origin;
use super::pool::Pool;
use crate::grants::Grants;
use crate::limits;

/// See the module.
pub(crate) struct EgressClient {
    pub(crate) grants: Arc<Grants>,
    pub(crate) network: Arc<Network>,
    observer: Arc<dyn EgressObserver>,
    upstreams: Mutex<HashMap<Arc<Origin>, Arc<Upstream>>>,
    budget: Mutex<Budget>,
    /// By runtime: connections live and end with it.
    pools: Mutex<HashMap<runtime::Id, Arc<Pool>>>,
    /// What the breakers' and the budget's time is counted from.
    since: Instant,
}

/// What a release knows of one upstream.
pub(crate) struct Upstream {
    pub(crate) origin: Arc<Origin>,
    /// The origin as it is written.
    pub(crate) name: Arc<str>,
    /// The rule that first granted it.
    pub(crate) rule: usize,
    breaker: Mutex<Breaker>,
    /// Its name has led to public addresses.
    pub(crate) was_public: AtomicBool,
}

impl Upstream {
    pub(crate) fn breaker(&self) -> MutexGuard<'_, Breaker> {
        held(&self.breaker)
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl EgressClient {
    pub(crate) fn new(grants: Arc<Grants>) -> Self {
        Self {
            network: grants.outbound.network(),
            observer: grants.outbound.observer(),
            grants,
            upstreams: Mutex::default(),
            budget: Mutex::new(Budget::new(BudgetRules::default(), Duration::ZERO)),
            pools: Mutex::default(),
            since: Instant::now(),
        }
    }

    pub(crate) fn now(&self) -> Duration {
        self.since.elapsed()
    }

    pub(crate) fn observe(&self, rule: Option<usize>, event: EgressEvent) {
        self.observer.observe(rule, event);
    }

    pub(crate) fn budget(&self) -> MutexGuard<'_, Budget> {
        held(&self.budget)
    }

    /// The connections of the current runtime.
    pub(crate) fn pool(&self) -> Arc<Pool> {
        held(&self.pools)
            .entry(runtime::Handle::current().id())
            .or_insert_with(Pool::new)
            .clone()
    }

    /// True if an upstream is being called, or is not to be called for a while.
    fn is_needed(&self, upstream: &Arc<Upstream>) -> bool {
        let standing = upstream.breaker().standing();
        let is_needed = match standing {
            Standing::Open(until) => until > self.now(),
            Standing::Closed | Standing::Probing => false,
        } || Arc::strong_count(upstream) > 1;
        if !is_needed && standing != Standing::Closed {
            self.observe(Some(upstream.rule), EgressEvent::Closed);
        }
        is_needed
    }

    /// What is known of an upstream. None if there are too many that are called, or failing, at the moment.
    pub(crate) fn upstream(&self, origin: Origin, rule: usize) -> Option<Arc<Upstream>> {
        let mut upstreams = held(&self.upstreams);
        if let Some(upstream) = upstreams.get(&origin) {
            return Some(upstream.clone());
        }
        if upstreams.len() >= limits::EGRESS_UPSTREAMS_MAX {
            upstreams.retain(|_, upstream| self.is_needed(upstream));
        }
        if upstreams.len() >= limits::EGRESS_UPSTREAMS_MAX {
            return None;
        }
        // Without randomness all penalties are jittered alike, which hurts nobody here.
        let seed = getrandom::u64().unwrap_or_default();
        let origin = Arc::new(origin);
        let upstream = Arc::new(Upstream {
            origin: origin.clone(),
            name: origin.to_string().into(),
            rule,
            breaker: Mutex::new(Breaker::new(BreakerRules::default(), seed)),
            was_public: AtomicBool::new(false),
        });
        upstreams.insert(origin, upstream.clone());
        Some(upstream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_of_upstreams_is_bounded() {
        let client = EgressClient::new(Arc::new(Grants::default()));
        let origin = |n: usize| Origin::new(false, &format!("host-{n}.test"), 80);
        let held: Vec<_> = (0..limits::EGRESS_UPSTREAMS_MAX)
            .map(|n| client.upstream(origin(n), 0).expect("there is room"))
            .collect();
        assert!(
            client.upstream(origin(1_000), 0).is_none(),
            "all of them are being called"
        );
        assert!(
            client
                .upstream(origin(0), 0)
                .is_some_and(|same| Arc::ptr_eq(&same, &held[0]))
        );
        drop(held);
        for n in 1_000..3_000 {
            assert!(client.upstream(origin(n), 0).is_some(), "{n}");
        }
        assert!(held_upstreams(&client) <= limits::EGRESS_UPSTREAMS_MAX);
    }

    fn held_upstreams(client: &EgressClient) -> usize {
        held(&client.upstreams).len()
    }
}
