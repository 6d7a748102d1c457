//! Which request may be made once more: one whose method may be repeated, and of whose body nothing has left because
//! there was nothing. Whether there is anything is often known only when the guest ends the body, after the head.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Method, Request, Uri};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Empty};
use wasmtime_wasi_http::{Error, WasiBody};

/// The body's end was reached.
const ENDED: u8 = 1;
/// Something came out of the body.
const USED: u8 = 2;

/// What is needed to make a request a second time.
pub(crate) struct Again {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Arc<AtomicU8>,
}

impl Again {
    /// Remembers a request that may be repeated, and watches its body.
    pub(crate) fn of(request: Request<WasiBody>) -> (Request<WasiBody>, Option<Self>) {
        let is_idempotent = matches!(
            *request.method(),
            Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE
        );
        if !is_idempotent {
            return (request, None);
        }
        let is_empty = request.body().is_end_stream();
        let again = Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            headers: request.headers().clone(),
            body: Arc::new(AtomicU8::new(if is_empty { ENDED } else { 0 })),
        };
        if is_empty {
            return (request, Some(again));
        }
        let state = again.body.clone();
        let watched = request.map(|body| Watched { body, state }.boxed_unsync());
        (watched, Some(again))
    }

    /// True if nothing of a body has left and nothing will.
    pub(crate) fn is_whole(&self) -> bool {
        match self.body.load(Relaxed) {
            ENDED => true,
            // Nothing has come out yet. A GET that announces no content has none over HTTP/1, and over HTTP/2 none that
            // means anything (RFC 9110, section 9.3.1); its body may then never be asked for anything.
            0 => {
                matches!(self.method, Method::GET | Method::HEAD)
                    && !self.headers.contains_key(CONTENT_LENGTH)
            }
            _ => false,
        }
    }

    /// The same request.
    pub(crate) fn request(self) -> Request<WasiBody> {
        let mut same = Request::new(Empty::new().map_err(|never| match never {}).boxed_unsync());
        *same.method_mut() = self.method;
        *same.uri_mut() = self.uri;
        *same.headers_mut() = self.headers;
        same
    }
}

/// A body that tells whether anything has come out of it.
struct Watched {
    body: WasiBody,
    state: Arc<AtomicU8>,
}

impl Watched {
    fn add(&self, bit: u8) {
        self.state.fetch_or(bit, Relaxed);
    }
}

impl Body for Watched {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(_)) => self.add(USED),
            Poll::Ready(None) => self.add(ENDED),
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;

    use super::*;

    fn request(method: Method, body: WasiBody) -> Request<WasiBody> {
        Request::builder().method(method).uri("/").body(body).unwrap()
    }

    fn full(bytes: &'static [u8]) -> WasiBody {
        Full::from(bytes).map_err(|never| match never {}).boxed_unsync()
    }

    fn poll(body: &mut WasiBody) {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        drop(Pin::new(body).poll_frame(&mut cx));
    }

    #[test]
    fn only_what_may_be_repeated_and_has_no_body_is_made_again() {
        for (method, bytes, expected) in [
            (Method::GET, &b""[..], true),
            (Method::DELETE, b"", true),
            (Method::POST, b"", false),
            (Method::PATCH, b"", false),
            (Method::PUT, b"all of it", false),
        ] {
            let (mut sent, again) = Again::of(request(method.clone(), full(bytes)));
            poll(sent.body_mut());
            poll(sent.body_mut());
            assert_eq!(again.is_some_and(|again| again.is_whole()), expected, "{method}");
        }
    }

    /// Is not there at first, then ends.
    struct Late(bool);

    impl Body for Late {
        type Data = Bytes;
        type Error = Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
            if std::mem::replace(&mut self.0, true) {
                Poll::Ready(None)
            } else {
                Poll::Pending
            }
        }
    }

    #[test]
    fn a_body_that_ends_without_anything_is_none() {
        let (mut sent, again) = Again::of(request(Method::DELETE, Late(false).boxed_unsync()));
        let again = again.expect("a DELETE");
        assert!(!again.is_whole(), "it may still have a body");
        poll(sent.body_mut());
        assert!(!again.is_whole(), "it may still have a body");
        poll(sent.body_mut());
        assert!(again.is_whole());
        assert_eq!(again.request().method(), Method::DELETE);
        let (_sent, again) = Again::of(request(Method::GET, Late(false).boxed_unsync()));
        assert!(again.is_some_and(|again| again.is_whole()));
    }
}
