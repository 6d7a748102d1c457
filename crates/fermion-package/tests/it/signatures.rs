//! Signatures: which count, which do not, and what each is called.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use fermion_model::Digest;
use fermion_package::canonical::{Descriptor, INDEX_TYPE, ImageManifest, Index, MANIFEST_TYPE, json};
use fermion_package::verify::{SignatureForm, Verdict};
use fermion_package::{Trust, load, publish, sign, signatures, verify};
use p256::ecdsa::signature::Signer;
use p256::ecdsa::{DerSignature, SigningKey};
use p256::pkcs8::DecodePrivateKey;
use serde_json::json;

use crate::fixtures::{World, component, key, manifest, now, pem, trust, world};

const BUNDLE_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

fn tags(digest: &Digest) -> [String; 2] {
    [
        format!("sha256-{}.sig", digest.hex()),
        format!("sha256-{}", digest.hex()),
    ]
}

fn drop_tag(world: &World, tag: &str) {
    let repository = world.store.root().join("repositories/acme/hello");
    std::fs::remove_file(repository.join("_tags").join(tag)).unwrap();
    // The registry has a list of its own, beside the one under the tag.
    if !tag.ends_with(".sig") {
        std::fs::remove_dir_all(repository.join("_referrers")).unwrap();
    }
}

#[test]
fn either_form_is_enough_and_none_is_not() {
    for gone in 0..2 {
        let world = world();
        drop_tag(&world, &tags(world.digest())[gone]);
        assert_eq!(world.code(), "OK");
        drop_tag(&world, &tags(world.digest())[1 - gone]);
        assert_eq!(world.code(), "SIG_MISSING");
    }
}

#[test]
fn only_trusted_keys_count() {
    let world = world();
    let name = &world.packed.reference.name;
    for (trusted, want) in [(trust(2), "SIG_UNTRUSTED"), (Trust::default(), "SIG_UNTRUSTED")] {
        assert_eq!(
            verify(&world.store, name, world.digest(), &trusted, now())
                .unwrap_err()
                .code(),
            want
        );
        assert_eq!(
            load(&world.store, world.digest(), &trusted, now())
                .unwrap_err()
                .code(),
            want
        );
    }
    sign(&world.store, name, world.digest(), &key(2)).unwrap();
    for number in [1, 2] {
        let signer = verify(&world.store, name, world.digest(), &trust(number), now()).unwrap();
        assert_eq!(
            signer.ids(),
            [key(number).public().id()],
            "both signatures are kept"
        );
    }
    let reports = signatures(&world.store, name, world.digest(), &trust(2), now()).unwrap();
    assert_eq!(reports.len(), 4);
    assert_eq!(
        reports
            .iter()
            .filter(|report| report.verdict == Verdict::Untrusted)
            .count(),
        2
    );
    assert_eq!(
        reports
            .iter()
            .filter(|report| report.form == SignatureForm::Bundle)
            .count(),
        2
    );
}

#[test]
fn signing_twice_changes_nothing() {
    let world = world();
    let before = tags(world.digest()).map(|tag| world.tag(&tag));
    sign(
        &world.store,
        &world.packed.reference.name,
        world.digest(),
        &key(1),
    )
    .unwrap();
    assert_eq!(tags(world.digest()).map(|tag| world.tag(&tag)), before);
}

#[test]
fn a_signature_of_another_package_is_refused_even_beside_a_good_one() {
    for swapped in [&[0][..], &[1], &[0, 1]] {
        let world = world();
        let other = publish(
            &manifest("acme/hello"),
            &component(&[], "other"),
            &world.store,
            &key(1),
        )
        .unwrap();
        for &form in swapped {
            world.set_tag(
                &tags(world.digest())[form],
                &world.tag(&tags(&other.digest)[form]),
            );
        }
        assert_eq!(world.code(), "SIG_SUBJECT_MISMATCH", "{swapped:?}");
        assert_eq!(world.code_of(&other.digest), "OK");
    }
}

/// Attaches a bundle with this statement, correctly signed by key 1, in place of all signatures.
fn attach(world: &World, statement: &serde_json::Value) {
    let payload = json(statement);
    let kind = "application/vnd.in-toto+json";
    let mut signed = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len()).into_bytes();
    signed.extend_from_slice(&payload);
    let signature: DerSignature = SigningKey::from_pkcs8_pem(&pem(1)).unwrap().sign(&signed);
    let bundle = json(&json!({
        "dsseEnvelope": {
            "payload": BASE64.encode(&payload),
            "payloadType": kind,
            "signatures": [{ "sig": BASE64.encode(signature.as_bytes()) }],
        },
        "mediaType": BUNDLE_TYPE,
        "verificationMaterial": { "publicKey": { "hint": "" } },
    }));
    attach_bundle(world, &bundle);
}

fn attach_bundle(world: &World, bundle: &[u8]) {
    world.store.put(bundle).unwrap();
    world.store.put(b"{}").unwrap();
    let empty = Descriptor::of("application/vnd.oci.empty.v1+json", b"{}");
    let mut manifest = ImageManifest::new(empty, vec![Descriptor::of(BUNDLE_TYPE, bundle)]);
    manifest.artifact_type = Some(BUNDLE_TYPE.to_owned());
    let manifest = json(&manifest);
    world.store.put(&manifest).unwrap();
    let manifests = vec![Descriptor::of(MANIFEST_TYPE, &manifest)];
    let index = json(&Index {
        manifests,
        media_type: INDEX_TYPE.to_owned(),
        schema_version: 2,
    });
    let [simple, referrers] = tags(world.digest());
    drop_tag(world, &referrers);
    world.set_tag(&referrers, &world.store.put(&index).unwrap());
    drop_tag(world, &simple);
}

fn statement(kind: &str, predicate: &str, subject: &Digest) -> serde_json::Value {
    json!({
        "_type": kind,
        "predicate": {},
        "predicateType": predicate,
        "subject": [{ "digest": { "sha256": subject.hex() } }],
    })
}

#[test]
fn only_the_sign_predicate_makes_a_statement_a_signature() {
    let in_toto = "https://in-toto.io/Statement/v1";
    let sign = "https://sigstore.dev/cosign/sign/v1";
    for (kind, predicate, want) in [
        (in_toto, sign, "OK"),
        (in_toto, "https://slsa.dev/provenance/v1", "SIG_MISSING"),
        (in_toto, "https://sigstore.dev/cosign/sign/v2", "SIG_MISSING"),
        ("https://in-toto.io/Statement/v0.1", sign, "SIG_MISSING"),
    ] {
        let world = world();
        attach(&world, &statement(kind, predicate, world.digest()));
        assert_eq!(world.code(), want, "{kind} {predicate}");
    }
    let world = world();
    attach(&world, &statement(in_toto, sign, &world.packed.wasm));
    assert_eq!(world.code(), "SIG_SUBJECT_MISMATCH");
    attach_junk();
}

fn attach_junk() {
    for junk in [&b""[..], b"{}", b"not json", &[b'['; 10_000]] {
        let world = world();
        attach_bundle(&world, junk);
        assert_eq!(world.code(), "SIG_MISSING");
    }
}

#[test]
fn a_flood_of_signatures_is_bounded() {
    let world = world();
    let name = &world.packed.reference.name;
    let refused = (2..60).find_map(|number| sign(&world.store, name, world.digest(), &key(number)).err());
    assert_eq!(refused.unwrap().code(), "UNSUPPORTED_LAYOUT");
    assert_eq!(world.code(), "OK");
}
