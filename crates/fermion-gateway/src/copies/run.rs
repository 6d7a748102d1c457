//! A copy on its way: it waits for the caller's answer, runs if there is room at once, and says how its answer compares.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use fermion_model::Blame;
use fermion_model::copies::{Copied, Likeness};
use fermion_model::fault::{Failure, Fault};
use fermion_model::frame::Arm;
use http::{Method, Request};
use http_body::Body as _;

use super::RequestCopy;
use super::witness::{Glance, Seen};
use crate::connection::ThreadState;
use crate::dispatch::Purpose;
use crate::record::{PerThread, Progress, Tally};
use crate::{Dispatch, Permit, Record, RequestBody, TraceContext, check};

impl<D: Dispatch> RequestCopy<D> {
    /// Does what is to be done of the copy. Ends without a word if the caller has no whole answer.
    pub(crate) async fn run<R: Record>(mut self, thread: Arc<ThreadState>, recorder: PerThread<R>) {
        let Ok(original) = (&mut self.told).await else {
            return;
        };
        let trial = &self.place.0;
        let body = match &self.body {
            None => RequestBody::empty(),
            Some(tee) => match tee.whole() {
                Some(bytes) => RequestBody::full(bytes),
                None => {
                    trial.skipped.fetch_add(1, Relaxed);
                    return;
                }
            },
        };
        let is_busy = thread.draining.load(Relaxed) || thread.turns.is_behind();
        let permit = self.release.admission().try_acquire().filter(|_| !is_busy);
        let Some(permit) = permit else {
            trial.dropped.fetch_add(1, Relaxed);
            return;
        };
        let permit = permit.counted(thread.tasks.token());
        let trace = TraceContext::fresh();
        let mut request = std::mem::take(&mut self.request).map(|()| body);
        trace.inject(request.headers_mut());
        let path = request.uri().path().to_owned();
        let mut tally = Tally::begin(&recorder, request.method().clone(), &path, trace);
        tally.served = Some(Arc::clone(self.release.served()));
        tally.assigned.arm = Arm::Mirror;
        tally.upload = request.body().meter().cloned();
        let answer = answer(&*self.release, request, permit, trace, &mut tally);
        let wall_time = self.release.limits().wall_time;
        let answered = tokio::time::timeout(wall_time, answer).await.unwrap_or_else(|_| {
            let why = format!("a copy had no whole answer within {wall_time:?}");
            Err(Failure::new(Fault::GuestTimeout, why))
        });
        tally.copied = Some(Box::new(self.compare(&original, answered.as_ref(), path)));
        match &answered {
            Ok(_) => tally.progress = Progress::Complete,
            Err(failure) => tally.fail(failure),
        }
    }

    fn compare(&self, original: &Seen, answered: Result<&Seen, &Failure>, path: String) -> Copied {
        let likeness = match answered {
            Ok(seen) => Some(original.likeness(seen, &self.compare, self.had_credentials)),
            Err(failure) if failure.fault.blame() == Blame::Platform => None,
            Err(_) => Some(Likeness::Failed),
        };
        let trial = &self.place.0;
        Copied {
            likeness,
            path: if likeness == Some(Likeness::Same) {
                String::new()
            } else {
                path
            },
            status: original.status,
            took: original.took,
            dropped: trial.dropped.swap(0, Relaxed) + u64::from(likeness.is_none()),
            skipped: trial.skipped.swap(0, Relaxed),
        }
    }
}

/// The copy's answer, read to its end and held to the same rules as any other.
async fn answer<D: Dispatch, R: Record>(
    release: &D,
    mut request: Request<RequestBody>,
    permit: Permit,
    trace: TraceContext,
    tally: &mut Tally<R>,
) -> Result<Seen, Failure> {
    let limits = release.limits();
    request.body_mut().limit(limits.request_body_bytes)?;
    let is_head = request.method() == Method::HEAD;
    let dispatched = release
        .dispatch(request, permit, trace, &mut tally.usage, Purpose::Copy)
        .await?;
    let (mut parts, body) = dispatched.into_parts();
    let declared = check::answer(&mut parts, is_head)?;
    let status = parts.status.as_u16();
    tally.head(status);
    // What no caller would get is not compared.
    let has_body = !is_head && !matches!(status, 204 | 304);
    let mut glance = Glance::new(status, &parts.headers);
    let mut body = pin!(body);
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let frame = frame?;
        let Some(data) = frame.data_ref() else { continue };
        tally.bytes_out += data.len() as u64;
        if tally.bytes_out > limits.response_body_bytes {
            let why = "the answer's body is longer than the package's response_body";
            return Err(Failure::new(Fault::GuestResponseInvalid, why));
        }
        if has_body {
            glance.see(data);
        }
    }
    if declared.is_some_and(|declared| declared != tally.bytes_out) {
        let why = "the answer's body is not as long as its content-length";
        return Err(Failure::new(Fault::GuestResponseInvalid, why));
    }
    Ok(glance.end(tally.elapsed()))
}
