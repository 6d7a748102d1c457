//! One call: past the breaker, onto a connection, at most once more if nothing can have happened, to the answer's head.

use std::sync::Arc;
use std::time::Duration;

use fermion_planner::breaker::{Outcome, Pass, Standing};
use http::{Request, Response};
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

use super::body::UpstreamBody;
use super::client::{EgressClient, Upstream};
use super::connect::{ConnectError, connect};
use super::lease::Lease;
use super::observe::{EgressEvent, EgressOutcome};
use super::report::Report;
use super::retry::Again;
use crate::limits;

/// How long each part of a call may take.
#[derive(Debug, Clone, Copy)]
struct Waits {
    connect: Duration,
    first_byte: Duration,
    between_bytes: Duration,
}

impl Waits {
    /// What the guest asked for, up to the platform's ceilings.
    fn of(options: RequestOptions) -> Self {
        let at_most = |asked: Option<Duration>, max: Duration| asked.unwrap_or(max).min(max);
        Self {
            connect: at_most(options.connect_timeout, limits::EGRESS_CONNECT_MAX),
            first_byte: at_most(options.first_byte_timeout, limits::EGRESS_FIRST_BYTE_MAX),
            between_bytes: at_most(options.between_bytes_timeout, limits::EGRESS_BETWEEN_BYTES_MAX),
        }
    }
}

/// Why an attempt gave no answer.
struct Failed {
    error: Error,
    outcome: EgressOutcome,
    /// Nothing of an answer was seen, and the upstream may be there for another attempt.
    may_retry: bool,
}

enum Attempt {
    /// The request has left, wholly or in part.
    Failed(Failed),
    /// There is no connection.
    Unconnected(Failed, Box<Request<WasiBody>>),
    /// A connection that was used before turned out to be dead before anything was written.
    Dead(Box<Request<WasiBody>>),
}

impl From<&ConnectError> for Failed {
    fn from(error: &ConnectError) -> Self {
        Self {
            error: error.to_wasi(),
            outcome: error.outcome(),
            may_retry: matches!(error, ConnectError::Tcp(_)),
        }
    }
}

/// What the breaker waits to hear.
pub(crate) struct Verdict {
    client: Arc<EgressClient>,
    upstream: Arc<Upstream>,
    pass: Option<Pass>,
}

impl Verdict {
    /// Says how the call ended.
    pub(crate) fn give(mut self, outcome: Outcome) {
        self.tell(outcome);
    }

    fn tell(&mut self, outcome: Outcome) {
        let Some(pass) = self.pass.take() else { return };
        let mut breaker = self.upstream.breaker();
        let was = breaker.standing();
        breaker.record(&pass, outcome, self.client.now());
        let is = breaker.standing();
        drop(breaker);
        let rule = Some(self.upstream.rule);
        match (was, is) {
            (Standing::Closed, Standing::Open(until)) => {
                tracing::warn!(
                    upstream = %self.upstream.origin,
                    penalty_ms = (until.saturating_sub(self.client.now())).as_millis(),
                    "upstream fails: calls to it are refused for a while"
                );
                self.client.observe(rule, EgressEvent::Opened);
            }
            (Standing::Probing, Standing::Closed) => {
                tracing::info!(upstream = %self.upstream.origin, "upstream answers again");
                self.client.observe(rule, EgressEvent::Closed);
            }
            _ => {}
        }
    }
}

impl Drop for Verdict {
    fn drop(&mut self) {
        if let Some(pass) = self.pass.take() {
            self.upstream.breaker().abandon(&pass);
        }
    }
}

/// Makes a call that has been granted.
pub(crate) async fn call(
    client: Arc<EgressClient>,
    upstream: Arc<Upstream>,
    mut report: Report,
    request: Request<WasiBody>,
    options: RequestOptions,
) -> Result<Response<WasiBody>, Error> {
    let admitted = upstream.breaker().admit(client.now());
    let Ok(pass) = admitted else {
        report.outcome = EgressOutcome::BreakerOpen;
        return Err(Error::DestinationUnavailable);
    };
    let mut verdict = Verdict {
        client: client.clone(),
        upstream: upstream.clone(),
        pass: Some(pass),
    };
    match answer(
        &client,
        &upstream,
        request,
        Waits::of(options),
        &mut report.retries,
    )
    .await
    {
        Ok((response, lease, between_bytes)) => {
            report.status = response.status().as_u16();
            let is_error = response.status().is_server_error();
            let (counted, outcome) = if is_error {
                (EgressOutcome::ServerError, Outcome::ServerError)
            } else {
                (EgressOutcome::Answered, Outcome::Success)
            };
            report.outcome = counted;
            // Everybody waits for a probe, so its answer's head decides; a body may go on for hours.
            if verdict.pass.as_ref().is_some_and(Pass::is_probe) {
                verdict.tell(outcome);
            }
            Ok(response
                .map(|body| UpstreamBody::new(body, between_bytes, outcome, lease, verdict).boxed_unsync()))
        }
        Err(failed) => {
            report.outcome = failed.outcome;
            match failed.outcome {
                EgressOutcome::Denied | EgressOutcome::Limit | EgressOutcome::Guest => {}
                _ => verdict.tell(Outcome::Failure),
            }
            Err(failed.error)
        }
    }
}

type Answer = (Response<hyper::body::Incoming>, Lease, Duration);

async fn answer(
    client: &EgressClient,
    upstream: &Upstream,
    request: Request<WasiBody>,
    waits: Waits,
    retries: &mut u32,
) -> Result<Answer, Failed> {
    client.budget().deposit(client.now());
    let (mut request, mut again) = Again::of(request);
    let whole = Instant::now() + waits.connect + waits.first_byte;
    let mut is_fresh = false;
    loop {
        let (failed, unsent) = match attempt(client, upstream, request, waits, whole, is_fresh).await {
            Ok((response, lease)) => return Ok((response, lease, waits.between_bytes)),
            Err(Attempt::Dead(unsent)) => {
                (request, is_fresh) = (*unsent, true);
                continue;
            }
            Err(Attempt::Unconnected(failed, unsent)) => (failed, Some(*unsent)),
            Err(Attempt::Failed(failed)) => (failed, None),
        };
        let again = again
            .take()
            .filter(|again| failed.may_retry && (unsent.is_some() || again.is_whole()))
            .filter(|_| client.budget().withdraw(client.now()));
        let Some(again) = again else {
            return Err(failed);
        };
        client.observe(Some(upstream.rule), EgressEvent::Retried);
        *retries += 1;
        (request, is_fresh) = (unsent.unwrap_or_else(|| again.request()), true);
    }
}

async fn attempt(
    client: &EgressClient,
    upstream: &Upstream,
    request: Request<WasiBody>,
    waits: Waits,
    whole: Instant,
    is_fresh: bool,
) -> Result<(Response<hyper::body::Incoming>, Lease), Attempt> {
    let (origin, rules) = (&upstream.origin, &client.grants.http);
    let deadline = (Instant::now() + waits.connect).min(whole);
    let connecting = || async {
        let network = &client.network;
        connect(network, rules, origin, &upstream.was_public, deadline).await
    };
    let pool = client.pool();
    let mut lease = match pool.acquire(origin, is_fresh, deadline, connecting).await {
        Ok(lease) => lease,
        Err(error) => return Err(Attempt::Unconnected((&error).into(), Box::new(request))),
    };
    let is_reused = lease.is_reused();
    client.observe(
        Some(upstream.rule),
        if is_reused {
            EgressEvent::Reused
        } else {
            EgressEvent::Connected
        },
    );
    // The wait for the answer begins when there is a connection, new or used.
    let deadline = (Instant::now() + waits.first_byte).min(whole);
    match timeout_at(deadline, lease.send(request)).await {
        Ok(Ok(response)) => Ok((response, lease)),
        Ok(Err(mut error)) => match error.take_message().filter(|_| is_reused) {
            Some(unsent) => Err(Attempt::Dead(Box::new(unsent))),
            None => Err(Attempt::Failed(name(error.error(), lease.is_h2()))),
        },
        Err(_) => Err(Attempt::Failed(Failed {
            error: Error::ConnectionReadTimeout,
            outcome: EgressOutcome::Timeout,
            may_retry: false,
        })),
    }
}

/// Finds the wasi:http name of what went wrong before the answer's head.
fn name(error: &hyper::Error, is_h2: bool) -> Failed {
    let failed = |error, outcome, may_retry| Failed {
        error,
        outcome,
        may_retry,
    };
    let reset = || failed(Error::ConnectionTerminated, EgressOutcome::Reset, true);
    let mut cause: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(error);
    while let Some(current) = cause {
        if let Some(wasi) = current.downcast_ref::<Error>() {
            return failed(body_error(wasi), EgressOutcome::Guest, false);
        }
        if current.is::<std::io::Error>() {
            return reset();
        }
        cause = current.source();
    }
    let is_gone = error.is_incomplete_message() || error.is_closed() || error.is_canceled();
    if is_gone || (is_h2 && !error.is_parse()) {
        return reset();
    }
    failed(Error::HttpProtocolError, EgressOutcome::Protocol, false)
}

/// The request's own body failed: its error is given back to the guest that wrote it.
fn body_error(error: &Error) -> Error {
    match error {
        Error::HttpRequestBodySize(size) => Error::HttpRequestBodySize(*size),
        _ => Error::HttpProtocolError,
    }
}
