//! What is attached beside signatures: provenance counts by its own keys, an SBOM by its digest, and neither signs.

use fermion_package::attest::{PROVENANCE_PREDICATE, SBOM_TYPE};
use fermion_package::trust::{
    KeyEntry, Moment, ROOT_SCHEMA, Role, RootDocument, SignedRoot, Thresholds, accept,
};
use fermion_package::{Attestations, Trust, When, attach, attest, attestations, signatures};
use serde_json::json;
use std::time::{Duration, SystemTime};

use crate::fixtures::{World, key, world};

fn when() -> When {
    When::admission(SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_219_200))
}

/// Key 1 signs packages, keys 4 and 5 vouch for their origin.
fn trust(threshold: u32) -> Trust {
    let entry = |number: u8, role| KeyEntry::new(&format!("key-{number}"), key(number).public(), [role]);
    let document = RootDocument {
        schema: ROOT_SCHEMA,
        serial: 1,
        expires: Moment::of(SystemTime::UNIX_EPOCH + Duration::from_secs(1_900_000_000)),
        grace_seconds: 0,
        keys: vec![
            entry(9, Role::Root),
            entry(1, Role::Package),
            entry(4, Role::Provenance),
            entry(5, Role::Provenance),
        ],
        thresholds: Thresholds {
            provenance: threshold,
            ..Thresholds::default()
        },
        channels: Vec::new(),
    };
    let mut root = SignedRoot::draft(&document).unwrap();
    root.sign(&key(9)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_219_200);
    accept(folder.path(), &root.write(), now).unwrap()
}

fn vouch(world: &World, by: u8) {
    let name = &world.packed.reference.name;
    let predicate = json!({ "buildDefinition": { "buildType": "test" } });
    attest(
        &world.store,
        name,
        world.digest(),
        PROVENANCE_PREDICATE,
        &predicate,
        &key(by),
    )
    .unwrap();
}

fn found(world: &World, trust: &Trust) -> Attestations {
    attestations(
        &world.store,
        &world.packed.reference.name,
        world.digest(),
        trust,
        when(),
    )
    .unwrap()
}

#[test]
fn provenance_counts_by_its_own_keys_and_is_no_signature() {
    let world = world();
    assert_eq!(found(&world, &trust(1)), Attestations::default());
    let before = signatures(
        &world.store,
        &world.packed.reference.name,
        world.digest(),
        &trust(1),
        when(),
    );
    // The package's own key and a stranger's vouch for nothing.
    for by in [1, 7] {
        vouch(&world, by);
    }
    let none = found(&world, &trust(1));
    assert!(none.provenance.is_empty(), "{none:?}");
    let words: String = none.ignored.iter().map(|ignored| ignored.why.as_str()).collect();
    assert!(words.contains("has the role package, not provenance"), "{words}");
    vouch(&world, 4);
    let one = found(&world, &trust(1));
    assert_eq!(one.provenance[0].signers[0].name, "key-4");
    assert_eq!(
        one.provenance[0].predicate["buildDefinition"]["buildType"],
        "test"
    );
    assert!(found(&world, &trust(2)).provenance.is_empty());
    vouch(&world, 5);
    assert_eq!(found(&world, &trust(2)).provenance[0].signers.len(), 2);
    // The package is as signed as it was.
    let after = signatures(
        &world.store,
        &world.packed.reference.name,
        world.digest(),
        &trust(1),
        when(),
    )
    .unwrap();
    let trusted = |reports: &[fermion_package::SignatureReport]| {
        reports
            .iter()
            .filter(|report| matches!(report.verdict, fermion_package::verify::Verdict::Trusted { .. }))
            .count()
    };
    assert_eq!((trusted(&before.unwrap()), trusted(&after)), (2, 2));
    assert_eq!(world.code(), "OK");
}

#[test]
fn a_package_with_nothing_but_provenance_is_not_signed() {
    let world = world();
    let name = &world.packed.reference.name;
    let tags = world.store.root().join("repositories/acme/hello/_tags");
    for tag in [
        format!("sha256-{}.sig", world.digest().hex()),
        format!("sha256-{}", world.digest().hex()),
    ] {
        std::fs::remove_file(tags.join(tag)).unwrap();
    }
    std::fs::remove_dir_all(world.store.root().join("repositories/acme/hello/_referrers")).unwrap();
    vouch(&world, 1);
    vouch(&world, 4);
    let error = fermion_package::verify(&world.store, name, world.digest(), &trust(1), when()).unwrap_err();
    assert_eq!(error.code(), "SIG_MISSING");
    assert_eq!(found(&world, &trust(1)).provenance.len(), 1);
}

#[test]
fn an_sbom_that_the_package_does_not_name_is_not_its_own() {
    let world = world();
    let name = &world.packed.reference.name;
    let bom = br#"{"bomFormat":"CycloneDX","specVersion":"1.5","components":[]}"#;
    attach(
        &world.store,
        name,
        world.digest(),
        SBOM_TYPE,
        bom,
        Default::default(),
    )
    .unwrap();
    let found = found(&world, &trust(1));
    assert_eq!(found.sbom, None);
    assert!(found.ignored[0].why.contains("names no SBOM"), "{found:?}");
    // Signing again keeps what is attached, and attaching again changes nothing.
    let index = world.tag(&format!("sha256-{}", world.digest().hex()));
    fermion_package::sign(&world.store, name, world.digest(), &key(1)).unwrap();
    attach(
        &world.store,
        name,
        world.digest(),
        SBOM_TYPE,
        bom,
        Default::default(),
    )
    .unwrap();
    assert_eq!(world.tag(&format!("sha256-{}", world.digest().hex())), index);
    let large = vec![b' '; 9 << 20];
    let error = attach(
        &world.store,
        name,
        world.digest(),
        SBOM_TYPE,
        &large,
        Default::default(),
    )
    .unwrap_err();
    assert_eq!(error.code(), "SIZE_EXCEEDED");
}
