//! Signing, in both forms that `cosign verify` reads: a simplesigning manifest at the tag `sha256-HEX.sig`, and a
//! sigstore bundle that refers to the package, listed in the index at the tag `sha256-HEX`. Deterministic, so signing
//! twice changes nothing. Blobs first, tags last: a crash leaves an unsigned package and never a half-signed one.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use fermion_model::{Digest, PackageName};
use serde_json::json;

use crate::canonical::{self, Descriptor, INDEX_TYPE, ImageManifest, Index, MANIFEST_TYPE};
use crate::limits::{MANIFEST_BYTES_MAX, SIGNATURE_BYTES_MAX, SIGNATURES_MAX};
use crate::{Error, PrivateKey, Result, Store};

pub(crate) const SIMPLE_TYPE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
pub(crate) const SIMPLE_SIGNATURE: &str = "dev.cosignproject.cosign/signature";
pub(crate) const SIMPLE_KIND: &str = "cosign container image signature";
pub(crate) const BUNDLE_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
pub(crate) const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
pub(crate) const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// The only predicate that makes a statement a signature.
pub(crate) const PREDICATE: &str = "https://sigstore.dev/cosign/sign/v1";
const IMAGE_CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";
/// The zero of Go's clock, as cosign writes it: time does not enter the digest.
const CREATED: &str = "0001-01-01T00:00:00Z";

/// Where the simplesigning manifest of a package is found.
pub(crate) fn simple_tag(digest: &Digest) -> String {
    format!("sha256-{}.sig", digest.hex())
}

/// Where the list of what refers to a package is found.
pub(crate) fn referrers_tag(digest: &Digest) -> String {
    format!("sha256-{}", digest.hex())
}

/// The bytes that a DSSE signature is over (DSSE protocol, "pre-authentication encoding").
pub(crate) fn pre_authentication(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}

/// Signs the package `digest` of the repository `name`. Intact signatures by other keys stay.
pub fn sign(store: &Store, name: &PackageName, digest: &Digest, key: &PrivateKey) -> Result<()> {
    let bytes = store.read(digest, MANIFEST_BYTES_MAX)?;
    let simple = simple_layer(store, name, digest, key)?;
    let bundle = bundle_manifest(store, digest, bytes.len() as u64, key)?;
    let _lock = store.lock_refs()?;
    let simple = simple_manifest(store, name, digest, simple)?;
    let index = referrers_index(store, name, digest, bundle)?;
    store.set_tag(name, &simple_tag(digest), &simple)?;
    store.set_tag(name, &referrers_tag(digest), &index)
}

fn put(store: &Store, media_type: &str, value: &impl serde::Serialize) -> Result<Descriptor> {
    let bytes = canonical::json(value);
    store.put(&bytes)?;
    Ok(Descriptor::of(media_type, &bytes))
}

fn simple_layer(store: &Store, name: &PackageName, digest: &Digest, key: &PrivateKey) -> Result<Descriptor> {
    let payload = json!({
        "critical": {
            "identity": { "docker-reference": name },
            "image": { "docker-manifest-digest": digest },
            "type": SIMPLE_KIND,
        },
        "optional": null,
    });
    let signature = BASE64.encode(key.sign(&canonical::json(&payload)));
    Ok(put(store, SIMPLE_TYPE, &payload)?.note(SIMPLE_SIGNATURE, &signature))
}

/// The manifest with the new layer beside those that are there already.
fn simple_manifest(store: &Store, name: &PackageName, digest: &Digest, layer: Descriptor) -> Result<Digest> {
    let mut layers = vec![layer];
    if let Some(old) = read_tagged::<ImageManifest>(store, name, &simple_tag(digest))? {
        layers.extend(old.layers.into_iter().filter(|layer| intact(store, layer)));
    }
    layers.sort_by(|a, b| (a.digest, &a.annotations).cmp(&(b.digest, &b.annotations)));
    layers.dedup();
    check_count(layers.len())?;
    let contents: Vec<Digest> = layers.iter().map(|layer| layer.digest).collect();
    let config = json!({
        "architecture": "",
        "config": {},
        "created": CREATED,
        "history": contents.iter().map(|_| json!({ "created": CREATED })).collect::<Vec<_>>(),
        "os": "",
        "rootfs": { "diff_ids": contents, "type": "layers" },
    });
    let config = put(store, IMAGE_CONFIG_TYPE, &config)?;
    Ok(put(store, MANIFEST_TYPE, &ImageManifest::new(config, layers))?.digest)
}

fn bundle_manifest(store: &Store, digest: &Digest, size: u64, key: &PrivateKey) -> Result<Descriptor> {
    let statement = canonical::json(&json!({
        "_type": STATEMENT_TYPE,
        "predicate": {},
        "predicateType": PREDICATE,
        "subject": [{ "digest": { "sha256": digest.hex() } }],
    }));
    let signature = key.sign(&pre_authentication(PAYLOAD_TYPE, &statement));
    let bundle = json!({
        "dsseEnvelope": {
            "payload": BASE64.encode(&statement),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{ "sig": BASE64.encode(signature) }],
        },
        "mediaType": BUNDLE_TYPE,
        "verificationMaterial": { "publicKey": { "hint": BASE64.encode(key.public().id().as_bytes()) } },
    });
    let layer = put(store, BUNDLE_TYPE, &bundle)?;
    let mut manifest = ImageManifest::new(put(store, EMPTY_TYPE, &json!({}))?, vec![layer]);
    manifest.artifact_type = Some(BUNDLE_TYPE.to_owned());
    manifest.annotations = [
        ("dev.sigstore.bundle.content", "dsse-envelope"),
        ("dev.sigstore.bundle.predicateType", PREDICATE),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into();
    manifest.subject = Some(Descriptor {
        annotations: Default::default(),
        artifact_type: None,
        digest: *digest,
        media_type: MANIFEST_TYPE.to_owned(),
        size,
    });
    let mut descriptor = put(store, MANIFEST_TYPE, &manifest)?;
    descriptor.annotations = manifest.annotations;
    descriptor.artifact_type = manifest.artifact_type;
    Ok(descriptor)
}

/// The index with the new entry beside those that are there already, of whatever kind.
fn referrers_index(store: &Store, name: &PackageName, digest: &Digest, entry: Descriptor) -> Result<Digest> {
    let mut manifests = vec![entry];
    if let Some(old) = read_tagged::<Index>(store, name, &referrers_tag(digest))? {
        manifests.extend(
            old.manifests
                .into_iter()
                .filter(|manifest| intact_manifest(store, manifest)),
        );
    }
    manifests.sort_by_key(|manifest| manifest.digest);
    manifests.dedup_by_key(|manifest| manifest.digest);
    check_count(manifests.len())?;
    let index = Index {
        manifests,
        media_type: INDEX_TYPE.to_owned(),
        schema_version: 2,
    };
    Ok(put(store, INDEX_TYPE, &index)?.digest)
}

fn check_count(count: usize) -> Result<()> {
    if count <= SIGNATURES_MAX {
        return Ok(());
    }
    Err(Error::layout(
        "the signatures",
        format!("{count} of them, the ceiling is {SIGNATURES_MAX}"),
    ))
}

/// What a tag points at, if it is whole; what is damaged is replaced by the caller and not carried on.
fn read_tagged<T: serde::de::DeserializeOwned>(
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
        Err(Error::Io {
            operation,
            path,
            source,
        }) => Err(Error::Io {
            operation,
            path,
            source,
        }),
        Err(_) => Ok(None),
    }
}

fn intact(store: &Store, blob: &Descriptor) -> bool {
    store
        .read_described("a signature", blob, SIGNATURE_BYTES_MAX)
        .is_ok()
}

fn intact_manifest(store: &Store, descriptor: &Descriptor) -> bool {
    let Ok(bytes) = store.read_described("a signature", descriptor, MANIFEST_BYTES_MAX) else {
        return false;
    };
    let Ok(manifest) = serde_json::from_slice::<ImageManifest>(&bytes) else {
        return false;
    };
    manifest
        .layers
        .iter()
        .chain([&manifest.config])
        .all(|blob| intact(store, blob))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the DSSE protocol's specification.
    #[test]
    fn pre_authentication_encoding_is_that_of_the_specification() {
        let want = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world";
        assert_eq!(
            pre_authentication("http://example.com/HelloWorld", b"hello world"),
            want
        );
    }
}
