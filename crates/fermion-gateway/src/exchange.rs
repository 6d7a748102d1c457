//! One request from its head to its answer's head, whichever protocol carried it: check, route, bound, admit,
//! dispatch. `ARCHITECTURE.md` follows a request through [`Door::answer`].

use std::pin::pin;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use fermion_model::Fault;
use fermion_model::fault::Failure;
use fermion_model::frame::Arm;
use fermion_model::record::Served;
use http::header::{self, HeaderValue};
use http::response::Parts;
use http::{Method, Request, Response, StatusCode, Version};

use crate::answer_body::AnswerBody;
use crate::check::{self, Target};
use crate::connection::{InFlight, ThreadState};
use crate::copies::Copying;
use crate::dispatch::Purpose;
use crate::limits::ServerLimits;
use crate::record::{PerThread, Progress, Tally};
use crate::trace::random_id;
use crate::{Dispatch, Lookup, Record, RequestBody, RouteTable, TraceContext, problem};

/// What every connection of one serving thread needs.
#[derive(Debug)]
pub(crate) struct Door<D, R> {
    pub(crate) routes: Arc<ArcSwap<RouteTable<D>>>,
    pub(crate) recorder: PerThread<R>,
    pub(crate) limits: ServerLimits,
    pub(crate) thread: Arc<ThreadState>,
}

/// Where a request goes.
struct Way<D> {
    target: Arc<D>,
    /// Bytes to take off the front of the path.
    strip: usize,
    copying: Option<Copying<D>>,
}

/// A guest's answer that may go out.
struct Accepted<B> {
    parts: Parts,
    body: B,
    declared: Option<u64>,
    body_bytes_max: u64,
}

/// Why the platform answers in the guest's stead.
enum Refusal {
    Failure(Failure),
    /// With the methods that the routes take.
    Method(Vec<String>),
    /// `OPTIONS *`, which only asks whether the server is there.
    ServerOptions,
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl<D: Dispatch, R: Record> Door<D, R> {
    /// Answers one request. Dropping the future or the answer's body finishes the request's record.
    pub(crate) async fn answer(
        &self,
        request: Request<RequestBody>,
        in_flight: InFlight,
    ) -> Response<AnswerBody<D::Body, R>> {
        let trace = TraceContext::from_headers(request.headers());
        let mut tally = Tally::begin(
            &self.recorder,
            request.method().clone(),
            request.uri().path(),
            trace,
        );
        tally.in_flight = Some(in_flight);
        tally.upload = request.body().meter().cloned();
        match self.try_answer(request, &mut tally).await {
            Ok(mut accepted) => {
                if let Some(witness) = &mut tally.witness {
                    witness.head(accepted.parts.status.as_u16(), &accepted.parts.headers);
                }
                tally.metric = tally.assigned.read_metric(&mut accepted.parts.headers);
                tally.issue_cookie(&mut accepted.parts.headers);
                tally.head(accepted.parts.status.as_u16());
                let body =
                    AnswerBody::guest(accepted.body, accepted.body_bytes_max, accepted.declared, tally);
                Response::from_parts(accepted.parts, body)
            }
            Err(refusal) => refused(&refusal, tally),
        }
    }

    async fn try_answer(
        &self,
        mut request: Request<RequestBody>,
        tally: &mut Tally<R>,
    ) -> Result<Accepted<D::Body>, Refusal> {
        if request.version() == Version::HTTP_2 {
            check::head_size(&request)?;
        }
        if check::request(&mut request)? == Target::Server {
            return Err(Refusal::ServerOptions);
        }
        let Way {
            target,
            strip,
            copying,
        } = self.route(&mut request, tally)?;
        tally.served = Some(Arc::clone(target.served()));
        request.body_mut().limit(target.limits().request_body_bytes)?;
        request.body_mut().yield_to(target.admission());
        let permit = match target.admission().try_acquire() {
            Some(permit) => permit,
            None => {
                let permit = target.admission().acquire().await;
                tally.queue = tally.elapsed();
                permit?
            }
        };
        let permit = permit.counted(self.thread.tasks.token());
        let mut turn = self.thread.turns.take(flow(target.served())).await?;
        if turn.is_some() {
            tally.queue = tally.elapsed();
        }
        if let Some(in_flight) = &tally.in_flight {
            in_flight.limit(target.limits().wall_time + self.limits.write_stall_max);
        }
        if strip > 0 {
            check::strip_prefix(request.uri_mut(), strip)?;
        }
        tally.trace().inject(request.headers_mut());
        if let Some(copying) = copying {
            self.copy(copying, &mut request, tally);
        }
        let is_head = request.method() == Method::HEAD;
        let trace = *tally.trace();
        let mut dispatch = pin!(target.dispatch(request, permit, trace, &mut tally.usage, Purpose::Answer));
        let dispatched = std::future::poll_fn(|cx| {
            let polled = dispatch.as_mut().poll(cx);
            // A turn lasts until the guest first waits: what it does later is short, or it is moved away.
            turn = None;
            polled
        })
        .await;
        // What was wrong with the request's body goes before whatever the guest made of it.
        if let Some(failure) = tally.upload.as_ref().and_then(|upload| upload.failure()) {
            return Err(Refusal::Failure(failure.clone()));
        }
        let (mut parts, body) = dispatched?.into_parts();
        let declared = check::answer(&mut parts, is_head)?;
        Ok(Accepted {
            parts,
            body,
            declared,
            body_bytes_max: target.limits().response_body_bytes,
        })
    }

    /// Has the request copied, by a task of the thread's own that waits for this request's answer.
    fn copy(&self, copying: Copying<D>, request: &mut Request<RequestBody>, tally: &mut Tally<R>) {
        let (copy, witness) = copying.begin(request);
        tally.witness = Some(witness);
        let run = copy.run(Arc::clone(&self.thread), Arc::clone(&self.recorder));
        drop(self.thread.tasks.spawn(run));
    }

    /// Who answers, and how much of the path is not theirs. During a rollout the request's own caller decides.
    fn route(&self, request: &mut Request<RequestBody>, tally: &mut Tally<R>) -> Result<Way<D>, Refusal> {
        let host = request
            .headers()
            .get(header::HOST)
            .and_then(|host| host.to_str().ok());
        let routes = self.routes.load();
        match routes.lookup(host, request.uri().path(), request.method()) {
            Lookup::Found(found) => {
                let mut target = found.target;
                let mut copying = None;
                if let Some(share) = found.share {
                    let peer = tally.in_flight.as_ref().and_then(InFlight::peer);
                    tally.assigned = share.assign(request, peer, random_id);
                    if tally.assigned.arm == Arm::Canary {
                        target = share.canary();
                    }
                    copying = share.copying(request, &tally.assigned);
                }
                Ok(Way {
                    target: Arc::clone(target),
                    strip: found.strip,
                    copying,
                })
            }
            Lookup::MethodNotAllowed(allow) => Err(Refusal::Method(allow)),
            Lookup::None => Err(Refusal::Failure(Failure::from(Fault::NoRoute))),
        }
    }

    /// The answer to a request whose head could not be read; it is recorded too.
    pub(crate) fn refuse_unread(&self, failure: &Failure) -> Response<Bytes> {
        let method = Method::from_bytes(b"-").unwrap_or_default();
        let mut tally = Tally::begin(&self.recorder, method, "", TraceContext::fresh());
        tally.fail(failure);
        let answer = problem::answer(failure, Some(&tally.trace().trace_id));
        tally.head(answer.status().as_u16());
        tally.bytes_out = answer.body().len() as u64;
        answer
    }
}

/// A release, as turns are dealt: any number that stays with it, and is not 0.
fn flow(served: &Arc<Served>) -> u64 {
    u64::try_from(Arc::as_ptr(served).addr()).unwrap_or(u64::MAX)
}

/// The platform's answer.
fn refused_with<B, R: Record>(failure: &Failure, mut tally: Tally<R>) -> Response<AnswerBody<B, R>> {
    tally.fail(failure);
    let (mut parts, fixed) = problem::answer(failure, Some(&tally.trace().trace_id)).into_parts();
    tally.issue_cookie(&mut parts.headers);
    tally.head(parts.status.as_u16());
    Response::from_parts(parts, AnswerBody::fixed(fixed, tally))
}

fn refused<B, R: Record>(refusal: &Refusal, mut tally: Tally<R>) -> Response<AnswerBody<B, R>> {
    match refusal {
        Refusal::Failure(failure) => refused_with(failure, tally),
        Refusal::Method(allow) => {
            let mut response = refused_with(&Failure::from(Fault::MethodNotAllowed), tally);
            if let Ok(allow) = HeaderValue::from_str(&allow.join(", ")) {
                response.headers_mut().insert(header::ALLOW, allow);
            }
            response
        }
        Refusal::ServerOptions => {
            tally.head(StatusCode::NO_CONTENT.as_u16());
            tally.progress = Progress::Complete;
            let mut response = Response::new(AnswerBody::fixed(Bytes::new(), tally));
            *response.status_mut() = StatusCode::NO_CONTENT;
            response
        }
    }
}
