//! What refers to a manifest: signatures, SBOMs, provenance. Each repository keeps, per subject, an entry for each
//! manifest that names it, and takes in the lists that clients keep under a tag where a registry has none.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::change::Change;
use super::manifests::Document;
use super::repository::REFERRERS;
use super::{ContentDigest, ManifestReference, Repository, files};
use crate::limits::{MANIFEST_BYTES_MAX, REFERRER_ANNOTATIONS_BYTES_MAX, REFERRERS_KEPT_MAX};
use crate::{Error, Result, canonical};

/// Hex digits of a digest that fit into the tag of a list (OCI distribution specification, "referrers tag schema").
const TAG_HEX_MAX: usize = 64;

/// One manifest that refers to another, as the list of referrers describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Referrer {
    /// The notes of the manifest.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// What kind of artifact it is: what it says, or else the type of its config.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// Its address.
    pub digest: ContentDigest,
    /// What the manifest itself is.
    pub media_type: String,
    /// Bytes of the manifest.
    pub size: u64,
}

impl Referrer {
    pub(super) fn of(document: &Document, media_type: &str, digest: &ContentDigest, size: u64) -> Self {
        let declared = document.artifact_type.clone().filter(|kind| !kind.is_empty());
        let config = document.config.as_ref().map(|config| config.media_type.clone());
        Self {
            annotations: document.annotations.clone().unwrap_or_default(),
            artifact_type: declared.or(config),
            digest: *digest,
            media_type: media_type.to_owned(),
            size,
        }
    }
}

/// The tag under which clients keep the list of what refers to `subject`.
pub(super) fn list_tag(subject: &ContentDigest) -> String {
    let hex = subject.hex();
    format!("{}-{}", subject.algorithm(), &hex[..hex.len().min(TAG_HEX_MAX)])
}

impl Repository {
    pub(super) fn referrers_folder(&self, subject: &ContentDigest) -> PathBuf {
        self.folder().join(REFERRERS).join(subject.file_name())
    }

    pub(super) fn add_referrer(
        &self,
        _: &Change<'_>,
        subject: &ContentDigest,
        referrer: &Referrer,
    ) -> Result<()> {
        let folder = self.referrers_folder(subject);
        let path = folder.join(referrer.digest.file_name());
        if !path.is_file() && files::names(&folder)?.len() >= REFERRERS_KEPT_MAX {
            return Err(Error::QuotaExceeded {
                what: format!("what refers to {subject}"),
                limit: format!("{REFERRERS_KEPT_MAX} manifests"),
            });
        }
        self.store().make_folder(&folder)?;
        self.store().write_file(&path, &canonical::json(referrer))
    }

    pub(super) fn drop_referrer(&self, subject: &ContentDigest, referrer: &ContentDigest) -> Result<()> {
        let path = self.referrers_folder(subject).join(referrer.file_name());
        files::remove(&path)?;
        Ok(())
    }

    /// The digests of what refers to `subject`, as far as it is here.
    pub(super) fn referring(&self, subject: &ContentDigest) -> Result<Vec<ContentDigest>> {
        let names = files::names(&self.referrers_folder(subject))?;
        let mut digests: Vec<_> = names
            .iter()
            .filter_map(|name| ContentDigest::from_file_name(name))
            .filter(|digest| self.manifest_link(digest).is_file())
            .collect();
        digests.sort();
        Ok(digests)
    }

    /// What refers to `subject`, sorted by digest, whether or not `subject` itself is here. Entries of a list that a
    /// client keeps under a tag are among it, as far as the manifests are here and do refer to `subject`.
    pub fn referrers(&self, subject: &ContentDigest) -> Result<Vec<Referrer>> {
        let mut found = BTreeMap::new();
        for digest in self.referring(subject)? {
            let path = self.referrers_folder(subject).join(digest.file_name());
            let entry = files::read_small(&path, REFERRER_ANNOTATIONS_BYTES_MAX)?
                .and_then(|bytes| serde_json::from_slice::<Referrer>(&bytes).ok())
                .filter(|referrer| referrer.digest == digest);
            // A damaged entry is made anew from the manifest itself.
            let entry = match entry {
                Some(entry) => Some(entry),
                None => self.referrer(subject, &digest)?,
            };
            found.extend(entry.map(|entry| (digest, entry)));
        }
        for digest in self.listed_under_tag(subject)? {
            if !found.contains_key(&digest)
                && let Some(entry) = self.referrer(subject, &digest)?
            {
                found.insert(digest, entry);
            }
        }
        Ok(found.into_values().collect())
    }

    /// What the manifest `digest` says of itself, if it is here, whole, and does refer to `subject`.
    fn referrer(&self, subject: &ContentDigest, digest: &ContentDigest) -> Result<Option<Referrer>> {
        let manifest = match self.manifest(&ManifestReference::Digest(*digest)) {
            Ok(Some(manifest)) => manifest,
            Ok(None) | Err(Error::DigestMismatch { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let Ok(document) = Document::parse(&manifest.bytes) else {
            return Ok(None);
        };
        let refers = document
            .subject
            .as_ref()
            .is_some_and(|named| named.digest == *subject);
        let size = manifest.bytes.len() as u64;
        Ok(refers.then(|| Referrer::of(&document, &manifest.media_type, digest, size)))
    }

    fn listed_under_tag(&self, subject: &ContentDigest) -> Result<Vec<ContentDigest>> {
        let list = match self.tag(&list_tag(subject)) {
            Ok(Some(list)) => list,
            Ok(None) | Err(Error::TagDamaged { .. }) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let bytes = match self
            .store()
            .read_content("the list of referrers", &list, MANIFEST_BYTES_MAX)
        {
            Ok(bytes) => bytes,
            Err(error @ Error::Io { .. }) => return Err(error),
            Err(_) => return Ok(Vec::new()),
        };
        let Ok(document) = Document::parse(&bytes) else {
            return Ok(Vec::new());
        };
        Ok(document
            .children()
            .take(REFERRERS_KEPT_MAX)
            .map(|part| part.digest)
            .collect())
    }
}
