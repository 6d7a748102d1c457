//! Who signed a package. Reads both cosign forms and accepts either, offline, against the trusted keys. Everything that
//! is attached must be intact, even when another signature would do: a damaged signature means that somebody or
//! something changed the store. Attestations of other kinds are not signatures, whoever made them.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use fermion_model::{Digest, PackageName};
use serde::{Deserialize, Serialize};

use crate::canonical::{Descriptor, ImageManifest};
use crate::envelope::Envelope;
use crate::limits::{MANIFEST_BYTES_MAX, SIGNATURE_BYTES_MAX, SIGNATURES_MAX};
use crate::referrers::{BUNDLE_TYPE, PAYLOAD_TYPE, STATEMENT_TYPE, listed};
use crate::sign::{PREDICATE, SIMPLE_KIND, SIMPLE_SIGNATURE, SIMPLE_TYPE, simple_tag};
use crate::trust::Role;
use crate::{Error, PublicKey, Result, Store, Trust, Verified, When};

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
    /// A key that is known signed this package, and does not count: revoked, outside its time, for something else.
    Refused {
        /// The key's id.
        signer: Digest,
        /// Why it does not count, and what to do.
        why: String,
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

/// Who signed the package, if enough trusted keys did: different keys, however many signatures each has made.
///
/// # Errors
/// `SIG_MISSING`, `SIG_UNTRUSTED`, `SIG_SUBJECT_MISMATCH`, `STALE`, and the store's own for anything attached that is
/// damaged.
pub fn verify(
    store: &Store,
    name: &PackageName,
    digest: &Digest,
    trust: &Trust,
    when: When,
) -> Result<Verified> {
    let reports = signatures(store, name, digest, trust, when)?;
    decide(&reports, name, digest, trust, when)
}

/// The rule by which attached signatures become a decision.
pub(crate) fn decide(
    reports: &[SignatureReport],
    name: &PackageName,
    digest: &Digest,
    trust: &Trust,
    when: When,
) -> Result<Verified> {
    let mut makers = Vec::new();
    let mut is_signed = false;
    for report in reports {
        match &report.verdict {
            Verdict::OtherSubject { subject } => {
                return Err(Error::SigSubjectMismatch {
                    digest: *digest,
                    subject: subject.clone(),
                });
            }
            Verdict::Trusted { signer } | Verdict::Refused { signer, .. } => {
                is_signed = true;
                makers.extend(trust.trusted(signer).map(Ok));
            }
            Verdict::Untrusted => is_signed = true,
            Verdict::OtherKind { .. } => {}
        }
    }
    if !is_signed {
        return Err(Error::SigMissing { digest: *digest });
    }
    trust.check_fresh(when)?;
    trust
        .count(Role::Package, makers, Some(name), when)
        .map_err(|why| Error::SigUntrusted { digest: *digest, why })
}

/// What a signature is held against.
struct Judge<'t> {
    keys: Vec<&'t PublicKey>,
    trust: &'t Trust,
    name: &'t PackageName,
    digest: &'t Digest,
    when: When,
}

impl Judge<'_> {
    /// What a signature by `maker` over the package itself is worth.
    fn verdict(&self, maker: &PublicKey) -> Verdict {
        let signer = maker.id();
        let key = self.trust.trusted(&signer);
        match key.map(|key| key.standing(Role::Package, Some(self.name), self.when)) {
            Some(Ok(())) => Verdict::Trusted { signer },
            Some(Err(why)) => Verdict::Refused { signer, why },
            None => Verdict::Untrusted,
        }
    }
}

/// Everything attached to a package that claims to be a signature.
pub fn signatures(
    store: &Store,
    name: &PackageName,
    digest: &Digest,
    trust: &Trust,
    when: When,
) -> Result<Vec<SignatureReport>> {
    let mut reports = Vec::new();
    let judge = Judge {
        keys: trust.public_keys(),
        trust,
        name,
        digest,
        when,
    };
    if let Some(tagged) = store.tag(name, &simple_tag(digest))? {
        simple(store, &tagged, &judge, &mut reports)?;
    }
    bundles(store, &judge, &mut reports)?;
    Ok(reports)
}

/// What the signatures in one bundle are worth; nothing if it is no bundle of ours to judge.
pub(crate) fn judge_bundle(
    bytes: &[u8],
    name: &PackageName,
    digest: &Digest,
    trust: &Trust,
    when: When,
) -> Vec<Verdict> {
    let judge = Judge {
        keys: trust.public_keys(),
        trust,
        name,
        digest,
        when,
    };
    bundle_verdicts(bytes, &judge).unwrap_or_default()
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
    judge: &Judge<'_>,
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
        let verdict = simple_verdict(&payload, &layer.annotations, judge);
        reports.push(SignatureReport {
            form: SignatureForm::Simplesigning,
            verdict,
        });
    }
    Ok(())
}

fn simple_verdict(payload: &[u8], annotations: &BTreeMap<String, String>, judge: &Judge<'_>) -> Verdict {
    let signature = annotations
        .get(SIMPLE_SIGNATURE)
        .and_then(|text| BASE64.decode(text).ok());
    let made = |key: &&PublicKey| {
        signature
            .as_ref()
            .is_some_and(|signature| key.verifies(payload, signature))
    };
    let Some(maker) = judge.keys.iter().copied().find(made) else {
        return Verdict::Untrusted;
    };
    match serde_json::from_slice::<Simple>(payload) {
        Ok(Simple { critical }) if critical.kind != SIMPLE_KIND => Verdict::OtherKind { kind: critical.kind },
        Ok(Simple { critical }) if critical.image.digest != judge.digest.to_string() => {
            Verdict::OtherSubject {
                subject: critical.image.digest,
            }
        }
        Ok(_) => judge.verdict(maker),
        Err(_) => Verdict::OtherKind {
            kind: "unreadable".to_owned(),
        },
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Bundle {
    media_type: String,
    dsse_envelope: Envelope,
}

impl Bundle {
    /// The envelope, if this is a bundle of the version that is read here and the payload is of that type.
    pub(crate) fn envelope_for(self, payload_type: &str) -> Result<Envelope, String> {
        if self.media_type != BUNDLE_TYPE {
            return Err(format!(
                "the bundle is {:?}, not {BUNDLE_TYPE:?}",
                self.media_type
            ));
        }
        self.dsse_envelope.check(payload_type)?;
        Ok(self.dsse_envelope)
    }
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

fn bundles(store: &Store, judge: &Judge<'_>, reports: &mut Vec<SignatureReport>) -> Result<()> {
    for entry in listed(store, judge.name, judge.digest)? {
        if let Some(layer) = bundle_layer(store, &entry)? {
            let bytes = store.read_described("the signature bundle", &layer, SIGNATURE_BYTES_MAX)?;
            let verdicts = bundle_verdicts(&bytes, judge).unwrap_or_else(|| {
                vec![Verdict::OtherKind {
                    kind: "unreadable".to_owned(),
                }]
            });
            reports.extend(verdicts.into_iter().map(|verdict| SignatureReport {
                form: SignatureForm::Bundle,
                verdict,
            }));
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

/// One verdict a signature. None if the bytes are no bundle of ours to judge: signed with a certificate, another
/// envelope, another version.
fn bundle_verdicts(bytes: &[u8], judge: &Judge<'_>) -> Option<Vec<Verdict>> {
    let bundle: Bundle = serde_json::from_slice(bytes).ok()?;
    let envelope = bundle.envelope_for(PAYLOAD_TYPE).ok()?;
    let statement: Statement = serde_json::from_slice(&envelope.payload().ok()?).ok()?;
    if statement.kind != STATEMENT_TYPE || statement.predicate_type != PREDICATE {
        return Some(vec![Verdict::OtherKind {
            kind: statement.predicate_type,
        }]);
    }
    let subjects: Vec<_> = statement
        .subject
        .iter()
        .filter_map(|subject| subject.digest.get("sha256"))
        .collect();
    let is_subject = subjects.iter().any(|subject| **subject == judge.digest.hex());
    let makers = envelope.makers(&judge.keys).ok()?;
    if makers.is_empty() {
        return Some(vec![Verdict::Untrusted]);
    }
    let verdict = |maker: Option<&PublicKey>| match maker {
        None => Verdict::Untrusted,
        Some(maker) if is_subject => judge.verdict(maker),
        Some(_) => Verdict::OtherSubject {
            subject: subjects
                .first()
                .map_or("nothing".to_owned(), |hex| format!("sha256:{hex}")),
        },
    };
    Some(makers.into_iter().map(verdict).collect())
}
