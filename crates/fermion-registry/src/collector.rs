//! When garbage is collected: now and then, on a thread that may block, never before it is known what must stay.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use fermion_model::Digest;
use fermion_package::{Collected, Collection, Store};
use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use crate::Clock;

/// Asks which packages must stay whatever the tags say. An error means that nobody knows, and nothing is collected.
pub type Pins = Arc<dyn Fn() -> BoxFuture<'static, Result<BTreeSet<Digest>, String>> + Send + Sync>;

/// The collector of one store.
#[derive(Clone)]
pub struct Collector {
    /// The store.
    pub store: Store,
    /// How often.
    pub every: Duration,
    /// How long what nothing needs is left alone.
    pub grace: Duration,
    /// What must stay.
    pub pins: Pins,
    /// The wall clock.
    pub clock: Clock,
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collector")
            .field("every", &self.every)
            .field("grace", &self.grace)
            .finish_non_exhaustive()
    }
}

impl Collector {
    /// Collects until `shutdown` is cancelled. A failure is said and the next turn tries again.
    pub async fn run(self, shutdown: CancellationToken) {
        while shutdown
            .run_until_cancelled(tokio::time::sleep(self.every))
            .await
            .is_some()
        {
            match self.collect().await {
                Ok(collected) if collected == Collected::default() => {}
                Ok(collected) => tracing::info!(
                    manifests = collected.manifests,
                    contents = collected.contents,
                    bytes = collected.bytes,
                    uploads = collected.uploads,
                    "collected garbage"
                ),
                Err(error) => tracing::warn!(error, "garbage was not collected"),
            }
        }
    }

    /// Collects once.
    ///
    /// # Errors
    /// In words: what must stay is not known, or the store failed.
    pub async fn collect(&self) -> Result<Collected, String> {
        let pinned = (self.pins)().await?;
        let (store, now, grace) = (self.store.clone(), (self.clock)(), self.grace);
        let collected = tokio::task::spawn_blocking(move || {
            store.collect(&Collection {
                now,
                grace,
                pinned: &pinned,
            })
        });
        match collected.await {
            Ok(collected) => collected.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }
}
