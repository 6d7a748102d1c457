//! The seam between the front door and whatever runs requests.

use std::sync::Arc;
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

/// Guest CPU time of one request, read at its end. The default one always reads zero.
#[derive(Clone, Default)]
pub struct CpuMeter(Option<Arc<dyn Fn() -> Duration + Send + Sync>>);

impl std::fmt::Debug for CpuMeter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("CpuMeter").field(&self.get()).finish()
    }
}

impl CpuMeter {
    /// A meter that whoever runs the guest keeps.
    pub fn reading(read: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(read)))
    }

    /// The time used so far.
    pub fn get(&self) -> Duration {
        self.0.as_ref().map(|read| read()).unwrap_or_default()
    }
}
