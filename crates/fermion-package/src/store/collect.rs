//! Garbage collection: mark what is needed, sweep what is not and is old enough. It runs beside pushes and pulls.
//!
//! Needed is what tags point at, what the caller has pinned, and what came after the collection began or within the
//! grace period; then everything those name, and everything that refers to those: signatures, SBOMs, and what refers to
//! them in turn. A tag under which clients keep signatures or a list of referrers (`sha256-HEX`, `sha256-HEX.sig`) goes
//! with the manifest it is about.
//!
//! Marking takes no lock. Each repository is then swept, and the content of all of them at the end, while nobody adds
//! references; what has been added since marking began is told by its age and marked first. Whoever refers to content
//! that lies here already makes it young before it relies on it, so nothing is taken from under a push.

use std::collections::BTreeSet;
use std::fs::{self, Metadata};
use std::path::Path;
use std::time::{Duration, SystemTime};

use fermion_model::{Digest, PackageName};

use super::repository::{BLOBS, MANIFESTS, REFERRERS, TAGS};
use super::tags::read_tag;
use super::{ContentDigest, Repository, Store, files};
use crate::limits::{SWEEP_BATCH, UPLOAD_IDLE_MAX};
use crate::{Error, Result};

/// What a collection must know.
#[derive(Debug, Clone)]
pub struct Collection<'a> {
    /// The time.
    pub now: SystemTime,
    /// How long what nothing needs is left alone: longer than a push takes.
    pub grace: Duration,
    /// Packages that must stay although no tag may point at them: of releases that serve, or that can be gone back to.
    pub pinned: &'a BTreeSet<Digest>,
}

/// What a collection took away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Collected {
    /// Manifests taken out of repositories.
    pub manifests: u64,
    /// Blobs taken out of repositories.
    pub links: u64,
    /// Tags of signatures whose package has gone.
    pub tags: u64,
    /// Content removed from the disk.
    pub contents: u64,
    /// Its bytes.
    pub bytes: u64,
    /// Uploads that nobody finished.
    pub uploads: u64,
}

/// What is needed, as far as it is known.
#[derive(Debug, Default)]
struct Marked {
    manifests: BTreeSet<ContentDigest>,
    blobs: BTreeSet<ContentDigest>,
    /// Something needed is damaged, so that nobody knows what it names.
    is_incomplete: bool,
}

impl Store {
    /// Removes what nothing needs. Whatever fails, nothing that is needed is removed.
    pub fn collect(&self, collection: &Collection<'_>) -> Result<Collected> {
        self.go_through(collection, false)
    }

    /// What [`Store::collect`] would remove, without removing it.
    pub fn collectable(&self, collection: &Collection<'_>) -> Result<Collected> {
        self.go_through(collection, true)
    }

    fn go_through(&self, collection: &Collection<'_>, is_trial: bool) -> Result<Collected> {
        // By the clock of the file system, which is what makes files young.
        let begun = self.temporary()?;
        let begun = begun
            .as_file()
            .metadata()
            .and_then(|metadata| metadata.modified())
            .map_err(Error::io("look at", begun.path()))?;
        let old = collection.now.checked_sub(collection.grace);
        let cutoff = old.unwrap_or(SystemTime::UNIX_EPOCH).min(begun);
        let mut collected = Collected::default();
        let mut needed: BTreeSet<ContentDigest> = BTreeSet::new();
        for name in self.repositories()? {
            let repository = self.repository(&name);
            let mut marked = Marked::default();
            repository.mark_roots(collection.pinned, cutoff, &mut marked)?;
            repository.sweep([cutoff, begun], is_trial, &mut marked, &mut collected)?;
            needed.append(&mut marked.manifests);
            needed.append(&mut marked.blobs);
        }
        needed.extend(self.pinned_contents(collection.pinned));
        self.sweep_contents(&needed, cutoff, is_trial, &mut collected)?;
        self.sweep_uploads(collection.now, is_trial, &mut collected)?;
        Ok(collected)
    }

    /// What is pinned stays whole although no repository may have a link to it.
    fn pinned_contents(&self, pinned: &BTreeSet<Digest>) -> BTreeSet<ContentDigest> {
        let mut contents = BTreeSet::new();
        for digest in pinned {
            let digest = ContentDigest::from(*digest);
            contents.insert(digest);
            let nowhere = "pinned".parse::<PackageName>().map(|name| self.repository(&name));
            let document = nowhere.ok().and_then(|nowhere| nowhere.document(&digest).ok());
            contents.extend(
                document
                    .iter()
                    .flat_map(|document| document.blobs().map(|part| part.digest)),
            );
        }
        contents
    }

    fn sweep_contents(
        &self,
        needed: &BTreeSet<ContentDigest>,
        cutoff: SystemTime,
        is_trial: bool,
        collected: &mut Collected,
    ) -> Result<()> {
        for algorithm in ["sha256", "sha512"] {
            let folder = self.root().join("blobs").join(algorithm);
            let candidates: Vec<_> = files::names(&folder)?
                .into_iter()
                .filter_map(|hex| format!("{algorithm}:{hex}").parse::<ContentDigest>().ok())
                .filter(|digest| !needed.contains(digest))
                .collect();
            for batch in candidates.chunks(SWEEP_BATCH) {
                let _sweep = self.sweep()?;
                for digest in batch {
                    let path = self.content_path(digest);
                    let Some(metadata) = older_than(&path, cutoff)? else {
                        continue;
                    };
                    if is_trial || files::remove(&path)? {
                        collected.contents += 1;
                        collected.bytes += metadata.len();
                    }
                }
            }
        }
        Ok(())
    }

    fn sweep_uploads(&self, now: SystemTime, is_trial: bool, collected: &mut Collected) -> Result<()> {
        let Some(cutoff) = now.checked_sub(UPLOAD_IDLE_MAX) else {
            return Ok(());
        };
        let folder = self.root().join("uploads");
        for name in files::names(&folder)? {
            let path = folder.join(name);
            // The lock of an upload that goes on is not touched: whoever wants it at that moment would be turned away.
            if older_than(&path, cutoff)?.is_none() {
                continue;
            }
            let Ok(file) = fs::File::open(&path) else { continue };
            let is_left = file.try_lock().is_ok() && older_than(&path, cutoff)?.is_some();
            if is_left && (is_trial || files::remove(&path)?) {
                collected.uploads += 1;
            }
        }
        Ok(())
    }
}

/// The file, if it is there and was last made young before `cutoff`.
fn older_than(path: &Path, cutoff: SystemTime) -> Result<Option<Metadata>> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => {
            let modified = metadata.modified().map_err(Error::io("look at", path))?;
            Ok((modified < cutoff).then_some(metadata))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("look at", path)(error)),
    }
}

/// The manifest that a tag is about by its name, if it is one of those under which clients keep signatures and lists.
fn subject_of(tag: &str) -> Option<ContentDigest> {
    let digest = tag.split('.').next()?;
    ContentDigest::from_file_name(digest)
}

impl Repository {
    fn digests(&self, part: &str) -> Result<Vec<ContentDigest>> {
        let names = files::names(&self.folder().join(part))?;
        Ok(names
            .iter()
            .filter_map(|name| ContentDigest::from_file_name(name))
            .collect())
    }

    /// Tags about a manifest that is here: they do not keep it, it keeps them.
    fn is_about_another(&self, tag: &str) -> bool {
        subject_of(tag).is_some_and(|subject| self.manifest_link(&subject).is_file())
    }

    fn mark_roots(&self, pinned: &BTreeSet<Digest>, cutoff: SystemTime, marked: &mut Marked) -> Result<()> {
        for tag in self.tags()? {
            let path = self.tag_path(&tag);
            let is_old = older_than(&path, cutoff)?.is_some();
            if is_old && self.is_about_another(&tag) {
                continue;
            }
            if let Some(digest) = self.tagged(&path)? {
                self.mark_manifest(digest, marked)?;
            }
        }
        for digest in self.digests(MANIFESTS)? {
            let is_pinned = digest.sha256().is_some_and(|digest| pinned.contains(digest));
            if is_pinned || older_than(&self.manifest_link(&digest), cutoff)?.is_none() {
                self.mark_manifest(digest, marked)?;
            }
        }
        Ok(())
    }

    /// What a tag points at. One that cannot be read keeps nothing, and is said.
    fn tagged(&self, path: &Path) -> Result<Option<ContentDigest>> {
        match read_tag(path) {
            Err(Error::TagDamaged { path }) => {
                tracing::warn!(path = %path.display(), "damaged tag");
                Ok(None)
            }
            tagged => tagged,
        }
    }

    /// Marks a manifest, everything it names, and everything that refers to it.
    fn mark_manifest(&self, digest: ContentDigest, marked: &mut Marked) -> Result<()> {
        let mut open = vec![digest];
        while let Some(digest) = open.pop() {
            if !marked.manifests.insert(digest) {
                continue;
            }
            match self.document(&digest) {
                Ok(document) => {
                    marked.blobs.extend(document.blobs().map(|part| part.digest));
                    open.extend(document.children().map(|part| part.digest));
                    open.extend(document.subject.iter().map(|part| part.digest));
                }
                Err(error @ Error::Io { .. }) => return Err(error),
                Err(error @ Error::DigestMismatch { .. }) => {
                    tracing::warn!(repository = %self.name(), %error, "not collected: push it again, or delete it");
                    marked.is_incomplete = true;
                }
                // What is not here, or is no manifest, names nothing.
                Err(error) => tracing::debug!(%digest, %error, "names nothing"),
            }
            open.extend(self.referring(&digest)?);
            for tag in self.tags_about(&digest)? {
                open.extend(self.tagged(&self.tag_path(&tag))?);
            }
        }
        Ok(())
    }

    /// The tags under which clients keep what is about a manifest.
    fn tags_about(&self, digest: &ContentDigest) -> Result<Vec<String>> {
        let list = super::referrers::list_tag(digest);
        let mut tags = Vec::new();
        for suffix in ["", ".sig", ".att", ".sbom"] {
            let tag = format!("{list}{suffix}");
            if self.tag_path(&tag).is_file() {
                tags.push(tag);
            }
        }
        Ok(tags)
    }

    /// Takes out of the repository what is not marked, after marking what has come since the collection began.
    fn sweep(
        &self,
        [cutoff, begun]: [SystemTime; 2],
        is_trial: bool,
        marked: &mut Marked,
        collected: &mut Collected,
    ) -> Result<()> {
        let _sweep = self.store().sweep()?;
        for tag in self.tags()? {
            let path = self.tag_path(&tag);
            if older_than(&path, begun)?.is_none()
                && let Some(digest) = self.tagged(&path)?
            {
                self.mark_manifest(digest, marked)?;
            }
        }
        for digest in self.digests(MANIFESTS)? {
            if older_than(&self.manifest_link(&digest), begun)?.is_none() {
                self.mark_manifest(digest, marked)?;
            }
        }
        if marked.is_incomplete {
            marked.manifests.extend(self.digests(MANIFESTS)?);
            marked.blobs.extend(self.digests(BLOBS)?);
            return Ok(());
        }
        for digest in self.digests(MANIFESTS)? {
            if marked.manifests.contains(&digest) {
                continue;
            }
            collected.manifests += 1;
            if !is_trial {
                // First the tags that only the manifest keeps: without it they would keep themselves.
                for tag in self.tags_about(&digest)? {
                    collected.tags += u64::from(self.drop_tag(&tag)?);
                }
                self.drop_manifest(&digest)?;
            }
        }
        for digest in self.digests(BLOBS)? {
            let link = self.blob_link(&digest);
            if marked.blobs.contains(&digest) {
                continue;
            }
            if older_than(&link, cutoff)?.is_some() {
                collected.links += u64::from(is_trial || files::remove(&link)?);
            } else {
                marked.blobs.insert(digest);
            }
        }
        if is_trial {
            return Ok(());
        }
        self.remove_empty(marked)?;
        self.store().recount(self.name(), self.held().unwrap_or_default());
        Ok(())
    }

    /// Removes folders that nothing is in any more, so that the repository is gone when its content is.
    fn remove_empty(&self, marked: &Marked) -> Result<()> {
        for name in files::names(&self.folder().join(REFERRERS))? {
            let folder = self.folder().join(REFERRERS).join(&name);
            let entries = files::names(&folder)?;
            for entry in &entries {
                let is_needed = ContentDigest::from_file_name(entry)
                    .is_some_and(|digest| marked.manifests.contains(&digest));
                if !is_needed {
                    files::remove(&folder.join(entry))?;
                }
            }
        }
        let referrers = files::names(&self.folder().join(REFERRERS))?;
        let referrers = referrers
            .iter()
            .map(|name| self.folder().join(REFERRERS).join(name));
        let parts = [REFERRERS, BLOBS, MANIFESTS, TAGS].map(|part| self.folder().join(part));
        for folder in referrers.chain(parts).chain([self.folder()]) {
            // One that is not empty stays: that is the system's own check, without a gap.
            drop(fs::remove_dir(folder));
        }
        Ok(())
    }
}
