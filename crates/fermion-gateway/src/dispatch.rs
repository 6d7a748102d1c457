//! The seam between the front door and whatever runs requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use fermion_model::Limits;
use fermion_model::fault::Failure;
use fermion_model::record::Served;

use crate::{Admission, Permit, RequestBody, TraceContext};

/// Something that answers the requests of one release. Generic, so that the hot path has no dynamic dispatch.
pub trait Dispatch: Send + Sync + 'static {
    /// The answer's body. An error breaks the connection, because by then the head is on its way.
    type Body: http_body::Body<Data = Bytes, Error = Failure> + Send + 'static;

    /// Who serves, for records.
    fn served(&self) -> &Arc<Served>;

    /// The app's permits and queue.
    fn admission(&self) -> &Admission;

    /// The package's limits; body sizes are enforced by the gateway, the rest by the implementation.
    fn limits(&self) -> &Limits;

    /// Answers one request. Polled on the connection's own task and dropped if the caller leaves. The permit must live
    /// until the answer's body has ended *and* the guest is done.
    fn dispatch(
        &self,
        request: http::Request<RequestBody>,
        permit: Permit,
        trace: TraceContext,
    ) -> impl Future<Output = Result<Dispatched<Self::Body>, Failure>> + Send;
}

/// A guest's answer with what it took to get it.
#[derive(Debug)]
pub struct Dispatched<B> {
    /// Head and body.
    pub response: http::Response<B>,
    /// Making or taking the instance.
    pub instantiate: Duration,
    /// True if the instance was made while the request waited.
    pub cold: bool,
    /// Read when the record is made.
    pub cpu: CpuMeter,
}

/// Guest CPU time of one request, written while it runs and read at its end. Clones share the value.
#[derive(Debug, Clone, Default)]
pub struct CpuMeter(Arc<AtomicU64>);

impl CpuMeter {
    /// A meter at zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds to the time used.
    pub fn add(&self, used: Duration) {
        self.0.fetch_add(nanos(used), Ordering::Relaxed);
    }

    /// Replaces the time used.
    pub fn set(&self, used: Duration) {
        self.0.store(nanos(used), Ordering::Relaxed);
    }

    /// The time used so far.
    pub fn get(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
