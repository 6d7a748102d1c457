//! Garbage collection as the control plane sees it: what must stay is every package of every release that is kept, of
//! all namespaces, since any of them can be gone back to (`Control::pinned`). Here it goes when an operator says so.

use fermion_api::{CollectRequest, CollectResult};
use fermion_package::{Collected, Collection};

use crate::limits::COLLECT_GRACE;
use crate::{Control, Error};

impl Control {
    /// Removes from the store what neither a tag nor a release needs and what is older than an hour; or only says what
    /// that would be. One collection at a time, and no release is recorded meanwhile.
    pub async fn collect(&self, request: CollectRequest) -> Result<CollectResult, Error> {
        let _alone = self.shared.collecting.write().await;
        let pinned = self.pinned().await?;
        let (store, now, is_trial) = (
            self.shared.parts.store.clone(),
            (self.shared.parts.clock)(),
            request.dry_run,
        );
        let packages = pinned.len() as u64;
        let work = move || {
            let collection = Collection {
                now,
                grace: COLLECT_GRACE,
                pinned: &pinned,
            };
            if is_trial {
                store.collectable(&collection)
            } else {
                store.collect(&collection)
            }
        };
        let collected = tokio::task::spawn_blocking(work).await;
        let collected = collected.map_err(|_| Error::Stopped {
            doing: "collect garbage",
        })??;
        if !is_trial && collected != Collected::default() {
            tracing::info!(
                manifests = collected.manifests,
                contents = collected.contents,
                bytes = collected.bytes,
                "collected garbage"
            );
        }
        Ok(CollectResult {
            dry_run: is_trial,
            pinned: packages,
            manifests: collected.manifests,
            contents: collected.contents,
            bytes: collected.bytes,
            uploads: collected.uploads,
        })
    }
}
