//! What is said of a package beside its signatures: where it comes from (SLSA provenance, signed by a key of its own),
//! and what is in it (an SBOM, bound to the package by its digest). An attestation is never a signature of the package,
//! and a signature is no provenance. What is attached and does not hold is named and otherwise ignored: it lets nothing
//! in, so it need not keep anything out.

use std::collections::BTreeMap;

use fermion_model::{Digest, PackageName};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::canonical::{Descriptor, ImageManifest};
use crate::limits::{ATTACHED_BYTES_MAX, MANIFEST_BYTES_MAX, SIGNATURE_BYTES_MAX};
use crate::referrers::{
    BUNDLE_TYPE, PAYLOAD_TYPE, STATEMENT_TYPE, attach, bundle, bundle_annotations, listed,
};
use crate::trust::{Role, Signer, TrustedKey};
use crate::verify::Bundle;
use crate::{Error, PrivateKey, Result, Store, Trust, When, load};

/// The artifact type and media type of an SBOM.
pub const SBOM_TYPE: &str = "application/vnd.cyclonedx+json";
/// The predicate of a statement about where a package comes from.
pub const PROVENANCE_PREDICATE: &str = "https://slsa.dev/provenance/v1";

/// Attaches a signed statement about the package, as a sigstore bundle. `predicate` is the statement's content.
///
/// # Errors
/// `SIZE_EXCEEDED`, and as [`attach`].
pub fn attest(
    store: &Store,
    name: &PackageName,
    digest: &Digest,
    predicate_type: &str,
    predicate: &Value,
    key: &PrivateKey,
) -> Result<Digest> {
    let bytes = bundle(digest, predicate_type, predicate, key);
    if bytes.len() as u64 > SIGNATURE_BYTES_MAX {
        return Err(Error::SizeExceeded {
            what: format!("the statement {predicate_type}"),
            bytes_max: SIGNATURE_BYTES_MAX,
        });
    }
    attach(
        store,
        name,
        digest,
        BUNDLE_TYPE,
        &bytes,
        bundle_annotations(predicate_type),
    )
}

/// A statement about where a package comes from, signed by enough keys that may say so.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Provenance {
    /// Who says so.
    pub signers: Vec<Signer>,
    /// What they say: the SLSA predicate.
    pub predicate: Value,
}

/// What is in a package, by the list that its config names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachedSbom {
    /// Its digest, as the config says it.
    pub digest: Digest,
    /// CycloneDX JSON.
    pub bytes: Vec<u8>,
}

/// Something that is attached and does not count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ignored {
    /// The manifest of what is attached.
    pub digest: Digest,
    /// Why it does not count.
    pub why: String,
}

/// What is attached to a package and holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Attestations {
    /// Where it comes from; several builders may say so.
    pub provenance: Vec<Provenance>,
    /// What is in it.
    pub sbom: Option<AttachedSbom>,
    /// What does not count.
    pub ignored: Vec<Ignored>,
}

/// Reads what is attached to the package `digest` and checks it against the trust.
///
/// # Errors
/// What the store says of the package's own documents and of the list of what is attached. A bad attachment is no
/// error.
pub fn attestations(
    store: &Store,
    name: &PackageName,
    digest: &Digest,
    trust: &Trust,
    when: When,
) -> Result<Attestations> {
    let sbom_digest = load::documents(store, digest)?.config.contract.sbom_digest;
    let mut found = Attestations::default();
    let mut statements = Statements::default();
    for entry in listed(store, name, digest)? {
        let read = match kind_of(store, &entry) {
            Ok((SBOM_TYPE, layer)) => sbom(store, &layer, sbom_digest).map(|sbom| found.sbom = Some(sbom)),
            Ok((_, layer)) => statements.add(store, &layer, digest, trust),
            Err(Skip::Other) => Ok(()),
            Err(Skip::Bad(why)) => Err(why),
        };
        if let Err(why) = read {
            found.ignored.push(Ignored {
                digest: entry.digest,
                why,
            });
        }
    }
    for (predicate, makers) in statements.0.into_values() {
        match trust.count(Role::Provenance, makers.into_iter().map(Ok), Some(name), when) {
            Ok(verified) => found.provenance.push(Provenance {
                signers: verified.signers,
                predicate,
            }),
            Err(why) => found.ignored.push(Ignored { digest: *digest, why }),
        }
    }
    Ok(found)
}

/// Why an entry is passed over.
enum Skip {
    /// It is something else altogether: a signature, a stranger's artifact.
    Other,
    /// It claims to be of a kind that is read here and is not.
    Bad(String),
}

/// The kind and the one layer of something attached that is read here.
fn kind_of(store: &Store, entry: &Descriptor) -> Result<(&'static str, Descriptor), Skip> {
    let bad = |error: Error| Skip::Bad(error.to_string());
    let bytes = store
        .read_described("an attachment", entry, MANIFEST_BYTES_MAX)
        .map_err(bad)?;
    let manifest: ImageManifest = serde_json::from_slice(&bytes).map_err(|why| Skip::Bad(why.to_string()))?;
    let kind = match manifest.artifact_type.as_deref() {
        Some(SBOM_TYPE) => SBOM_TYPE,
        Some(BUNDLE_TYPE) => BUNDLE_TYPE,
        _ => return Err(Skip::Other),
    };
    match <[Descriptor; 1]>::try_from(manifest.layers) {
        Ok([layer]) if layer.media_type == kind => Ok((kind, layer)),
        _ => Err(Skip::Bad(format!(
            "it has not exactly one layer of the type {kind}"
        ))),
    }
}

fn sbom(store: &Store, layer: &Descriptor, named: Option<Digest>) -> Result<AttachedSbom, String> {
    match named {
        None => Err("the package names no SBOM, so nothing says that this one is its own".to_owned()),
        Some(named) if named != layer.digest => {
            Err(format!("the package names the SBOM {named}, this is another"))
        }
        Some(digest) => {
            let bytes = store.read_described("the SBOM", layer, ATTACHED_BYTES_MAX);
            let bytes = bytes.map_err(|error| error.to_string())?;
            serde_json::from_slice::<serde::de::IgnoredAny>(&bytes).map_err(|why| why.to_string())?;
            Ok(AttachedSbom { digest, bytes })
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    predicate_type: String,
    subject: Vec<Subject>,
    predicate: Value,
}

#[derive(Deserialize)]
struct Subject {
    digest: BTreeMap<String, String>,
}

/// Statements by their bytes, with everyone who signed them.
#[derive(Default)]
struct Statements<'t>(BTreeMap<Vec<u8>, (Value, Vec<&'t TrustedKey>)>);

impl<'t> Statements<'t> {
    fn add(
        &mut self,
        store: &Store,
        layer: &Descriptor,
        digest: &Digest,
        trust: &'t Trust,
    ) -> Result<(), String> {
        let bytes = store
            .read_described("an attestation", layer, SIGNATURE_BYTES_MAX)
            .map_err(|error| error.to_string())?;
        let bundle: Bundle = serde_json::from_slice(&bytes).map_err(|why| why.to_string())?;
        let envelope = bundle.envelope_for(PAYLOAD_TYPE)?;
        let payload = envelope.payload()?;
        let statement: Statement = serde_json::from_slice(&payload).map_err(|why| why.to_string())?;
        if statement.kind != STATEMENT_TYPE || statement.predicate_type != PROVENANCE_PREDICATE {
            return Ok(());
        }
        let subjects = statement
            .subject
            .iter()
            .filter_map(|subject| subject.digest.get("sha256"));
        if !subjects.into_iter().any(|subject| *subject == digest.hex()) {
            return Err("it is the provenance of another package".to_owned());
        }
        let ids = envelope.signers(&trust.public_keys())?;
        if ids.is_empty() {
            return Err("no trusted key signed this provenance".to_owned());
        }
        let makers = ids.iter().filter_map(|id| trust.trusted(id));
        let known = self
            .0
            .entry(payload)
            .or_insert_with(|| (statement.predicate, Vec::new()));
        known.1.extend(makers);
        Ok(())
    }
}
