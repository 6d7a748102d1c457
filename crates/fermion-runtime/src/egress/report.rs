//! A call that is counted, and noted for its request, however it ends.

use std::sync::Arc;

use fermion_model::calls::{CallKind, HostCall};
use http::Method;
use tokio::time::Instant;

use super::client::{EgressClient, Upstream};
use super::observe::{EgressEvent, EgressOutcome};
use crate::meter::Meter;

/// One call under way. Says how it ended when it is dropped.
pub(super) struct Report {
    client: Arc<EgressClient>,
    target: Arc<str>,
    rule: usize,
    method: Method,
    meter: Option<Arc<Meter>>,
    begun: Instant,
    pub(super) outcome: EgressOutcome,
    pub(super) status: u16,
    pub(super) retries: u32,
}

impl Report {
    /// Who goes before it says anything else has left.
    pub(super) fn begin(
        client: &Arc<EgressClient>,
        upstream: &Upstream,
        rule: usize,
        method: &Method,
        meter: Option<Arc<Meter>>,
    ) -> Self {
        Self {
            client: client.clone(),
            target: upstream.name.clone(),
            rule,
            method: method.clone(),
            meter,
            begun: Instant::now(),
            outcome: EgressOutcome::Abandoned,
            status: 0,
            retries: 0,
        }
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        let took = self.begun.elapsed();
        let event = EgressEvent::Called(self.outcome, took);
        self.client.observe(Some(self.rule), event);
        if let Some(meter) = &self.meter {
            meter.called(HostCall {
                kind: CallKind::Http(std::mem::take(&mut self.method)),
                target: self.target.clone(),
                status: self.status,
                outcome: self.outcome.as_str(),
                retries: self.retries,
                begun: self.begun.into_std(),
                took,
            });
        }
    }
}
