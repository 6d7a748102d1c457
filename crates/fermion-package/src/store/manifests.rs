//! Manifests: bytes with a media type that belong to a repository and name other content. Taken only when what they
//! name is there, given back byte for byte.

use std::path::PathBuf;
use std::str::FromStr;

use fermion_model::Digest;
use serde::Deserialize;

use super::change::Change;
use super::referrers::Referrer;
use super::repository::MANIFESTS;
use super::tags::check_tag;
use super::{ContentDigest, Repository, files};
use crate::canonical;
use crate::limits::{
    MANIFEST_BYTES_MAX, MANIFEST_PARTS_MAX, MEDIA_TYPE_CHARS_MAX, REFERRER_ANNOTATIONS_BYTES_MAX,
};
use crate::{Error, Result};

/// How a manifest is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ManifestReference {
    /// By what a tag points at now.
    Tag(String),
    /// By its address.
    Digest(ContentDigest),
}

impl FromStr for ManifestReference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text.contains(':') {
            return text.parse().map(Self::Digest);
        }
        check_tag(text)?;
        Ok(Self::Tag(text.to_owned()))
    }
}

/// A manifest as it was put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Its address.
    pub digest: ContentDigest,
    /// What it was declared to be.
    pub media_type: String,
    /// Its bytes, verified.
    pub bytes: Vec<u8>,
}

/// What became of a manifest that was put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutManifest {
    /// Its address.
    pub digest: ContentDigest,
    /// What it refers to: then it is listed among the referrers of that, whether or not that is there.
    pub subject: Option<ContentDigest>,
}

/// What is read of a manifest of any kind: an image's, an index, or what is still to come.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document {
    schema_version: u32,
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    pub(super) artifact_type: Option<String>,
    #[serde(default)]
    pub(super) config: Option<Part>,
    #[serde(default)]
    layers: Option<Vec<Part>>,
    #[serde(default)]
    manifests: Option<Vec<Part>>,
    #[serde(default)]
    pub(super) subject: Option<Part>,
    #[serde(default)]
    pub(super) annotations: Option<std::collections::BTreeMap<String, String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Part {
    pub(super) media_type: String,
    pub(super) digest: ContentDigest,
    pub(super) size: u64,
    /// Where it may be had instead: then it need not be here.
    #[serde(default)]
    urls: Option<Vec<String>>,
}

impl Document {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self> {
        let refuse = |why: String| Error::ManifestInvalid { why };
        let document: Self = serde_json::from_slice(bytes).map_err(|why| refuse(why.to_string()))?;
        if document.schema_version != 2 {
            return Err(refuse(format!(
                "schema version {}, only 2 is kept",
                document.schema_version
            )));
        }
        let parts = document.blobs().count() + document.children().count();
        if parts > MANIFEST_PARTS_MAX {
            return Err(refuse(format!("{parts} parts, at most {MANIFEST_PARTS_MAX}")));
        }
        Ok(document)
    }

    /// The blobs it consists of.
    pub(super) fn blobs(&self) -> impl Iterator<Item = &Part> {
        self.config.iter().chain(self.layers.iter().flatten())
    }

    /// The manifests it lists.
    pub(super) fn children(&self) -> impl Iterator<Item = &Part> {
        self.manifests.iter().flatten()
    }
}

impl Repository {
    pub(super) fn manifest_link(&self, digest: &ContentDigest) -> PathBuf {
        self.folder().join(MANIFESTS).join(digest.file_name())
    }

    /// Stores a manifest under its SHA-256 and, if one is given, points a tag at it. Everything is durable on return;
    /// the tag comes last.
    ///
    /// # Errors
    /// `SIZE_EXCEEDED`, `MANIFEST_INVALID`, `MANIFEST_BLOB_UNKNOWN` for a blob or a listed manifest that this repository
    /// does not have (a missing subject is no error), `QUOTA_EXCEEDED`.
    pub fn put_manifest(&self, media_type: &str, bytes: &[u8], tag: Option<&str>) -> Result<PutManifest> {
        let digest = canonical::digest(bytes);
        self.put_manifest_as(&digest.into(), media_type, bytes, tag)
    }

    /// The same, under the address that the caller expects.
    ///
    /// # Errors
    /// Also `DIGEST_MISMATCH` if the bytes have another.
    pub fn put_manifest_as(
        &self,
        digest: &ContentDigest,
        media_type: &str,
        bytes: &[u8],
        tag: Option<&str>,
    ) -> Result<PutManifest> {
        if let Some(tag) = tag {
            check_tag(tag)?;
        }
        if bytes.len() as u64 > MANIFEST_BYTES_MAX {
            return Err(Error::SizeExceeded {
                what: "the manifest".to_owned(),
                bytes_max: MANIFEST_BYTES_MAX,
            });
        }
        let found = digest.of_same_kind(bytes);
        if found != *digest {
            return Err(Error::DigestMismatch {
                what: "the manifest",
                digest: *digest,
                found: found.to_string(),
            });
        }
        let document = Document::parse(bytes)?;
        check_media_type(media_type, document.media_type.as_deref())?;
        let subject = document.subject.as_ref().map(|subject| subject.digest);
        let referrer = Referrer::of(&document, media_type, digest, bytes.len() as u64);
        let change = self.store().change()?;
        self.check_parts(&document)?;
        self.store().put_content(&change, digest, bytes)?;
        // Listed before it is there: whoever lists leaves out what is not.
        if let Some(subject) = &subject {
            check_annotations(&referrer)?;
            self.add_referrer(&change, subject, &referrer)?;
        }
        self.link_manifest(&change, digest, media_type, bytes.len() as u64)?;
        if let Some(tag) = tag {
            self.point_tag(&change, tag, digest)?;
        }
        Ok(PutManifest {
            digest: *digest,
            subject,
        })
    }

    /// Everything it names is here, and is made young so that no collection takes it away.
    fn check_parts(&self, document: &Document) -> Result<()> {
        let present = |part: &Part, link: PathBuf| -> Result<bool> {
            let content = self.store().content_path(&part.digest);
            if !files::touch(&link)? || !files::touch(&content)? {
                return Ok(false);
            }
            let bytes = self.store().content_bytes(&part.digest)?;
            if bytes == part.size {
                return Ok(true);
            }
            Err(Error::ManifestInvalid {
                why: format!("{} has {bytes} bytes, not {}", part.digest, part.size),
            })
        };
        let unknown = |part: &Part| Error::ManifestBlobUnknown {
            digest: part.digest,
            repository: self.name().to_string(),
        };
        for part in document.blobs() {
            let elsewhere = part.urls.as_ref().is_some_and(|urls| !urls.is_empty());
            if !present(part, self.blob_link(&part.digest))? && !elsewhere {
                return Err(unknown(part));
            }
        }
        for part in document.children() {
            if !present(part, self.manifest_link(&part.digest))? {
                return Err(unknown(part));
            }
        }
        Ok(())
    }

    fn link_manifest(
        &self,
        _: &Change<'_>,
        digest: &ContentDigest,
        media_type: &str,
        bytes: u64,
    ) -> Result<()> {
        let link = self.manifest_link(digest);
        let is_new = !link.is_file();
        if is_new {
            self.store().reserve_bytes(self.name(), bytes)?;
        }
        self.store().make_folder(&self.folder().join(MANIFESTS))?;
        let written = self
            .store()
            .write_file(&link, format!("{media_type}\n").as_bytes());
        if is_new && written.is_err() {
            self.store().release_bytes(self.name(), bytes);
        }
        written
    }

    /// The address a reference leads to, if this repository has a manifest there.
    pub fn find_manifest(&self, reference: &ManifestReference) -> Result<Option<ContentDigest>> {
        let digest = match reference {
            ManifestReference::Digest(digest) => *digest,
            ManifestReference::Tag(tag) => match self.tag(tag)? {
                Some(digest) => digest,
                None => return Ok(None),
            },
        };
        Ok(self.manifest_link(&digest).is_file().then_some(digest))
    }

    /// One of this repository's manifests, verified; none if it has no such manifest.
    ///
    /// # Errors
    /// `DIGEST_MISMATCH` for one that is corrupt.
    pub fn manifest(&self, reference: &ManifestReference) -> Result<Option<Manifest>> {
        let Some(digest) = self.find_manifest(reference)? else {
            return Ok(None);
        };
        let Some(media_type) = self.media_type(&digest)? else {
            return Ok(None);
        };
        match self
            .store()
            .read_content("the manifest", &digest, MANIFEST_BYTES_MAX)
        {
            Ok(bytes) => Ok(Some(Manifest {
                digest,
                media_type,
                bytes,
            })),
            // Removed in between.
            Err(Error::BlobMissing(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn media_type(&self, digest: &ContentDigest) -> Result<Option<String>> {
        let bytes = files::read_small(&self.manifest_link(digest), MEDIA_TYPE_CHARS_MAX as u64 + 1)?;
        let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
        Ok(text.map(|text| text.trim_end().to_owned()))
    }

    /// Removes a manifest and the tags that point at it; false if it was not there.
    pub fn remove_manifest(&self, digest: &ContentDigest) -> Result<bool> {
        let _change = self.store().change()?;
        if !self.manifest_link(digest).is_file() {
            return Ok(false);
        }
        for tag in self.tags()? {
            if super::tags::read_tag(&self.tag_path(&tag)).is_ok_and(|found| found == Some(*digest)) {
                self.drop_tag(&tag)?;
            }
        }
        self.drop_manifest(digest)?;
        Ok(true)
    }

    /// Removes the link, and then what lists it: a list with an entry too many is put right by whoever reads it.
    pub(super) fn drop_manifest(&self, digest: &ContentDigest) -> Result<()> {
        let content = self
            .store()
            .read_content("the manifest", digest, MANIFEST_BYTES_MAX);
        let link = self.manifest_link(digest);
        if files::remove(&link)? {
            files::sync_parent(&link)?;
            let bytes = content.as_ref().map_or(0, |bytes| bytes.len() as u64);
            self.store().release_bytes(self.name(), bytes);
        }
        let document = content.ok().and_then(|bytes| Document::parse(&bytes).ok());
        match document.and_then(|document| document.subject) {
            Some(subject) => self.drop_referrer(&subject.digest, digest),
            None => Ok(()),
        }
    }

    /// Reads what a manifest names, for whoever follows references.
    pub(super) fn document(&self, digest: &ContentDigest) -> Result<Document> {
        let bytes = self
            .store()
            .read_content("the manifest", digest, MANIFEST_BYTES_MAX)?;
        Document::parse(&bytes)
    }

    /// Makes a manifest that has come into the store some other way this repository's own, with its blobs. Which kind it
    /// is, it says itself.
    pub(crate) fn adopt_manifest(&self, digest: &Digest, tag: Option<&str>) -> Result<()> {
        let digest = ContentDigest::from(*digest);
        let bytes = self
            .store()
            .read_content("the manifest", &digest, MANIFEST_BYTES_MAX)?;
        let document = Document::parse(&bytes)?;
        for part in document.blobs() {
            self.adopt_blob(&part.digest)?;
        }
        let media_type = document.media_type.as_deref().unwrap_or(canonical::MANIFEST_TYPE);
        self.put_manifest_as(&digest, media_type, &bytes, tag).map(|_| ())
    }
}

/// One that could be taken for another, depending on which of the two types a reader believes, is refused.
fn check_media_type(declared: &str, written: Option<&str>) -> Result<()> {
    let refuse = |why: String| Err(Error::ManifestInvalid { why });
    let good = |b: u8| b.is_ascii_alphanumeric() || b"!#$&-^_.+/".contains(&b);
    if declared.is_empty() || declared.len() > MEDIA_TYPE_CHARS_MAX || !declared.bytes().all(good) {
        let shown: String = declared.chars().take(80).collect();
        return refuse(format!("{shown:?} is not a media type"));
    }
    match written {
        Some(written) if written != declared => {
            let written: String = written.chars().take(80).collect();
            refuse(format!(
                "it calls itself {written:?} and was sent as {declared:?}"
            ))
        }
        _ => Ok(()),
    }
}

fn check_annotations(referrer: &Referrer) -> Result<()> {
    let bytes = canonical::json(referrer).len();
    if bytes as u64 <= REFERRER_ANNOTATIONS_BYTES_MAX {
        return Ok(());
    }
    Err(Error::ManifestInvalid {
        why: format!(
            "its entry in the list of referrers has {bytes} bytes, at most {REFERRER_ANNOTATIONS_BYTES_MAX}"
        ),
    })
}
