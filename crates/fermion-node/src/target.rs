//! One release that is ready to serve: what a route points at.

use std::sync::Arc;

use arc_swap::ArcSwap;
use fermion_gateway::limits::{QUEUE_MAX_DEFAULT, QUEUE_WAIT_MAX_DEFAULT};
use fermion_gateway::{
    Admission, CpuMeter, Dispatch, Dispatched, Permit, RequestBody, RouteTable, TraceContext,
};
use fermion_model::Limits;
use fermion_model::fault::Failure;
use fermion_model::record::Served;
use fermion_runtime::{Call, GuestBody, GuestOutput, Program, Stream};
use fermion_telemetry::{GuestLog, LogHub};

/// The table that the gateway reads at every request and the node swaps.
pub type Routes = Arc<ArcSwap<RouteTable<Target>>>;

/// One release with its program, its permits and its logs.
#[derive(Debug)]
pub struct Target {
    served: Arc<Served>,
    program: Program,
    admission: Admission,
    logs: LogHub,
}

impl Target {
    /// Puts a program behind a queue of the default length.
    pub fn new(served: Arc<Served>, program: Program, logs: LogHub) -> Self {
        let concurrency = program.limits().concurrency;
        let admission = Admission::new(concurrency, QUEUE_MAX_DEFAULT, QUEUE_WAIT_MAX_DEFAULT);
        Self {
            served,
            program,
            admission,
            logs,
        }
    }

    /// The permits and the queue, for gauges.
    pub fn permits(&self) -> &Admission {
        &self.admission
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
        self.program.limits()
    }

    async fn dispatch(
        &self,
        request: http::Request<RequestBody>,
        permit: Permit,
        trace: TraceContext,
    ) -> Result<Dispatched<GuestBody>, Failure> {
        let output = Arc::new(Lines(self.logs.guest(&self.served, trace.trace_id)));
        let traceparent = request.headers().get("traceparent").cloned();
        let reply = self
            .program
            .handle(
                request,
                Call {
                    permit,
                    output,
                    traceparent,
                },
            )
            .await?;
        let meter = reply.meter;
        Ok(Dispatched {
            response: reply.response,
            instantiate: meter.instantiate(),
            cold: true,
            cpu: CpuMeter::reading(move || meter.cpu()),
        })
    }
}

/// Guest output on its way into the log.
struct Lines(GuestLog);

impl GuestOutput for Lines {
    fn write(&self, stream: Stream, bytes: &[u8]) {
        let stream = match stream {
            Stream::Stdout => fermion_telemetry::Stream::Stdout,
            Stream::Stderr => fermion_telemetry::Stream::Stderr,
        };
        self.0.write(stream, bytes);
    }
}
