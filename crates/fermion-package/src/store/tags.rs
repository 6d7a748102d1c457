//! Tags: names in a repository that point at a digest. The only part of the store that changes meaning over time.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use fermion_model::{Digest, PackageName, PackageReference};

use super::Store;
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
    fn tags_folder(&self, name: &PackageName) -> PathBuf {
        // No segment of a package name begins with an underscore, so the folder cannot be taken for a repository.
        self.root().join("repositories").join(name.as_str()).join("_tags")
    }

    /// What `tag` points at in the repository `name`; none if it was never set.
    pub fn tag(&self, name: &PackageName, tag: &str) -> Result<Option<Digest>> {
        check_tag(tag)?;
        read_tag(&self.tags_folder(name).join(tag))
    }

    /// Points `tag` at `digest`, durably.
    pub fn set_tag(&self, name: &PackageName, tag: &str, digest: &Digest) -> Result<()> {
        check_tag(tag)?;
        let folder = self.tags_folder(name);
        self.make_folder(&folder)?;
        self.write_file(&folder.join(tag), format!("{digest}\n").as_bytes())
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
        let folder = self.tags_folder(name);
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::io("list", &folder)(error)),
        };
        let mut tags = Vec::new();
        for entry in entries {
            let entry = entry.map_err(Error::io("list", &folder))?;
            let Ok(tag) = entry.file_name().into_string() else {
                continue;
            };
            if check_tag(&tag).is_ok()
                && let Some(digest) = read_tag(&entry.path())?
            {
                tags.push((tag, digest));
            }
        }
        tags.sort();
        Ok(tags)
    }
}

fn read_tag(path: &Path) -> Result<Option<Digest>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("open", path)(error)),
    };
    let mut text = String::new();
    let damaged = || Error::TagDamaged {
        path: path.to_owned(),
    };
    file.take(TAG_FILE_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(|_| damaged())?;
    text.trim_end().parse().map(Some).map_err(|_| damaged())
}
