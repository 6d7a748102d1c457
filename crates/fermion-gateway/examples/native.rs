//! The benchmark's ceiling: a bare hyper server on one thread that answers every request with the hello component's
//! bytes. Nothing that serves the same answer by way of a sandbox can be quicker.

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

#[expect(
    clippy::disallowed_methods,
    reason = "a ceiling for a benchmark, not a part of the product"
)]
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
            tokio::spawn(async move {
                let answer = |_: Request<hyper::body::Incoming>| async {
                    let response = Response::builder()
                        .header("content-type", "text/plain")
                        .body(Full::new(Bytes::from_static(b"Hello, world!\n")));
                    Ok::<_, Infallible>(response.expect("the head is constant and valid"))
                };
                // A client that leaves is the usual end of a connection.
                drop(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service_fn(answer))
                        .await,
                );
            });
        }
    })
}
