//! Packages that lie in a registry: brought into the platform's own store first, and from there on treated like every
//! other. Refuses to name anything in the store before it has been verified.

use fermion_api::limits::PULL_WAIT_MAX;
use fermion_model::{Digest, RemoteReference};
use fermion_package::Refs;
use fermion_package::remote::Pulled;

use crate::limits::CHECK_WAIT_MAX;
use crate::{Control, Error};

impl Control {
    /// The digest of the package that a request means, and what had to be pulled for it.
    pub(crate) async fn obtain(
        &self,
        digest: Option<Digest>,
        source: Option<&str>,
    ) -> Result<(Digest, Option<Pulled>), Error> {
        let Some(source) = source else {
            let digest = digest.ok_or_else(|| Error::Request {
                what: "the request has neither a digest nor a source: say which package".to_owned(),
            })?;
            return Ok((digest, None));
        };
        let reference: RemoteReference = source.parse()?;
        let turn = tokio::time::timeout(CHECK_WAIT_MAX, self.shared.pulls.acquire()).await;
        let _turn = turn
            .map_err(|_| Error::Busy {
                what: "packages to pull",
            })?
            .map_err(|_| Error::Stopped {
                doing: "pull a package",
            })?;
        let parts = &self.shared.parts;
        let pull = parts.registries.pull(&parts.store, &reference);
        let pulled = tokio::time::timeout(PULL_WAIT_MAX, pull)
            .await
            .map_err(|_| Error::PullTimeout {
                reference: reference.to_string(),
                waited: PULL_WAIT_MAX,
            })??;
        match digest {
            Some(digest) if digest != pulled.digest => Err(Error::SourceMoved {
                reference: reference.to_string(),
                digest,
                found: pulled.digest,
            }),
            _ => Ok((pulled.digest, Some(pulled))),
        }
    }

    /// Gives a package that was pulled or uploaded its name in the store, once it has been verified.
    pub(crate) async fn name(&self, pulled: Option<Pulled>, uploaded: Option<Refs>) -> Result<(), Error> {
        let store = self.shared.parts.store.clone();
        let set = move || {
            if let Some(uploaded) = uploaded {
                fermion_package::import_refs(&store, &uploaded)?;
            }
            pulled.map_or(Ok(()), |pulled| pulled.set_tag(&store))
        };
        let named = tokio::task::spawn_blocking(set).await;
        Ok(named.map_err(|_| Error::Stopped {
            doing: "name a package",
        })??)
    }
}
