//! One release that is ready to serve: what a route points at.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use fermion_gateway::limits::{QUEUE_MAX_DEFAULT, QUEUE_WAIT_MAX_DEFAULT};
use fermion_gateway::{
    Admission, Dispatch, Permit, Purpose, RequestBody, RouteTable, TraceContext, Usage, UsageMeter,
};
use fermion_model::fault::{Failure, Fault};
use fermion_model::record::Served;
use fermion_model::{Limits, Release};
use fermion_runtime::{Call, GuestBody, GuestOutput, Level, Meter, Program, Stream};
use fermion_telemetry::{GuestLog, LogHub};

use crate::prepare::{Plan, Preparer};
use crate::sleep::Sleeper;

/// The table that the gateway reads at every request and the node swaps.
pub type Routes = Arc<ArcSwap<RouteTable<Target>>>;

/// One release with its permits, and what runs behind them.
#[derive(Debug)]
pub struct Target {
    served: Arc<Served>,
    admission: Admission,
    limits: Limits,
    /// None for a release that may not run, whose route stays and says so, and for one that sleeps.
    work: Option<Work>,
    /// Loads what handles requests when there is one.
    sleeper: Option<Arc<Sleeper>>,
    is_stopped: AtomicBool,
    /// Whether somebody has asked since it was last looked.
    is_used: AtomicBool,
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
        let admission = admission(program.limits());
        Self::with(served, admission, program, logs)
    }

    /// Puts a program behind a queue that is there already.
    pub(crate) fn with(served: Arc<Served>, admission: Admission, program: Program, logs: LogHub) -> Self {
        let limits = program.limits().clone();
        Self {
            work: Some(Work { program, logs }),
            ..Self::of(served, admission, limits)
        }
    }

    /// A verified release that the first request loads.
    pub(crate) fn dormant(preparer: &Arc<Preparer>, plan: &Arc<Plan>, served: Arc<Served>) -> Self {
        let admission = admission(&plan.package.limits);
        Self::sleeping(preparer, plan, served, admission)
    }

    /// The same release without what takes memory. What runs here goes on.
    pub(crate) fn asleep(&self, preparer: &Arc<Preparer>, plan: &Arc<Plan>) -> Self {
        Self::sleeping(preparer, plan, self.served.clone(), self.admission.clone())
    }

    fn sleeping(
        preparer: &Arc<Preparer>,
        plan: &Arc<Plan>,
        served: Arc<Served>,
        admission: Admission,
    ) -> Self {
        let (preparer, plan, limits) = (preparer.clone(), plan.clone(), plan.package.limits.clone());
        let sleeper = Sleeper::new(preparer, plan, served.clone(), admission.clone());
        Self {
            sleeper: Some(Arc::new(sleeper)),
            ..Self::of(served, admission, limits)
        }
    }

    /// Answers every request of a release with `NOT_READY`.
    pub(crate) fn stopped(release: &Release) -> Self {
        let served = Served {
            namespace: release.namespace.to_string(),
            app: release.app.to_string(),
            release: release.number.0,
        };
        let limits = Limits::default();
        Self::of(Arc::new(served), admission(&limits), limits)
    }

    fn of(served: Arc<Served>, admission: Admission, limits: Limits) -> Self {
        Self {
            served,
            admission,
            limits,
            work: None,
            sleeper: None,
            is_stopped: AtomicBool::new(false),
            is_used: AtomicBool::new(false),
        }
    }

    /// What handles requests, if it is loaded by now, so that the route leads there directly.
    pub(crate) fn awake(self: &Arc<Self>) -> &Arc<Self> {
        let awake = self.sleeper.as_ref().and_then(|sleeper| sleeper.awake());
        awake.unwrap_or(self)
    }

    /// True if it holds what takes memory.
    pub(crate) fn is_loaded(&self) -> bool {
        let is_awake = |sleeper: &Arc<Sleeper>| sleeper.awake().is_some();
        self.work.is_some() || self.sleeper.as_ref().is_some_and(is_awake)
    }

    /// Whether anybody has asked since this was asked last, or is served now.
    pub(crate) fn was_used(&self) -> bool {
        let awake = self.sleeper.as_ref().and_then(|sleeper| sleeper.awake());
        let was_used = awake.is_some_and(|awake| awake.is_used.swap(false, Ordering::Relaxed));
        self.is_used.swap(false, Ordering::Relaxed) || was_used || self.admission.in_use() > 0
    }

    fn use_it(&self) {
        // Read first: serving threads share the line as long as nobody writes it.
        if !self.is_used.load(Ordering::Relaxed) {
            self.is_used.store(true, Ordering::Relaxed);
        }
    }

    /// From now on no request begins here, also none that has been routed already. Those that run go on until they
    /// are done or their wall time is over.
    pub(crate) fn stop(&self) {
        self.is_stopped.store(true, Ordering::Release);
        if let Some(awake) = self.sleeper.as_ref().and_then(|sleeper| sleeper.awake()) {
            awake.stop();
        }
    }

    fn refuse_if_stopped(&self) -> Result<(), Failure> {
        if self.is_stopped.load(Ordering::Acquire) {
            return Err(not_ready());
        }
        Ok(())
    }

    /// Runs a request. `loading` is how long it has waited for the program.
    async fn run(
        &self,
        request: http::Request<RequestBody>,
        permit: Permit,
        trace: TraceContext,
        usage: &mut UsageMeter,
        purpose: Purpose,
        loading: Duration,
    ) -> Result<http::Response<GuestBody>, Failure> {
        self.refuse_if_stopped()?;
        self.use_it();
        let work = self.work.as_ref().ok_or_else(not_ready)?;
        let output = Arc::new(Lines {
            log: OnceLock::new(),
            hub: work.logs.clone(),
            served: Arc::clone(&self.served),
            request: (trace.trace_id, trace.span_id),
        });
        let traceparent = request.headers().get("traceparent").cloned();
        let meter = Arc::new(Meter::default());
        *usage = UsageMeter::reading({
            let meter = Arc::clone(&meter);
            move || Usage {
                instantiate: loading + meter.instantiate(),
                // Whoever waited for the program waited for an instance of it.
                cold: loading > Duration::ZERO || meter.is_cold(),
                cpu: meter.cpu(),
                memory_bytes: meter.memory_bytes(),
                calls: meter.take_calls(),
            }
        });
        let call = Call {
            permit,
            output,
            traceparent,
            meter,
            is_copy: purpose == Purpose::Copy,
        };
        work.program.handle(request, call).await
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
        purpose: Purpose,
    ) -> Result<http::Response<GuestBody>, Failure> {
        let Some(sleeper) = &self.sleeper else {
            return self
                .run(request, permit, trace, usage, purpose, Duration::ZERO)
                .await;
        };
        self.refuse_if_stopped()?;
        self.use_it();
        let (awake, loading) = sleeper.wake().await?;
        // It may have been stopped while it was loaded.
        self.refuse_if_stopped()?;
        awake.run(request, permit, trace, usage, purpose, loading).await
    }
}

fn admission(limits: &Limits) -> Admission {
    let admission = if limits.adaptive_concurrency {
        Admission::adaptive
    } else {
        Admission::new
    };
    admission(limits.concurrency, QUEUE_MAX_DEFAULT, QUEUE_WAIT_MAX_DEFAULT)
}

fn not_ready() -> Failure {
    Failure::new(
        Fault::NotReady,
        "the release may not run any more, and no other is ready",
    )
}

/// Guest output on its way into the log.
struct Lines {
    /// Made when something is written, which most requests never do.
    log: OnceLock<GuestLog>,
    hub: LogHub,
    served: Arc<Served>,
    /// Its trace and its span.
    request: ([u8; 16], [u8; 8]),
}

impl Lines {
    fn log(&self) -> &GuestLog {
        let (trace, span) = self.request;
        self.log.get_or_init(|| self.hub.guest(&self.served, trace, span))
    }
}

/// The request id of lines of which nobody knows which request wrote them.
const NO_REQUEST: [u8; 16] = [0; 16];
/// Their span.
const NO_SPAN: [u8; 8] = [0; 8];

impl GuestOutput for Lines {
    fn write(&self, stream: Stream, bytes: &[u8]) {
        let stream = match stream {
            Stream::Stdout => fermion_telemetry::Stream::Stdout,
            Stream::Stderr => fermion_telemetry::Stream::Stderr,
        };
        self.log().write(stream, bytes);
    }

    fn nameless(&self) -> Arc<dyn GuestOutput> {
        Arc::new(Self {
            log: OnceLock::new(),
            hub: self.hub.clone(),
            served: Arc::clone(&self.served),
            request: (NO_REQUEST, NO_SPAN),
        })
    }

    fn log(&self, level: Level, context: &str, message: &str) {
        use fermion_telemetry::Level as Logged;
        let level = match level {
            Level::Trace => Logged::Trace,
            Level::Debug => Logged::Debug,
            Level::Info => Logged::Info,
            Level::Warn => Logged::Warn,
            Level::Error => Logged::Error,
            Level::Critical => Logged::Critical,
        };
        self.log().log(level, context, message);
    }
}
