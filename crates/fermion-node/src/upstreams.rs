//! From what the runtime tells of calls to upstreams to what telemetry counts.

use std::sync::Arc;

use fermion_runtime::{EgressEvent, EgressObserver, EgressOutcome};
use fermion_telemetry::{CallResult, UpstreamMetrics};

/// Counts one release's calls.
pub(crate) struct Counted(pub(crate) Arc<UpstreamMetrics>);

impl EgressObserver for Counted {
    fn observe(&self, rule: Option<usize>, event: EgressEvent) {
        let metrics = &self.0;
        match event {
            EgressEvent::Called(outcome, duration) => metrics.called(rule, result(outcome), duration),
            EgressEvent::Connected => metrics.connected(rule, false),
            EgressEvent::Reused => metrics.connected(rule, true),
            EgressEvent::Retried => metrics.retried(rule),
            EgressEvent::Opened => metrics.breaker(rule, true),
            EgressEvent::Closed => metrics.breaker(rule, false),
        }
    }
}

fn result(outcome: EgressOutcome) -> CallResult {
    match outcome {
        EgressOutcome::Answered => CallResult::Answered,
        EgressOutcome::ServerError => CallResult::ServerError,
        EgressOutcome::Connect => CallResult::Connect,
        EgressOutcome::Dns => CallResult::Dns,
        EgressOutcome::Tls => CallResult::Tls,
        EgressOutcome::Timeout => CallResult::Timeout,
        EgressOutcome::Reset => CallResult::Reset,
        EgressOutcome::Protocol => CallResult::Protocol,
        EgressOutcome::Denied => CallResult::Denied,
        EgressOutcome::Limit => CallResult::Limit,
        EgressOutcome::BreakerOpen => CallResult::Breaker,
        EgressOutcome::Guest => CallResult::Guest,
        EgressOutcome::Abandoned => CallResult::Abandoned,
    }
}
