//! Copies of requests for a release that answers nobody yet. A copy is made while the caller's request is on its way and
//! sent when the caller has the whole answer, so it can neither delay nor fail that one; its own answer is compared and
//! thrown away. Copies have places of their own, never wait for anything, and are the first to go when there is work.

mod run;
mod witness;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use fermion_model::rollout::{Compared, Copies};
use http::header::{self, HeaderName, HeaderValue};
use http::{Method, Request};
use http_body::Body as _;
use tokio::sync::oneshot;

use crate::limits::{COPIES_CONCURRENCY_DIVISOR, COPY_BODY_BYTES_MAX};
use crate::request_body::Tee;
use crate::share::Trial;
use crate::{Dispatch, RequestBody};

use witness::Seen;
pub(crate) use witness::Witness;

/// Marks a copy, so that no other gateway on its way copies it again.
const MARK: HeaderName = HeaderName::from_static("x-fermion-copy");
/// What says who the caller is: no copy has it.
const CREDENTIALS: [HeaderName; 3] = [header::AUTHORIZATION, header::COOKIE, header::PROXY_AUTHORIZATION];

/// The right to make one copy; given back on drop.
#[derive(Debug)]
struct Place(Arc<Trial>);

impl Place {
    fn take(trial: &Arc<Trial>, places: u32) -> Option<Self> {
        let taken = trial
            .in_flight
            .try_update(Relaxed, Relaxed, |now| (now < places).then_some(now + 1));
        if taken.is_err() {
            trial.dropped.fetch_add(1, Relaxed);
        }
        taken.ok().map(|_| Self(Arc::clone(trial)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}

/// Which requests are copied, and to whom.
#[derive(Debug)]
pub(crate) struct Copier<D> {
    release: Arc<D>,
    methods: Vec<Method>,
    compare: Arc<[Compared]>,
    /// Copies at once.
    places: u32,
    trial: Arc<Trial>,
}

/// A request that is to be copied once it is as the guest gets it.
#[derive(Debug)]
pub(crate) struct Copying<D> {
    release: Arc<D>,
    compare: Arc<[Compared]>,
    place: Place,
}

/// A copy that waits for the caller's answer.
pub(crate) struct RequestCopy<D> {
    release: Arc<D>,
    compare: Arc<[Compared]>,
    place: Place,
    request: Request<()>,
    body: Option<Arc<Tee>>,
    /// Without the caller's credentials the answer may well be another one.
    had_credentials: bool,
    told: oneshot::Receiver<Seen>,
}

impl<D: Dispatch> Copier<D> {
    pub(crate) fn new(copies: &Copies, release: Arc<D>, trial: &Arc<Trial>) -> Result<Self, &'static str> {
        let methods = copies
            .methods
            .iter()
            .map(|method| Method::from_bytes(method.as_bytes()));
        Ok(Self {
            methods: methods
                .collect::<Result<_, _>>()
                .map_err(|_| "a method is one word")?,
            compare: copies.compare.clone().into(),
            places: (release.limits().concurrency / COPIES_CONCURRENCY_DIVISOR).max(1),
            release,
            trial: Arc::clone(trial),
        })
    }

    /// Decides whether this request is copied.
    pub(crate) fn admit(&self, request: &Request<RequestBody>) -> Option<Copying<D>> {
        if !self.methods.contains(request.method()) || request.headers().contains_key(MARK) {
            return None;
        }
        if request.body().size_hint().lower() > COPY_BODY_BYTES_MAX as u64 {
            self.trial.skipped.fetch_add(1, Relaxed);
            return None;
        }
        Some(Copying {
            release: Arc::clone(&self.release),
            compare: Arc::clone(&self.compare),
            place: Place::take(&self.trial, self.places)?,
        })
    }
}

impl<D: Dispatch> Copying<D> {
    /// Copies the request's head, and its body as the guest reads it. The witness is to see the caller's answer.
    pub(crate) fn begin(self, request: &mut Request<RequestBody>) -> (RequestCopy<D>, Witness) {
        let mut copy = Request::new(());
        *copy.method_mut() = request.method().clone();
        *copy.uri_mut() = request.uri().clone();
        *copy.version_mut() = request.version();
        *copy.headers_mut() = request.headers().clone();
        let headers = copy.headers_mut();
        let credentials = CREDENTIALS.iter().filter(|name| headers.remove(*name).is_some());
        let had_credentials = credentials.count() > 0;
        headers.insert(MARK, HeaderValue::from_static("1"));
        let (tell, told) = oneshot::channel();
        let copy = RequestCopy {
            release: self.release,
            compare: self.compare,
            place: self.place,
            request: copy,
            body: request.body_mut().tee(COPY_BODY_BYTES_MAX),
            had_credentials,
            told,
        };
        (copy, Witness::new(tell))
    }
}
