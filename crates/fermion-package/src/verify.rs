//! Who signed a package. Reads both cosign forms and accepts either, offline, against the trusted keys. Everything that
//! is attached must be intact, even when another signature would do: a damaged signature means that somebody or
//! something changed the store. Attestations of other kinds are not signatures, whoever made them.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use fermion_model::{Digest, PackageName};
use serde::{Deserialize, Serialize};

use crate::canonical::{Descriptor, ImageManifest, Index};
use crate::limits::{MANIFEST_BYTES_MAX, SIGNATURE_BYTES_MAX, SIGNATURES_MAX};
use crate::sign::{
    BUNDLE_TYPE, PAYLOAD_TYPE, PREDICATE, SIMPLE_KIND, SIMPLE_SIGNATURE, SIMPLE_TYPE, STATEMENT_TYPE,
    pre_authentication, referrers_tag, simple_tag,
};
use crate::{Error, Result, Store, Trust};

/// How a signature is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SignatureForm {
    /// A layer of the manifest at `sha256-HEX.sig`.
    Simplesigning,
    /// A sigstore bundle that refers to the package.
    Bundle,
}

/// What one attached signature is worth.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "verdict")]
pub enum Verdict {
    /// A trusted key signed this package.
    Trusted {
        /// The key's id.
        signer: Digest,
    },
    /// No trusted key made it.
    Untrusted,
    /// A trusted key made it, for another package.
    OtherSubject {
        /// What it is for.
        subject: String,
    },
    /// It says something else than `signed`.
    OtherKind {
        /// What it says.
        kind: String,
    },
}

/// One attached signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SignatureReport {
    /// How it is written down.
    pub form: SignatureForm,
    /// What it is worth.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// The id of a trusted key that signed the package.
///
/// # Errors
/// `SIG_MISSING`, `SIG_UNTRUSTED`, `SIG_SUBJECT_MISMATCH`, and the store's own for anything attached that is damaged.
pub fn verify(store: &Store, name: &PackageName, digest: &Digest, trust: &Trust) -> Result<Digest> {
    let reports = signatures(store, name, digest, trust)?;
    decide(&reports, digest)
}

/// The rule by which attached signatures become a decision.
pub(crate) fn decide(reports: &[SignatureReport], digest: &Digest) -> Result<Digest> {
    let mut signer = None;
    let mut untrusted = false;
    for report in reports {
        match &report.verdict {
            Verdict::OtherSubject { subject } => {
                return Err(Error::SigSubjectMismatch {
                    digest: *digest,
                    subject: subject.clone(),
                });
            }
            Verdict::Trusted { signer: key } => signer = signer.or(Some(*key)),
            Verdict::Untrusted => untrusted = true,
            Verdict::OtherKind { .. } => {}
        }
    }
    match signer {
        Some(key) => Ok(key),
        None if untrusted => Err(Error::SigUntrusted { digest: *digest }),
        None => Err(Error::SigMissing { digest: *digest }),
    }
}

/// Everything attached to a package that claims to be a signature.
pub fn signatures(
    store: &Store,
    name: &PackageName,
    digest: &Digest,
    trust: &Trust,
) -> Result<Vec<SignatureReport>> {
    let mut reports = Vec::new();
    if let Some(tagged) = store.tag(name, &simple_tag(digest))? {
        simple(store, &tagged, digest, trust, &mut reports)?;
    }
    if let Some(tagged) = store.tag(name, &referrers_tag(digest))? {
        bundles(store, &tagged, digest, trust, &mut reports)?;
    }
    Ok(reports)
}

fn parse<'a, T: Deserialize<'a>>(what: &'static str, bytes: &'a [u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|why| Error::layout(what, why.to_string()))
}

fn check_count(what: &'static str, count: usize) -> Result<()> {
    if count <= SIGNATURES_MAX {
        return Ok(());
    }
    Err(Error::layout(
        what,
        format!("{count} entries, the ceiling is {SIGNATURES_MAX}"),
    ))
}

#[derive(Deserialize)]
struct Simple {
    critical: SimpleCritical,
}

#[derive(Deserialize)]
struct SimpleCritical {
    image: SimpleImage,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct SimpleImage {
    #[serde(rename = "docker-manifest-digest")]
    digest: String,
}

fn simple(
    store: &Store,
    tagged: &Digest,
    digest: &Digest,
    trust: &Trust,
    reports: &mut Vec<SignatureReport>,
) -> Result<()> {
    let what = "the signature manifest";
    let bytes = store.read_part(what, tagged, MANIFEST_BYTES_MAX)?;
    let manifest: ImageManifest = parse(what, &bytes)?;
    check_count(what, manifest.layers.len())?;
    // The config decides nothing, but it is a part of the signature and so it must be whole.
    store.read_described("the signature's config", &manifest.config, SIGNATURE_BYTES_MAX)?;
    for layer in manifest
        .layers
        .iter()
        .filter(|layer| layer.media_type == SIMPLE_TYPE)
    {
        let payload = store.read_described("the signature", layer, SIGNATURE_BYTES_MAX)?;
        let verdict = simple_verdict(&payload, &layer.annotations, digest, trust);
        reports.push(SignatureReport {
            form: SignatureForm::Simplesigning,
            verdict,
        });
    }
    Ok(())
}

fn simple_verdict(
    payload: &[u8],
    annotations: &BTreeMap<String, String>,
    digest: &Digest,
    trust: &Trust,
) -> Verdict {
    let signature = annotations
        .get(SIMPLE_SIGNATURE)
        .and_then(|text| BASE64.decode(text).ok());
    let Some(signer) = signature.and_then(|signature| trust.signer(payload, &signature)) else {
        return Verdict::Untrusted;
    };
    match serde_json::from_slice::<Simple>(payload) {
        Ok(Simple { critical }) if critical.kind != SIMPLE_KIND => Verdict::OtherKind { kind: critical.kind },
        Ok(Simple { critical }) if critical.image.digest != digest.to_string() => Verdict::OtherSubject {
            subject: critical.image.digest,
        },
        Ok(_) => Verdict::Trusted { signer },
        Err(_) => Verdict::OtherKind {
            kind: "unreadable".to_owned(),
        },
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    media_type: String,
    dsse_envelope: Envelope,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<EnvelopeSignature>,
}

#[derive(Deserialize)]
struct EnvelopeSignature {
    sig: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    predicate_type: String,
    subject: Vec<Subject>,
}

#[derive(Deserialize)]
struct Subject {
    digest: BTreeMap<String, String>,
}

fn bundles(
    store: &Store,
    tagged: &Digest,
    digest: &Digest,
    trust: &Trust,
    reports: &mut Vec<SignatureReport>,
) -> Result<()> {
    let what = "the list of signatures";
    let bytes = store.read_part(what, tagged, MANIFEST_BYTES_MAX)?;
    let index: Index = parse(what, &bytes)?;
    check_count(what, index.manifests.len())?;
    for entry in &index.manifests {
        if let Some(layer) = bundle_layer(store, entry)? {
            let bytes = store.read_described("the signature bundle", &layer, SIGNATURE_BYTES_MAX)?;
            let verdict = bundle_verdict(&bytes, digest, trust).unwrap_or_else(|| Verdict::OtherKind {
                kind: "unreadable".to_owned(),
            });
            reports.push(SignatureReport {
                form: SignatureForm::Bundle,
                verdict,
            });
        }
    }
    Ok(())
}

/// The bundle of a referring manifest; none if it is another kind of artifact.
fn bundle_layer(store: &Store, entry: &Descriptor) -> Result<Option<Descriptor>> {
    let what = "the signature's manifest";
    if entry
        .artifact_type
        .as_deref()
        .is_some_and(|kind| kind != BUNDLE_TYPE)
    {
        return Ok(None);
    }
    let manifest: ImageManifest = parse(what, &store.read_described(what, entry, MANIFEST_BYTES_MAX)?)?;
    if manifest.artifact_type.as_deref() != Some(BUNDLE_TYPE) {
        return Ok(None);
    }
    store.read_described("the signature's config", &manifest.config, SIGNATURE_BYTES_MAX)?;
    match <[Descriptor; 1]>::try_from(manifest.layers) {
        Ok([layer]) if layer.media_type == BUNDLE_TYPE => Ok(Some(layer)),
        _ => Err(Error::layout(what, "not exactly one layer, a sigstore bundle")),
    }
}

/// None if the bytes are no bundle of ours to judge: signed with a certificate, another envelope, another version.
fn bundle_verdict(bytes: &[u8], digest: &Digest, trust: &Trust) -> Option<Verdict> {
    let bundle: Bundle = serde_json::from_slice(bytes).ok()?;
    let Envelope {
        payload,
        payload_type,
        signatures,
    } = bundle.dsse_envelope;
    if bundle.media_type != BUNDLE_TYPE || payload_type != PAYLOAD_TYPE || signatures.len() > SIGNATURES_MAX {
        return None;
    }
    let payload = BASE64.decode(payload).ok()?;
    let statement: Statement = serde_json::from_slice(&payload).ok()?;
    if statement.kind != STATEMENT_TYPE || statement.predicate_type != PREDICATE {
        return Some(Verdict::OtherKind {
            kind: statement.predicate_type,
        });
    }
    let signed = pre_authentication(PAYLOAD_TYPE, &payload);
    let signer = signatures
        .iter()
        .filter_map(|signature| BASE64.decode(&signature.sig).ok())
        .find_map(|signature| trust.signer(&signed, &signature));
    let Some(signer) = signer else {
        return Some(Verdict::Untrusted);
    };
    let subjects: Vec<_> = statement
        .subject
        .iter()
        .filter_map(|subject| subject.digest.get("sha256"))
        .collect();
    if subjects.iter().any(|subject| **subject == digest.hex()) {
        return Some(Verdict::Trusted { signer });
    }
    Some(Verdict::OtherSubject {
        subject: subjects
            .first()
            .map_or("nothing".to_owned(), |hex| format!("sha256:{hex}")),
    })
}
