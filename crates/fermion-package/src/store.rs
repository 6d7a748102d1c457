//! The content-addressed store on disk: blobs under their digest, tags as small files. Every file is written under a
//! temporary name, synced, and renamed into place, so a crash leaves the old file or the new one and never a half. What
//! is read is hashed on the way; what does not match its address is moved aside and never handed out.
//!
//! ```text
//! blobs/sha256/HEX              content
//! repositories/NAME/_tags/TAG   a digest and a line feed
//! quarantine/HEX                content that did not match
//! tmp/                          what is being written; cleaned when the store is opened
//! lock, refs.lock               held for a moment by whoever replaces a file, or a list of signatures
//! ```
//! Several threads and processes may use one store at once.

mod blobs;
mod files;
mod tags;

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fermion_model::Digest;

use crate::canonical::{Descriptor, digest};
use crate::{Error, Result};

pub use blobs::BlobWriter;
pub use tags::check_tag;

/// A store; clones share it.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    /// Effects that still succeed, in tests that cut the power.
    #[cfg(test)]
    effects_left: std::sync::atomic::AtomicUsize,
}

impl Store {
    /// Opens the store at `root`, makes it if it is not there, and removes what an earlier crash left half-written.
    pub fn open(root: &Path) -> Result<Self> {
        let inner = Inner {
            root: root.to_owned(),
            #[cfg(test)]
            effects_left: std::sync::atomic::AtomicUsize::new(usize::MAX),
        };
        let store = Self {
            inner: Arc::new(inner),
        };
        for folder in ["blobs/sha256", "repositories", "quarantine", "tmp"] {
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
        self.inner.root.join("blobs/sha256").join(digest.hex())
    }

    fn quarantine_path(&self, digest: &Digest) -> PathBuf {
        self.inner.root.join("quarantine").join(digest.hex())
    }

    /// True if there is a blob of this name; it may still turn out to be corrupt.
    pub fn has(&self, digest: &Digest) -> bool {
        self.path(digest).is_file()
    }

    /// The blob's length in bytes.
    pub fn size(&self, digest: &Digest) -> Result<u64> {
        let path = self.path(digest);
        match fs::metadata(&path) {
            Ok(metadata) => Ok(metadata.len()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(self.missing("blob", digest)),
            Err(error) => Err(Error::io("look at", &path)(error)),
        }
    }

    /// Stores `bytes` durably and gives their address. A blob that is there and intact is left alone; one that is
    /// corrupt is replaced.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest> {
        let digest = digest(bytes);
        if self.size(&digest).is_ok_and(|size| size == bytes.len() as u64)
            && self
                .read_raw("blob", &digest, bytes.len() as u64)
                .is_ok_and(|stored| stored == bytes)
        {
            return Ok(digest);
        }
        self.write_file(&self.path(&digest), bytes)?;
        Ok(digest)
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
        let bytes = self.read_raw(what, digest, bytes_max)?;
        let found = crate::canonical::digest(&bytes);
        if found == *digest {
            return Ok(bytes);
        }
        self.quarantine(digest)?;
        tracing::warn!(%digest, part = what, "corrupt blob moved to quarantine");
        Err(Error::DigestMismatch {
            what,
            digest: *digest,
            found: found.to_string(),
        })
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

    fn read_raw(&self, what: &'static str, digest: &Digest, bytes_max: u64) -> Result<Vec<u8>> {
        let path = self.path(digest);
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
    fn missing(&self, what: &'static str, digest: &Digest) -> Error {
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
    fn quarantine(&self, digest: &Digest) -> Result<()> {
        let _lock = self.lock("lock")?;
        let path = self.path(digest);
        let intact = files::hash_file(&path).is_ok_and(|found| found == *digest);
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
