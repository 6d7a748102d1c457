//! Tags: names in a repository that point at a digest. The only part of the store that changes meaning over time.

use std::fs::File;
use std::path::{Path, PathBuf};

use fermion_model::{Digest, PackageName, PackageReference};

use super::change::Change;
use super::repository::TAGS;
use super::{ContentDigest, Repository, Store, files};
use crate::limits::{TAG_CHARS_MAX, TAG_FILE_BYTES_MAX};
use crate::{Error, Result};

/// Refuses what the OCI distribution specification does not allow as a tag, and with it every way out of the folder.
pub fn check_tag(tag: &str) -> Result<()> {
    let first = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let bytes = tag.as_bytes();
    let good = bytes.first().is_some_and(|&b| first(b))
        && bytes.len() <= TAG_CHARS_MAX
        && bytes.iter().all(|&b| first(b) || matches!(b, b'.' | b'-'));
    if good {
        Ok(())
    } else {
        Err(Error::TagInvalid(tag.chars().take(80).collect()))
    }
}

impl Store {
    /// What `tag` points at in the repository `name`; none if it was never set.
    pub fn tag(&self, name: &PackageName, tag: &str) -> Result<Option<Digest>> {
        Ok(self
            .repository(name)
            .tag(tag)?
            .and_then(|digest| digest.sha256().copied()))
    }

    /// Points `tag` at `digest`, durably.
    pub fn set_tag(&self, name: &PackageName, tag: &str, digest: &Digest) -> Result<()> {
        self.repository(name).set_tag(tag, &(*digest).into())
    }

    /// Held by whoever reads what a tag points at in order to point it at something that contains the old.
    pub(crate) fn lock_refs(&self) -> Result<File> {
        self.lock("refs.lock")
    }

    /// The digest of a package by name and version.
    pub fn resolve(&self, reference: &PackageReference) -> Result<Digest> {
        let tag = reference.version.to_string();
        self.tag(&reference.name, &tag)?
            .ok_or_else(|| Error::TagMissing(reference.to_string()))
    }

    /// Every tag of a repository, by name; empty for one that is not there.
    pub fn tags(&self, name: &PackageName) -> Result<Vec<(String, Digest)>> {
        let repository = self.repository(name);
        let mut tags = Vec::new();
        for tag in repository.tags()? {
            if let Some(ContentDigest::Sha256(digest)) = repository.tag(&tag)? {
                tags.push((tag, digest));
            }
        }
        Ok(tags)
    }
}

impl Repository {
    pub(super) fn tag_path(&self, tag: &str) -> PathBuf {
        self.folder().join(TAGS).join(tag)
    }

    /// What `tag` points at; none if it was never set.
    pub fn tag(&self, tag: &str) -> Result<Option<ContentDigest>> {
        check_tag(tag)?;
        read_tag(&self.tag_path(tag))
    }

    /// Points `tag` at `digest`, durably.
    pub fn set_tag(&self, tag: &str, digest: &ContentDigest) -> Result<()> {
        check_tag(tag)?;
        self.point_tag(&self.store().change()?, tag, digest)
    }

    pub(super) fn point_tag(&self, _: &Change<'_>, tag: &str, digest: &ContentDigest) -> Result<()> {
        let path = self.tag_path(tag);
        let is_new = !path.is_file();
        if is_new {
            self.store().reserve_tag(self.name())?;
        }
        self.store().make_folder(&self.folder().join(TAGS))?;
        let written = self.store().write_file(&path, format!("{digest}\n").as_bytes());
        if is_new && written.is_err() {
            self.store().release_tag(self.name());
        }
        written
    }

    /// Removes a tag and nothing else; false if it was not there.
    pub fn remove_tag(&self, tag: &str) -> Result<bool> {
        check_tag(tag)?;
        let _change = self.store().change()?;
        self.drop_tag(tag)
    }

    pub(super) fn drop_tag(&self, tag: &str) -> Result<bool> {
        let path = self.tag_path(tag);
        let removed = files::remove(&path)?;
        if removed {
            files::sync_parent(&path)?;
            self.store().release_tag(self.name());
        }
        Ok(removed)
    }

    /// The names of all tags, sorted by their bytes; empty for a repository that is not there.
    pub fn tags(&self) -> Result<Vec<String>> {
        let mut tags = files::names(&self.folder().join(TAGS))?;
        tags.retain(|tag| check_tag(tag).is_ok());
        tags.sort_unstable();
        Ok(tags)
    }
}

pub(super) fn read_tag(path: &Path) -> Result<Option<ContentDigest>> {
    let Some(bytes) = files::read_small(path, TAG_FILE_BYTES_MAX)? else {
        return Ok(None);
    };
    std::str::from_utf8(&bytes)
        .ok()
        .and_then(|text| text.trim_end().parse().ok())
        .map(Some)
        .ok_or_else(|| Error::TagDamaged {
            path: path.to_owned(),
        })
}
