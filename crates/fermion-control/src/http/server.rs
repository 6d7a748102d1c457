//! The admin listener: binds first, serves and reconciles later.

use std::net::SocketAddr;

use fermion_api::listener;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::guard::check_host;
use crate::limits::{ACCEPT_PAUSE, CONNECTIONS_MAX, DRAIN_MAX, HEAD_BYTES_MAX, HEAD_WAIT_MAX};
use crate::{Control, Error};

const BOUNDS: listener::Bounds = listener::Bounds {
    connections_max: CONNECTIONS_MAX,
    head_wait_max: HEAD_WAIT_MAX,
    head_bytes_max: HEAD_BYTES_MAX,
    drain_max: DRAIN_MAX,
    accept_pause: ACCEPT_PAUSE,
};

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
        let mut tasks = JoinSet::new();
        let (control, stop) = (self.control.clone(), shutdown.clone());
        tasks.spawn(async move { control.run_reconciler(stop).await });
        let (control, stop) = (self.control.clone(), shutdown.clone());
        tasks.spawn(async move { control.run_rollouts(stop).await });
        let (control, stop) = (self.control.clone(), shutdown.clone());
        tasks.spawn(async move { control.run_receivers(stop).await });
        let (control, stop) = (self.control.clone(), shutdown.clone());
        tasks.spawn(async move { control.run_git(stop).await });
        // Nodes stop at the same moment, and what they say last still counts.
        let observed = CancellationToken::new();
        let (control, stop) = (self.control.clone(), observed.clone());
        tasks.spawn(async move { control.run_objectives(stop).await });
        let service = TowerToHyperService::new(self.control.router(shutdown.clone()).merge(self.mounted));
        listener::serve(self.listener, service, BOUNDS, "admin API", shutdown).await;
        observed.cancel();
        while tasks.join_next().await.is_some() {}
        Ok(())
    }
}
