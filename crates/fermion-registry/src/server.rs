//! The listener of a registry that runs alone: binds first, serves later, bounds connections and slow heads, and drains
//! when told to stop. In the platform the admin API's listener does this.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::limits::{ACCEPT_PAUSE, CONNECTIONS_MAX, DRAIN_MAX, HEAD_BYTES_MAX, HEAD_WAIT_MAX};
use crate::{Error, Registry, Result};

/// Where to listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen {
    /// The address.
    pub address: SocketAddr,
    /// Whoever runs this has said that the network may see everything.
    pub is_plain_http_wanted: bool,
}

/// A registry with its listener; nothing is served yet.
#[derive(Debug)]
pub struct Bound {
    registry: Registry,
    listener: TcpListener,
    address: SocketAddr,
}

impl Registry {
    /// Takes the address.
    ///
    /// # Errors
    /// `LISTEN_REFUSED`, also for one that is not loopback unless plain HTTP is wanted.
    pub async fn bind(&self, listen: Listen) -> Result<Bound> {
        let address = listen.address;
        if !address.ip().is_loopback() && !listen.is_plain_http_wanted {
            return Err(Error::NotLoopback { address });
        }
        let failed = |source| Error::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Bound {
            registry: self.clone(),
            listener,
            address,
        })
    }
}

impl Bound {
    /// Where it listens, with the port that the system chose for port 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown` is cancelled; then lets open requests finish for a moment.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut connections = JoinSet::new();
        let service = TowerToHyperService::new(if self.address.ip().is_loopback() {
            self.registry.loopback_router()
        } else {
            self.registry.router()
        });
        let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            while connections.try_join_next().is_some() {}
            let accepted = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                accepted = accept(&self.listener, &slots) => accepted,
            };
            let (stream, slot) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "the registry's listener cannot accept");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            connections.spawn(serve(stream, service.clone(), shutdown.clone(), slot));
        }
        drop(self.listener);
        let drained = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN_MAX, drained).await.is_err() {
            tracing::warn!("requests were cut off at the stop");
        }
        connections.shutdown().await;
    }
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

async fn serve(
    stream: TcpStream,
    service: TowerToHyperService<Router>,
    shutdown: CancellationToken,
    _slot: Option<OwnedSemaphorePermit>,
) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WAIT_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
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
        tracing::debug!(%error, "connection ended");
    }
}
