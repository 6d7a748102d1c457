//! The content-addressed store on disk: blobs under their digest, tags as small files. Every file is written under a
//! temporary name, synced, and renamed into place, so a crash leaves the old file or the new one and never a half. What
//! is read is hashed on the way; what does not match its address is moved aside and never handed out.
//!
//! ```text
//! blobs/ALGORITHM/HEX            content
//! repositories/NAME/             what belongs to one repository: see `repository`
//! uploads/ID.NAME-HASH           blobs that arrive in several requests: see `uploads`
//! quarantine/HEX                 content that did not match
//! tmp/                           what is being written; cleaned when the store is opened
//! lock, refs.lock, collect.lock  held for a moment by whoever replaces a file, a list of signatures, or collects
//! ```
//! Several threads and processes may use one store at once. Opening it looks at nothing but `tmp/`.

mod blobs;
mod change;
mod collect;
mod digest;
mod files;
mod manifests;
mod quotas;
mod referrers;
mod repository;
mod tags;
mod uploads;
mod verified;

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock};

use fermion_model::Digest;

use crate::canonical::{self, Descriptor};
use crate::{Error, Result};
use change::Change;
use quotas::Usage;
use verified::Verified;

pub use blobs::BlobWriter;
pub use collect::{Collected, Collection};
pub use digest::ContentDigest;
pub use manifests::{Manifest, ManifestReference, PutManifest};
pub use quotas::Quotas;
pub use referrers::Referrer;
pub use repository::Repository;
pub use tags::check_tag;
pub use uploads::{Upload, UploadId};
pub use verified::OpenBlob;

/// A store; clones share it.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    quotas: Quotas,
    /// What is used of the quotas; none until somebody needs to know.
    usage: Mutex<Option<Usage>>,
    /// Written by whoever collects garbage, read by whoever adds a reference.
    changes: RwLock<()>,
    verified: Mutex<Verified>,
    /// Effects that still succeed, in tests that cut the power.
    #[cfg(test)]
    effects_left: std::sync::atomic::AtomicUsize,
}

impl Store {
    /// Opens the store at `root`, makes it if it is not there, and removes what an earlier crash left half-written.
    pub fn open(root: &Path) -> Result<Self> {
        Self::open_with(root, Quotas::default())
    }

    /// The same, with bounds on what repositories may hold.
    pub fn open_with(root: &Path, quotas: Quotas) -> Result<Self> {
        let inner = Inner {
            root: root.to_owned(),
            quotas,
            usage: Mutex::default(),
            changes: RwLock::default(),
            verified: Mutex::default(),
            #[cfg(test)]
            effects_left: std::sync::atomic::AtomicUsize::new(usize::MAX),
        };
        let store = Self {
            inner: Arc::new(inner),
        };
        for folder in [
            "blobs/sha256",
            "blobs/sha512",
            "repositories",
            "uploads",
            "quarantine",
            "tmp",
        ] {
            store.make_folder(&root.join(folder))?;
        }
        store.clean()?;
        Ok(store)
    }

    /// Lets `effects` more effects on the disk succeed and then none.
    #[cfg(test)]
    pub(crate) fn cut_power_after(&self, effects: usize) {
        self.inner
            .effects_left
            .store(effects, std::sync::atomic::Ordering::SeqCst);
    }

    /// The folder this store lives in.
    pub fn root(&self) -> &Path {
        &self.inner.root
    }

    /// Where the blob lies, or would. Reading the file directly skips verification.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.content_path(&(*digest).into())
    }

    pub(crate) fn content_path(&self, digest: &ContentDigest) -> PathBuf {
        self.inner
            .root
            .join("blobs")
            .join(digest.algorithm())
            .join(digest.hex())
    }

    fn quarantine_path(&self, digest: &ContentDigest) -> PathBuf {
        self.inner.root.join("quarantine").join(digest.hex())
    }

    /// True if there is a blob of this name; it may still turn out to be corrupt.
    pub fn has(&self, digest: &Digest) -> bool {
        self.path(digest).is_file()
    }

    /// The blob's length in bytes.
    pub fn size(&self, digest: &Digest) -> Result<u64> {
        self.content_bytes(&(*digest).into())
    }

    pub(crate) fn content_bytes(&self, digest: &ContentDigest) -> Result<u64> {
        let path = self.content_path(digest);
        match fs::metadata(&path) {
            Ok(metadata) => Ok(metadata.len()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(self.missing("blob", digest)),
            Err(error) => Err(Error::io("look at", &path)(error)),
        }
    }

    /// Stores `bytes` durably and gives their address. They belong to no repository yet: nobody can pull them, and they
    /// are collected unless something comes to refer to them. A blob that is there and intact is left alone; one that
    /// is corrupt is replaced.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest> {
        let digest = canonical::digest(bytes);
        self.put_content(&self.change()?, &digest.into(), bytes)?;
        Ok(digest)
    }

    /// Stores `bytes`, of which `digest` is the address.
    fn put_content(&self, _: &Change<'_>, digest: &ContentDigest, bytes: &[u8]) -> Result<()> {
        let path = self.content_path(digest);
        let intact = self
            .content_bytes(digest)
            .is_ok_and(|size| size == bytes.len() as u64)
            && self
                .read_raw("blob", digest, bytes.len() as u64)
                .is_ok_and(|stored| stored == bytes);
        // Made young again, so that a collection that has begun leaves it to whoever is about to refer to it.
        if intact && files::touch(&path)? {
            return Ok(());
        }
        self.write_file(&path, bytes)
    }

    /// The blob's bytes, at most `bytes_max`, verified.
    ///
    /// # Errors
    /// `SIZE_EXCEEDED` before more than `bytes_max` have been read; `DIGEST_MISMATCH` after moving a corrupt blob to
    /// quarantine, and again for as long as it has not been replaced; `BLOB_MISSING`.
    pub fn read(&self, digest: &Digest, bytes_max: u64) -> Result<Vec<u8>> {
        self.read_part("blob", digest, bytes_max)
    }

    /// As `read`, naming the part of the package in refusals.
    pub(crate) fn read_part(&self, what: &'static str, digest: &Digest, bytes_max: u64) -> Result<Vec<u8>> {
        self.read_content(what, &(*digest).into(), bytes_max)
    }

    pub(crate) fn read_content(
        &self,
        what: &'static str,
        digest: &ContentDigest,
        bytes_max: u64,
    ) -> Result<Vec<u8>> {
        let bytes = self.read_raw(what, digest, bytes_max)?;
        let found = digest.of_same_kind(&bytes);
        if found == *digest {
            return Ok(bytes);
        }
        Err(self.corrupt(what, digest, &found))
    }

    /// Moves a blob that holds other bytes aside and says so.
    fn corrupt(&self, what: &'static str, digest: &ContentDigest, found: &ContentDigest) -> Error {
        if let Err(error) = self.quarantine(digest) {
            return error;
        }
        tracing::warn!(%digest, part = what, "corrupt blob moved to quarantine");
        Error::DigestMismatch {
            what,
            digest: *digest,
            found: found.to_string(),
        }
    }

    /// The blob that `descriptor` describes, verified in digest and size; at most `bytes_max`.
    pub(crate) fn read_described(
        &self,
        what: &'static str,
        descriptor: &Descriptor,
        bytes_max: u64,
    ) -> Result<Vec<u8>> {
        if descriptor.size > bytes_max {
            return Err(Error::SizeExceeded {
                what: what.to_owned(),
                bytes_max,
            });
        }
        let bytes = self.read_part(what, &descriptor.digest, descriptor.size)?;
        if bytes.len() as u64 != descriptor.size {
            return Err(Error::layout(
                what,
                format!("{} bytes, described as {}", bytes.len(), descriptor.size),
            ));
        }
        Ok(bytes)
    }

    fn read_raw(&self, what: &'static str, digest: &ContentDigest, bytes_max: u64) -> Result<Vec<u8>> {
        let path = self.content_path(digest);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(self.missing(what, digest));
            }
            Err(error) => return Err(Error::io("open", &path)(error)),
        };
        let too_large = || Error::SizeExceeded {
            what: format!("{what} {digest}"),
            bytes_max,
        };
        let length = file.metadata().map_err(Error::io("look at", &path))?.len();
        if length > bytes_max {
            return Err(too_large());
        }
        let mut bytes = Vec::with_capacity(usize::try_from(length).map_err(|_| too_large())?);
        file.take(bytes_max.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(Error::io("read", &path))?;
        if bytes.len() as u64 > bytes_max {
            Err(too_large())
        } else {
            Ok(bytes)
        }
    }

    /// The error for a blob that is not there: gone, or in quarantine since somebody found it corrupt.
    fn missing(&self, what: &'static str, digest: &ContentDigest) -> Error {
        let aside = self.quarantine_path(digest);
        if aside.is_file() {
            let found = format!("the corrupt file is at {}", aside.display());
            return Error::DigestMismatch {
                what,
                digest: *digest,
                found,
            };
        }
        Error::BlobMissing(*digest)
    }

    /// Moves a blob aside, unless it has been replaced by an intact one in the meantime.
    fn quarantine(&self, digest: &ContentDigest) -> Result<()> {
        let _lock = self.lock("lock")?;
        let path = self.content_path(digest);
        let intact = File::open(&path)
            .and_then(|mut file| digest::hash_file(&mut file, digest))
            .is_ok_and(|found| found == *digest);
        if intact || !path.exists() {
            return Ok(());
        }
        let aside = self.quarantine_path(digest);
        fs::rename(&path, &aside).map_err(Error::io("move to quarantine", &path))?;
        files::sync_parent(&path)?;
        files::sync_parent(&aside)
    }
}

#[cfg(test)]
mod tests;
