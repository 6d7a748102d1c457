//! The benchmark's ceiling: a bare hyper server on one thread that gives the answers of the guests `p2-hello` and
//! `p2-edge`, byte for byte by the same work. Nothing that serves them by way of a sandbox can be quicker.
//!
//! `/stream/N/BYTES` sends so many chunks, `/count` sums what it is sent, `/echo` sends it back, everything else is hello.

use std::convert::Infallible;

use bytes::Bytes;
use futures::stream;
use http_body_util::{BodyExt as _, Either, Full, StreamBody, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

type Answer = Either<Full<Bytes>, BoxBody<Bytes, hyper::Error>>;

fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".into());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(address).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            serve(stream);
        }
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "a ceiling for a benchmark, not a part of the product"
)]
fn serve(stream: tokio::net::TcpStream) {
    tokio::spawn(async move {
        // A client that leaves is the usual end of a connection.
        drop(
            hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service_fn(answer))
                .await,
        );
    });
}

async fn answer(request: Request<Incoming>) -> Result<Response<Answer>, Infallible> {
    let path = request.uri().path();
    let (kind, body) = match path.get(..4) {
        None => return Ok(respond("text/plain", hello())),
        Some("/str") => ("application/octet-stream", Either::Right(source(path))),
        Some("/cou") => ("text/plain", Either::Left(count(request.into_body()).await)),
        Some("/ech") => (
            "application/octet-stream",
            Either::Right(BoxBody::new(request.into_body())),
        ),
        Some(_) => ("text/plain", hello()),
    };
    Ok(respond(kind, body))
}

fn respond(kind: &'static str, body: Answer) -> Response<Answer> {
    Response::builder()
        .header("content-type", kind)
        .body(body)
        .expect("the head is constant and valid")
}

fn hello() -> Answer {
    Either::Left(Full::new(Bytes::from_static(b"Hello, world!\n")))
}

/// `/stream/N/BYTES`: the letters a to z again and again, from each chunk's place on.
fn source(path: &str) -> BoxBody<Bytes, hyper::Error> {
    let number = |at: usize| {
        path.split('/')
            .nth(at)
            .and_then(|text| text.parse::<usize>().ok())
    };
    let (chunks, bytes) = (number(2).unwrap_or(1), number(3).unwrap_or(1));
    let frames = (0..chunks).map(move |chunk| {
        let places = chunk * bytes..(chunk + 1) * bytes;
        let data: Vec<u8> = places
            .map(|place| b"abcdefghijklmnopqrstuvwxyz"[place % 26])
            .collect();
        Ok(Frame::data(Bytes::from(data)))
    });
    BoxBody::new(StreamBody::new(stream::iter(frames)))
}

/// Bytes and their FNV-1a sum.
async fn count(mut body: Incoming) -> Full<Bytes> {
    let (mut bytes, mut sum) = (0_usize, 0xcbf2_9ce4_8422_2325_u64);
    while let Some(Ok(frame)) = body.frame().await {
        let Some(data) = frame.data_ref() else { continue };
        bytes += data.len();
        for byte in data {
            sum = (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    Full::new(Bytes::from(format!("bytes {bytes} fnv1a {sum:016x}\n")))
}
