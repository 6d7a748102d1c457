//! What can go wrong while the front door is being set up. What goes wrong with a request is a
//! [`fermion_model::fault::Failure`] instead.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Setting up or running the server failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {}", listen_advice(.source))]
    Listen {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A route's host, path or method cannot be understood.
    #[error("the route {route:?} of {app} is not valid: {reason}")]
    Route {
        /// `namespace/app`.
        app: String,
        /// Host and path as given.
        route: String,
        /// What is wrong and what would be right.
        reason: &'static str,
    },
    /// Two apps want the same requests.
    #[error("{first} and {second} both want {route:?}: give one of them another host, path or method")]
    AmbiguousRoute {
        /// `namespace/app` of the one that came first.
        first: String,
        /// `namespace/app` of the other.
        second: String,
        /// Host, path and method they share.
        route: String,
    },
    /// How an app's requests are shared during a rollout cannot be understood.
    #[error("the rollout of {app} cannot be routed: {reason}")]
    Split {
        /// `namespace/app`.
        app: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// The file of countries cannot be used.
    #[error("cannot use {} as a file of countries: {reason}; it is to be in MaxMind's format", path.display())]
    Countries {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A serving thread could not be started, or ended before its time.
    #[error("serving thread {index} failed: {source}")]
    Thread {
        /// Counts from 0.
        index: usize,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

fn listen_advice(source: &io::Error) -> String {
    match source.kind() {
        io::ErrorKind::AddrInUse => {
            "another program listens there; stop it or choose another port".to_owned()
        }
        io::ErrorKind::PermissionDenied => {
            "not allowed; choose a port of 1024 or above, or grant CAP_NET_BIND_SERVICE".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => "this machine does not have that address".to_owned(),
        _ => source.to_string(),
    }
}
