//! What refers to a package: manifests with a subject, listed in the index at the tag `sha256-HEX`, the place that needs
//! no help from a registry (OCI distribution specification, "referrers tag schema"). Adds to the list and keeps what is
//! there, as long as it is whole.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use fermion_model::{Digest, PackageName};
use serde_json::{Value, json};

use crate::canonical::{self, Descriptor, INDEX_TYPE, ImageManifest, Index, MANIFEST_TYPE};
use crate::envelope::Envelope;
use crate::limits::{ATTACHED_BYTES_MAX, MANIFEST_BYTES_MAX, SIGNATURES_MAX};
use crate::{Error, PrivateKey, Result, Store};

pub(crate) const BUNDLE_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
pub(crate) const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
pub(crate) const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";

/// Where the list of what refers to a package is found.
pub(crate) fn referrers_tag(digest: &Digest) -> String {
    format!("sha256-{}", digest.hex())
}

/// Something to attach to a package: one layer, and what is said of it.
pub(crate) struct Attachment<'a> {
    /// Also the layer's media type.
    pub(crate) artifact_type: &'a str,
    pub(crate) payload: &'a [u8],
    pub(crate) annotations: BTreeMap<String, String>,
}

/// A statement about the package, signed and written as a sigstore bundle.
pub(crate) fn bundle(digest: &Digest, predicate_type: &str, predicate: &Value, key: &PrivateKey) -> Vec<u8> {
    let statement = canonical::json(&json!({
        "_type": STATEMENT_TYPE,
        "predicate": predicate,
        "predicateType": predicate_type,
        "subject": [{ "digest": { "sha256": digest.hex() } }],
    }));
    canonical::json(&json!({
        "dsseEnvelope": Envelope::signed_nameless(PAYLOAD_TYPE, &statement, key),
        "mediaType": BUNDLE_TYPE,
        "verificationMaterial": { "publicKey": { "hint": BASE64.encode(key.public().id().as_bytes()) } },
    }))
}

/// What the manifest of a bundle says of it, so that nobody has to open it to know.
pub(crate) fn bundle_annotations(predicate_type: &str) -> BTreeMap<String, String> {
    [
        ("dev.sigstore.bundle.content", "dsse-envelope"),
        ("dev.sigstore.bundle.predicateType", predicate_type),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}

pub(crate) fn put_blob(
    store: &Store,
    name: &PackageName,
    media_type: &str,
    bytes: &[u8],
) -> Result<Descriptor> {
    store.repository(name).put_blob(bytes)?;
    Ok(Descriptor::of(media_type, bytes))
}

pub(crate) fn put_manifest(
    store: &Store,
    name: &PackageName,
    media_type: &str,
    value: &impl serde::Serialize,
) -> Result<Descriptor> {
    let bytes = canonical::json(value);
    store.repository(name).put_manifest(media_type, &bytes, None)?;
    Ok(Descriptor::of(media_type, &bytes))
}

/// Writes the manifest of an attachment, if there is room for one more; it is not in the index yet. The caller holds the
/// lock on references.
pub(crate) fn put_attachment(
    store: &Store,
    name: &PackageName,
    digest: &Digest,
    attachment: Attachment<'_>,
) -> Result<Descriptor> {
    // The registry lists it as soon as it is written: one too many would make the package unreadable.
    check_count(
        store
            .repository(name)
            .referrers(&(*digest).into())?
            .len()
            .saturating_add(1),
    )?;
    let subject = store.read(digest, MANIFEST_BYTES_MAX)?;
    let layer = put_blob(store, name, attachment.artifact_type, attachment.payload)?;
    let empty = put_blob(store, name, EMPTY_TYPE, b"{}")?;
    let mut manifest = ImageManifest::new(empty, vec![layer]);
    manifest.artifact_type = Some(attachment.artifact_type.to_owned());
    manifest.annotations = attachment.annotations;
    manifest.subject = Some(Descriptor::of(MANIFEST_TYPE, &subject));
    let mut descriptor = put_manifest(store, name, MANIFEST_TYPE, &manifest)?;
    descriptor.annotations = manifest.annotations;
    descriptor.artifact_type = manifest.artifact_type;
    Ok(descriptor)
}

/// Lists an attachment beside those that are there already, of whatever kind; gives the new index. The caller holds the
/// lock on references and sets the tag.
pub(crate) fn index_with(
    store: &Store,
    name: &PackageName,
    digest: &Digest,
    entry: Descriptor,
) -> Result<Digest> {
    let mut manifests = vec![entry];
    if let Some(old) = read_tagged::<Index>(store, name, &referrers_tag(digest))? {
        let whole = old.manifests.into_iter();
        manifests.extend(whole.filter(|manifest| is_whole(store, manifest)));
    }
    manifests.sort_by_key(|manifest| manifest.digest);
    manifests.dedup_by_key(|manifest| manifest.digest);
    check_count(manifests.len())?;
    let index = Index {
        manifests,
        media_type: INDEX_TYPE.to_owned(),
        schema_version: 2,
    };
    Ok(put_manifest(store, name, INDEX_TYPE, &index)?.digest)
}

/// Attaches something to the package `digest`: one layer, listed among what refers to it. Gives the digest of the
/// attachment's manifest. Doing it twice changes nothing.
///
/// # Errors
/// `SIZE_EXCEEDED`, `BLOB_MISSING` if the package is not there, `UNSUPPORTED_LAYOUT` if too much is attached already.
pub fn attach(
    store: &Store,
    name: &PackageName,
    digest: &Digest,
    artifact_type: &str,
    payload: &[u8],
    annotations: BTreeMap<String, String>,
) -> Result<Digest> {
    if payload.len() as u64 > ATTACHED_BYTES_MAX {
        return Err(Error::SizeExceeded {
            what: format!("the attachment {artifact_type}"),
            bytes_max: ATTACHED_BYTES_MAX,
        });
    }
    let attachment = Attachment {
        artifact_type,
        payload,
        annotations,
    };
    let _lock = store.lock_refs()?;
    let entry = put_attachment(store, name, digest, attachment)?;
    let attached = entry.digest;
    let index = index_with(store, name, digest, entry)?;
    store.set_tag(name, &referrers_tag(digest), &index)?;
    Ok(attached)
}

/// Everything that refers to a package: what the index under its tag lists, and what clients of the registry have pushed
/// with the package as its subject. The index must be whole.
pub(crate) fn listed(store: &Store, name: &PackageName, digest: &Digest) -> Result<Vec<Descriptor>> {
    let what = "the list of signatures";
    let mut entries = match store.tag(name, &referrers_tag(digest))? {
        None => Vec::new(),
        Some(tagged) => {
            let bytes = store.read_part(what, &tagged, MANIFEST_BYTES_MAX)?;
            let index: Index =
                serde_json::from_slice(&bytes).map_err(|why| Error::layout(what, why.to_string()))?;
            index.manifests
        }
    };
    for referrer in store.repository(name).referrers(&(*digest).into())? {
        let Some(digest) = referrer.digest.sha256().copied() else {
            continue;
        };
        if entries.iter().all(|entry| entry.digest != digest) {
            entries.push(Descriptor {
                annotations: referrer.annotations,
                artifact_type: referrer.artifact_type,
                digest,
                media_type: referrer.media_type,
                size: referrer.size,
            });
        }
    }
    check_count(entries.len())?;
    Ok(entries)
}

pub(crate) fn check_count(count: usize) -> Result<()> {
    if count <= SIGNATURES_MAX {
        return Ok(());
    }
    Err(Error::layout(
        "the signatures",
        format!("{count} of them, the ceiling is {SIGNATURES_MAX}"),
    ))
}

/// What a tag points at, if it is whole; what is damaged is replaced by the caller and not carried on.
pub(crate) fn read_tagged<T: serde::de::DeserializeOwned>(
    store: &Store,
    name: &PackageName,
    tag: &str,
) -> Result<Option<T>> {
    let digest = match store.tag(name, tag) {
        Ok(Some(digest)) => digest,
        Ok(None) | Err(Error::TagDamaged { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    match store.read(&digest, MANIFEST_BYTES_MAX) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(error @ Error::Io { .. }) => Err(error),
        Err(_) => Ok(None),
    }
}

/// Whether an attached blob is there and is what it is said to be.
pub(crate) fn is_intact(store: &Store, blob: &Descriptor) -> bool {
    store
        .read_described("an attachment", blob, ATTACHED_BYTES_MAX)
        .is_ok()
}

fn is_whole(store: &Store, descriptor: &Descriptor) -> bool {
    let Ok(bytes) = store.read_described("an attachment", descriptor, MANIFEST_BYTES_MAX) else {
        return false;
    };
    let Ok(manifest) = serde_json::from_slice::<ImageManifest>(&bytes) else {
        return false;
    };
    manifest
        .layers
        .iter()
        .chain([&manifest.config])
        .all(|blob| is_intact(store, blob))
}
