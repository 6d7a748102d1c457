//! A request's body as the guest reads it: counted, bounded in size and in the time between two reads, and pulled from
//! the connection only when asked for. A caller that stops sending keeps its request's permit only while nobody waits
//! for one, so that half-sent requests cannot hold up whole ones.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use fermion_model::Fault;
use fermion_model::fault::Failure;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use crate::Admission;
use crate::h1::Upload;
use crate::limits::BODY_IDLE_CONTENDED_MAX;

/// The body of one request.
#[derive(Debug)]
pub struct RequestBody {
    source: Source,
    meter: Option<Arc<BodyMeter>>,
    bytes_max: u64,
    idle_max: Option<Duration>,
    idle: Option<Pin<Box<Sleep>>>,
    idle_since: Option<Instant>,
    admission: Option<Admission>,
    tee: Option<Arc<Tee>>,
}

/// A copy of a body, made while the guest reads it.
#[derive(Debug)]
pub(crate) struct Tee {
    bytes_max: usize,
    copied: Mutex<Copied>,
}

#[derive(Debug, Default)]
struct Copied {
    bytes: BytesMut,
    is_whole: bool,
    is_cut: bool,
}

impl Tee {
    fn copied(&self) -> MutexGuard<'_, Copied> {
        self.copied.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, data: &[u8]) {
        let mut copied = self.copied();
        if copied.is_cut || copied.bytes.len() + data.len() > self.bytes_max {
            *copied = Copied {
                is_cut: true,
                ..Copied::default()
            };
        } else {
            copied.bytes.extend_from_slice(data);
        }
    }

    /// The copy, if the guest has read the whole body and it was not too long.
    pub(crate) fn whole(&self) -> Option<Bytes> {
        let mut copied = self.copied();
        let is_whole = copied.is_whole && !copied.is_cut;
        is_whole.then(|| std::mem::take(&mut copied.bytes).freeze())
    }
}

#[derive(Debug)]
enum Source {
    Empty,
    Full(Bytes),
    Upload(UploadHandle),
    Stream(hyper::body::Incoming),
}

/// Tells the connection when the guest is done with the body.
#[derive(Debug)]
struct UploadHandle(Arc<Upload>);

impl Drop for UploadHandle {
    fn drop(&mut self) {
        self.0.release();
    }
}

/// What the gateway wants to know of a body that the guest reads.
#[derive(Debug, Default)]
pub(crate) struct BodyMeter {
    bytes: AtomicU64,
    failure: OnceLock<Failure>,
}

impl BodyMeter {
    /// Bytes that were read.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Why reading ended before the body did.
    pub(crate) fn failure(&self) -> Option<&Failure> {
        self.failure.get()
    }
}

impl RequestBody {
    /// No body.
    pub fn empty() -> Self {
        Self::new(Source::Empty, None)
    }

    /// A body that is already here.
    pub fn full(bytes: Bytes) -> Self {
        Self::new(
            if bytes.is_empty() {
                Source::Empty
            } else {
                Source::Full(bytes)
            },
            None,
        )
    }

    pub(crate) fn upload(upload: Arc<Upload>, idle_max: Duration) -> Self {
        Self::new(Source::Upload(UploadHandle(upload)), Some(idle_max))
    }

    pub(crate) fn stream(incoming: hyper::body::Incoming, idle_max: Duration) -> Self {
        if incoming.is_end_stream() {
            Self::empty()
        } else {
            Self::new(Source::Stream(incoming), Some(idle_max))
        }
    }

    fn new(source: Source, idle_max: Option<Duration>) -> Self {
        let meter = (!matches!(source, Source::Empty)).then(Arc::default);
        Self {
            source,
            meter,
            bytes_max: u64::MAX,
            idle_max,
            idle: None,
            idle_since: None,
            admission: None,
            tee: None,
        }
    }

    /// Copies at most `bytes_max` bytes of what will be read. None without a body.
    pub(crate) fn tee(&mut self, bytes_max: usize) -> Option<Arc<Tee>> {
        let is_empty = matches!(self.source, Source::Empty);
        self.tee = (!is_empty).then(|| {
            Arc::new(Tee {
                bytes_max,
                copied: Mutex::default(),
            })
        });
        self.tee.clone()
    }

    /// Sets how much may be read, and refuses at once what is announced to be more.
    pub(crate) fn limit(&mut self, bytes_max: u64) -> Result<(), Failure> {
        self.bytes_max = bytes_max;
        if self.size_hint().lower() > bytes_max {
            Err(too_large(bytes_max))
        } else {
            Ok(())
        }
    }

    /// Names the queue whose permit this body's request holds: while others wait there, a silent caller loses it.
    pub(crate) fn yield_to(&mut self, admission: &Admission) {
        if self.meter.is_some() {
            self.admission = Some(admission.clone());
        }
    }

    /// None without a body.
    pub(crate) fn meter(&self) -> Option<&Arc<BodyMeter>> {
        self.meter.as_ref()
    }

    fn fail(&mut self, failure: Failure) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        if let Some(meter) = &self.meter {
            // A second failure cannot come: the source is gone after the first.
            drop(meter.failure.set(failure.clone()));
        }
        self.source = Source::Empty;
        Poll::Ready(Some(Err(failure)))
    }

    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(idle_max) = self.idle_max else {
            return Poll::Pending;
        };
        let step = idle_max.min(BODY_IDLE_CONTENDED_MAX);
        let idle = self
            .idle
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(step)));
        let since = *self.idle_since.get_or_insert_with(|| {
            let now = Instant::now();
            idle.as_mut().reset(now + step);
            now
        });
        loop {
            ready!(idle.as_mut().poll(cx));
            let others_wait = self
                .admission
                .as_ref()
                .is_some_and(|admission| admission.waiting() > 0);
            if others_wait || since.elapsed() >= idle_max {
                return Poll::Ready(());
            }
            idle.as_mut().reset((Instant::now() + step).min(since + idle_max));
        }
    }
}

fn too_large(bytes_max: u64) -> Failure {
    Failure::new(Fault::BodyTooLarge, format!("more than {bytes_max} bytes"))
}

impl Source {
    fn is_end(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(_) => false,
            Self::Upload(upload) => upload.0.is_end_stream(),
            Self::Stream(incoming) => incoming.is_end_stream(),
        }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        match self {
            Self::Empty => Poll::Ready(None),
            Self::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Self::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Self::Upload(upload) => upload.0.poll_frame(cx),
            Self::Stream(incoming) => {
                let frame = ready!(Pin::new(incoming).poll_frame(cx));
                Poll::Ready(frame.map(|frame| {
                    frame.map_err(|error| Failure::new(Fault::BadRequest, format!("request body: {error}")))
                }))
            }
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let this = &mut *self;
        let Poll::Ready(frame) = this.source.poll_frame(cx) else {
            ready!(this.poll_idle(cx));
            return this.fail(Failure::new(Fault::RequestTimeout, "no body byte for too long"));
        };
        this.idle_since = None;
        if let Some(tee) = &this.tee {
            match &frame {
                None => tee.copied().is_whole = true,
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        tee.take(data);
                    }
                    // A reader need not ask again for what has ended.
                    tee.copied().is_whole |= this.source.is_end();
                }
                Some(Err(_)) => {}
            }
        }
        match frame {
            None => Poll::Ready(None),
            Some(Err(failure)) => this.fail(failure),
            Some(Ok(frame)) => {
                if let (Some(data), Some(meter)) = (frame.data_ref(), &this.meter) {
                    let length = data.len() as u64;
                    if meter.bytes.fetch_add(length, Relaxed) + length > this.bytes_max {
                        return this.fail(too_large(this.bytes_max));
                    }
                }
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.source.is_end()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Empty => SizeHint::with_exact(0),
            Source::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Source::Upload(upload) => upload.0.size_hint(),
            Source::Stream(incoming) => incoming.size_hint(),
        }
    }
}
