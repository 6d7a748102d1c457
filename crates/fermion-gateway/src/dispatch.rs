//! The seam between the front door and whatever runs requests.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fermion_model::Limits;
use fermion_model::calls::Calls;
use fermion_model::fault::Failure;
use fermion_model::record::Served;

use crate::{Admission, Permit, RequestBody, TraceContext};

/// What a request is dispatched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Somebody waits for the answer.
    Answer,
    /// It is a copy, and nobody gets the answer: nothing may come of it, in stores or elsewhere, and whoever waits for an
    /// answer goes before.
    Copy,
}

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
    /// until the answer's body has ended *and* the guest is done. `usage` is set before anything runs, so that a
    /// request that fails or is given up is measured like one that is answered.
    /// `purpose` is to be enforced beneath the guest.
    fn dispatch(
        &self,
        request: http::Request<RequestBody>,
        permit: Permit,
        trace: TraceContext,
        usage: &mut UsageMeter,
        purpose: Purpose,
    ) -> impl Future<Output = Result<http::Response<Self::Body>, Failure>> + Send;
}

/// What one request took of whoever ran it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// Making or taking the instance.
    pub instantiate: Duration,
    /// True if the instance was made while the request waited.
    pub cold: bool,
    /// Guest CPU time.
    pub cpu: Duration,
    /// The most linear memory that the instance had, in bytes.
    pub memory_bytes: u64,
    /// What the host did for it.
    pub calls: Calls,
}

/// Reads a request's usage at its end. The default one reads zero: nothing has run.
#[derive(Clone, Default)]
pub struct UsageMeter(Option<Arc<dyn Fn() -> Usage + Send + Sync>>);

impl std::fmt::Debug for UsageMeter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UsageMeter").finish_non_exhaustive()
    }
}

impl UsageMeter {
    /// A meter that whoever runs the guest keeps. It is read once, at the request's end.
    pub fn reading(read: impl Fn() -> Usage + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(read)))
    }

    /// The usage so far; the calls are taken out of it.
    pub fn get(&self) -> Usage {
        self.0.as_ref().map(|read| read()).unwrap_or_default()
    }
}
