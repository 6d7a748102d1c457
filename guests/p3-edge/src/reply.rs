//! Sending a response: whole, or head first and then piece by piece from a task that outlives the handler's return.

use wasip3::clocks::monotonic_clock::wait_for;
use wasip3::http::types::{ErrorCode, Fields, Response, Trailers};
use wasip3::wit_bindgen::{FutureReader, FutureWriter, StreamWriter};
use wasip3::{spawn_local, wit_future, wit_stream};

use crate::Answer;

/// How long a reply is let travel. Any wait gives the host its turn; this one gives the network one too.
const TRAVEL_NS: u64 = 20_000_000;

/// The writing end of a response's body.
pub(crate) struct Reply {
    stream: StreamWriter<u8>,
    trailers: FutureWriter<Result<Option<Trailers>, ErrorCode>>,
    sent: FutureReader<Result<(), ErrorCode>>,
}

impl Reply {
    /// A response and the end to write its body to; `headers` must be acceptable ones.
    pub(crate) fn start(status: u16, headers: &[(&str, &str)]) -> (Response, Self) {
        let fields = Fields::new();
        for (name, value) in headers {
            fields
                .append(name, value.as_bytes())
                .expect("the header is an acceptable one");
        }
        Self::start_with(status, fields)
    }

    /// The same with headers made elsewhere.
    pub(crate) fn start_with(status: u16, fields: Fields) -> (Response, Self) {
        let (stream, body) = wit_stream::new();
        let (trailers, trailers_out) = wit_future::new(|| Ok(None));
        let (response, sent) = Response::new(fields, Some(body), trailers_out);
        response
            .set_status_code(status)
            .expect("the status is an acceptable one");
        (
            response,
            Self {
                stream,
                trailers,
                sent,
            },
        )
    }

    /// Writes all of it; false once the reader has gone.
    pub(crate) async fn write(&mut self, bytes: Vec<u8>) -> bool {
        self.stream.write_all(bytes).await.is_empty()
    }

    /// Ends the body, with what comes after it. The result is the host's word on the whole response.
    pub(crate) async fn finish(self, end: Result<Option<Trailers>, ErrorCode>) -> Result<(), ErrorCode> {
        drop(self.stream);
        // A host that no longer listens has its reasons; what it made of the response it says below.
        drop(self.trailers.write(end).await);
        self.sent.await
    }
}

/// Waits, so that a host which gathers what a guest writes in one go sends head and body on their way.
pub(crate) async fn let_travel() {
    wait_for(TRAVEL_NS).await;
}

/// A whole response with text.
pub(crate) fn text(status: u16, body: impl Into<Vec<u8>>) -> Answer {
    whole(status, &[("content-type", "text/plain")], body)
}

/// A whole response.
pub(crate) fn whole(status: u16, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Answer {
    let (response, reply) = Reply::start(status, headers);
    Ok(send(response, reply, body))
}

/// The response, its body written behind the handler's back.
pub(crate) fn send(response: Response, mut reply: Reply, body: impl Into<Vec<u8>>) -> Response {
    let body = body.into();
    spawn_local(async move {
        reply.write(body).await;
        drop(reply.finish(Ok(None)).await);
    });
    response
}
