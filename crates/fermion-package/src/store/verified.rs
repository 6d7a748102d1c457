//! Blobs on their way out. A blob is hashed before its first byte leaves, and then not again as long as its file is the
//! one that was hashed: the same inode with the same length and the same times. The inode's change time cannot be set
//! back by whoever writes to a file, so tampering is noticed by the next reader, and hashing costs a blob's first reader
//! only. Hashing on the way out instead would have sent the bad bytes before finding them, and says nothing about ranges.

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io::{Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::sync::PoisonError;
use std::time::{Duration, SystemTime};

use super::digest::hash_file;
use super::{ContentDigest, ManifestReference, Repository, Store};
use crate::limits::VERIFIED_BLOBS_MAX;
use crate::{Error, Result};

/// How old a file must be before it is remembered as verified: two changes within one tick of the file system's clock
/// have the same time.
const SETTLED_AFTER: Duration = Duration::from_secs(1);

/// A blob that has been verified and is open at its beginning.
#[derive(Debug)]
pub struct OpenBlob {
    /// The content.
    pub file: File,
    /// Its length.
    pub bytes: u64,
}

/// Which files have been hashed.
#[derive(Debug, Default)]
pub(super) struct Verified {
    stamps: HashMap<ContentDigest, Stamp>,
}

/// What changes when a file does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    fn is_settled(&self, now: SystemTime) -> bool {
        let now = now
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default()
            .saturating_sub(SETTLED_AFTER);
        u64::try_from(self.changed.0).is_ok_and(|changed| changed < now.as_secs())
    }
}

impl Repository {
    /// Opens one of this repository's blobs, verified; none if it has no such blob.
    ///
    /// # Errors
    /// `DIGEST_MISMATCH` for a corrupt one, which is then in quarantine.
    pub fn open_blob(&self, digest: &ContentDigest, now: SystemTime) -> Result<Option<OpenBlob>> {
        if !self.blob_link(digest).is_file() {
            return Ok(None);
        }
        self.store().open_content(digest, now)
    }

    /// Opens one of this repository's manifests, verified, with its address and media type; none if it has no such
    /// manifest.
    ///
    /// # Errors
    /// As `open_blob`.
    pub fn open_manifest(
        &self,
        reference: &ManifestReference,
        now: SystemTime,
    ) -> Result<Option<(ContentDigest, String, OpenBlob)>> {
        let Some(digest) = self.find_manifest(reference)? else {
            return Ok(None);
        };
        let Some(media_type) = self.media_type(&digest)? else {
            return Ok(None);
        };
        let open = self.store().open_content(&digest, now)?;
        Ok(open.map(|open| (digest, media_type, open)))
    }
}

impl Store {
    fn open_content(&self, digest: &ContentDigest, now: SystemTime) -> Result<Option<OpenBlob>> {
        let path = self.content_path(digest);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return match self.missing("blob", digest) {
                    Error::BlobMissing(_) => Ok(None),
                    error => Err(error),
                };
            }
            Err(error) => return Err(Error::io("open", &path)(error)),
        };
        let metadata = file.metadata().map_err(Error::io("look at", &path))?;
        let stamp = Stamp::of(&metadata);
        let lock = || self.inner.verified.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = lock().stamps.get(digest) == Some(&stamp);
        if !is_known {
            let found = hash_file(&mut file, digest).map_err(Error::io("read", &path))?;
            if found != *digest {
                return Err(self.corrupt("blob", digest, &found));
            }
            file.seek(SeekFrom::Start(0)).map_err(Error::io("read", &path))?;
            if stamp.is_settled(now) {
                let mut verified = lock();
                if verified.stamps.len() >= VERIFIED_BLOBS_MAX {
                    verified.stamps.clear();
                }
                verified.stamps.insert(*digest, stamp);
            }
        }
        Ok(Some(OpenBlob {
            file,
            bytes: metadata.len(),
        }))
    }
}
