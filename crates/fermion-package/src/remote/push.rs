//! From the store to a registry, and from one registry to another. In this order: blobs, the package's manifest by its
//! digest, what is attached to it, and the tag last, so that nobody finds a package by name before it is whole.

use fermion_model::{Digest, PackageName, RemoteReference};

use super::Client;
use super::landing::blocking;
use super::manifests::Document;
use super::parcel::{Identity, Parcel, merged_index, merged_signature};
use super::progress::Event;
use super::session::{Right, Session};
use crate::limits::MANIFEST_BYTES_MAX;
use crate::referrers::referrers_tag;
use crate::sign::simple_tag;
use crate::{Error, RegistryFault, Result, Store};

/// A package that is in a registry now, with everything that is attached to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// What it is called.
    pub name: PackageName,
    /// Its version.
    pub version: semver::Version,
    /// Its digest, here and there.
    pub digest: Digest,
    /// Where it is: with the tag that was set, or with the digest if there is none.
    pub at: RemoteReference,
    /// Blobs that it consists of, attachments included.
    pub blobs: usize,
    /// Bytes of all of them.
    pub bytes: u64,
    /// Artifacts that refer to it.
    pub referrers: usize,
}

impl Client {
    /// Brings a package of the store to a registry. Without a tag in `to` it gets that of its version; with a digest it
    /// gets none.
    ///
    /// # Errors
    /// The store's for a package that is not whole; `DIGEST_MISMATCH` if `to` has another digest; those of every
    /// exchange.
    pub async fn push(&self, store: &Store, digest: &Digest, to: &RemoteReference) -> Result<Pushed> {
        let (from, wanted) = (store.clone(), *digest);
        let (parcel, identity) = blocking(move || Parcel::read(&from, &wanted)).await?;
        let bytes = parcel.blobs.values().map(|blob| blob.size).sum();
        let blobs = parcel.blobs.len();
        self.config().progress.tell(Event::Planned { blobs, bytes });
        self.deliver(store, &parcel, identity, to, None).await
    }

    /// Brings a package from one registry to another, byte for byte, by way of `between`, a store that is thrown away
    /// afterwards. Within one registry, blobs are taken over where the registry does that.
    ///
    /// # Errors
    /// As those of `pull` and `push`.
    pub async fn copy(
        &self,
        between: &Store,
        from: &RemoteReference,
        to: &RemoteReference,
    ) -> Result<Pushed> {
        let source = self.session(from, Right::Pull)?;
        let (parcel, identity) = source.collect(between, from).await?;
        source
            .fetch_all(between, None, parcel.blobs.values().cloned().collect())
            .await?;
        let mount =
            (from.registry == to.registry && from.repository() != to.repository()).then(|| from.repository());
        self.deliver(between, &parcel, identity, to, mount).await
    }

    async fn deliver(
        &self,
        store: &Store,
        parcel: &Parcel,
        identity: Identity,
        to: &RemoteReference,
        mount: Option<&str>,
    ) -> Result<Pushed> {
        let digest = parcel.digest();
        let session = self.session(to, Right::Push)?;
        if let Some(other) = to.digest().filter(|other| *other != digest) {
            let why = format!("the package is {digest}, not {other}");
            return Err(session.fault(RegistryFault::OtherBytes, format!("write {to}"), why));
        }
        session
            .send_all(store, parcel.blobs.values().cloned().collect(), mount)
            .await?;
        session.put_manifest(&parcel.package, &digest.to_string()).await?;
        session.put_signature(store, parcel).await?;
        session.put_referrers(parcel).await?;
        let at = match (to.tag(), to.digest()) {
            (None, Some(_)) => to.clone(),
            (tag, _) => to.with_tag(tag.unwrap_or(&identity.version.to_string()))?,
        };
        if let Some(tag) = at.tag() {
            session.put_manifest(&parcel.package, tag).await?;
        }
        Ok(Pushed {
            name: identity.name,
            version: identity.version,
            digest,
            at,
            blobs: parcel.blobs.len(),
            bytes: parcel.blobs.values().map(|blob| blob.size).sum(),
            referrers: parcel.referrers.len(),
        })
    }
}

impl Session {
    /// Attaches the simplesigning signatures beside those that are there.
    async fn put_signature(&self, store: &Store, parcel: &Parcel) -> Result<()> {
        let Some(ours) = &parcel.signature else {
            return Ok(());
        };
        let tag = simple_tag(&parcel.digest());
        let theirs = self.manifest(&tag, MANIFEST_BYTES_MAX).await?;
        let (document, config) = merged_signature(ours, theirs.as_ref())?;
        if theirs.is_some_and(|theirs| theirs.descriptor.digest == document.descriptor.digest) {
            return Ok(());
        }
        if let Some(config) = config {
            let descriptor = crate::canonical::Descriptor::of(crate::sign::IMAGE_CONFIG_TYPE, &config);
            let store_too = store.clone();
            blocking(move || store_too.put(&config)).await?;
            self.send_all(store, vec![descriptor], None).await?;
        }
        self.put_manifest(&document, &tag).await.map(drop)
    }

    /// Attaches what refers to the package. A registry that does not keep the list itself gets it at the fallback tag.
    async fn put_referrers(&self, parcel: &Parcel) -> Result<()> {
        let mut unlisted: Vec<Document> = Vec::new();
        for document in &parcel.referrers {
            let identifier = document.descriptor.digest.to_string();
            if !self.put_manifest(document, &identifier).await?.lists_referrers {
                unlisted.push(document.clone());
            }
        }
        if unlisted.is_empty() {
            return Ok(());
        }
        let subject = parcel.digest();
        let old = match self.referrers_index(&subject).await {
            // What lies there is no list: it is replaced by one.
            Err(Error::UnsupportedLayout { .. }) => None,
            old => old?,
        };
        let index = merged_index(&unlisted, old.clone())?;
        if old.is_some_and(|old| crate::canonical::json(&old) == index.bytes) {
            return Ok(());
        }
        self.put_manifest(&index, &referrers_tag(&subject))
            .await
            .map(drop)
    }
}
