//! The client of registries against a real server: what it carries, in which order, and what it does not put up with.

mod access;
mod hostile;
mod moves;
mod server;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fermion_model::RemoteReference;
use fermion_package::remote::{Client, ClientConfig, Event, Pause, Progress, Timing};
use fermion_package::{Store, load};
use tempfile::TempDir;

use crate::fixtures::{World, now, trust};
use server::Server;

/// A client that does not wait before it tries again, and what it said.
pub(crate) struct Talk {
    pub(crate) client: Client,
    events: Arc<Mutex<Vec<Event>>>,
}

impl Talk {
    pub(crate) fn new() -> Self {
        Self::with(ClientConfig::default())
    }

    pub(crate) fn with(config: ClientConfig) -> Self {
        let events = Arc::new(Mutex::new(Vec::new()));
        let heard = events.clone();
        let client = Client::new(ClientConfig {
            pause: Pause::new(|_| Box::pin(async {})),
            progress: Progress::new(move |event| heard.lock().unwrap().push(event)),
            ..config
        });
        Self {
            client: client.unwrap(),
            events,
        }
    }

    /// One that gives up soon.
    pub(crate) fn impatient() -> Self {
        Self::with(ClientConfig {
            timing: Timing {
                idle_max: Duration::from_millis(300),
                exchange_max: Duration::from_millis(300),
                rate_min: u64::MAX,
                ..Timing::default()
            },
            ..ClientConfig::default()
        })
    }

    pub(crate) fn retries(&self) -> usize {
        let events = self.events.lock().unwrap();
        events
            .iter()
            .filter(|event| matches!(event, Event::Retry { .. }))
            .count()
    }
}

/// `127.0.0.1:PORT/acme/hello:1.2.3`
pub(crate) fn at(server: &Server, rest: &str) -> RemoteReference {
    format!("{}/{rest}", server.address()).parse().unwrap()
}

/// An empty store.
pub(crate) struct Fresh {
    _folder: TempDir,
    pub(crate) store: Store,
}

pub(crate) fn fresh() -> Fresh {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("store")).unwrap();
    Fresh {
        _folder: folder,
        store,
    }
}

impl Fresh {
    /// The code with which the package is refused here; `OK` if it is not.
    pub(crate) fn code(&self, world: &World) -> &'static str {
        load(&self.store, world.digest(), &trust(1), now()).map_or_else(|error| error.code(), |_| "OK")
    }
}

/// A server with the world's package in `acme/hello`.
pub(crate) async fn filled(world: &World, server: Server) -> Server {
    let to = at(&server, "acme/hello");
    Talk::new()
        .client
        .push(&world.store, world.digest(), &to)
        .await
        .unwrap();
    server.forget();
    server
}
