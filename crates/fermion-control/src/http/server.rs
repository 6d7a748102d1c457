//! The admin listener: binds first, serves later, bounds connections and slow heads, and drains when told to stop.

use std::net::SocketAddr;
use std::sync::Arc;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::guard::check_host;
use crate::limits::{ACCEPT_PAUSE, CONNECTIONS_MAX, DRAIN_MAX, HEAD_BYTES_MAX, HEAD_WAIT_MAX};
use crate::{Control, Error};

/// The control plane with its listener; nothing is served yet.
#[derive(Debug)]
pub struct Bound {
    control: Control,
    listener: TcpListener,
    address: SocketAddr,
    mounted: axum::Router,
}

impl Control {
    /// Takes the address.
    pub async fn bind(&self) -> Result<Bound, Error> {
        let address = self.config().listen;
        let failed = |source| Error::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Bound {
            control: self.clone(),
            listener,
            address,
            mounted: axum::Router::new(),
        })
    }
}

impl Bound {
    /// Serves these paths too. They do their own authentication; the `Host` is checked for them.
    #[must_use]
    pub fn mount(mut self, routes: axum::Router) -> Self {
        self.mounted = self
            .mounted
            .merge(routes.layer(axum::middleware::from_fn(check_host)));
        self
    }

    /// Where it listens, with the port that the system chose for port 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves the admin API and reconciles until `shutdown` is cancelled; then lets open requests finish for a moment.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Error> {
        let mut reconciler = JoinSet::new();
        let (control, stop) = (self.control.clone(), shutdown.clone());
        reconciler.spawn(async move { control.run_reconciler(stop).await });
        let mut connections = JoinSet::new();
        let service = TowerToHyperService::new(self.control.router(shutdown.clone()).merge(self.mounted));
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
                    tracing::warn!(%error, "the admin listener cannot accept");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            connections.spawn(serve(stream, service.clone(), shutdown.clone(), slot));
        }
        drop(self.listener);
        let drained = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN_MAX, drained).await.is_err() {
            tracing::warn!("admin requests were cut off at the stop");
        }
        connections.shutdown().await;
        while reconciler.join_next().await.is_some() {}
        Ok(())
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
    service: TowerToHyperService<axum::Router>,
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
        tracing::debug!(%error, "admin connection ended");
    }
}
