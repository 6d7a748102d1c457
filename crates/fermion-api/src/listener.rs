//! What the servers of the admin API and of a registry that runs alone share: accepting within bounds, slow heads, the
//! drain at the stop; and whether a request was meant for this machine. Refuses to do: routing, answering.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::HOST;
use http::uri::Authority;
use http::{HeaderMap, Request, Response};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How much of itself a listener gives.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Connections at once; whoever comes then waits in the system's own short queue.
    pub connections_max: usize,
    /// How long a request's head may take, and a connection may idle.
    pub head_wait_max: Duration,
    /// Bytes of one request's head.
    pub head_bytes_max: usize,
    /// How long open requests may take after the stop.
    pub drain_max: Duration,
    /// How long to leave the listener alone after it failed to accept: out of file descriptors, mostly.
    pub accept_pause: Duration,
}

/// Serves HTTP/1 until `shutdown` is cancelled; then lets open requests finish within the bounds. `what` is the
/// listener's name in the log.
pub async fn serve<S, B>(
    listener: TcpListener,
    service: S,
    bounds: Bounds,
    what: &'static str,
    shutdown: CancellationToken,
) where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    let mut connections = JoinSet::new();
    let slots = Arc::new(Semaphore::new(bounds.connections_max));
    loop {
        while connections.try_join_next().is_some() {}
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            accepted = accept(&listener, &slots) => accepted,
        };
        let (stream, slot) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, what, "the listener cannot accept");
                tokio::time::sleep(bounds.accept_pause).await;
                continue;
            }
        };
        let (service, shutdown) = (service.clone(), shutdown.clone());
        connections.spawn(async move {
            let _slot = slot;
            converse(stream, service, bounds, what, shutdown).await;
        });
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(bounds.drain_max, drained).await.is_err() {
        tracing::warn!(what, "requests were cut off at the stop");
    }
    connections.shutdown().await;
}

/// Waits for a free place first: beyond the limit, callers wait in the system's own short queue.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, Option<OwnedSemaphorePermit>)> {
    let slot = Arc::clone(slots).acquire_owned().await.ok();
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, slot))
}

async fn converse<S, B>(
    stream: TcpStream,
    service: S,
    bounds: Bounds,
    what: &'static str,
    shutdown: CancellationToken,
) where
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>> + 'static,
{
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.head_wait_max)
        .max_buf_size(bounds.head_bytes_max)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let served = tokio::select! {
        biased;
        served = &mut connection => served,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, what, "connection ended");
    }
}

/// True if the request names this machine in its one `Host` field. A page in a browser on this machine can reach
/// loopback under a name of its own making (DNS rebinding); it cannot make the browser send another `Host` than that
/// name.
pub fn names_this_machine(headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts.next().and_then(|host| host.to_str().ok());
    hosts.next().is_none() && host.is_some_and(is_this_machine)
}

fn is_this_machine(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else {
        return false;
    };
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    !host.contains('@')
        && name
            .parse::<IpAddr>()
            .map_or_else(|_| name.eq_ignore_ascii_case("localhost"), |ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hosts_of_this_machine() {
        for good in [
            "localhost",
            "LOCALHOST:7070",
            "127.0.0.1:7070",
            "127.1.2.3",
            "[::1]:7070",
        ] {
            assert!(is_this_machine(good), "{good}");
        }
        for bad in [
            "",
            "evil.example",
            "localhost.evil.example:7070",
            "127.0.0.1.nip.io",
            "a@127.0.0.1",
            "0.0.0.0",
        ] {
            assert!(!is_this_machine(bad), "{bad}");
        }
    }

    #[test]
    fn one_host_field_and_no_other() {
        let mut headers = HeaderMap::new();
        assert!(!names_this_machine(&headers));
        headers.insert(HOST, "localhost".parse().unwrap());
        assert!(names_this_machine(&headers));
        headers.append(HOST, "localhost".parse().unwrap());
        assert!(!names_this_machine(&headers));
    }
}
