//! A package on its way from one store to another: which blobs it consists of, and which tags it needs there. Carrying
//! the bytes is the caller's matter. What arrives is verified when it is loaded, not here.

use std::collections::BTreeSet;
use std::path::PathBuf;

use fermion_model::{Digest, PackageName};
use serde::{Deserialize, Serialize};

use crate::canonical::{ImageManifest, Index};
use crate::channel::is_channel_tag;
use crate::limits::{MANIFEST_BYTES_MAX, REFS_MAX};
use crate::load::{self, Documents};
use crate::referrers::referrers_tag;
use crate::sign::simple_tag;
use crate::store::{Repository, check_tag};
use crate::{Error, Result, Store};

/// One blob to carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportBlob {
    /// Its address.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// Where it lies here.
    pub path: PathBuf,
}

/// What to set in the other store when all blobs are there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refs {
    /// The repository.
    pub name: PackageName,
    /// The package.
    pub digest: Digest,
    /// In the order in which they are set: signatures first, the version last.
    pub tags: Vec<(String, Digest)>,
}

impl Refs {
    /// The tags of signatures, and apart from them the version's: for whoever verifies in between.
    pub fn split_version(self) -> (Self, Self) {
        let signature = [simple_tag(&self.digest), referrers_tag(&self.digest)];
        let (first, last) = self
            .tags
            .into_iter()
            .partition(|(tag, _)| signature.contains(tag));
        let with = |tags| Self {
            name: self.name.clone(),
            digest: self.digest,
            tags,
        };
        (with(first), with(last))
    }
}

/// A package with its signatures.
#[derive(Debug, Clone)]
pub struct Export {
    /// Every blob once.
    pub blobs: Vec<ExportBlob>,
    /// The tags.
    pub refs: Refs,
}

/// Lists what the package `digest` consists of, its signatures included.
pub fn export(store: &Store, digest: &Digest) -> Result<Export> {
    let Documents {
        config_descriptor,
        wasm,
        config,
        ..
    } = load::documents(store, digest)?;
    let name = config.contract.name;
    let mut blobs = BTreeSet::from([*digest, config_descriptor.digest, wasm.digest]);
    let mut tags = Vec::new();
    if let Some(tagged) = store.tag(&name, &simple_tag(digest))? {
        add_manifest(store, &tagged, &mut blobs)?;
        tags.push((simple_tag(digest), tagged));
    }
    if let Some(tagged) = store.tag(&name, &referrers_tag(digest))? {
        let index: Index = read(store, &tagged)?;
        blobs.insert(tagged);
        for entry in &index.manifests {
            add_manifest(store, &entry.digest, &mut blobs)?;
        }
        tags.push((referrers_tag(digest), tagged));
    }
    // What is let in only through a channel needs the channel's document along with it.
    for (tag, tagged) in store
        .tags(&name)?
        .into_iter()
        .filter(|(tag, _)| is_channel_tag(tag))
    {
        add_manifest(store, &tagged, &mut blobs)?;
        tags.push((tag, tagged));
    }
    let version = config.contract.version.to_string();
    if store.tag(&name, &version)? == Some(*digest) {
        tags.push((version, *digest));
    }
    let blobs = blobs
        .into_iter()
        .map(|digest| {
            Ok(ExportBlob {
                digest,
                size: store.size(&digest)?,
                path: store.path(&digest),
            })
        })
        .collect::<Result<_>>()?;
    Ok(Export {
        blobs,
        refs: Refs {
            name,
            digest: *digest,
            tags,
        },
    })
}

fn read<T: serde::de::DeserializeOwned>(store: &Store, digest: &Digest) -> Result<T> {
    let bytes = store.read_part("a signature", digest, MANIFEST_BYTES_MAX)?;
    serde_json::from_slice(&bytes).map_err(|why| Error::layout("a signature", why.to_string()))
}

fn add_manifest(store: &Store, digest: &Digest, blobs: &mut BTreeSet<Digest>) -> Result<()> {
    let manifest: ImageManifest = read(store, digest)?;
    blobs.insert(*digest);
    blobs.extend(
        manifest
            .layers
            .iter()
            .chain([&manifest.config])
            .map(|blob| blob.digest),
    );
    Ok(())
}

/// Sets the tags of a package that has arrived.
///
/// # Errors
/// `BLOB_MISSING` if not everything has arrived, `NAME_INVALID` for a tag that is none, and `UNSUPPORTED_LAYOUT` for
/// tags that are not this package's. No tag is set then.
pub fn import_refs(store: &Store, refs: &Refs) -> Result<()> {
    let Documents { wasm, config, .. } = load::documents(store, &refs.digest)?;
    store.size(&wasm.digest)?;
    let version = config.contract.version.to_string();
    if config.contract.name != refs.name || refs.tags.len() > REFS_MAX {
        return Err(Error::layout("the references", "too many, or of another package"));
    }
    for (tag, digest) in &refs.tags {
        check_tag(tag)?;
        let signature = *tag == simple_tag(&refs.digest) || *tag == referrers_tag(&refs.digest);
        let versioned = *tag == version && *digest == refs.digest;
        if !(signature || versioned || is_channel_tag(tag)) {
            return Err(Error::layout(
                "the references",
                format!("{tag:?} is not a tag of this package"),
            ));
        }
        store.size(digest)?;
    }
    let repository = store.repository(&refs.name);
    repository.adopt_manifest(&refs.digest, None)?;
    for (_, digest) in &refs.tags {
        adopt(&repository, digest)?;
    }
    let _lock = store.lock_refs()?;
    let (last, first): (Vec<_>, Vec<_>) = refs.tags.iter().partition(|(tag, _)| *tag == version);
    first
        .into_iter()
        .chain(last)
        .try_for_each(|(tag, digest)| store.set_tag(&refs.name, tag, digest))
}

/// A manifest that has arrived, and what an index lists, become the repository's own.
fn adopt(repository: &Repository, digest: &Digest) -> Result<()> {
    let bytes = repository
        .store()
        .read_part("a signature", digest, MANIFEST_BYTES_MAX)?;
    if let Ok(index) = serde_json::from_slice::<Index>(&bytes) {
        for entry in &index.manifests {
            repository.adopt_manifest(&entry.digest, None)?;
        }
    }
    repository.adopt_manifest(digest, None)
}
