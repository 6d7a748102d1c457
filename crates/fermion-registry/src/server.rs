//! The listener of a registry that runs alone: binds first, serves later. In the platform the admin API's listener does
//! this.

use std::net::SocketAddr;

use fermion_api::listener;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::limits::{ACCEPT_PAUSE, CONNECTIONS_MAX, DRAIN_MAX, HEAD_BYTES_MAX, HEAD_WAIT_MAX};
use crate::{Error, Registry, Result};

const BOUNDS: listener::Bounds = listener::Bounds {
    connections_max: CONNECTIONS_MAX,
    head_wait_max: HEAD_WAIT_MAX,
    head_bytes_max: HEAD_BYTES_MAX,
    drain_max: DRAIN_MAX,
    accept_pause: ACCEPT_PAUSE,
};

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
        let service = TowerToHyperService::new(if self.address.ip().is_loopback() {
            self.registry.loopback_router()
        } else {
            self.registry.router()
        });
        listener::serve(self.listener, service, BOUNDS, "registry", shutdown).await;
    }
}
