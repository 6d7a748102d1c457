//! The published formats, byte for byte. A change here is a change of format: every digest and signature changes with
//! it. To accept one, copy what the failed test printed.

use fermion_package::load;

use crate::fixtures::{World, now, trust, world};

fn check(world: &World, digest: &fermion_model::Digest, golden: &str) {
    assert_eq!(world.text(digest), golden.trim_end());
}

fn digest_at(text: &str, pointer: &str) -> fermion_model::Digest {
    let value: serde_json::Value = serde_json::from_str(text).unwrap();
    value.pointer(pointer).unwrap().as_str().unwrap().parse().unwrap()
}

#[test]
fn config_and_manifest() {
    let world = world();
    check(&world, &world.packed.config, include_str!("golden/config.json"));
    check(&world, world.digest(), include_str!("golden/manifest.json"));
}

#[test]
fn simplesigning() {
    let world = world();
    let manifest = world.tag(&format!("sha256-{}.sig", world.digest().hex()));
    check(&world, &manifest, include_str!("golden/simple-manifest.json"));
    let text = world.text(&manifest);
    check(
        &world,
        &digest_at(&text, "/layers/0/digest"),
        include_str!("golden/simple-payload.json"),
    );
    check(
        &world,
        &digest_at(&text, "/config/digest"),
        include_str!("golden/simple-config.json"),
    );
}

#[test]
fn sigstore_bundle() {
    let world = world();
    let index = world.tag(&format!("sha256-{}", world.digest().hex()));
    check(&world, &index, include_str!("golden/bundle-index.json"));
    let manifest = digest_at(&world.text(&index), "/manifests/0/digest");
    check(&world, &manifest, include_str!("golden/bundle-manifest.json"));
    let bundle = digest_at(&world.text(&manifest), "/layers/0/digest");
    check(&world, &bundle, include_str!("golden/bundle.json"));
}

#[test]
fn what_was_packed_is_what_is_loaded() {
    let world = world();
    let loaded = load(&world.store, world.digest(), &trust(1), now()).unwrap();
    let manifest = crate::fixtures::manifest("acme/hello");
    assert_eq!((loaded.name, loaded.version), (manifest.name, manifest.version));
    assert_eq!(
        (loaded.limits, loaded.instances),
        (manifest.limits, manifest.instances)
    );
    assert_eq!(
        (loaded.capabilities, loaded.telemetry),
        (manifest.capabilities, manifest.telemetry)
    );
    assert_eq!(loaded.target.to_string(), "wasi:http/proxy@0.2.3");
    assert_eq!(loaded.wasm.len() as u64, world.packed.wasm_bytes);
    assert_eq!(loaded.verified.ids(), [trust(1).keys()[0].entry.id]);
}
