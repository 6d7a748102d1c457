//! One repository: which content is its own. Content lies in the store once, whoever has it; what may be read through a
//! repository is what it has a link to.
//!
//! ```text
//! repositories/NAME/_blobs/ALGORITHM-HEX                           empty: the blob belongs to the repository
//! repositories/NAME/_manifests/ALGORITHM-HEX                       the manifest's media type
//! repositories/NAME/_referrers/ALGORITHM-HEX/ALGORITHM-HEX         what the second says of itself; it refers to the first
//! repositories/NAME/_tags/TAG                                      a digest
//! ```
//! No segment of a name begins with an underscore, so none of these can be taken for a repository.

use std::path::PathBuf;

use fermion_model::{Digest, PackageName};

use super::change::Change;
use super::{ContentDigest, Store, files};
use crate::{Error, Result, canonical};

pub(super) const BLOBS: &str = "_blobs";
pub(super) const MANIFESTS: &str = "_manifests";
pub(super) const REFERRERS: &str = "_referrers";
pub(super) const TAGS: &str = "_tags";

/// A repository of a store, whether or not there is anything in it. Clones share it.
#[derive(Debug, Clone)]
pub struct Repository {
    store: Store,
    name: PackageName,
}

impl Store {
    /// The repository of this name.
    pub fn repository(&self, name: &PackageName) -> Repository {
        Repository {
            store: self.clone(),
            name: name.clone(),
        }
    }

    /// The names of all repositories that have something in them, or had.
    pub fn repositories(&self) -> Result<Vec<PackageName>> {
        let mut found = Vec::new();
        let mut folders = vec![String::new()];
        while let Some(name) = folders.pop() {
            let mut is_repository = false;
            for part in files::names(&self.root().join("repositories").join(&name))? {
                if part.starts_with('_') {
                    is_repository = true;
                } else if name.is_empty() {
                    folders.push(part);
                } else {
                    folders.push(format!("{name}/{part}"));
                }
            }
            if is_repository {
                found.extend(name.parse::<PackageName>());
            }
        }
        found.sort();
        Ok(found)
    }
}

impl Repository {
    /// Its name.
    pub fn name(&self) -> &PackageName {
        &self.name
    }

    /// The store it is in.
    pub fn store(&self) -> &Store {
        &self.store
    }

    pub(super) fn folder(&self) -> PathBuf {
        self.store.root().join("repositories").join(self.name.as_str())
    }

    pub(super) fn blob_link(&self, digest: &ContentDigest) -> PathBuf {
        self.folder().join(BLOBS).join(digest.file_name())
    }

    /// True if anything was ever put here and not all of it collected.
    pub fn exists(&self) -> bool {
        [BLOBS, MANIFESTS, TAGS]
            .iter()
            .any(|part| self.folder().join(part).is_dir())
    }

    /// Stores a blob that belongs to this repository; gives its address.
    pub fn put_blob(&self, bytes: &[u8]) -> Result<Digest> {
        let digest = canonical::digest(bytes);
        let change = self.store.change()?;
        self.store.put_content(&change, &digest.into(), bytes)?;
        self.link_blob(&change, &digest.into(), bytes.len() as u64)?;
        Ok(digest)
    }

    /// Makes a blob of the repository `from` this one's too; false if it is not there. Whether the caller may read there
    /// is the caller's matter.
    pub fn mount(&self, digest: &ContentDigest, from: &Self) -> Result<bool> {
        let change = self.store.change()?;
        let path = self.store.content_path(digest);
        if !from.blob_link(digest).is_file() || !files::touch(&path)? {
            return Ok(false);
        }
        let bytes = self.store.content_bytes(digest)?;
        self.link_blob(&change, digest, bytes)?;
        Ok(true)
    }

    /// Makes a blob that is in the store this repository's own.
    ///
    /// # Errors
    /// `BLOB_MISSING` if it is not in the store.
    pub fn adopt_blob(&self, digest: &ContentDigest) -> Result<()> {
        let change = self.store.change()?;
        files::touch(&self.store.content_path(digest))?;
        let bytes = self.store.content_bytes(digest)?;
        self.link_blob(&change, digest, bytes)
    }

    pub(super) fn link_blob(&self, _: &Change<'_>, digest: &ContentDigest, bytes: u64) -> Result<()> {
        let link = self.blob_link(digest);
        let is_new = !link.is_file();
        if is_new {
            self.store.reserve_bytes(&self.name, bytes)?;
        }
        let made = self.store.mark(&link);
        if is_new && !matches!(made, Ok(true)) {
            self.store.release_bytes(&self.name, bytes);
        }
        made.map(|_| ())
    }

    /// The length of one of this repository's blobs; none if it has no such blob.
    pub fn blob_bytes(&self, digest: &ContentDigest) -> Result<Option<u64>> {
        if !self.blob_link(digest).is_file() {
            return Ok(None);
        }
        match self.store.content_bytes(digest) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(Error::BlobMissing(_) | Error::DigestMismatch { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The bytes of one of this repository's blobs, at most `bytes_max`, verified.
    ///
    /// # Errors
    /// As [`Store::read`], and `BLOB_MISSING` for what belongs to others only.
    pub fn read_blob(&self, digest: &ContentDigest, bytes_max: u64) -> Result<Vec<u8>> {
        if !self.blob_link(digest).is_file() {
            return Err(Error::BlobMissing(*digest));
        }
        self.store.read_content("blob", digest, bytes_max)
    }

    /// A blob that is about to be referred to is made young again; false if this repository does not have it.
    pub fn refresh_blob(&self, digest: &ContentDigest) -> Result<bool> {
        let _change = self.store.change()?;
        Ok(files::touch(&self.blob_link(digest))? && files::touch(&self.store.content_path(digest))?)
    }

    /// Takes a blob out of this repository; false if it was not in it. The bytes go when nobody has them any more.
    pub fn remove_blob(&self, digest: &ContentDigest) -> Result<bool> {
        let _change = self.store.change()?;
        let link = self.blob_link(digest);
        let bytes = self.store.content_bytes(digest).unwrap_or(0);
        let removed = files::remove(&link)?;
        if removed {
            files::sync_parent(&link)?;
            self.store.release_bytes(&self.name, bytes);
        }
        Ok(removed)
    }
}
