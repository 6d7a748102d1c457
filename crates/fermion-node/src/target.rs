//! One release that is ready to serve: what a route points at.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use fermion_gateway::limits::{QUEUE_MAX_DEFAULT, QUEUE_WAIT_MAX_DEFAULT};
use fermion_gateway::{
    Admission, Dispatch, Permit, RequestBody, RouteTable, TraceContext, Usage, UsageMeter,
};
use fermion_model::fault::{Failure, Fault};
use fermion_model::record::Served;
use fermion_model::{Limits, Release};
use fermion_runtime::{Call, GuestBody, GuestOutput, Meter, Program, Stream};
use fermion_telemetry::{GuestLog, LogHub};

/// The table that the gateway reads at every request and the node swaps.
pub type Routes = Arc<ArcSwap<RouteTable<Target>>>;

/// One release with its permits, and what runs behind them.
#[derive(Debug)]
pub struct Target {
    served: Arc<Served>,
    admission: Admission,
    limits: Limits,
    /// None for a release that may not run: its route stays and says so.
    work: Option<Work>,
    is_stopped: AtomicBool,
}

/// What handles requests.
#[derive(Debug)]
struct Work {
    program: Program,
    logs: LogHub,
}

impl Target {
    /// Puts a program behind a queue of the default length.
    pub fn new(served: Arc<Served>, program: Program, logs: LogHub) -> Self {
        let limits = program.limits().clone();
        Self::of(served, limits, Some(Work { program, logs }))
    }

    /// Answers every request of a release with `NOT_READY`.
    pub(crate) fn stopped(release: &Release) -> Self {
        let served = Served {
            namespace: release.namespace.to_string(),
            app: release.app.to_string(),
            release: release.number.0,
        };
        Self::of(Arc::new(served), Limits::default(), None)
    }

    fn of(served: Arc<Served>, limits: Limits, work: Option<Work>) -> Self {
        let admission = if limits.adaptive_concurrency {
            Admission::adaptive
        } else {
            Admission::new
        };
        let admission = admission(limits.concurrency, QUEUE_MAX_DEFAULT, QUEUE_WAIT_MAX_DEFAULT);
        Self {
            served,
            admission,
            limits,
            work,
            is_stopped: AtomicBool::new(false),
        }
    }

    /// From now on no request begins here, also none that has been routed already. Those that run go on until they
    /// are done or their wall time is over.
    pub(crate) fn stop(&self) {
        self.is_stopped.store(true, Ordering::Release);
    }

    /// The permits and the queue, for gauges.
    pub fn permits(&self) -> &Admission {
        &self.admission
    }
}

impl Target {
    /// Instances that outlive a request or wait for their first, for gauges.
    pub fn kept(&self) -> u64 {
        self.work.as_ref().map_or(0, |work| work.program.kept())
    }
}

impl Dispatch for Target {
    type Body = GuestBody;

    fn served(&self) -> &Arc<Served> {
        &self.served
    }

    fn admission(&self) -> &Admission {
        &self.admission
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }

    async fn dispatch(
        &self,
        request: http::Request<RequestBody>,
        permit: Permit,
        trace: TraceContext,
        usage: &mut UsageMeter,
    ) -> Result<http::Response<GuestBody>, Failure> {
        let work = self
            .work
            .as_ref()
            .filter(|_| !self.is_stopped.load(Ordering::Acquire));
        let Some(work) = work else {
            return Err(Failure::new(
                Fault::NotReady,
                "the release may not run any more, and no other is ready",
            ));
        };
        let output = Arc::new(Lines {
            log: work.logs.guest(&self.served, trace.trace_id),
            hub: work.logs.clone(),
            served: Arc::clone(&self.served),
        });
        let traceparent = request.headers().get("traceparent").cloned();
        let meter = Arc::new(Meter::default());
        *usage = UsageMeter::reading({
            let meter = Arc::clone(&meter);
            move || Usage {
                instantiate: meter.instantiate(),
                cold: meter.is_cold(),
                cpu: meter.cpu(),
            }
        });
        let call = Call {
            permit,
            output,
            traceparent,
            meter,
        };
        work.program.handle(request, call).await
    }
}

/// Guest output on its way into the log.
struct Lines {
    log: GuestLog,
    hub: LogHub,
    served: Arc<Served>,
}

/// The request id of lines of which nobody knows which request wrote them.
const NO_REQUEST: [u8; 16] = [0; 16];

impl GuestOutput for Lines {
    fn write(&self, stream: Stream, bytes: &[u8]) {
        let stream = match stream {
            Stream::Stdout => fermion_telemetry::Stream::Stdout,
            Stream::Stderr => fermion_telemetry::Stream::Stderr,
        };
        self.log.write(stream, bytes);
    }

    fn nameless(&self) -> Arc<dyn GuestOutput> {
        Arc::new(Self {
            log: self.hub.guest(&self.served, NO_REQUEST),
            hub: self.hub.clone(),
            served: Arc::clone(&self.served),
        })
    }
}
