//! Signing, in both forms that `cosign verify` reads: a simplesigning manifest at the tag `sha256-HEX.sig`, and a
//! sigstore bundle that refers to the package, listed in the index at the tag `sha256-HEX`. Deterministic, so signing
//! twice changes nothing. Blobs first, tags last: a crash leaves an unsigned package and never a half-signed one.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use fermion_model::{Digest, PackageName};
use serde_json::json;

use crate::canonical::{self, Descriptor, ImageManifest, MANIFEST_TYPE};
use crate::referrers::{
    Attachment, BUNDLE_TYPE, bundle, bundle_annotations, check_count, index_with, is_intact, put_attachment,
    put_blob, put_manifest, read_tagged, referrers_tag,
};
use crate::{PrivateKey, Result, Store};

pub(crate) const SIMPLE_TYPE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
pub(crate) const SIMPLE_SIGNATURE: &str = "dev.cosignproject.cosign/signature";
pub(crate) const SIMPLE_KIND: &str = "cosign container image signature";
/// The only predicate that makes a statement a signature.
pub(crate) const PREDICATE: &str = "https://sigstore.dev/cosign/sign/v1";
pub(crate) const IMAGE_CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
/// The zero of Go's clock, as cosign writes it: time does not enter the digest.
const CREATED: &str = "0001-01-01T00:00:00Z";

/// Where the simplesigning manifest of a package is found.
pub(crate) fn simple_tag(digest: &Digest) -> String {
    format!("sha256-{}.sig", digest.hex())
}

/// Signs the package `digest` of the repository `name`. Intact signatures by other keys stay.
pub fn sign(store: &Store, name: &PackageName, digest: &Digest, key: &PrivateKey) -> Result<()> {
    let bundle = bundle(digest, PREDICATE, &json!({}), key);
    let attachment = Attachment {
        artifact_type: BUNDLE_TYPE,
        payload: &bundle,
        annotations: bundle_annotations(PREDICATE),
    };
    let _lock = store.lock_refs()?;
    let bundle = put_attachment(store, name, digest, attachment)?;
    let simple = simple_layer(store, name, digest, key)?;
    let simple = simple_manifest(store, name, digest, simple)?;
    let index = index_with(store, name, digest, bundle)?;
    store.set_tag(name, &simple_tag(digest), &simple)?;
    store.set_tag(name, &referrers_tag(digest), &index)
}

fn simple_layer(store: &Store, name: &PackageName, digest: &Digest, key: &PrivateKey) -> Result<Descriptor> {
    let payload = canonical::json(&json!({
        "critical": {
            "identity": { "docker-reference": name },
            "image": { "docker-manifest-digest": digest },
            "type": SIMPLE_KIND,
        },
        "optional": null,
    }));
    let signature = BASE64.encode(key.sign(&payload));
    Ok(put_blob(store, name, SIMPLE_TYPE, &payload)?.note(SIMPLE_SIGNATURE, &signature))
}

/// The manifest with the new layer beside those that are there already.
fn simple_manifest(store: &Store, name: &PackageName, digest: &Digest, layer: Descriptor) -> Result<Digest> {
    let mut layers = vec![layer];
    if let Some(old) = read_tagged::<ImageManifest>(store, name, &simple_tag(digest))? {
        layers.extend(old.layers.into_iter().filter(|layer| is_intact(store, layer)));
    }
    layers.sort_by(|a, b| (a.digest, &a.annotations).cmp(&(b.digest, &b.annotations)));
    layers.dedup();
    check_count(layers.len())?;
    let config = put_blob(store, name, IMAGE_CONFIG_TYPE, &simple_config(&layers))?;
    Ok(put_manifest(store, name, MANIFEST_TYPE, &ImageManifest::new(config, layers))?.digest)
}

/// The config that cosign writes beside these layers.
pub(crate) fn simple_config(layers: &[Descriptor]) -> Vec<u8> {
    let contents: Vec<Digest> = layers.iter().map(|layer| layer.digest).collect();
    canonical::json(&json!({
        "architecture": "",
        "config": {},
        "created": CREATED,
        "history": contents.iter().map(|_| json!({ "created": CREATED })).collect::<Vec<_>>(),
        "os": "",
        "rootfs": { "diff_ids": contents, "type": "layers" },
    }))
}
