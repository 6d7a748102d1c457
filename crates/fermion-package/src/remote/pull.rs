//! From a registry into the store. A tag is resolved once; from then on everything goes by digest. The version's tag is
//! not set here: a registry does not decide what a name means in the local store, whoever verified the package does.

use std::sync::Arc;

use fermion_model::{Digest, PackageName, RemoteReference};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::landing::blocking;
use super::manifests::Document;
use super::parcel::{Identity, Parcel};
use super::progress::Event;
use super::session::{Right, Session};
use super::{Client, identifier};
use crate::canonical::Descriptor;
use crate::limits::{MANIFEST_BYTES_MAX, TRANSFERS_MAX};
use crate::sign::simple_tag;
use crate::{RegistryFault, Result, Store};

/// A package that has arrived with everything that is attached to it, and has not been verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// What it says it is called.
    pub name: PackageName,
    /// The version that it says it is.
    pub version: semver::Version,
    /// Its digest.
    pub digest: Digest,
    /// Blobs that it consists of, attachments included.
    pub blobs: usize,
    /// Bytes of all of them.
    pub bytes: u64,
    /// Artifacts that refer to it.
    pub referrers: usize,
}

impl Pulled {
    /// Gives the package its name in the store: `NAME:VERSION` means it from now on. For whoever has verified it.
    pub fn set_tag(&self, store: &Store) -> Result<()> {
        store.set_tag(&self.name, &self.version.to_string(), &self.digest)
    }
}

impl Client {
    /// The digest that a reference stands for at this moment.
    ///
    /// # Errors
    /// `REMOTE_MISSING`, `DIGEST_MISMATCH` if the registry lies, and those of every exchange.
    pub async fn resolve(&self, reference: &RemoteReference) -> Result<Digest> {
        let session = self.session(reference, Right::Pull)?;
        Ok(session.package(reference).await?.descriptor.digest)
    }

    /// Brings a package with its signatures and referrers into the store, beside those that are there.
    ///
    /// # Errors
    /// `UNSUPPORTED_LAYOUT` for what is not a package, `SIZE_EXCEEDED` before or when something is too large,
    /// `DIGEST_MISMATCH`, `VERSION_MISMATCH` if the tag is another version than the package's own, and those of every
    /// exchange. What has arrived by then stays; nothing refers to it.
    pub async fn pull(&self, store: &Store, reference: &RemoteReference) -> Result<Pulled> {
        let session = self.session(reference, Right::Pull)?;
        let (parcel, identity) = session.collect(store, reference).await?;
        session
            .fetch_all(
                store,
                Some(&identity.name),
                parcel.blobs.values().cloned().collect(),
            )
            .await?;
        let pulled = Pulled {
            name: identity.name.clone(),
            version: identity.version.clone(),
            digest: parcel.digest(),
            blobs: parcel.blobs.len(),
            bytes: parcel.blobs.values().map(|blob| blob.size).sum(),
            referrers: parcel.referrers.len(),
        };
        let store = store.clone();
        blocking(move || parcel.keep(&store, &identity.name)).await?;
        Ok(pulled)
    }
}

impl Session {
    /// The manifest that a reference stands for.
    pub(super) async fn package(&self, reference: &RemoteReference) -> Result<Document> {
        let identifier = identifier(reference)?;
        match self.manifest(&identifier, MANIFEST_BYTES_MAX).await? {
            Some(document) => Ok(document),
            None => Err(self.fault(
                RegistryFault::Missing,
                format!("find {reference}"),
                "it has no such package, or shows it to others only; look for the name, and the tag or digest",
            )),
        }
    }

    /// Reads all documents of a package, and its config into the store. Nothing large moves before all sizes are known.
    pub(super) async fn collect(
        self: &Arc<Self>,
        store: &Store,
        reference: &RemoteReference,
    ) -> Result<(Parcel, Identity)> {
        let mut parcel = Parcel::of(self.package(reference).await?)?;
        self.fetch(store, None, &parcel.config()?).await?;
        let (parcel_too, store_too) = (parcel.clone(), store.clone());
        let identity = blocking(move || parcel_too.identity(&store_too)).await?;
        self.check_version(reference, &identity)?;
        let digest = parcel.digest();
        if let Some(signature) = self.manifest(&simple_tag(&digest), MANIFEST_BYTES_MAX).await? {
            parcel.add_signature(signature)?;
        }
        let entries = self.referrers(&digest).await?;
        let documents: Vec<Option<Document>> = stream::iter(entries)
            .map(|entry| self.referrer(entry))
            .buffered(TRANSFERS_MAX)
            .try_collect()
            .await?;
        for document in documents.into_iter().flatten() {
            parcel.add_referrer(document)?;
        }
        self.client.config().progress.tell(Event::Planned {
            blobs: parcel.blobs.len(),
            bytes: parcel.blobs.values().map(|blob| blob.size).sum(),
        });
        Ok((parcel, identity))
    }

    /// The manifest of an entry; none if it is gone, as after a deletion of which the list was not told.
    async fn referrer(self: &Arc<Self>, entry: Descriptor) -> Result<Option<Document>> {
        let bytes_max = entry.size.min(MANIFEST_BYTES_MAX);
        self.manifest(&entry.digest.to_string(), bytes_max).await
    }

    /// A registry that points the tag of one version at another takes everybody back, or forward, unseen.
    fn check_version(&self, reference: &RemoteReference, identity: &Identity) -> Result<()> {
        if reference.digest().is_some() {
            return Ok(());
        }
        let asked = reference
            .tag()
            .and_then(|tag| tag.parse::<semver::Version>().ok());
        match asked {
            Some(asked) if asked != identity.version => Err(self.fault(
                RegistryFault::OtherVersion,
                format!("pull {reference}"),
                format!(
                    "what it has there is {}:{}; name it by that version, or by its digest",
                    identity.name, identity.version
                ),
            )),
            _ => Ok(()),
        }
    }
}
