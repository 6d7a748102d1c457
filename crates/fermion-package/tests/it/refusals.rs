//! Everything that is not exactly a package, and the code each is refused with.

use std::fs;

use fermion_model::Digest;
use fermion_package::canonical::{Descriptor, ImageManifest, WASM_TYPE, json};
use fermion_package::{export, facts, inspect, sign};
use serde_json::Value;

use crate::fixtures::{World, component, exporting, key, now, trust, world};

/// Every blob of the package and of its signatures, with one byte flipped at its start, middle and end.
#[test]
fn one_flipped_byte_anywhere_is_refused_and_quarantined() {
    let world = world();
    let blobs = export(&world.store, world.digest()).unwrap().blobs;
    assert_eq!(
        blobs.len(),
        10,
        "component, config, manifest; three of one form and four of the other"
    );
    for blob in &blobs {
        for place in [0, blob.size / 2, blob.size - 1] {
            let flip = |bytes: &mut Vec<u8>| bytes[usize::try_from(place).unwrap()] ^= 1;
            world.damaged(&blob.digest, flip, || {
                for _ in 0..2 {
                    assert_eq!(world.code(), "DIGEST_MISMATCH", "{} at {place}", blob.digest);
                }
                assert!(world.quarantined(&blob.digest).is_file());
                let inspected = inspect(&world.store, world.digest(), &trust(1), now());
                assert!(inspected.is_err() || inspected.unwrap().signer.is_none());
            });
        }
    }
}

#[test]
fn a_blob_longer_than_its_descriptor_is_refused() {
    let world = world();
    for blob in export(&world.store, world.digest()).unwrap().blobs {
        let want = if described(&world, &blob.digest) {
            "SIZE_EXCEEDED"
        } else {
            "DIGEST_MISMATCH"
        };
        world.damaged(
            &blob.digest,
            |bytes| bytes.push(b'x'),
            || assert_eq!(world.code(), want, "{}", blob.digest),
        );
    }
}

/// False for what a tag or a release names by digest alone.
fn described(world: &World, digest: &Digest) -> bool {
    let hex = world.digest().hex();
    let named = [
        *world.digest(),
        world.tag(&format!("sha256-{hex}.sig")),
        world.tag(&format!("sha256-{hex}")),
    ];
    !named.contains(digest)
}

#[test]
fn a_missing_blob_is_named() {
    let world = world();
    for blob in export(&world.store, world.digest()).unwrap().blobs {
        world.damaged(
            &blob.digest,
            |_| {},
            || {
                fs::remove_file(world.store.path(&blob.digest)).unwrap();
                assert_eq!(world.code(), "BLOB_MISSING", "{}", blob.digest);
            },
        );
    }
}

/// Writes a package whose documents were changed by `config` and `manifest`, correctly signed.
fn repacked(world: &World, config: impl Fn(&mut Value), manifest: impl Fn(&mut Value)) -> Digest {
    let mut changed: Value = serde_json::from_str(&world.text(&world.packed.config)).unwrap();
    config(&mut changed);
    let bytes = json(&changed);
    world.store.put(&bytes).unwrap();
    let mut image: Value = serde_json::from_str(&world.text(world.digest())).unwrap();
    let kind = image["config"]["mediaType"].as_str().unwrap().to_owned();
    image["config"] = serde_json::to_value(Descriptor::of(&kind, &bytes)).unwrap();
    manifest(&mut image);
    let digest = world.store.put(&json(&image)).unwrap();
    sign(&world.store, &world.packed.reference.name, &digest, &key(1)).unwrap();
    digest
}

type Change = fn(&mut Value);

#[test]
fn other_layouts_are_refused_by_name() {
    let changes: &[Change] = &[
        |image| image["layers"] = Value::Array(vec![image["layers"][0].clone(), image["layers"][0].clone()]),
        |image| image["layers"] = Value::Array(Vec::new()),
        |image| image["config"]["mediaType"] = "application/vnd.fermyon.spin.application.v1+config".into(),
        |image| image["layers"][0]["mediaType"] = "application/vnd.wasm.content.layer.v1+wasm".into(),
        |image| image["mediaType"] = "application/vnd.oci.image.index.v1+json".into(),
        |image| image["schemaVersion"] = 1.into(),
        |image| image["subject"] = image["config"].clone(),
        |image| image["config"]["size"] = (image["config"]["size"].as_u64().unwrap() + 1).into(),
        |image| image["layers"][0]["size"] = (image["layers"][0]["size"].as_u64().unwrap() + 1).into(),
        |image| image["config"]["digest"] = "sha256:00".into(),
        |image| *image = Value::Null,
    ];
    for (index, change) in changes.iter().enumerate() {
        let world = world();
        let digest = repacked(&world, |_| {}, change);
        assert_eq!(world.code_of(&digest), "UNSUPPORTED_LAYOUT", "change {index}");
    }
    let world = world();
    let huge: Change = |image| image["layers"][0]["size"] = u64::MAX.into();
    assert_eq!(world.code_of(&repacked(&world, |_| {}, huge)), "SIZE_EXCEEDED");
}

#[test]
fn other_contracts_are_refused_by_name() {
    let changes: &[(Change, &str)] = &[
        (
            |config| config["component"]["imports"] = Value::Array(Vec::new()),
            "IMPORTS_MISMATCH",
        ),
        (
            |config| config["component"]["exports"][0] = "wasi:http/incoming-handler@0.2.9".into(),
            "IMPORTS_MISMATCH",
        ),
        (
            |config| config["component"]["target"] = "wasi:http/service@0.3.0".into(),
            "IMPORTS_MISMATCH",
        ),
        (|config| config["os"] = "wasip3".into(), "IMPORTS_MISMATCH"),
        (
            |config| config["layerDigests"] = Value::Array(Vec::new()),
            "UNSUPPORTED_LAYOUT",
        ),
        (
            |config| config["x-fermion"]["schema"] = 2.into(),
            "UNSUPPORTED_LAYOUT",
        ),
        (
            |config| config["x-fermion"]["mystery"] = 2.into(),
            "UNSUPPORTED_LAYOUT",
        ),
        (
            |config| config["x-fermion"]["name"] = "../../etc/passwd".into(),
            "UNSUPPORTED_LAYOUT",
        ),
        (
            |config| config["x-fermion"]["limits"]["memoryBytes"] = u64::MAX.into(),
            "UNSUPPORTED_LAYOUT",
        ),
        (
            |config| config["x-fermion"]["limits"]["concurrency"] = 0.into(),
            "UNSUPPORTED_LAYOUT",
        ),
        (
            |config| config["x-fermion"]["limits"]["cpuTimeMicros"] = 0.into(),
            "UNSUPPORTED_LAYOUT",
        ),
        (
            |config| config["x-fermion"]["instances"]["warmMin"] = 900.into(),
            "UNSUPPORTED_LAYOUT",
        ),
        (
            |config| config["x-fermion"]["capabilities"][0]["kind"] = "sockets".into(),
            "UNSUPPORTED_LAYOUT",
        ),
        (
            |config| config["x-fermion"]["capabilities"][1]["name"] = "*".into(),
            "UNSUPPORTED_LAYOUT",
        ),
        (
            |config| *config = serde_json::json!({"architecture": "wasm", "os": "wasip2"}),
            "UNSUPPORTED_LAYOUT",
        ),
    ];
    for (index, (change, want)) in changes.iter().enumerate() {
        let world = world();
        let digest = repacked(&world, change, |_| {});
        assert_eq!(world.code_of(&digest), *want, "change {index}");
    }
}

#[test]
fn a_component_swapped_under_a_good_signature_is_refused() {
    let world = world();
    let other = component(&["wasi:io/streams@0.2.3", "wasi:cli/stdout@0.2.3"], "evil!");
    world.store.put(&other).unwrap();
    let layer = Descriptor::of(WASM_TYPE, &other);
    let unsigned: ImageManifest = serde_json::from_str(&world.text(world.digest())).unwrap();
    let digest = world
        .store
        .put(&json(&ImageManifest {
            layers: vec![layer],
            ..unsigned
        }))
        .unwrap();
    assert_eq!(world.code_of(&digest), "SIG_MISSING");
    fs::copy(world.store.path(&digest), world.store.path(world.digest())).unwrap();
    assert_eq!(world.code(), "DIGEST_MISMATCH");
}

#[test]
fn imports_are_linkable_or_denied_by_name() {
    for good in [
        "wasi:cli/environment@0.2.0",
        "wasi:http/outgoing-handler@0.2.8",
        "wasi:http/client@0.3.0",
        "wasi:config/store@0.2.0-rc.1",
        "wasi:sockets/tcp@0.2.3",
        "wasi:filesystem/preopens@0.3.1",
        "wasi:clocks/monotonic-clock@0.2.3",
        "wasi:random/random@0.2.3",
        "wasi:keyvalue/store@0.2.0-draft",
        "wasi:logging/logging",
    ] {
        facts(&component(&[good], "")).unwrap().check_imports().unwrap();
    }
    for bad in [
        "wasi:keyvalue/store@0.2.0-draft3",
        "wasi:http/types@0.2.0-rc-2023-12-05",
        "acme:foo/bar@1.0.0",
        "acme:foo/bar",
        "wasi:cli/environment",
        "wasi:cli/environment@0.1.0",
        "wasi:cli/environment@1.2.0",
        "wasi:nn/graph@0.2.0",
        "plain-name",
    ] {
        let error = facts(&component(&[bad], ""))
            .unwrap()
            .check_imports()
            .unwrap_err();
        assert_eq!(error.code(), "POLICY_DENIED");
        assert!(error.to_string().contains(bad), "{error}");
    }
}

#[test]
fn what_is_no_component_with_a_handler_is_refused() {
    let module = wat::parse_str("(module (memory 1))").unwrap();
    let whole = component(&[], "hello");
    let nested = wat::parse_str(
        r#"(component (component (instance $h) (export "wasi:http/incoming-handler@0.2.3" (instance $h))))"#,
    )
    .unwrap();
    for (wasm, want) in [
        (&b""[..], "at byte 0"),
        (b"hello", "at byte"),
        (&module, "this is a core module"),
        (&whole[..whole.len() - 5], "at byte"),
        (&[&whole[..], b"trailing"].concat(), "at byte"),
        (&nested, "it exports neither"),
        (
            &exporting(&[], "wasi:cli/run@0.2.3", ""),
            "its exports are [wasi:cli/run@0.2.3]",
        ),
        (
            &exporting(&[], "wasi:http/incoming-handler@0.1.0", ""),
            "it exports neither",
        ),
    ] {
        let error = facts(wasm).unwrap_err();
        assert_eq!(error.code(), "COMPONENT_INVALID");
        assert!(error.to_string().contains(want), "{error}");
    }
    let newer = facts(&exporting(&[], "wasi:http/handler@0.3.0", "")).unwrap();
    assert_eq!(newer.target.to_string(), "wasi:http/service@0.3.0");
}
